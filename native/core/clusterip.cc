#include "clusterip.h"

#include <linux/in.h>

#include <cstring>

#include "byte_order.h"
#include "icmp.h"

namespace nfqc {
namespace {

constexpr std::size_t kMinHeader = 20;
constexpr std::size_t kIcmpHeader = 8;

/** The header's length in bytes, or 0 if it is none. */
std::size_t header_length(const unsigned char* packet, std::size_t length) noexcept {
  if (length < kMinHeader || packet[0] >> 4 != 4) return 0;
  const std::size_t header = std::size_t{4} * (packet[0] & 0x0fU);
  return header < kMinHeader ? 0 : header;
}

/* Matters only without conntrack, which reassembles fragments before any rule. */
bool is_later_fragment(const unsigned char* packet) noexcept {
  return ((packet[6] & 0x1fU) | packet[7]) != 0;
}

}  // namespace

int port_offset(std::uint8_t protocol) noexcept {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_DCCP:
    case IPPROTO_ESP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE: return 0;
    case IPPROTO_AH: return 4;
    default: return -1;
  }
}

Ipv4Ends parse_ipv4_ends(const unsigned char* packet, std::size_t length) noexcept {
  Ipv4Ends ends;
  const std::size_t header = header_length(packet, length);
  if (header == 0) return ends;
  ends.valid = true;
  std::memcpy(&ends.source, packet + 12, 4);
  std::memcpy(&ends.destination, packet + 16, 4);
  const int offset = port_offset(packet[9]);
  if (offset < 0 || is_later_fragment(packet)) return ends;
  const std::size_t at = header + static_cast<std::size_t>(offset);
  if (length < at + 4) return ends;
  std::memcpy(&ends.source_port, packet + at, 2);
  std::memcpy(&ends.destination_port, packet + at + 2, 2);
  return ends;
}

bool is_icmp_error(const unsigned char* packet, std::size_t length) noexcept {
  const std::size_t header = header_length(packet, length);
  if (header == 0 || packet[9] != IPPROTO_ICMP || is_later_fragment(packet)) return false;
  return length > header && is_icmp_error_type(packet[header]);
}

Ipv4Ends parse_icmp_error(const unsigned char* packet, std::size_t length) noexcept {
  const std::size_t inner = header_length(packet, length) + kIcmpHeader;
  if (!is_icmp_error(packet, length) || length <= inner) return {};
  return parse_ipv4_ends(packet + inner, length - inner);
}

Key clusterip_key(HashMode mode, const Ipv4Ends& ends) noexcept {
  const std::uint32_t address = network_order(ends.source);
  Key key;
  key.words = {address, ends.source_port, ends.destination_port, 0};
  key.count = static_cast<std::uint8_t>(mode);
  return key;
}

}  // namespace nfqc
