#pragma once

#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "../core/attributes.h"
#include "../core/conntrack.h"
#include "fault.h"
#include "netlink_socket.h"

/* What all that speak to ctnetlink have in common: a socket, messages about flows, and dumps. */
namespace nfqc {

/** The least length of an error message. */
inline constexpr std::size_t kErrorLength = NLMSG_HDRLEN + 4;
/** The most that the kernel puts into a datagram of a dump, or of events. */
inline constexpr std::size_t kDatagram = 16384;

[[nodiscard]] Fault conntrack_fault(const char* syscall, int error);

/** With a large receive buffer. @throws Fault kPrivilege, kNoConntrack, kSystem */
[[nodiscard]] MnlSocket open_conntrack_socket();

/** Begins a message about the flow of this tuple. */
nlmsghdr* put_flow(unsigned char* bytes, std::uint16_t type, const Tuple& tuple) noexcept;

/** The errno of an error message, which has kErrorLength at least; 0 of another. */
[[nodiscard]] int error_in(const unsigned char* bytes) noexcept;

/** Calls `take` with each message of a datagram, and its length. */
template <typename Take>
void for_each_message(const unsigned char* bytes, std::size_t length, Take&& take) {
  while (length >= kHeaders) {
    const std::size_t size = load<std::uint32_t>(bytes);
    if (size < kHeaders || size > length) return;
    take(bytes, size);
    const std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(size), length);
    bytes += step;
    length -= step;
  }
}

/**
 * Calls `take` with each datagram of a dump, except for its end.
 * @throws Fault kPrivilege, kNoConntrack, kSystem
 */
void list_all(std::uint16_t type,
              const std::function<void(const unsigned char*, std::size_t)>& take);

}  // namespace nfqc
