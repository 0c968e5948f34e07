#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "../linux/clock.h"
#include "convert.h"
#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

using FaultFunction = Napi::ThreadSafeFunction;

/**
 * One engine for JavaScript. The TypeScript side calls open() and close() once each, in this order
 * and not at the same time; a second open() is an error. While it is open, it is not collected, and
 * keeps the event loop alive unless unref() was called.
 */
class EngineWrap : public Napi::ObjectWrap<EngineWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "NativeEngine",
        {InstanceMethod<&EngineWrap::open>("open"),
         InstanceMethod<&EngineWrap::set_ownership>("setOwnership"),
         InstanceMethod<&EngineWrap::remaining>("remaining"),
         InstanceMethod<&EngineWrap::connections>("connections"),
         InstanceMethod<&EngineWrap::counters>("counters"),
         InstanceMethod<&EngineWrap::read_counts>("readCounts"),
         InstanceMethod<&EngineWrap::has_chain>("hasChain"),
         InstanceMethod<&EngineWrap::table_handle>("tableHandle"),
         InstanceMethod<&EngineWrap::close>("close"), InstanceMethod<&EngineWrap::ref>("ref"),
         InstanceMethod<&EngineWrap::unref>("unref")});
  }

  /** (config, owned buckets, validFor in ms, onFault(error)) */
  explicit EngineWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject() || !info[3].IsFunction()) {
      throw Napi::TypeError::New(env, "a config and a function are required");
    }
    EngineConfig config = to_engine_config(info[0].As<Napi::Object>());
    config.ownership = to_ownership(info[1], info[2]);
    engine_ = std::make_shared<Engine>(config);
    on_fault_ = Napi::Persistent(info[3].As<Napi::Function>());
  }

 private:
  Napi::Value open(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (opened_) throw Napi::Error::New(env, "an engine is opened once");
    opened_ = true;
    faults_ = FaultFunction::New(env, on_fault_.Value(), "nfq-cluster engine", 0, 1);
    on_fault_.Reset(); /* a strong reference would keep alive its closure, and so this engine */
    cleanup_ = env.AddCleanupHook(+[](Engine* engine) { engine->close(0); }, engine_.get());
    Ref();
    const auto report = [faults = faults_](const Fault& fault) { post(faults, fault); };
    return Task::run(
        info.This().As<Napi::Object>(), [engine = engine_, report] { engine->open(report); },
        [this](bool failed) {
          if (failed) let_go();
        });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    const double ms = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
    /* At most the last time that does not mean never. */
    const std::uint64_t deadline = std::min(deadline_after(ms), kNeverEnds - 1);
    return Task::run(
        info.This().As<Napi::Object>(), [engine = engine_, deadline] { engine->close(deadline); },
        [this](bool) { let_go(); });
  }

  Napi::Value set_ownership(const Napi::CallbackInfo& info) {
    const Ownership ownership = to_ownership(info[0], info[1]);
    std::uint64_t version = 0;
    try {
      version = engine_->set_ownership(ownership);
    } catch (const Fault& fault) {
      throw to_error(info.Env(), fault);
    }
    return Task::run(info.This().As<Napi::Object>(),
                     [engine = engine_, version] { engine->wait_until_adopted(version); });
  }

  /** Milliseconds until nothing is owned any more: 0 once the time is over, Infinity without a
   * deadline. */
  Napi::Value remaining(const Napi::CallbackInfo& info) {
    const std::uint64_t deadline = engine_->ownership().deadline_ns;
    const std::uint64_t now = now_ns();
    double ms = std::numeric_limits<double>::infinity();
    if (deadline != kNeverEnds) ms = deadline > now ? static_cast<double>(deadline - now) / 1e6 : 0;
    return Napi::Number::New(info.Env(), ms);
  }

  /** How connections are followed: "off", "queue" or "lookup". */
  Napi::Value connections(const Napi::CallbackInfo& info) {
    switch (engine_->connections()) {
      case Connections::kOff: break;
      case Connections::kQueue: return Napi::String::New(info.Env(), "queue");
      case Connections::kLookup: return Napi::String::New(info.Env(), "lookup");
    }
    return Napi::String::New(info.Env(), "off");
  }

  /** The memory that the queue threads write, as an ArrayBuffer that keeps it alive. */
  Napi::Value counters(const Napi::CallbackInfo& info) {
    auto* keep = new std::shared_ptr<CounterBlock>(engine_->counters());
    return Napi::ArrayBuffer::New(
        info.Env(), (*keep)->data(), (*keep)->bytes(),
        [](Napi::Env, void*, std::shared_ptr<CounterBlock>* block) { delete block; }, keep);
  }

  void read_counts(const Napi::CallbackInfo&) { engine_->read_counts(); }

  /** (name, withRules): whether the nft table of the rules has a chain; undefined if that cannot be
   * found out. */
  Napi::Value has_chain(const Napi::CallbackInfo& info) {
    const std::string name = info[0].ToString();
    const std::optional<bool> found = engine_->has_chain(name.c_str(), info[1].ToBoolean());
    return found ? Napi::Boolean::New(info.Env(), *found) : info.Env().Undefined();
  }

  /** The handle of that table; undefined if that cannot be found out. */
  Napi::Value table_handle(const Napi::CallbackInfo& info) {
    const std::optional<std::uint64_t> handle = engine_->table_handle();
    if (!handle) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), static_cast<double>(*handle));
  }

  void ref(const Napi::CallbackInfo& info) {
    if (is_open()) faults_.Ref(info.Env());
  }
  void unref(const Napi::CallbackInfo& info) {
    if (is_open()) faults_.Unref(info.Env());
  }

  [[nodiscard]] bool is_open() const { return !cleanup_.IsEmpty(); }

  /* Runs on a queue thread: leaves the fault with the event loop and goes on. */
  static void post(const FaultFunction& faults, const Fault& fault) {
    auto* copy = new Fault(fault);
    const auto deliver = [](Napi::Env env, Napi::Function callback, Fault* fault_copy) {
      const std::unique_ptr<Fault> owner(fault_copy);
      callback.Call({to_error(env, *owner).Value()});
    };
    if (faults.NonBlockingCall(copy, deliver) != napi_ok) delete copy;
  }

  /** Undoes what open() took: the event loop, the clean-up hook, the reference to itself. */
  void let_go() {
    if (!is_open()) return;
    cleanup_.Remove(Env());
    cleanup_ = {};
    faults_.Release();
    Unref();
  }

  std::shared_ptr<Engine> engine_;
  Napi::FunctionReference on_fault_; /* until open() */
  bool opened_ = false;
  FaultFunction faults_;
  Napi::Env::CleanupHook<void (*)(Engine*), Engine> cleanup_;
};

/** Milliseconds on the clock of the deadlines. */
Napi::Value now(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(now_ns()) / 1e6);
}

}  // namespace

void register_engine(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeEngine", EngineWrap::define(env));
  exports.Set("now", Napi::Function::New(env, now, "now"));
}

}  // namespace nfqc::addon
