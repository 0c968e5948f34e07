#include "conntrack_socket.h"

#include <libmnl/libmnl.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "../core/attributes.h"
#include "../core/byte_order.h"
#include "../core/related_flows.h"
#include "fault.h"

namespace nfqc {
namespace {

constexpr std::size_t kErrorLength = NLMSG_HDRLEN + 4;
constexpr std::size_t kDatagram = 16384;
constexpr int kBuffer = 8 * 1024 * 1024;

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

/** Begins a message about the flow of this tuple. */
nlmsghdr* put_flow(unsigned char* bytes, std::uint16_t type, const Tuple& tuple) noexcept {
  const std::uint8_t family = tuple.source.count == 4 ? AF_INET6 : AF_INET;
  nlmsghdr* message = put_header(bytes, message_type(NFNL_SUBSYS_CTNETLINK, type), 0, family);
  put_original(message, tuple);
  return message;
}

/** Writes the question for a tuple: its length in bytes. */
std::size_t put_question(unsigned char* bytes, const Tuple& tuple, std::uint32_t sequence) {
  nlmsghdr* message = put_flow(bytes, IPCTNL_MSG_CT_GET, tuple);
  message->nlmsg_seq = sequence;
  return NLMSG_ALIGN(message->nlmsg_len);
}

/** The errno of an error message, which has kErrorLength at least; 0 of another. */
int error_in(const unsigned char* bytes) noexcept {
  if (load<std::uint16_t>(bytes + 4) != NLMSG_ERROR) return 0;
  return static_cast<int>(0U - load<std::uint32_t>(bytes + NLMSG_HDRLEN));
}

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

ConntrackSocket::ConntrackSocket() : socket_(open_conntrack_socket()) {
  for (std::size_t i = 0; i < kQuestions; ++i) {
    vectors_[i] = {answers_.data() + i * kAnswerSize, kAnswerSize};
    headers_[i].msg_hdr.msg_iov = &vectors_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  require_answers();
}

void ConntrackSocket::require_answers() {
  const std::array<unsigned char, 4> nowhere{0, 0, 0, 0};
  Tuple tuple;
  tuple.source = tuple.destination = Key::ipv4(nowhere.data());
  tuple.protocol = IPPROTO_UDP;
  const int error = until_loaded([&] {
    const int unsent = send({&tuple, 1});
    if (unsent != 0) throw conntrack_fault("sendto", unsent);
    if (receive() < 1 || headers_[0].msg_len < kErrorLength)
      throw conntrack_fault("recvmmsg", EINVAL);
    return error_in(answers_.data());
  });
  if (error != 0 && error != ENOENT) throw conntrack_fault("sendto", error);
}

int ConntrackSocket::send(std::span<const Tuple> tuples) noexcept {
  sequence_ += kQuestions;
  std::size_t length = 0;
  for (std::size_t i = 0; i < tuples.size(); ++i) {
    length += put_question(questions_.data() + length, tuples[i],
                           sequence_ + static_cast<std::uint32_t>(i));
  }
  return mnl_socket_sendto(socket_.get(), questions_.data(), length) < 0 ? errno : 0;
}

/* The kernel answers within the call that asks. */
int ConntrackSocket::receive() noexcept {
  const int fd = mnl_socket_get_fd(socket_.get());
  const int n = ::recvmmsg(fd, headers_.data(), kQuestions, MSG_DONTWAIT, nullptr);
  return n < 0 ? -errno : n;
}

ConntrackSocket::Answered ConntrackSocket::read(std::size_t datagram,
                                                Connection& connection) const noexcept {
  constexpr Answered kNothing{kNoIndex, false};
  const unsigned char* bytes = answers_.data() + datagram * kAnswerSize;
  const std::size_t length = headers_[datagram].msg_len;
  if (length < kErrorLength) return kNothing;
  const std::size_t question = load<std::uint32_t>(bytes + 8) - sequence_;
  const std::uint16_t type = load<std::uint16_t>(bytes + 4);
  if (type == NLMSG_ERROR) {
    const int error = error_in(bytes);
    /* EINVAL: conntrack has no flows of this kind. */
    return {error == ENOENT || error == EINVAL ? question : kNoIndex, false};
  }
  const std::size_t size = load<std::uint32_t>(bytes);
  if (type != message_type(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW)) return kNothing;
  if (size < kHeaders || size > length) return kNothing;
  if (!parse_connection(bytes + kHeaders, size - kHeaders, connection)) return kNothing;
  return {question, true};
}

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

namespace {

/** Calls `take` with each datagram of a dump, except for its end. */
template <typename Take>
void list_all(std::uint16_t type, Take&& take) {
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

void take_zone(const Attribute& attribute, std::uint16_t& zone) noexcept {
  if (attribute.length == 2) zone = network_order(load<std::uint16_t>(attribute.value));
}

/** Reads a message of the kernel's list of flows; false if it cannot be. */
bool parse_flow(const unsigned char* listed, std::size_t length, ListedFlow& flow) {
  const unsigned char* attributes = listed + kHeaders;
  for_each_attribute(attributes, length - kHeaders, [&flow](const Attribute& attribute) {
    if (attribute.type == CTA_ZONE) take_zone(attribute, flow.zone);
    if (attribute.type != CTA_TUPLE_ORIG) return true;
    /* The zone is in here if it applies to one direction only. */
    return for_each_attribute(attribute.value, attribute.length, [&flow](const Attribute& nested) {
      if (nested.type == CTA_TUPLE_ZONE) take_zone(nested, flow.zone);
      return true;
    });
  });
  return parse_connection(attributes, length - kHeaders, flow.connection);
}

/** If a flow's connmark has any of these bits, has the kernel set them to this key's bucket plus 1.
 */
void renew_connmark(mnl_socket* socket, const ListedFlow& flow, const Key& key, std::uint32_t mask,
                    const Hashing& hashing) {
  const auto& [original, master, mark] = flow.connection;
  /* IGMP is every node's own. */
  const std::uint32_t bucket = original.protocol == IPPROTO_IGMP ? 0 : hashing.bucket(key) + 1;
  const std::uint32_t renewed = bucket << std::countr_zero(mask) & mask;
  if ((mark & mask) == 0 || (mark & mask) == renewed) return;
  alignas(nlmsghdr) std::array<unsigned char, 512> order{};
  nlmsghdr* message = put_flow(order.data(), IPCTNL_MSG_CT_NEW, original);
  if (flow.zone != 0) mnl_attr_put_u16(message, CTA_ZONE, network_order(flow.zone));
  mnl_attr_put_u32(message, CTA_MARK, network_order(renewed));
  mnl_attr_put_u32(message, CTA_MARK_MASK, network_order(mask));
  if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0) {
    throw conntrack_fault("sendto", errno);
  }
}

void renew_all(mnl_socket* orders, std::uint32_t mask, const Hashing& hashing) {
  RelatedFlows related; /* whose masters may be listed after them */
  list_all(message_type(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET),
           [&](const unsigned char* bytes, std::size_t length) {
             for_each_message(bytes, length, [&](const unsigned char* listed, std::size_t size) {
               ListedFlow flow;
               if (!parse_flow(listed, size, flow)) return;
               if (flow.connection.master.valid()) return related.add(flow);
               renew_connmark(orders, flow, flow.connection.original.source, mask, hashing);
             });
           });
  for (const ListedFlow& flow : related) {
    renew_connmark(orders, flow, related.root_source(flow), mask, hashing);
  }
}

}  // namespace

void list_expectations(const std::function<void(const Expectation&)>& each) {
  list_all(message_type(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_GET),
           [&each](const unsigned char* bytes, std::size_t length) {
             for_each_expectation(
                 bytes, length, [&each](ExpectationSocket::Event, const Expectation& expectation) {
                   each(expectation);
                 });
           });
}

void renew_connmarks(std::uint32_t mask, const Hashing& hashing) {
  /* On this socket the kernel reports flows that have ended meanwhile, which does not matter. */
  const MnlSocket orders = open_conntrack_socket();
  renew_all(orders.get(), mask, hashing);
  /* Again, for flows that have inherited an old connmark meanwhile, too late to be listed. */
  renew_all(orders.get(), mask, hashing);
}

}  // namespace nfqc
