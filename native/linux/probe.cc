#include "probe.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sched.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <thread>

#include "queue_rule.h"

namespace nfqc {
namespace {

constexpr int kModuleRetries = 50;
constexpr std::uint16_t kLastQueue = 65535;
constexpr int kSpareQueues = 16;

struct Close {
  void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, Close>;

/** Sends a message and waits for the kernel's answer: 0, or an errno. */
int ask(const Socket& socket, nlmsghdr* message) {
  message->nlmsg_flags |= NLM_F_ACK;
  if (mnl_socket_sendto(socket.get(), message, message->nlmsg_len) < 0) return errno;
  alignas(nlmsghdr) char answer[1024];
  const ssize_t n = mnl_socket_recvfrom(socket.get(), answer, sizeof answer);
  if (n < 0) return errno;
  const int result = mnl_cb_run(answer, static_cast<std::size_t>(n), 0,
                                mnl_socket_get_portid(socket.get()), nullptr, nullptr);
  return result < 0 ? errno : 0;
}

template <typename Fill>
int configure(const Socket& socket, std::uint16_t queue, Fill fill) {
  int error = 0;
  for (int attempt = 0; attempt < kModuleRetries; ++attempt) {
    alignas(nlmsghdr) char bytes[256];
    nlmsghdr* message = nfq_nlmsg_put(bytes, NFQNL_MSG_CONFIG, queue);
    fill(message);
    error = ask(socket, message);
    if (error != EAGAIN) break; /* EAGAIN: the kernel has just loaded a module */
  }
  return error;
}

int bind_queue(const Socket& socket, std::uint16_t queue) {
  return configure(socket, queue, [](nlmsghdr* message) {
    nfq_nlmsg_cfg_put_cmd(message, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
  });
}

QueueProbe probe_here() {
  const Socket socket(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
    return {errno, errno, errno};
  }
  const int target = try_queue_rule();
  std::uint16_t queue = kLastQueue;
  int error = bind_queue(socket, queue);
  while ((error == EPERM || error == EBUSY) && queue > kLastQueue - kSpareQueues) {
    error = bind_queue(socket, --queue);
  }
  if (error != 0) return {error, error, target};
  const int conntrack = configure(socket, queue, [](nlmsghdr* message) {
    mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_CONNTRACK));
    mnl_attr_put_u32(message, NFQA_CFG_MASK, htonl(NFQA_CFG_F_CONNTRACK));
  });
  return {0, conntrack, target};
}

}  // namespace

QueueProbe probe_queue() {
  QueueProbe result;
  std::thread([&result] {
    ::unshare(CLONE_NEWNET); /* Where that is refused, a queue number serves that nobody has. */
    result = probe_here();
  }).join();
  return result;
}

}  // namespace nfqc
