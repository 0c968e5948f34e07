#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "../core/conntrack.h"
#include "ctnetlink.h"
#include "netlink_socket.h"

namespace nfqc {

/** Hears of the flows that helpers expect, from its construction on. */
class ExpectationSocket {
 public:
  /** @throws Fault kPrivilege, kNoConntrack, kSystem */
  ExpectationSocket();

  enum class Event : std::uint8_t { kNew, kEnd };
  using OnEvent = std::function<void(Event, const Expectation&)>;

  /** Takes what has been announced, without waiting. False if the kernel lost some of it. */
  [[nodiscard]] bool drain(const OnEvent& on_event);

 private:
  [[nodiscard]] int fd() const noexcept;

  MnlSocket socket_;
  std::array<unsigned char, kDatagram> buffer_{};
};

/**
 * Calls `each` with every expectation that the kernel holds now.
 * @throws Fault kPrivilege, kNoConntrack, kSystem
 */
void list_expectations(const std::function<void(const Expectation&)>& each);

}  // namespace nfqc
