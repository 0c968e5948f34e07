/* UDP frames of many sources, for the programs that send them. */
#pragma once

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

constexpr std::uint16_t kPort = 9;
constexpr std::uint16_t kProbePort = 10;

[[noreturn]] inline void fail(const std::string& what) {
  throw std::runtime_error(errno == 0 ? what : what + ": " + std::strerror(errno));
}

/** The frames to send; the first arguments of each program, in this order. */
struct FrameOptions {
  static constexpr int kArguments = 6;

  std::string interface;
  std::array<unsigned, 6> mac{};
  int family = AF_INET;
  std::array<unsigned char, 16> destination{};
  std::array<unsigned char, 16> source{};
  std::uint32_t sources = 1;
  std::size_t size = 64;
};

inline FrameOptions parse_frame(char** arguments) {
  FrameOptions o;
  o.interface = arguments[0];
  auto& m = o.mac;
  if (std::sscanf(arguments[1], "%x:%x:%x:%x:%x:%x", m.data(), &m[1], &m[2], &m[3], &m[4], &m[5]) !=
      6) {
    fail("not a MAC address");
  }
  o.family = std::strchr(arguments[2], ':') == nullptr ? AF_INET : AF_INET6;
  if (::inet_pton(o.family, arguments[2], o.destination.data()) != 1 ||
      ::inet_pton(o.family, arguments[3], o.source.data()) != 1) {
    fail("not an address");
  }
  o.sources = static_cast<std::uint32_t>(std::strtoul(arguments[4], nullptr, 10));
  o.size = std::strtoul(arguments[5], nullptr, 10);
  if (o.sources < 1 || o.size < 64 || o.size > 1500) fail("a number is out of range");
  return o;
}

inline std::uint32_t sum_words(const void* data, std::size_t length) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < length; i += 2) sum += (bytes[i] << 8U) | bytes[i + 1];
  if (length % 2 == 1) sum += bytes[length - 1] << 8U;
  return sum;
}

inline std::uint16_t fold(std::uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

/** One frame, whose last 32 bits of the source address change from packet to packet. */
class Frame {
 public:
  explicit Frame(const FrameOptions& options)
      : bytes_(options.size), ipv6_(options.family == AF_INET6) {
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
    std::memcpy(&bytes_[source_at()], &address, 4);
    const std::uint32_t sum = base_sum_ + sum_words(&address, 4);
    std::uint16_t checksum = fold(sum);
    if (ipv6_ && checksum == 0) checksum = 0xffff;
    checksum = htons(checksum);
    std::memcpy(&bytes_[checksum_at()], &checksum, 2);
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

  /** Where the changing bits of the source are, and the checksum that covers them. */
  [[nodiscard]] std::size_t source_at() const { return ipv6_ ? 34 : 26; }
  [[nodiscard]] std::size_t checksum_at() const { return ipv6_ ? 60 : 24; }
  /** Those bits of the first source, and the sum of all other words that the checksum covers. */
  [[nodiscard]] std::uint32_t first_source() const { return first_source_; }
  [[nodiscard]] std::uint32_t base_sum() const { return base_sum_; }

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
  void fill_ipv4(const FrameOptions& options) {
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
  void fill_ipv6(const FrameOptions& options) {
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
