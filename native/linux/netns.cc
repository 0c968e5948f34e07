#include "netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>

#include <cerrno>

#include "descriptor.h"
#include "fault.h"

namespace nfqc {
namespace {

Fault netns_fault(const char* syscall, int error, const std::string& what) {
  if (error == EPERM || error == EACCES) return {FaultKind::kPrivilege, syscall, error, what};
  const bool exhausted = error == EMFILE || error == ENFILE || error == ENOMEM;
  return {exhausted ? FaultKind::kSystem : FaultKind::kNoNetns, syscall, error, what};
}

}  // namespace

void enter_netns(const std::string& path) {
  if (path.empty()) return;
  const Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns) throw netns_fault("open", errno, "cannot open the network namespace " + path);
  if (::setns(netns.get(), CLONE_NEWNET) != 0) {
    throw netns_fault("setns", errno, "cannot enter the network namespace " + path);
  }
}

unsigned interface_index(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) {
    throw Fault(FaultKind::kNoInterface, "if_nametoindex", errno, "no interface " + name);
  }
  return index;
}

}  // namespace nfqc
