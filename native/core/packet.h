#pragma once

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
 * Reads the netlink message that starts at `bytes`. Unknown attributes are skipped; those of
 * wrong length make the message malformed, with its id kept wherever there was one, so that the
 * packet can still be answered.
 */
[[nodiscard]] Message parse_message(const unsigned char* bytes, std::size_t length) noexcept;

/** The two addresses of a packet's own header. */
struct Addresses {
  bool valid = false;
  bool destination_is_multicast = false;  ///< 224.0.0.0/4 or ff00::/8
  Key source;
  Key destination;
};

/** Reads an IPv4 or IPv6 header; not valid if it is cut short, or is not what `hw_protocol` says.
 */
[[nodiscard]] Addresses parse_addresses(const Packet& packet) noexcept;

}  // namespace nfqc
