#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "../linux/netns.h"
#include "convert.h"
#include "registration.h"

namespace nfqc::addon {
namespace {

std::optional<Descriptor> try_lock(Napi::Env env, const std::string& netns) {
  try {
    return lock_netns(netns);
  } catch (const Fault& fault) {
    throw to_error(env, fault);
  }
}

/** (netns) */
Napi::Value lock(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "a namespace is required");
  std::optional<Descriptor> locked = try_lock(info.Env(), to_text(info[0]));
  if (!locked) return info.Env().Undefined();
  /* Closed also with the function, as when a worker thread is terminated. */
  const auto held = std::make_shared<Descriptor>(std::move(*locked));
  return Napi::Function::New(
      info.Env(), [held](const Napi::CallbackInfo&) { *held = Descriptor(); }, "release");
}

}  // namespace

void register_lock(Napi::Env env, Napi::Object exports) {
  exports.Set("lockNetns", Napi::Function::New(env, lock, "lockNetns"));
}

}  // namespace nfqc::addon
