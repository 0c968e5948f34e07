#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace nfqc {

/** The kinds of failure that callers act on differently. */
enum class FaultKind {
  kPrivilege,    ///< the kernel wants a capability
  kQueueTaken,   ///< somebody else listens on the queue
  kNoNfqueue,    ///< the kernel has no nfnetlink_queue
  kNoConntrack,  ///< the kernel cannot report connections in the way that was asked for
  kNoInterface,  ///< an interface does not exist
  kNoNetns,      ///< the network namespace cannot be opened
  kSystem,       ///< any other failed system call
};

/** A failed system call, with what it was for. */
class Fault : public std::runtime_error {
 public:
  /** `syscall` is a string literal; `error` an errno, 0 if the failure is not the system's. */
  Fault(FaultKind kind, const char* syscall, int error, const std::string& what)
      : std::runtime_error(what), kind_(kind), syscall_(syscall), errno_(error) {}

  [[nodiscard]] FaultKind kind() const noexcept { return kind_; }
  [[nodiscard]] const char* syscall() const noexcept { return syscall_; }
  [[nodiscard]] int error() const noexcept { return errno_; }

 private:
  FaultKind kind_;
  const char* syscall_;
  int errno_;
};

/** For what std::thread throws. */
[[nodiscard]] inline Fault no_thread(const std::system_error& error) {
  return {FaultKind::kSystem, "clone", error.code().value(), "cannot start a thread"};
}

}  // namespace nfqc
