#include "../linux/program.h"

#include <memory>
#include <optional>
#include <string>

#include "../linux/netns.h"
#include "convert.h"
#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

/** @returns nothing if it is neither a string nor a Uint8Array */
std::optional<std::string> to_input(const Napi::Value& value) {
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    return std::nullopt;
  }
  const auto bytes = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
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
  const std::optional<std::string> input = to_input(info[4]);
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsArray() || !info[3].IsArray() ||
      !input) {
    throw Napi::TypeError::New(
        info.Env(), "a namespace, a path, arguments, an environment and an input are required");
  }
  const std::string netns = to_text(info[0]);
  const Program program{
      .path = to_text(info[1]),
      .args = to_texts(info[2].As<Napi::Array>()),
      .environment = to_texts(info[3].As<Napi::Array>()),
      .input = *input,
  };
  auto outcome = std::make_shared<ProgramOutcome>();
  return Task::run(
      info.Env(),
      [outcome, netns, program] {
        *outcome = in_netns(netns, [&program] { return run_program(program); });
      },
      [outcome](Napi::Env env) { return to_object(env, *outcome); });
}

}  // namespace

void register_program(Napi::Env env, Napi::Object exports) {
  exports.Set("runProgram", Napi::Function::New(env, run, "runProgram"));
}

}  // namespace nfqc::addon
