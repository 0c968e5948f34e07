#pragma once

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

struct mnl_socket;

namespace nfqc {

struct CloseMnlSocket {
  void operator()(mnl_socket* socket) const noexcept;
};
using MnlSocket = std::unique_ptr<mnl_socket, CloseMnlSocket>;

/**
 * Opens and binds a socket of netfilter's netlink; `flags` are more of those that socket() takes in
 * its type. 0, or an errno.
 */
[[nodiscard]] int open_socket(MnlSocket& socket, int flags) noexcept;

/** Asks for so many bytes of receive buffer; the kernel grants fewer if that many are not allowed.
 */
void enlarge_receive_buffer(const MnlSocket& socket, int bytes) noexcept;

/** The bytes before a message's attributes. */
constexpr std::size_t kHeaders = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));

constexpr std::uint16_t message_type(unsigned subsystem, unsigned type) noexcept {
  return static_cast<std::uint16_t>(subsystem << 8 | type);
}

/** Begins a message. */
nlmsghdr* put_header(unsigned char* bytes, std::uint16_t type, unsigned flags, std::uint8_t family,
                     std::uint16_t resource = 0) noexcept;

/** Repeats a request while its errno is EAGAIN, by which the kernel says that it has loaded a
 * module. */
template <typename Request>
[[nodiscard]] int until_loaded(Request&& request) {
  constexpr int kAttempts = 50;
  int error = EAGAIN;
  for (int attempt = 0; error == EAGAIN && attempt < kAttempts; ++attempt) error = request();
  return error;
}

}  // namespace nfqc
