#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds `layout`: where each statistic lies among a queue thread's slots. */
void register_layout(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
