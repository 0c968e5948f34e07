#include <arpa/inet.h>

#include <memory>
#include <string>

#include "../linux/connmarks.h"
#include "../linux/find_connection.h"
#include "../linux/netns.h"
#include "convert.h"
#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

Tuple to_tuple(const Napi::Object& object) {
  const auto number = [&object](const char* name) {
    return object.Get(name).As<Napi::Number>().Uint32Value();
  };
  Tuple tuple;
  tuple.source = to_key(object.Get("src"));
  tuple.destination = to_key(object.Get("dst"));
  tuple.protocol = static_cast<std::uint8_t>(number("protocol"));
  tuple.source_port = static_cast<std::uint16_t>(number("sport"));
  tuple.destination_port = static_cast<std::uint16_t>(number("dport"));
  if (!tuple.valid()) throw Napi::TypeError::New(object.Env(), "two addresses of one family");
  return tuple;
}

std::string text_of(const Key& address) {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(address.count == 1 ? AF_INET : AF_INET6, address.words.data(), text,
                     sizeof text);
}

Napi::Value to_object(Napi::Env env, const Tuple& tuple) {
  if (!tuple.valid()) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("src", text_of(tuple.source));
  object.Set("dst", text_of(tuple.destination));
  object.Set("protocol", Napi::Number::New(env, tuple.protocol));
  object.Set("sport", Napi::Number::New(env, tuple.source_port));
  object.Set("dport", Napi::Number::New(env, tuple.destination_port));
  return object;
}

Napi::Value to_object(Napi::Env env, const std::optional<Connection>& connection) {
  if (!connection) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("original", to_object(env, connection->original));
  object.Set("master", to_object(env, connection->master));
  object.Set("mark", Napi::Number::New(env, connection->mark));
  return object;
}

/** (netns, tuple) */
Napi::Value find(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsObject()) {
    throw Napi::TypeError::New(info.Env(), "a namespace and a tuple are required");
  }
  const std::string netns = info[0].As<Napi::String>();
  const Tuple tuple = to_tuple(info[1].As<Napi::Object>());
  auto found = std::make_shared<std::optional<Connection>>();
  return Task::run(
      info.Env(), [found, netns, tuple] { *found = find_connection(netns, tuple); },
      [found](Napi::Env env) { return to_object(env, *found); });
}

/** (netns, mask, hashing) */
Napi::Value renew(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsNumber() || !info[2].IsObject()) {
    throw Napi::TypeError::New(info.Env(), "a namespace, a mask and a hashing are required");
  }
  const std::string netns = info[0].As<Napi::String>();
  const std::uint32_t mask = info[1].As<Napi::Number>().Uint32Value();
  const Hashing hashing = to_hashing(info[2].As<Napi::Object>());
  const auto all = [mask, hashing] { renew_connmarks(mask, hashing); };
  return Task::run(info.Env(), [netns, all] { in_netns(netns, all); });
}

}  // namespace

void register_connections(Napi::Env env, Napi::Object exports) {
  exports.Set("findConnection", Napi::Function::New(env, find, "findConnection"));
  exports.Set("renewConnmarks", Napi::Function::New(env, renew, "renewConnmarks"));
}

}  // namespace nfqc::addon
