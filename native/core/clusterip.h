#pragma once

#include <cstddef>
#include <cstdint>

#include "key.h"

/* What ipt_CLUSTERIP, in Linux up to 6.2, reads of an IPv4 packet, and hashes. */
namespace nfqc {

/** Bytes of a packet that the policy needs: those of an ICMP error, and of the packet within it up
 * to AH's SPI. */
inline constexpr std::uint32_t kClusteripCopyRange = 60 + 8 + 60 + 8;

/** The two ends of an IPv4 packet; addresses and ports as they lie in memory, in network order. */
struct Ipv4Ends {
  std::uint32_t source = 0;
  std::uint32_t destination = 0;
  std::uint16_t source_port = 0;  ///< 0 if the protocol has none, or the packet is too short
  std::uint16_t destination_port = 0;
  bool valid = false;

  [[nodiscard]] constexpr Ipv4Ends reversed() const noexcept {
    return {destination, source, destination_port, source_port, valid};
  }
};

/**
 * Where CLUSTERIP takes a protocol's two ports from, in bytes behind the IPv4 header; -1 for a
 * protocol without. The halves of an ESP's or AH's SPI act as ports.
 */
[[nodiscard]] int port_offset(std::uint8_t protocol) noexcept;

/** Reads an IPv4 packet; not valid if its header is cut short, or is none. */
[[nodiscard]] Ipv4Ends parse_ipv4_ends(const unsigned char* packet, std::size_t length) noexcept;

/** Whether an IPv4 packet is an ICMP error, which is about another packet. */
[[nodiscard]] bool is_icmp_error(const unsigned char* packet, std::size_t length) noexcept;

/** The ends of the packet that an ICMP error is about; not valid if that is cut short. */
[[nodiscard]] Ipv4Ends parse_icmp_error(const unsigned char* packet, std::size_t length) noexcept;

/** The address as a number, and the ports as the 16 bits that lie in memory: not swapped. */
[[nodiscard]] Key clusterip_key(HashMode mode, const Ipv4Ends& ends) noexcept;

}  // namespace nfqc
