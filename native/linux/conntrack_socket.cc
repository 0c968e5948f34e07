#include "conntrack_socket.h"

#include <libmnl/libmnl.h>
#include <linux/in.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "../core/attributes.h"
#include "ctnetlink.h"

namespace nfqc {
namespace {

/** Writes the question for a tuple: its length in bytes. */
std::size_t put_question(unsigned char* bytes, const Tuple& tuple, std::uint32_t sequence) {
  nlmsghdr* message = put_flow(bytes, IPCTNL_MSG_CT_GET, tuple);
  message->nlmsg_seq = sequence;
  return NLMSG_ALIGN(message->nlmsg_len);
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

}  // namespace nfqc
