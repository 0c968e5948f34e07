/*
 * Sends UDP packets from many sources through a packet socket, as fast as possible or at a fixed
 * rate, and prints what it sent as one line of JSON.
 *
 *   generator INTERFACE DESTINATION_MAC DESTINATION SOURCE SOURCES SIZE RATE SECONDS [PROBE]
 *
 * SOURCE is the first of SOURCES consecutive addresses, of DESTINATION's family; SIZE counts the
 * whole frame without its checksum; RATE is in packets per second, 0 for no limit. Packets go to
 * port 9; with PROBE, which needs IPv4, each PROBEth goes to port 10 and carries the time of day at
 * which it was sent, in nanoseconds, and every packet is sent by a call of its own.
 */
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "frame.h"

namespace {

constexpr std::size_t kBatch = 64;

struct Options {
  FrameOptions frame;
  std::uint64_t rate = 0;
  double seconds = 1;
  std::uint32_t probe = 0;
};

Options parse(int argc, char** argv) {
  constexpr int kOwn = 1 + FrameOptions::kArguments;
  if (argc != kOwn + 2 && argc != kOwn + 3) fail("see the top of generator.cc for the arguments");
  Options o{parse_frame(argv + 1)};
  o.rate = std::strtoull(argv[kOwn], nullptr, 10);
  o.seconds = std::strtod(argv[kOwn + 1], nullptr);
  if (argc == kOwn + 3) {
    o.probe = static_cast<std::uint32_t>(std::strtoul(argv[kOwn + 2], nullptr, 10));
  }
  if (o.probe != 0 && o.frame.family != AF_INET) fail("probes need IPv4");
  return o;
}

int open_socket(const std::string& interface) {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  const int on = 1;
  ::setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (address.sll_ifindex == 0) fail("no interface " + interface);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
  return fd;
}

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/** Waits until the packet is due; busy, since sleeping is coarser than a packet's time. */
void wait_until_due(const Options& options, double start, std::uint64_t sent) {
  if (options.rate == 0) return;
  const double due = start + static_cast<double>(sent) / static_cast<double>(options.rate);
  while (now() < due) {
  }
}

std::uint64_t run(const Options& options, int fd, double& elapsed) {
  std::vector<Frame> frames(kBatch, Frame(options.frame));
  std::array<iovec, kBatch> vectors{};
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    vectors[i] = {frames[i].data(), frames[i].size()};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  /* Small steps, so that a fixed rate is smooth. */
  const std::size_t step = options.probe != 0 ? 1 : options.rate == 0 ? kBatch : 8;
  std::uint64_t sent = 0;
  std::uint32_t next = 0;
  const double start = now();
  while ((elapsed = now() - start) < options.seconds) {
    wait_until_due(options, start, sent);
    for (std::size_t i = 0; i < step; ++i) {
      frames[i].set_source(next);
      next = next + 1 == options.frame.sources ? 0 : next + 1;
    }
    if (options.probe != 0) frames[0].set_probe(sent % options.probe == 0);
    const int n = ::sendmmsg(fd, messages.data(), static_cast<unsigned>(step), 0);
    if (n > 0) sent += static_cast<std::uint64_t>(n);
    if (n < 0 && errno != ENOBUFS && errno != EAGAIN) fail("sendmmsg");
  }
  return sent;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    const int fd = open_socket(options.frame.interface);
    double elapsed = 0;
    const std::uint64_t sent = run(options, fd, elapsed);
    std::printf("{\"sent\":%" PRIu64 ",\"seconds\":%.6f}\n", sent, elapsed);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generator: %s\n", error.what());
    return 1;
  }
}
