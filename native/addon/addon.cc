#include "registration.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  nfqc::addon::register_hashing(env, exports);
  nfqc::addon::register_connections(env, exports);
  nfqc::addon::register_engine(env, exports);
  nfqc::addon::register_layout(env, exports);
  nfqc::addon::register_lock(env, exports);
  nfqc::addon::register_probe(env, exports);
  nfqc::addon::register_program(env, exports);
  nfqc::addon::register_queue_rule(env, exports);
  nfqc::addon::register_files(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(nfq_cluster, init)
