#include "flow.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <array>
#include <optional>
#include <utility>

#include "attributes.h"
#include "byte_order.h"
#include "icmp.h"

namespace nfqc {
namespace {

/** The part of a packet that is still to be read. */
struct Rest {
  const unsigned char* bytes;
  std::size_t length;

  [[nodiscard]] bool has(std::size_t count) const noexcept { return length >= count; }
  void skip(std::size_t count) noexcept {
    bytes += count;
    length -= count;
  }
};

/** A 16-bit field of a header. */
std::uint16_t field(const unsigned char* bytes) noexcept {
  return network_order(load<std::uint16_t>(bytes));
}

/** Reads an IPv4 header and moves behind it. */
bool take_ipv4(Rest& rest, Tuple& tuple) noexcept {
  if (!rest.has(20) || rest.bytes[0] >> 4 != 4) return false;
  const std::size_t header = std::size_t{4} * (rest.bytes[0] & 0x0fU);
  if (header < 20 || !rest.has(header)) return false;
  /* As in conntrack: a first fragment, which an ICMP error may quote, has all that identifies its
     flow. */
  constexpr std::uint16_t kOffset = 0x1fff;
  if ((field(rest.bytes + 6) & kOffset) != 0) return false;
  tuple.protocol = rest.bytes[9];
  tuple.source = Key::ipv4(rest.bytes + 12);
  tuple.destination = Key::ipv4(rest.bytes + 16);
  rest.skip(header);
  return true;
}

bool is_first_fragment(const unsigned char* header) noexcept {
  constexpr std::uint16_t kOffset = 0xfff8;
  return (field(header + 2) & kOffset) == 0;
}

/** The length of the extension header at `bytes`; 0 if it is not one to be skipped. */
std::size_t extension_length(std::uint8_t type, const unsigned char* bytes) noexcept {
  switch (type) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS: return std::size_t{8} * (bytes[1] + 1U);
    case IPPROTO_FRAGMENT: return is_first_fragment(bytes) ? 8 : 0;
    case IPPROTO_AH: return std::size_t{4} * (bytes[1] + 2U);
    default: return 0;
  }
}

bool take_ipv6(Rest& rest, Tuple& tuple) noexcept {
  if (!rest.has(40) || rest.bytes[0] >> 4 != 6) return false;
  tuple.protocol = rest.bytes[6];
  tuple.source = Key::ipv6(rest.bytes + 8);
  tuple.destination = Key::ipv6(rest.bytes + 24);
  rest.skip(40);
  while (rest.has(8)) {
    const std::size_t extension = extension_length(tuple.protocol, rest.bytes);
    if (extension == 0) break;
    if (!rest.has(extension)) return false;
    tuple.protocol = rest.bytes[0];
    rest.skip(extension);
  }
  return tuple.protocol != IPPROTO_FRAGMENT;
}

bool take_ip(Rest& rest, bool ipv6, Tuple& tuple) noexcept {
  return ipv6 ? take_ipv6(rest, tuple) : take_ipv4(rest, tuple);
}

bool is_icmp(const Tuple& tuple) noexcept {
  return tuple.source.count == 1 ? tuple.protocol == IPPROTO_ICMP
                                 : tuple.protocol == IPPROTO_ICMPV6;
}

bool is_error(bool ipv6, std::uint8_t type) noexcept {
  return ipv6 ? (type & ICMPV6_INFOMSG_MASK) == 0 : is_icmp_error_type(type);
}

/** The key in PPTP's version of GRE, the receiver's call id; other versions have none. */
bool take_gre_key(const Rest& rest, Tuple& tuple) noexcept {
  constexpr std::uint16_t kVersion = 7;
  if (!rest.has(2) || (field(rest.bytes) & kVersion) != 1) return true;
  if (!rest.has(8)) return false;
  tuple.destination_port = field(rest.bytes + 6);
  return true;
}

/** Reads what conntrack uses to tell flows of a protocol apart. */
bool take_ports(const Rest& rest, Tuple& tuple) noexcept {
  if (is_icmp(tuple)) {
    if (!rest.has(8)) return false;
    tuple.source_port = field(rest.bytes + 4);
    tuple.destination_port = field(rest.bytes);
    return true;
  }
  switch (tuple.protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      if (!rest.has(4)) return false;
      tuple.source_port = field(rest.bytes);
      tuple.destination_port = field(rest.bytes + 2);
      return true;
    case IPPROTO_GRE: return take_gre_key(rest, tuple);
    default: return true;
  }
}

bool is_reset(const Rest& rest, const Tuple& tuple) noexcept {
  constexpr unsigned char kRst = 4;
  return tuple.protocol == IPPROTO_TCP && rest.has(14) && (rest.bytes[13] & kRst) != 0;
}

/** The ICMP type of the answer to this type, or of the request that it answers. */
std::optional<std::uint8_t> opposite(bool ipv6, std::uint8_t type) noexcept {
  using Pair = std::pair<std::uint8_t, std::uint8_t>;
  constexpr std::array kIpv4{
      Pair{ICMP_ECHO, ICMP_ECHOREPLY}, Pair{ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY},
      Pair{ICMP_INFO_REQUEST, ICMP_INFO_REPLY}, Pair{ICMP_ADDRESS, ICMP_ADDRESSREPLY}};
  constexpr std::array kIpv6{Pair{ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY},
                             Pair{ICMPV6_NI_QUERY, ICMPV6_NI_REPLY}};
  const auto find = [type](const auto& pairs) -> std::optional<std::uint8_t> {
    for (const auto& [request, reply] : pairs) {
      if (type == request) return reply;
      if (type == reply) return request;
    }
    return std::nullopt;
  };
  return ipv6 ? find(kIpv6) : find(kIpv4);
}

}  // namespace

Tuple inverted(const Tuple& tuple) noexcept {
  Tuple other = tuple;
  std::swap(other.source, other.destination);
  if (!is_icmp(tuple)) {
    std::swap(other.source_port, other.destination_port);
    return other;
  }
  const auto type =
      opposite(tuple.source.count == 4, static_cast<std::uint8_t>(tuple.destination_port >> 8));
  if (!type) return {};
  other.destination_port =
      static_cast<std::uint16_t>(unsigned{*type} << 8 | (tuple.destination_port & 0xffU));
  return other;
}

Flow flow_of(const Packet& packet) noexcept {
  if (packet.hw_protocol != ETH_P_IP && packet.hw_protocol != ETH_P_IPV6) return {};
  const bool ipv6 = packet.hw_protocol == ETH_P_IPV6;
  Rest rest{packet.payload, packet.payload_length};
  Tuple tuple;
  if (!take_ip(rest, ipv6, tuple)) return {};
  if (is_icmp(tuple) && rest.has(8) && is_error(ipv6, rest.bytes[0])) {
    rest.skip(8);
    Tuple lost;
    if (!take_ip(rest, ipv6, lost) || !take_ports(rest, lost))
      return {.tuple = {}, .error = true, .reset = false};
    return {.tuple = inverted(lost), .error = true, .reset = false};
  }
  if (!take_ports(rest, tuple)) return {};
  return {.tuple = tuple, .error = false, .reset = is_reset(rest, tuple)};
}

}  // namespace nfqc
