#include "../linux/program.h"

#include <memory>
#include <string>

#include "../linux/netns.h"
#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

std::vector<std::string> texts(const Napi::Array& array) {
  std::vector<std::string> all;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    all.push_back(array.Get(i).ToString().Utf8Value());
  }
  return all;
}

Napi::Value to_object(Napi::Env env, const ProgramOutcome& outcome) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", Napi::Number::New(env, outcome.status));
  object.Set("signal", Napi::Number::New(env, outcome.signal));
  object.Set("stdout", Napi::String::New(env, outcome.output));
  object.Set("stderr", Napi::String::New(env, outcome.errors));
  return object;
}

/** (netns, path, arguments, environment, input) */
Napi::Value run(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsArray() || !info[3].IsArray() ||
      !info[4].IsString()) {
    throw Napi::TypeError::New(
        info.Env(), "a namespace, a path, arguments, an environment and an input are required");
  }
  const std::string netns = info[0].As<Napi::String>();
  const Program program{
      .path = info[1].As<Napi::String>(),
      .args = texts(info[2].As<Napi::Array>()),
      .environment = texts(info[3].As<Napi::Array>()),
      .input = info[4].As<Napi::String>(),
  };
  auto outcome = std::make_shared<ProgramOutcome>();
  return Task::run(
      Napi::Object::New(info.Env()),
      [outcome, netns, program] {
        *outcome = in_netns(netns, [&program] { return run_program(program); });
      },
      [](bool) {}, [outcome](Napi::Env env) { return to_object(env, *outcome); });
}

}  // namespace

void register_program(Napi::Env env, Napi::Object exports) {
  exports.Set("runProgram", Napi::Function::New(env, run, "runProgram"));
}

}  // namespace nfqc::addon
