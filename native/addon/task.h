#pragma once

#include <napi.h>

#include <functional>
#include <optional>
#include <system_error>

#include "../linux/fault.h"
#include "convert.h"

namespace nfqc::addon {

/** Runs `work` off the JavaScript thread and settles a promise by whether it threw a Fault. */
class Task : public Napi::AsyncWorker {
 public:
  /** The promise resolves to what `result` returns; without it, to undefined. */
  static Napi::Promise run(Napi::Env env, std::function<void()> work,
                           std::function<Napi::Value(Napi::Env)> result = nullptr) {
    return start(new Task(Napi::Object::New(env), std::move(work), nullptr, std::move(result)));
  }

  /**
   * `settled` runs on the JavaScript thread before the promise settles, to undefined; until then
   * `owner` is not collected.
   */
  static Napi::Promise run(const Napi::Object& owner, std::function<void()> work,
                           std::function<void(bool failed)> settled = nullptr) {
    return start(new Task(owner, std::move(work), std::move(settled), nullptr));
  }

 private:
  Task(const Napi::Object& owner, std::function<void()> work, std::function<void(bool)> settled,
       std::function<Napi::Value(Napi::Env)> result)
      : AsyncWorker(owner.Env()),
        owner_(Napi::Persistent(owner)),
        work_(std::move(work)),
        settled_(std::move(settled)),
        result_(std::move(result)),
        deferred_(Napi::Promise::Deferred::New(owner.Env())) {}

  static Napi::Promise start(Task* task) {
    const Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

  void Execute() override {
    try {
      work_();
    } catch (const Fault& fault) {
      fault_ = fault;
    } catch (const std::system_error& error) { /* only threads throw it */
      fault_ = no_thread(error);
    }
    if (fault_) SetError(fault_->what());
  }
  void OnOK() override {
    if (settled_) settled_(false);
    deferred_.Resolve(result_ ? result_(Env()) : Env().Undefined());
  }
  void OnError(const Napi::Error& error) override {
    if (settled_) settled_(true);
    deferred_.Reject(fault_ ? to_error(Env(), *fault_).Value() : error.Value());
  }

  Napi::ObjectReference owner_;
  std::function<void()> work_;
  std::function<void(bool)> settled_;
  std::function<Napi::Value(Napi::Env)> result_;
  Napi::Promise::Deferred deferred_;
  std::optional<Fault> fault_;
};

}  // namespace nfqc::addon
