#include <arpa/inet.h>

#include <vector>

#include "../core/clusterip.h"
#include "convert.h"
#include "registration.h"

namespace nfqc::addon {
namespace {

std::uint16_t to_port(const Napi::Value& value) {
  return value.IsNumber()
             ? htons(static_cast<std::uint16_t>(value.As<Napi::Number>().Uint32Value()))
             : std::uint16_t{0};
}

bool has_ports(const Napi::Value& protocol) {
  return protocol.IsNumber() &&
         port_offset(static_cast<std::uint8_t>(protocol.As<Napi::Number>().Uint32Value())) >= 0;
}

/** What turns addresses into buckets, converted once. */
class Hasher : public Napi::ObjectWrap<Hasher> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "NativeHasher",
        {InstanceMethod<&Hasher::hash>("hash"), InstanceMethod<&Hasher::bucket>("bucket"),
         InstanceMethod<&Hasher::words>("words"),
         InstanceMethod<&Hasher::buckets_ipv4>("bucketsIpv4"),
         InstanceMethod<&Hasher::buckets_ipv6>("bucketsIpv6"),
         InstanceMethod<&Hasher::count_ipv4>("countIpv4")});
  }

  explicit Hasher(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "an object is required");
    hashing_ = to_hashing(info[0].As<Napi::Object>());
  }

 private:
  /** (address[, protocol, source port, destination port]); count 0 if the policy cannot hash it. */
  [[nodiscard]] Key key_of(const Napi::CallbackInfo& info) const {
    const Key address = to_key(info[0]);
    if (hashing_.policy != Policy::kClusterip || address.count == 0) return address;
    if (address.count != 1) return {};
    Ipv4Ends ends{.source = address.words[0]};
    if (has_ports(info[1])) {
      ends.source_port = to_port(info[2]);
      ends.destination_port = to_port(info[3]);
    }
    return clusterip_key(hashing_.mode, ends);
  }

  /* -1 means "not an address": the TypeScript side throws, with a better message. */
  Napi::Value hash(const Napi::CallbackInfo& info) {
    const Key key = key_of(info);
    return Napi::Number::New(info.Env(),
                             key.count == 0 ? -1.0 : static_cast<double>(hashing_.hash(key)));
  }

  Napi::Value bucket(const Napi::CallbackInfo& info) {
    const Key key = key_of(info);
    return Napi::Number::New(info.Env(),
                             key.count == 0 ? -1.0 : static_cast<double>(hashing_.bucket(key)));
  }

  /** The words that are hashed, as they lie in memory; empty for what is not an address. */
  Napi::Value words(const Napi::CallbackInfo& info) {
    const Key key = key_of(info);
    const std::size_t count = key.count == 0 ? 0 : hashed_words(hashing_.policy, key);
    Napi::Array words = Napi::Array::New(info.Env(), count);
    for (std::uint32_t i = 0; i < count; ++i)
      words.Set(i, Napi::Number::New(info.Env(), key.words[i]));
    return words;
  }

  static Napi::Uint16Array out_of(const Napi::CallbackInfo& info, std::size_t records) {
    if (!info[1].IsTypedArray() ||
        info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint16_array ||
        info[1].As<Napi::TypedArray>().ElementLength() < records) {
      throw Napi::TypeError::New(info.Env(), "a Uint16Array, long enough, is required");
    }
    return info[1].As<Napi::Uint16Array>();
  }

  static void require_array(const Napi::CallbackInfo& info, napi_typedarray_type type) {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != type) {
      throw Napi::TypeError::New(info.Env(), "a typed array of addresses is required");
    }
  }

  Napi::Value buckets_ipv4(const Napi::CallbackInfo& info) {
    require_array(info, napi_uint32_array);
    const auto addresses = info[0].As<Napi::Uint32Array>();
    auto out = out_of(info, addresses.ElementLength());
    nfqc::buckets_ipv4(hashing_, {addresses.Data(), addresses.ElementLength()},
                       {out.Data(), addresses.ElementLength()});
    return out;
  }

  Napi::Value buckets_ipv6(const Napi::CallbackInfo& info) {
    require_array(info, napi_uint8_array);
    const auto addresses = info[0].As<Napi::Uint8Array>();
    const std::size_t records = addresses.ElementLength() / 16;
    auto out = out_of(info, records);
    nfqc::buckets_ipv6(hashing_, {addresses.Data(), addresses.ElementLength()},
                       {out.Data(), records});
    return out;
  }

  /** (first address in host order, count) */
  Napi::Value count_ipv4(const Napi::CallbackInfo& info) {
    if (!info[0].IsNumber() || !info[1].IsNumber()) {
      throw Napi::TypeError::New(info.Env(), "two numbers are required");
    }
    const double count = info[1].As<Napi::Number>().DoubleValue();
    const std::uint32_t first = info[0].As<Napi::Number>().Uint32Value();
    if (!(count >= 0 && count <= 0x100000000p0 - first)) {
      throw Napi::TypeError::New(info.Env(), "a count of addresses is required");
    }
    std::vector<std::uint64_t> counts(hashing_.buckets);
    nfqc::count_ipv4(hashing_, first, static_cast<std::uint64_t>(count), counts);
    Napi::Float64Array result = Napi::Float64Array::New(info.Env(), counts.size());
    for (std::size_t i = 0; i < counts.size(); ++i) result[i] = static_cast<double>(counts[i]);
    return result;
  }

  Hashing hashing_;
};

}  // namespace

void register_hashing(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeHasher", Hasher::define(env));
}

}  // namespace nfqc::addon
