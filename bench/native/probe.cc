/*
 * Measures how long the generator's probes were on their way to an interface, by the kernel's time
 * of arrival: its own delay does not count. Ends with the end of its input, and then prints the
 * latencies in nanoseconds, ascending, one a line: probe INTERFACE
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t kUdpPayload = 42;
constexpr std::size_t kUdpDestinationPort = 36;

/** A packet socket that takes only frames to UDP port 10, and notes when they came. */
int open_socket(const char* interface) {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sock_filter probes[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kUdpDestinationPort),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 10, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 128),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{4, probes};
  const int on = 1;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETHERTYPE_IP);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
  if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      ::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
      ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return -1;
  }
  return fd;
}

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * std::int64_t{1000000000} + time.tv_nsec;
}

void take_all(int fd, std::vector<std::int64_t>& latencies) {
  unsigned char frame[128];
  alignas(cmsghdr) unsigned char control[128];
  for (;;) {
    iovec vector{frame, sizeof frame};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t length = ::recvmsg(fd, &message, 0);
    if (length < 0) return;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_type != SO_TIMESTAMPNS) continue;
    if (static_cast<std::size_t>(length) < kUdpPayload + sizeof(std::int64_t)) continue;
    timespec arrival{};
    std::int64_t sent = 0;
    std::memcpy(&arrival, CMSG_DATA(header), sizeof arrival);
    std::memcpy(&sent, frame + kUdpPayload, sizeof sent);
    latencies.push_back(nanoseconds(arrival) - sent);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int fd = argc == 2 ? open_socket(argv[1]) : -1;
  if (fd < 0) {
    std::perror("probe");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  std::vector<std::int64_t> latencies;
  pollfd descriptors[] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (descriptors[1].revents == 0 && ::poll(descriptors, 2, -1) >= 0) take_all(fd, latencies);
  std::sort(latencies.begin(), latencies.end());
  for (const std::int64_t latency : latencies) std::printf("%" PRId64 "\n", latency);
  return 0;
}
