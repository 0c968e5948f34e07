#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds `probeQueue()`: what the kernel supports of queues, as errnos. */
void register_probe(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
