#include "ctnetlink.h"

#include <libmnl/libmnl.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "../core/byte_order.h"

namespace nfqc {
namespace {

constexpr int kBuffer = 8 * 1024 * 1024;

void put_protocol(nlmsghdr* message, const Tuple& tuple, bool ipv6) noexcept {
  nlattr* nest = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, tuple.protocol);
  if (tuple.protocol == (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    mnl_attr_put_u16(message, ipv6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID,
                     network_order(tuple.source_port));
    mnl_attr_put_u8(message, ipv6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE,
                    static_cast<std::uint8_t>(tuple.destination_port >> 8));
    mnl_attr_put_u8(message, ipv6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE,
                    static_cast<std::uint8_t>(tuple.destination_port));
  } else {
    mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, network_order(tuple.source_port));
    mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, network_order(tuple.destination_port));
  }
  mnl_attr_nest_end(message, nest);
}

void put_original(nlmsghdr* message, const Tuple& tuple) noexcept {
  const bool ipv6 = tuple.source.count == 4;
  nlattr* nest = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
  nlattr* addresses = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  const std::size_t size = ipv6 ? 16 : 4;
  mnl_attr_put(message, ipv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, size, tuple.source.words.data());
  mnl_attr_put(message, ipv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, size, tuple.destination.words.data());
  mnl_attr_nest_end(message, addresses);
  put_protocol(message, tuple, ipv6);
  mnl_attr_nest_end(message, nest);
}

}  // namespace

Fault conntrack_fault(const char* syscall, int error) {
  if (error == EPERM) {
    return {FaultKind::kPrivilege, syscall, error, "not permitted to ask for connections"};
  }
  const bool missing = error == EINVAL || error == EPROTONOSUPPORT || error == EOPNOTSUPP;
  return {missing ? FaultKind::kNoConntrack : FaultKind::kSystem, syscall, error,
          "cannot ask the kernel for connections"};
}

MnlSocket open_conntrack_socket() {
  MnlSocket socket;
  const int error = open_socket(socket, SOCK_NONBLOCK);
  if (error != 0) throw conntrack_fault("socket", error);
  enlarge_receive_buffer(socket, kBuffer);
  int on = 1;
  mnl_socket_setsockopt(socket.get(), NETLINK_CAP_ACK, &on, sizeof on);
  return socket;
}

nlmsghdr* put_flow(unsigned char* bytes, std::uint16_t type, const Tuple& tuple) noexcept {
  const std::uint8_t family = tuple.source.count == 4 ? AF_INET6 : AF_INET;
  nlmsghdr* message = put_header(bytes, message_type(NFNL_SUBSYS_CTNETLINK, type), 0, family);
  put_original(message, tuple);
  return message;
}

int error_in(const unsigned char* bytes) noexcept {
  if (load<std::uint16_t>(bytes + 4) != NLMSG_ERROR) return 0;
  return static_cast<int>(0U - load<std::uint32_t>(bytes + NLMSG_HDRLEN));
}

void list_all(std::uint16_t type,
              const std::function<void(const unsigned char*, std::size_t)>& take) {
  const MnlSocket socket = open_conntrack_socket();
  alignas(nlmsghdr) std::array<unsigned char, 64> question{};
  const nlmsghdr* message = put_header(question.data(), type, NLM_F_DUMP, AF_UNSPEC);
  if (mnl_socket_sendto(socket.get(), message, message->nlmsg_len) < 0) {
    throw conntrack_fault("sendto", errno);
  }
  std::vector<unsigned char> buffer(kDatagram);
  for (;;) {
    /* Never blocks: the kernel prepares the next part of a dump before recv() returns the current
       one. */
    const ssize_t n = ::recv(mnl_socket_get_fd(socket.get()), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw conntrack_fault("recv", errno);
    const auto length = static_cast<std::size_t>(n);
    if (length < NLMSG_HDRLEN) throw conntrack_fault("recv", EBADMSG);
    const std::uint16_t answer = load<std::uint16_t>(buffer.data() + 4);
    if (answer == NLMSG_DONE) return;
    if (answer == NLMSG_ERROR && length >= kErrorLength) {
      throw conntrack_fault("recv", error_in(buffer.data()));
    }
    take(buffer.data(), length);
  }
}

}  // namespace nfqc
