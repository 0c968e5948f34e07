#pragma once

#include <napi.h>

namespace nfqc::addon {

/** Adds `setQueueRule()`: NFQUEUE in a chain of nft. */
void register_queue_rule(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
