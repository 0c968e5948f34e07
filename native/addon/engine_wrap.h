#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds the class NativeEngine. */
void register_engine(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
