#include "../core/counters.h"
#include "registration.h"

namespace nfqc::addon {
namespace {

Napi::Object to_object(Napi::Env env, const SlotRange& range) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("offset", Napi::Number::New(env, static_cast<double>(range.offset)));
  object.Set("length", Napi::Number::New(env, static_cast<double>(range.length)));
  return object;
}

}  // namespace

void register_layout(Napi::Env env, Napi::Object exports) {
  Napi::Object counters = Napi::Object::New(env);
  for (std::size_t i = 0; i < kCounterNames.size(); ++i) {
    counters.Set(std::string(kCounterNames[i]), Napi::Number::New(env, static_cast<double>(i)));
  }
  Napi::Float64Array bounds = Napi::Float64Array::New(env, histogram::kSlots);
  for (std::size_t i = 0; i < histogram::kSlots; ++i) {
    bounds[i] = static_cast<double>(histogram::lower_bound(i));
  }
  Napi::Object layout = Napi::Object::New(env);
  layout.Set("stride", Napi::Number::New(env, static_cast<double>(kCounterStride)));
  layout.Set("counters", counters);
  layout.Set("buckets", to_object(env, kBucketSlots));
  layout.Set("batchSizes", to_object(env, kBatchSizeSlots));
  layout.Set("latency", to_object(env, kLatencySlots));
  layout.Set("latencyLowerBounds", bounds);
  exports.Set("layout", layout);
}

}  // namespace nfqc::addon
