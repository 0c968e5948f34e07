#include <memory>
#include <string>
#include <vector>

#include "../linux/netns.h"
#include "../linux/read_file.h"
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

}  // namespace

void register_read_files(Napi::Env env, Napi::Object exports) {
  exports.Set("readFiles", Napi::Function::New(env, read, "readFiles"));
}

}  // namespace nfqc::addon
