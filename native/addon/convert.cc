#include "convert.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>

#include <cmath>
#include <cstring>

#include "../linux/clock.h"

namespace nfqc::addon {
namespace {

[[noreturn]] void type_error(Napi::Env env, const char* message) {
  throw Napi::TypeError::New(env, message);
}

Napi::Value member(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) type_error(object.Env(), name);
  return value;
}

std::uint32_t to_u32(const Napi::Value& value) {
  if (!value.IsNumber()) type_error(value.Env(), "a number is required");
  return value.As<Napi::Number>().Uint32Value();
}

std::uint32_t u32(const Napi::Object& object, const char* name) {
  return to_u32(member(object, name));
}

bool boolean(const Napi::Object& object, const char* name) {
  const Napi::Value value = member(object, name);
  if (!value.IsBoolean()) type_error(object.Env(), name);
  return value.As<Napi::Boolean>().Value();
}

std::string text(const Napi::Object& object, const char* name) {
  const Napi::Value value = member(object, name);
  if (!value.IsString()) type_error(object.Env(), name);
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object child(const Napi::Object& object, const char* name) {
  const Napi::Value value = member(object, name);
  if (!value.IsObject()) type_error(object.Env(), name);
  return value.As<Napi::Object>();
}

Napi::Array list(const Napi::Object& object, const char* name) {
  const Napi::Value value = member(object, name);
  if (!value.IsArray()) type_error(object.Env(), name);
  return value.As<Napi::Array>();
}

Key key_of_text(napi_env env, napi_value value) {
  char buffer[INET6_ADDRSTRLEN + 1];
  std::size_t length = 0;
  if (napi_get_value_string_utf8(env, value, buffer, sizeof buffer, &length) != napi_ok) return {};
  if (std::strlen(buffer) != length) return {};
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, buffer, bytes) == 1) return Key::ipv4(bytes);
  if (::inet_pton(AF_INET6, buffer, bytes) == 1) return Key::ipv6(bytes);
  return {};
}

Key key_of_number(double number) {
  if (!(number >= 0 && number <= UINT32_MAX) || number != std::floor(number)) return {};
  const std::uint32_t word = htonl(static_cast<std::uint32_t>(number));
  return Key::ipv4(&word);
}

Key key_of_bytes(const Napi::Uint8Array& bytes) {
  if (bytes.ByteLength() == 4) return Key::ipv4(bytes.Data());
  if (bytes.ByteLength() == 16) return Key::ipv6(bytes.Data());
  return {};
}

Policy to_policy(const std::string& name) {
  if (name == "xt_cluster") return Policy::kXtCluster;
  return name == "clusterip" ? Policy::kClusterip : Policy::kJhash;
}

HashMode to_hash_mode(const std::string& name) {
  if (name == "sourceip-sourceport") return HashMode::kSourceIpSourcePort;
  return name == "sourceip-sourceport-destport" ? HashMode::kSourceIpSourcePortDestPort
                                                : HashMode::kSourceIp;
}

KeyField to_key_field(const std::string& name) {
  return name == "destination" ? KeyField::kDestination : KeyField::kSource;
}

MarkBits to_mark_bits(const Napi::Object& object, Action action, std::uint32_t pass_verdict) {
  const Napi::Object marks = child(object, "marks");
  const Napi::Object owned = child(marks, "owned");
  MarkBits bits;
  bits.multicast = u32(marks, "multicast");
  if (action == Action::kMark) {
    bits.owned_value = u32(owned, "value");
    bits.owned_mask = u32(owned, "mask");
  }
  if (pass_verdict == NF_REPEAT) bits.decided = u32(marks, "decided");
  bits.bucket_mask = u32(marks, "bucket");
  bits.direct = u32(marks, "direct");
  bits.for_rules = boolean(object, "marksForRules");
  return bits;
}

DecisionConfig to_decision_config(const Napi::Object& object) {
  DecisionConfig config;
  config.hashing = to_hashing(object);
  config.action = text(object, "action") == "mark" ? Action::kMark : Action::kDrop;
  config.pass_verdict = text(object, "reinject") == "repeat" ? NF_REPEAT : NF_ACCEPT;
  config.marks = to_mark_bits(object, config.action, config.pass_verdict);
  config.marks.bucket_in = text(object, "conntrack") != "off" && config.marks.bucket_mask != 0;
  config.strict = boolean(object, "strict");
  config.hears_expectations = boolean(object, "hearsExpectations");
  return config;
}

ConntrackChoice to_conntrack_choice(const std::string& name) {
  if (name == "auto") return ConntrackChoice::kQueueElseNetlink;
  if (name == "queue") return ConntrackChoice::kQueue;
  return name == "off" ? ConntrackChoice::kOff : ConntrackChoice::kNetlink;
}

const char* kind_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::kPrivilege: return "privilege";
    case FaultKind::kQueueTaken: return "queueTaken";
    case FaultKind::kNoNfqueue: return "noNfqueue";
    case FaultKind::kNoConntrack: return "noConntrack";
    case FaultKind::kNoInterface: return "noInterface";
    case FaultKind::kNoNetns: return "noNetns";
    case FaultKind::kSystem: return "system";
  }
  return "system";
}

}  // namespace

Hashing to_hashing(const Napi::Object& object) {
  Hashing hashing;
  hashing.policy = to_policy(text(object, "policy"));
  hashing.mode = to_hash_mode(text(object, "hashMode"));
  hashing.seed = u32(object, "hashSeed");
  hashing.buckets = u32(object, "buckets");
  if (hashing.buckets < 1 || hashing.buckets > kMaxBuckets) type_error(object.Env(), "buckets");
  return hashing;
}

Key to_key(const Napi::Value& value) {
  if (value.IsNumber()) return key_of_number(value.As<Napi::Number>().DoubleValue());
  if (value.IsString()) return key_of_text(value.Env(), value);
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    return key_of_bytes(value.As<Napi::Uint8Array>());
  }
  return {};
}

EngineConfig to_engine_config(const Napi::Object& object) {
  EngineConfig config;
  config.worker.decision = to_decision_config(object);
  config.worker.conntrack = to_conntrack_choice(text(object, "conntrack"));
  config.worker.netns = text(object, "netns");
  config.worker.table = text(object, "table");
  config.worker.queue_length = u32(object, "queueLength");
  config.worker.receive_buffer = u32(object, "receiveBuffer");
  config.worker.gather_us = u32(object, "gather");
  config.worker.busy_poll_us = u32(object, "busyPoll");
  config.worker.realtime.priority = u32(object, "realtime");
  config.worker.realtime.required = boolean(object, "realtimeRequired");
  const Napi::Array interfaces = list(object, "interfaces");
  if (interfaces.Length() > kMaxInterfaces) type_error(object.Env(), "interfaces");
  for (std::uint32_t i = 0; i < interfaces.Length(); ++i) {
    const Napi::Object interface = interfaces.Get(i).As<Napi::Object>();
    config.worker.interfaces.push_back(
        {text(interface, "name"), to_key_field(text(interface, "key"))});
  }
  const Napi::Array queues = list(object, "queues");
  for (std::uint32_t i = 0; i < queues.Length(); ++i) {
    config.queues.push_back(static_cast<std::uint16_t>(to_u32(queues.Get(i))));
  }
  config.queue_cpu_fanout = boolean(object, "queueCpuFanout");
  return config;
}

Ownership to_ownership(const Napi::Value& owned, const Napi::Value& valid_for_ms) {
  const Napi::Env env = owned.Env();
  if (!owned.IsArray() || !valid_for_ms.IsNumber()) type_error(env, "an array and a number");
  Ownership ownership;
  const Napi::Array buckets = owned.As<Napi::Array>();
  for (std::uint32_t i = 0; i < buckets.Length(); ++i) {
    const std::uint32_t bucket = to_u32(buckets.Get(i));
    if (bucket >= kMaxBuckets) type_error(env, "a bucket");
    ownership.add(bucket);
  }
  ownership.deadline_ns = deadline_after(valid_for_ms.As<Napi::Number>().DoubleValue());
  return ownership;
}

std::uint64_t deadline_after(double ms) {
  constexpr double kHundredYears = 3.2e18;
  const double ns = ms * 1e6;
  if (ns >= kHundredYears) return kNeverEnds;
  return now_ns() + static_cast<std::uint64_t>(ns > 0 ? ns : 0);
}

std::string to_text(const Napi::Value& value) {
  std::string text = value.ToString().Utf8Value();
  if (text.find('\0') != std::string::npos) {
    throw Napi::TypeError::New(value.Env(), "no text may contain a null character");
  }
  return text;
}

std::vector<std::string> to_texts(const Napi::Array& array) {
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < array.Length(); ++i) texts.push_back(to_text(array.Get(i)));
  return texts;
}

Napi::Error to_error(Napi::Env env, const Fault& fault) {
  Napi::Error error = Napi::Error::New(env, fault.what());
  error.Set("kind", kind_name(fault.kind()));
  error.Set("syscall", fault.syscall());
  error.Set("errno", Napi::Number::New(env, fault.error()));
  return error;
}

}  // namespace nfqc::addon
