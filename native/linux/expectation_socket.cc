#include "expectation_socket.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "../core/attributes.h"
#include "ctnetlink.h"

namespace nfqc {
namespace {

/** Calls `take` with each expectation message of a datagram: its event and its contents. */
template <typename Take>
void for_each_expectation(const unsigned char* bytes, std::size_t length, Take&& take) {
  for_each_message(bytes, length, [&take](const unsigned char* message, std::size_t size) {
    const std::uint16_t type = load<std::uint16_t>(message + 4);
    const bool ended = type == message_type(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_DELETE);
    Expectation expectation;
    if ((ended || type == message_type(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_NEW)) &&
        parse_expectation(message + kHeaders, size - kHeaders, expectation)) {
      take(ended ? ExpectationSocket::Event::kEnd : ExpectationSocket::Event::kNew, expectation);
    }
  });
}

}  // namespace

ExpectationSocket::ExpectationSocket() : socket_(open_conntrack_socket()) {
  for (int group : {NFNLGRP_CONNTRACK_EXP_NEW, NFNLGRP_CONNTRACK_EXP_DESTROY}) {
    if (mnl_socket_setsockopt(socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      throw conntrack_fault("setsockopt", errno);
    }
  }
}

int ExpectationSocket::fd() const noexcept { return mnl_socket_get_fd(socket_.get()); }

bool ExpectationSocket::drain(const OnEvent& on_event) {
  bool complete = true;
  for (;;) {
    const ssize_t n = ::recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n >= 0) {
      for_each_expectation(buffer_.data(), static_cast<std::size_t>(n), on_event);
    } else if (errno == ENOBUFS) {
      complete = false;
    } else if (errno != EINTR) {
      return complete;
    }
  }
}

void list_expectations(const std::function<void(const Expectation&)>& each) {
  list_all(message_type(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_GET),
           [&each](const unsigned char* bytes, std::size_t length) {
             for_each_expectation(
                 bytes, length, [&each](ExpectationSocket::Event, const Expectation& expectation) {
                   each(expectation);
                 });
           });
}

}  // namespace nfqc
