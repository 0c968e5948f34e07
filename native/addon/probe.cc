#include "probe.h"

#include "../linux/probe.h"

namespace nfqc::addon {
namespace {

Napi::Value probe(const Napi::CallbackInfo& info) {
  const QueueProbe result = probe_queue();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("bind", Napi::Number::New(info.Env(), result.bind));
  object.Set("conntrack", Napi::Number::New(info.Env(), result.conntrack));
  object.Set("target", Napi::Number::New(info.Env(), result.target));
  return object;
}

}  // namespace

void register_probe(Napi::Env env, Napi::Object exports) {
  exports.Set("probeQueue", Napi::Function::New(env, probe, "probeQueue"));
}

}  // namespace nfqc::addon
