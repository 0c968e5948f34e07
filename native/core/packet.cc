#include "packet.h"

#include <linux/if_ether.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <bit>
#include <cstring>

namespace nfqc {
namespace {

constexpr std::uint16_t kPacketMessage = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET;

template <typename T>
[[nodiscard]] T load(const unsigned char* bytes) noexcept {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

[[nodiscard]] constexpr std::uint16_t from_network(std::uint16_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap16(value) : value;
}
[[nodiscard]] constexpr std::uint32_t from_network(std::uint32_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}

/** Takes one attribute into the message; false if its length is wrong. */
bool take_attribute(Message& message, unsigned type, const unsigned char* value,
                    std::size_t length) noexcept {
  Packet& packet = message.packet;
  switch (type) {
    case NFQA_PACKET_HDR:
      if (length != sizeof(nfqnl_msg_packet_hdr)) return false;
      packet.id = from_network(load<std::uint32_t>(value));
      packet.hw_protocol = from_network(load<std::uint16_t>(value + 4));
      message.has_id = true;
      return true;
    case NFQA_MARK:
      if (length != 4) return false;
      packet.mark = from_network(load<std::uint32_t>(value));
      return true;
    case NFQA_IFINDEX_INDEV:
      if (length != 4) return false;
      packet.ifindex_in = from_network(load<std::uint32_t>(value));
      return true;
    case NFQA_PAYLOAD:
      packet.payload = value;
      packet.payload_length = static_cast<std::uint32_t>(length);
      return true;
    default: return true;
  }
}

/** Walks all attributes even behind a bad one: the id may still come. */
bool take_attributes(Message& message, const unsigned char* bytes, std::size_t length) noexcept {
  bool well_formed = true;
  while (length >= NLA_HDRLEN) {
    const std::size_t size = load<std::uint16_t>(bytes);
    const unsigned type = load<std::uint16_t>(bytes + 2) & NLA_TYPE_MASK;
    if (size < NLA_HDRLEN || size > length) return false;
    well_formed &= take_attribute(message, type, bytes + NLA_HDRLEN, size - NLA_HDRLEN);
    const std::size_t step = NLA_ALIGN(size);
    if (step >= length) return well_formed;
    bytes += step;
    length -= step;
  }
  return well_formed && length == 0;
}

}  // namespace

Message parse_message(const unsigned char* bytes, std::size_t length) noexcept {
  Message message;
  if (length < NLMSG_HDRLEN) return message;
  const std::size_t size = load<std::uint32_t>(bytes);
  const std::uint16_t type = load<std::uint16_t>(bytes + 4);
  message.seq = load<std::uint32_t>(bytes + 8);
  const bool whole = size >= NLMSG_HDRLEN && size <= length;
  const std::size_t end = whole ? size : length;
  if (whole && NLMSG_ALIGN(size) < length) message.length = NLMSG_ALIGN(size);

  if (type == NLMSG_ERROR) {
    if (!whole || size < NLMSG_HDRLEN + 4) return message;
    message.kind = MessageKind::kError;
    message.error = static_cast<int>(0U - load<std::uint32_t>(bytes + NLMSG_HDRLEN));
    return message;
  }
  if (type != kPacketMessage) {
    message.kind = MessageKind::kOther;
    return message;
  }
  constexpr std::size_t kHeaders = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
  if (end < kHeaders) return message;
  const bool well_formed = take_attributes(message, bytes + kHeaders, end - kHeaders);
  if (well_formed && whole && message.has_id) message.kind = MessageKind::kPacket;
  return message;
}

Addresses parse_addresses(const Packet& packet) noexcept {
  Addresses addresses;
  const unsigned char* header = packet.payload;
  if (packet.hw_protocol == ETH_P_IP && packet.payload_length >= 20 && header[0] >> 4 == 4) {
    addresses.valid = true;
    addresses.source = Key::ipv4(header + 12);
    addresses.destination = Key::ipv4(header + 16);
    addresses.destination_is_multicast = header[16] >> 4 == 0xe;
  } else if (packet.hw_protocol == ETH_P_IPV6 && packet.payload_length >= 40 &&
             header[0] >> 4 == 6) {
    addresses.valid = true;
    addresses.source = Key::ipv6(header + 8);
    addresses.destination = Key::ipv6(header + 24);
    addresses.destination_is_multicast = header[24] == 0xff;
  }
  return addresses;
}

}  // namespace nfqc
