#include "../linux/program.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "../linux/netns.h"
#include "convert.h"
#include "registration.h"

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

/**
 * A program that runs, and the promise of its outcome. It is not awaited in libuv's pool, whose
 * threads a process waits for when it exits: a program may take long, or for ever. A worker thread
 * that is terminated kills it.
 */
class Run {
 public:
  static Napi::Promise start(Napi::Env env, const std::string& netns, const Program& program) {
    auto* run = new Run(env);
    const Napi::Promise promise = run->deferred_.Promise();
    try {
      run->thread_ = std::thread([run, netns, program] { run->work(netns, program); });
    } catch (const std::system_error& error) {
      run->failure_ = std::make_exception_ptr(no_thread(error));
      run->settle(env);
    } catch (const std::bad_alloc&) {
      run->failure_ = std::current_exception();
      run->settle(env);
    }
    return promise;
  }

 private:
  explicit Run(Napi::Env env)
      : end_(::eventfd(0, EFD_CLOEXEC)), deferred_(Napi::Promise::Deferred::New(env)) {
    if (!end_) throw to_error(env, {FaultKind::kSystem, "eventfd", errno, "cannot run a program"});
    const auto settle = [this](const Napi::CallbackInfo& info) { this->settle(info.Env()); };
    ended_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, settle), "program", 0, 1,
                                           [this](Napi::Env) { delete this; });
    /* After the function is made, and so called before it is taken away. */
    cleanup_ = env.AddCleanupHook(+[](Run* run) { run->abandon(); }, this);
  }

  void work(const std::string& netns, const Program& program) noexcept {
    try {
      enter_netns(netns);
      outcome_ = run_program(program, end_.get());
    } catch (...) {
      failure_ = std::current_exception();
    }
    ended_.NonBlockingCall();
  }

  void abandon() {
    ::eventfd_write(end_.get(), 1);
    thread_.join();
  }

  void settle(Napi::Env env) {
    cleanup_.Remove(env);
    if (thread_.joinable()) thread_.join();
    if (failure_) {
      deferred_.Reject(error(env));
    } else {
      deferred_.Resolve(to_object(env, outcome_));
    }
    ended_.Release();
  }

  [[nodiscard]] Napi::Value error(Napi::Env env) const {
    try {
      std::rethrow_exception(failure_);
    } catch (const Fault& fault) {
      return to_error(env, fault).Value();
    } catch (const std::exception& exception) {
      return Napi::Error::New(env, exception.what()).Value();
    }
  }

  Descriptor end_; /* to be written when the program is to end */
  Napi::Promise::Deferred deferred_;
  Napi::ThreadSafeFunction ended_;
  Napi::Env::CleanupHook<void (*)(Run*), Run> cleanup_;
  ProgramOutcome outcome_;
  std::exception_ptr failure_;
  std::thread thread_;
};

/** (netns, path, arguments, environment, input) */
Napi::Value run(const Napi::CallbackInfo& info) {
  std::optional<std::string> input = to_input(info[4]);
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsArray() || !info[3].IsArray() ||
      !input) {
    throw Napi::TypeError::New(
        info.Env(), "a namespace, a path, arguments, an environment and an input are required");
  }
  return Run::start(info.Env(), to_text(info[0]),
                    {
                        .path = to_text(info[1]),
                        .args = to_texts(info[2].As<Napi::Array>()),
                        .environment = to_texts(info[3].As<Napi::Array>()),
                        .input = *input,
                    });
}

}  // namespace

void register_program(Napi::Env env, Napi::Object exports) {
  exports.Set("runProgram", Napi::Function::New(env, run, "runProgram"));
}

}  // namespace nfqc::addon
