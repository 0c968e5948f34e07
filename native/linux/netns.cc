#include "netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>

#include <cerrno>

#include "fault.h"

namespace nfqc {
namespace {

Fault netns_fault(const char* syscall, int error, const std::string& what) {
  if (error == EPERM || error == EACCES) return {FaultKind::kPrivilege, syscall, error, what};
  const bool exhausted = error == EMFILE || error == ENFILE || error == ENOMEM;
  return {exhausted ? FaultKind::kSystem : FaultKind::kNoNetns, syscall, error, what};
}

Descriptor open_netns(const std::string& path) {
  Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!netns) throw netns_fault("open", errno, "cannot open the network namespace " + path);
  return netns;
}

}  // namespace

void enter_netns(const std::string& path) {
  if (path.empty()) return;
  const Descriptor netns = open_netns(path);
  if (::setns(netns.get(), CLONE_NEWNET) != 0) {
    throw netns_fault("setns", errno, "cannot enter the network namespace " + path);
  }
}

std::optional<Descriptor> lock_netns(const std::string& path) {
  Descriptor netns = open_netns(path);
  if (::flock(netns.get(), LOCK_EX | LOCK_NB) == 0) return netns;
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw netns_fault("flock", errno, "cannot lock the network namespace " + path);
}

}  // namespace nfqc
