#include "../linux/probe.h"

#include "convert.h"
#include "registration.h"

namespace nfqc::addon {
namespace {

QueueProbe ask(Napi::Env env) {
  try {
    return probe_queue();
  } catch (const std::system_error& error) {
    throw to_error(env, no_thread(error));
  }
}

Napi::Value probe(const Napi::CallbackInfo& info) {
  const QueueProbe result = ask(info.Env());
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
