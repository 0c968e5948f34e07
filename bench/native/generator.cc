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
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kBatch = 64;
constexpr std::uint16_t kPort = 9;
constexpr std::uint16_t kProbePort = 10;

struct Options {
  std::string interface;
  std::array<unsigned, 6> mac{};
  int family = AF_INET;
  std::array<unsigned char, 16> destination{};
  std::array<unsigned char, 16> source{};
  std::uint32_t sources = 1;
  std::size_t size = 64;
  std::uint64_t rate = 0;
  double seconds = 1;
  std::uint32_t probe = 0;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(errno == 0 ? what : what + ": " + std::strerror(errno));
}

Options parse(int argc, char** argv) {
  if (argc != 9 && argc != 10) fail("expected 8 or 9 arguments, see the top of generator.cc");
  Options o;
  o.interface = argv[1];
  auto& m = o.mac;
  if (std::sscanf(argv[2], "%x:%x:%x:%x:%x:%x", m.data(), &m[1], &m[2], &m[3], &m[4], &m[5]) != 6) {
    fail("not a MAC address");
  }
  o.family = std::strchr(argv[3], ':') == nullptr ? AF_INET : AF_INET6;
  if (::inet_pton(o.family, argv[3], o.destination.data()) != 1 ||
      ::inet_pton(o.family, argv[4], o.source.data()) != 1) {
    fail("not an address");
  }
  o.sources = static_cast<std::uint32_t>(std::strtoul(argv[5], nullptr, 10));
  o.size = std::strtoul(argv[6], nullptr, 10);
  o.rate = std::strtoull(argv[7], nullptr, 10);
  o.seconds = std::strtod(argv[8], nullptr);
  if (argc == 10) o.probe = static_cast<std::uint32_t>(std::strtoul(argv[9], nullptr, 10));
  if (o.probe != 0 && o.family != AF_INET) fail("probes need IPv4");
  if (o.sources < 1 || o.size < 64 || o.size > 1500) fail("a number is out of range");
  return o;
}

std::uint32_t sum_words(const void* data, std::size_t length) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < length; i += 2) sum += (bytes[i] << 8U) | bytes[i + 1];
  if (length % 2 == 1) sum += bytes[length - 1] << 8U;
  return sum;
}

std::uint16_t fold(std::uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

/** One frame, whose last 32 bits of the source address change from packet to packet. */
class Frame {
 public:
  explicit Frame(const Options& options) : bytes_(options.size), ipv6_(options.family == AF_INET6) {
    for (std::size_t i = 0; i < 6; ++i) {
      bytes_[i] = static_cast<unsigned char>(options.mac[i]);
      bytes_[6 + i] = i == 0 ? 0x02 : 0x01;
    }
    const std::uint16_t type = htons(ipv6_ ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
    std::memcpy(&bytes_[12], &type, 2);
    std::memcpy(&first_source_, options.source.data() + (ipv6_ ? 12 : 0), 4);
    first_source_ = ntohl(first_source_);
    ipv6_ ? fill_ipv6(options) : fill_ipv4(options);
    set_source(0);
  }

  void set_source(std::uint32_t index) {
    const std::uint32_t address = htonl(first_source_ + index);
    std::memcpy(&bytes_[ipv6_ ? 34 : 26], &address, 4);
    const std::uint32_t sum = base_sum_ + sum_words(&address, 4);
    std::uint16_t checksum = fold(sum);
    if (ipv6_ && checksum == 0) checksum = 0xffff;
    checksum = htons(checksum);
    std::memcpy(&bytes_[ipv6_ ? 60 : 24], &checksum, 2);
  }

  /** IPv4 alone, whose UDP checksum is left out. */
  void set_probe(bool probe) {
    const std::uint16_t port = htons(probe ? kProbePort : kPort);
    std::memcpy(&bytes_[36], &port, 2);
    if (!probe) return;
    timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    const std::int64_t ns = time.tv_sec * std::int64_t{1000000000} + time.tv_nsec;
    std::memcpy(&bytes_[42], &ns, sizeof ns);
  }

  [[nodiscard]] unsigned char* data() { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  void fill_udp(std::size_t at) {
    udphdr udp{};
    udp.source = htons(4000);
    udp.dest = htons(kPort);
    udp.len = htons(static_cast<std::uint16_t>(bytes_.size() - at));
    std::memcpy(&bytes_[at], &udp, sizeof udp);
  }

  /* IPv4: the header's checksum covers the source; UDP's is left out. */
  void fill_ipv4(const Options& options) {
    iphdr ip{};
    ip.version = 4;
    ip.ihl = 5;
    ip.tot_len = htons(static_cast<std::uint16_t>(bytes_.size() - 14));
    ip.ttl = 64;
    ip.protocol = IPPROTO_UDP;
    std::memcpy(&ip.daddr, options.destination.data(), 4);
    std::memcpy(&bytes_[14], &ip, sizeof ip);
    fill_udp(34);
    base_sum_ = sum_words(&bytes_[14], 20);
  }

  /* IPv6: UDP's checksum covers the addresses. */
  void fill_ipv6(const Options& options) {
    ip6_hdr ip{};
    const std::size_t length = bytes_.size() - 54;
    ip.ip6_ctlun.ip6_un1.ip6_un1_flow = htonl(6U << 28);
    ip.ip6_ctlun.ip6_un1.ip6_un1_plen = htons(static_cast<std::uint16_t>(length));
    ip.ip6_ctlun.ip6_un1.ip6_un1_nxt = IPPROTO_UDP;
    ip.ip6_ctlun.ip6_un1.ip6_un1_hlim = 64;
    std::memcpy(&ip.ip6_src, options.source.data(), 12);
    std::memcpy(&ip.ip6_dst, options.destination.data(), 16);
    std::memcpy(&bytes_[14], &ip, sizeof ip);
    fill_udp(54);
    base_sum_ = sum_words(&bytes_[22], bytes_.size() - 22) + static_cast<std::uint32_t>(length) +
                IPPROTO_UDP;
  }

  std::vector<unsigned char> bytes_;
  bool ipv6_;
  std::uint32_t first_source_ = 0;
  std::uint32_t base_sum_ = 0;
};

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
  std::vector<Frame> frames(kBatch, Frame(options));
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
      next = next + 1 == options.sources ? 0 : next + 1;
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
    const int fd = open_socket(options.interface);
    double elapsed = 0;
    const std::uint64_t sent = run(options, fd, elapsed);
    std::printf("{\"sent\":%" PRIu64 ",\"seconds\":%.6f}\n", sent, elapsed);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generator: %s\n", error.what());
    return 1;
  }
}
