#include "queue_socket.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>

#include <cerrno>
#include <string>
#include <thread>

#include "fault.h"

namespace nfqc {
namespace {

constexpr int kAnswerTimeoutMs = 2000;
constexpr int kSendRetries = 100;

/** A message buffer for configuration. */
class ConfigMessage {
 public:
  explicit ConfigMessage(std::uint16_t queue, std::uint32_t sequence = 1)
      : header_(nfq_nlmsg_put(bytes_, NFQNL_MSG_CONFIG, queue)) {
    header_->nlmsg_flags |= NLM_F_ACK;
    header_->nlmsg_seq = sequence;
  }
  [[nodiscard]] nlmsghdr* operator*() noexcept { return header_; }

 private:
  alignas(nlmsghdr) char bytes_[256];
  nlmsghdr* header_;
};

Fault open_fault(int error) {
  const FaultKind kind = error == EPROTONOSUPPORT || error == EAFNOSUPPORT ? FaultKind::kNoNfqueue
                                                                           : FaultKind::kSystem;
  return {kind, "socket", error, "cannot open a netfilter netlink socket"};
}

void require(int error, const char* what) {
  if (error != 0) throw Fault(FaultKind::kSystem, "sendto", error, what);
}

}  // namespace

QueueSocket::QueueSocket(const QueueSocketConfig& config)
    : queue_(config.queue), buffer_(kMessages * kMessageSize) {
  if (const int error = open_socket(socket_, 0); error != 0) throw open_fault(error);
  /* Otherwise an overrun would stop delivery until the buffer has been read empty. The kernel
     counts every loss per queue in either case. */
  int on = 1;
  mnl_socket_setsockopt(socket_.get(), NETLINK_NO_ENOBUFS, &on, sizeof on);
  enlarge_receive_buffer(socket_, static_cast<int>(config.receive_buffer));
  for (std::size_t i = 0; i < kMessages; ++i) {
    vectors_[i] = {buffer_.data() + i * kMessageSize, kMessageSize};
    headers_[i].msg_hdr.msg_iov = &vectors_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  bind_queue();

  require(set_flag(NFQA_CFG_F_GSO), "cannot set the queue's flags");
  ConfigMessage length(queue_);
  nfq_nlmsg_cfg_put_qmaxlen(*length, config.queue_length);
  require(request(*length), "cannot set the queue's length");
}

void QueueSocket::bind_queue() {
  const int error = until_loaded([this] {
    ConfigMessage bind(queue_);
    nfq_nlmsg_cfg_put_cmd(*bind, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
    return request(*bind);
  });
  if (error == 0) return;
  const std::string queue = "queue " + std::to_string(queue_);
  /* EPERM means that the queue is taken, or that privilege is lacking. A command that does nothing
     tells which; the list of queues would, too, but only root may read it. */
  ConfigMessage nothing(queue_);
  nfq_nlmsg_cfg_put_cmd(*nothing, AF_UNSPEC, NFQNL_CFG_CMD_PF_BIND);
  const bool taken = error == EBUSY || (error == EPERM && request(*nothing) == 0);
  if (taken) throw Fault(FaultKind::kQueueTaken, "bind", error, queue + " is taken");
  if (error == EPERM) {
    throw Fault(FaultKind::kPrivilege, "bind", error, "not permitted to listen on " + queue);
  }
  const FaultKind kind =
      error == EINVAL || error == EOPNOTSUPP ? FaultKind::kNoNfqueue : FaultKind::kSystem;
  throw Fault(kind, "bind", error, "cannot listen on " + queue);
}

/* One message per flag: if the kernel does not know one, it applies none of a message's flags. */
int QueueSocket::set_flag(std::uint32_t flag) {
  ConfigMessage message(queue_);
  mnl_attr_put_u32(*message, NFQA_CFG_FLAGS, htonl(flag));
  mnl_attr_put_u32(*message, NFQA_CFG_MASK, htonl(flag));
  return request(*message);
}

bool QueueSocket::attach_connections() {
  const int error = until_loaded([this] { return set_flag(NFQA_CFG_F_CONNTRACK); });
  if (error == 0) return true;
  if (error == EOPNOTSUPP || error == EAGAIN) return false;
  throw Fault(FaultKind::kSystem, "sendto", error, "cannot ask for connections in the queue");
}

void QueueSocket::start(std::uint32_t copy_range) {
  ConfigMessage params(queue_, kStartSequence);
  nfq_nlmsg_cfg_put_params(*params, NFQNL_COPY_PACKET, static_cast<int>(copy_range));
  if (mnl_socket_sendto(socket_.get(), *params, (*params)->nlmsg_len) < 0) {
    throw Fault(FaultKind::kSystem, "sendto", errno, "cannot ask for packets");
  }
}

int QueueSocket::fd() const noexcept { return mnl_socket_get_fd(socket_.get()); }

std::uint32_t QueueSocket::receive_buffer() const {
  int size = 0;
  socklen_t length = sizeof size;
  ::getsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &size, &length);
  return static_cast<std::uint32_t>(size);
}

void QueueSocket::wait_at_most(std::chrono::microseconds time) const {
  const timeval timeout{.tv_sec = time.count() / 1'000'000, .tv_usec = time.count() % 1'000'000};
  if (::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) {
    throw Fault(FaultKind::kSystem, "setsockopt", errno, "cannot limit the wait for packets");
  }
}

int QueueSocket::receive(Wait wait) noexcept {
  const int flags = wait == Wait::kYes ? MSG_WAITFORONE : MSG_DONTWAIT;
  const int n = ::recvmmsg(fd(), headers_.data(), kMessages, flags, nullptr);
  return n < 0 ? -errno : n;
}

/* A message that asks for nothing, and is answered even if the thread has lost all privileges. */
void QueueSocket::wake() noexcept {
  const nlmsghdr nothing{.nlmsg_len = sizeof nothing,
                         .nlmsg_type = NLMSG_NOOP,
                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                         .nlmsg_seq = kWakeSequence,
                         .nlmsg_pid = 0};
  static_cast<void>(send({reinterpret_cast<const unsigned char*>(&nothing), sizeof nothing}));
}

int QueueSocket::send(std::span<const unsigned char> bytes) noexcept {
  int error = send_once(bytes);
  for (int retry = 0; is_transient(error) && retry < kSendRetries; ++retry) {
    std::this_thread::yield();
    error = send_once(bytes);
  }
  return error;
}

int QueueSocket::send_once(std::span<const unsigned char> bytes) noexcept {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t n = ::sendto(fd(), bytes.data(), bytes.size(), 0,
                             reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  return n < 0 ? errno : 0;
}

int QueueSocket::request(nlmsghdr* message) {
  if (mnl_socket_sendto(socket_.get(), message, message->nlmsg_len) < 0) return errno;
  alignas(nlmsghdr) char answer[1024];
  for (;;) {
    pollfd readable{fd(), POLLIN, 0};
    if (::poll(&readable, 1, kAnswerTimeoutMs) == 0) return ETIMEDOUT;
    const ssize_t n = mnl_socket_recvfrom(socket_.get(), answer, sizeof answer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return errno;
    const int result = mnl_cb_run(answer, static_cast<std::size_t>(n), message->nlmsg_seq,
                                  mnl_socket_get_portid(socket_.get()), nullptr, nullptr);
    return result < 0 ? errno : 0;
  }
}

}  // namespace nfqc
