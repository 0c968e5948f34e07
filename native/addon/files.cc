#include "../linux/files.h"

#include <memory>
#include <string>
#include <vector>

#include "../linux/netns.h"
#include "convert.h"
#include "registration.h"
#include "task.h"

namespace nfqc::addon {
namespace {

using Files = std::vector<FileText>;

Files read_all(const std::vector<std::string>& paths) {
  Files files;
  for (const std::string& path : paths) files.push_back(read_file(path));
  return files;
}

Napi::Value to_array(Napi::Env env, const Files& files) {
  Napi::Array array = Napi::Array::New(env, files.size());
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    const auto& [text, error] = files[i];
    if (error == 0) {
      array.Set(i, Napi::String::New(env, text));
    } else {
      array.Set(i, Napi::Number::New(env, error));
    }
  }
  return array;
}

/** (netns, paths) */
Napi::Value read(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsArray()) {
    throw Napi::TypeError::New(info.Env(), "a namespace and paths are required");
  }
  const std::string netns = to_text(info[0]);
  const std::vector<std::string> paths = to_texts(info[1].As<Napi::Array>());
  auto files = std::make_shared<Files>();
  return Task::run(
      info.Env(),
      [files, netns, paths] { *files = in_netns(netns, [&paths] { return read_all(paths); }); },
      [files](Napi::Env env) { return to_array(env, *files); });
}

using Errors = std::vector<int>;

Errors write_all(const std::vector<std::string>& paths, const std::string& text) {
  Errors errors;
  for (const std::string& path : paths) errors.push_back(write_file(path, text));
  return errors;
}

Napi::Value to_numbers(Napi::Env env, const Errors& errors) {
  Napi::Array array = Napi::Array::New(env, errors.size());
  for (std::uint32_t i = 0; i < errors.size(); ++i) {
    array.Set(i, Napi::Number::New(env, errors[i]));
  }
  return array;
}

/** (netns, paths, text) */
Napi::Value write(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsArray() || !info[2].IsString()) {
    throw Napi::TypeError::New(info.Env(), "a namespace, paths and a text are required");
  }
  const std::string netns = to_text(info[0]);
  const std::vector<std::string> paths = to_texts(info[1].As<Napi::Array>());
  const std::string text = to_text(info[2]);
  auto errors = std::make_shared<Errors>();
  return Task::run(
      info.Env(),
      [errors, netns, paths, text] {
        *errors = in_netns(netns, [&paths, &text] { return write_all(paths, text); });
      },
      [errors](Napi::Env env) { return to_numbers(env, *errors); });
}

}  // namespace

void register_files(Napi::Env env, Napi::Object exports) {
  exports.Set("readFiles", Napi::Function::New(env, read, "readFiles"));
  exports.Set("writeFiles", Napi::Function::New(env, write, "writeFiles"));
}

}  // namespace nfqc::addon
