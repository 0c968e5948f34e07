#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds the class NativeHasher. It needs no privilege. */
void register_hashing(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
