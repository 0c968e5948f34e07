/*
 * The loop that libnetfilter_queue documents: one receive, one callback and one verdict a packet.
 * Built for comparison; it decides as our engine does, by jhash of the source.
 *
 *   example_loop QUEUE TOTAL_NODES LOCAL_NODE SEED [QUEUE_LENGTH RECEIVE_BUFFER]
 *
 * Without the last two the kernel's defaults hold, as in the documentation.
 */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/key.h"

namespace {

mnl_socket* nl = nullptr;
nfqc::Hashing hashing;
std::uint32_t local_bucket = 0;

void send_verdict(std::uint16_t queue, std::uint32_t id, int verdict) {
  alignas(nlmsghdr) char buffer[256];
  nlmsghdr* header = nfq_nlmsg_put(buffer, NFQNL_MSG_VERDICT, queue);
  nfq_nlmsg_verdict_put(header, static_cast<int>(id), verdict);
  if (mnl_socket_sendto(nl, header, header->nlmsg_len) < 0) {
    std::perror("sendto");
    std::exit(1);
  }
}

int on_packet(const nlmsghdr* header, void*) {
  nlattr* attributes[NFQA_MAX + 1] = {};
  if (nfq_nlmsg_parse(header, attributes) < 0) return MNL_CB_ERROR;
  const auto* generic = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(header));
  const auto* packet =
      static_cast<const nfqnl_msg_packet_hdr*>(mnl_attr_get_payload(attributes[NFQA_PACKET_HDR]));
  const auto* payload =
      static_cast<const unsigned char*>(mnl_attr_get_payload(attributes[NFQA_PAYLOAD]));
  const nfqc::Key key =
      payload[0] >> 4 == 4 ? nfqc::Key::ipv4(payload + 12) : nfqc::Key::ipv6(payload + 8);
  send_verdict(ntohs(generic->res_id), ntohl(packet->packet_id),
               hashing.bucket(key) == local_bucket ? NF_ACCEPT : NF_DROP);
  return MNL_CB_OK;
}

void configure(std::uint16_t queue) {
  alignas(nlmsghdr) char buffer[256];
  nlmsghdr* header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, queue);
  nfq_nlmsg_cfg_put_cmd(header, AF_INET, NFQNL_CFG_CMD_BIND);
  mnl_socket_sendto(nl, header, header->nlmsg_len);
  header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, queue);
  nfq_nlmsg_cfg_put_params(header, NFQNL_COPY_PACKET, 0xffff);
  mnl_attr_put_u32(header, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
  mnl_attr_put_u32(header, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
  mnl_socket_sendto(nl, header, header->nlmsg_len);
}

void enlarge(std::uint16_t queue, std::uint32_t queue_length, int receive_buffer) {
  alignas(nlmsghdr) char buffer[256];
  nlmsghdr* header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, queue);
  nfq_nlmsg_cfg_put_qmaxlen(header, queue_length);
  mnl_socket_sendto(nl, header, header->nlmsg_len);
  ::setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer,
               sizeof receive_buffer);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 7) {
    std::fprintf(stderr, "expected 4 or 6 arguments, see the top of example_loop.cc\n");
    return 2;
  }
  hashing.buckets = static_cast<std::uint32_t>(std::atoi(argv[2]));
  local_bucket = static_cast<std::uint32_t>(std::atoi(argv[3])) - 1;
  hashing.seed = static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 0));
  nl = mnl_socket_open(NETLINK_NETFILTER);
  if (nl == nullptr || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
    std::perror("netlink socket");
    return 1;
  }
  const auto queue = static_cast<std::uint16_t>(std::atoi(argv[1]));
  configure(queue);
  if (argc == 7) {
    enlarge(queue, static_cast<std::uint32_t>(std::strtoul(argv[5], nullptr, 10)),
            std::atoi(argv[6]));
  }
  int one = 1;
  mnl_socket_setsockopt(nl, NETLINK_NO_ENOBUFS, &one, sizeof one);
  std::puts("ready");
  std::fflush(stdout);

  static char buffer[0xffff + 4096];
  for (;;) {
    const ssize_t n = mnl_socket_recvfrom(nl, buffer, sizeof buffer);
    if (n < 0) {
      std::perror("recvfrom");
      return 1;
    }
    if (mnl_cb_run(buffer, static_cast<std::size_t>(n), 0, mnl_socket_get_portid(nl), on_packet,
                   nullptr) < 0) {
      std::perror("callback");
      return 1;
    }
  }
}
