#pragma once

#include <linux/if_ether.h>

#include <cstddef>
#include <cstdint>

#include "key.h"

/* What the kernel's nfnetlink_queue says of one packet, without a copy. */
namespace nfqc {

/** The fields of an NFQNL_MSG_PACKET that a decision needs. */
struct Packet {
  std::uint32_t id = 0;
  std::uint32_t mark = 0;
  std::uint32_t ifindex_in = 0;
  std::uint16_t hw_protocol = 0;  ///< EtherType, host order
  const unsigned char* payload = nullptr;
  std::uint32_t payload_length = 0;
  const unsigned char* conntrack = nullptr;  ///< CTA_* attributes; null if the message has none
  std::uint32_t conntrack_length = 0;
};

enum class MessageKind : std::uint8_t {
  kPacket,     ///< a packet that waits for its verdict
  kError,      ///< the kernel refused a message of ours
  kMalformed,  ///< neither; `packet.id` is valid if `has_id`
  kOther,      ///< of no concern to us
};

struct Message {
  MessageKind kind = MessageKind::kMalformed;
  bool has_id = false;
  int error = 0;           ///< kError: a positive errno, or 0 for an acknowledgement
  std::uint32_t seq = 0;   ///< the netlink sequence number
  std::size_t length = 0;  ///< bytes to the next message; 0 if none can follow
  Packet packet;
};

/**
 * Reads the netlink message that starts at `bytes`. Unknown attributes are skipped. Attributes of
 * wrong length make the message malformed, but its id is kept if it has one, so that the packet can
 * still be answered.
 */
[[nodiscard]] Message parse_message(const unsigned char* bytes, std::size_t length) noexcept;

/** Where the two addresses of a packet's own header lie in it. */
struct Addresses {
  const unsigned char* source = nullptr;
  const unsigned char* destination = nullptr;
  std::uint8_t words = 0;  ///< of each: 1 for IPv4, 4 for IPv6, 0 if they cannot be read

  [[nodiscard]] bool valid() const noexcept { return words != 0; }
  [[nodiscard]] Key source_key() const noexcept { return key(source); }
  [[nodiscard]] Key destination_key() const noexcept { return key(destination); }
  /** 224.0.0.0/4 or ff00::/8 */
  [[nodiscard]] bool destination_is_multicast() const noexcept {
    return words == 1 ? destination[0] >> 4 == 0xe : destination[0] == 0xff;
  }

 private:
  [[nodiscard]] Key key(const unsigned char* address) const noexcept {
    return words == 1 ? Key::ipv4(address) : Key::ipv6(address);
  }
};

/**
 * Finds them in an IPv4 or IPv6 header; not valid if it is cut short, or is not what `hw_protocol`
 * says.
 */
[[nodiscard]] inline Addresses find_addresses(const Packet& packet) noexcept {
  const unsigned char* header = packet.payload;
  if (packet.hw_protocol == ETH_P_IP && packet.payload_length >= 20 && header[0] >> 4 == 4) {
    return {header + 12, header + 16, 1};
  }
  if (packet.hw_protocol == ETH_P_IPV6 && packet.payload_length >= 40 && header[0] >> 4 == 6) {
    return {header + 8, header + 24, 4};
  }
  return {};
}

}  // namespace nfqc
