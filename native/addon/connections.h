#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds `findConnection()`: what conntrack knows of a tuple. */
void register_connections(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
