#include "../linux/queue_rule.h"

#include <string>

#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

/** (netns, table, chain, first queue, queues, CPU fan-out) */
Napi::Value set_rule(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsString() || !info[3].IsNumber() ||
      !info[4].IsNumber() || !info[5].IsBoolean()) {
    throw Napi::TypeError::New(
        info.Env(), "a namespace, a table, a chain, queues and how they are chosen are required");
  }
  const std::string netns = info[0].As<Napi::String>();
  const QueueRule rule{
      .table = info[1].As<Napi::String>(),
      .chain = info[2].As<Napi::String>(),
      .first_queue = info[3].As<Napi::Number>().Uint32Value(),
      .queues = info[4].As<Napi::Number>().Uint32Value(),
      .cpu_fanout = info[5].As<Napi::Boolean>().Value(),
  };
  return Task::run(info.Env(), [netns, rule] { set_queue_rule(netns, rule); });
}

}  // namespace

void register_queue_rule(Napi::Env env, Napi::Object exports) {
  exports.Set("setQueueRule", Napi::Function::New(env, set_rule, "setQueueRule"));
}

}  // namespace nfqc::addon
