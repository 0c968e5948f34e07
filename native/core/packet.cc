#include "packet.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include "attributes.h"
#include "byte_order.h"

namespace nfqc {
namespace {

constexpr std::uint16_t kPacketMessage = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET;

/** Takes one attribute into the message; false if its length is wrong. */
bool take_attribute(Message& message, const Attribute& attribute) noexcept {
  const auto& [type, value, length] = attribute;
  Packet& packet = message.packet;
  switch (type) {
    case NFQA_PACKET_HDR:
      if (length != sizeof(nfqnl_msg_packet_hdr)) return false;
      packet.id = network_order(load<std::uint32_t>(value));
      packet.hw_protocol = network_order(load<std::uint16_t>(value + 4));
      message.has_id = true;
      return true;
    case NFQA_MARK:
      if (length != 4) return false;
      packet.mark = network_order(load<std::uint32_t>(value));
      return true;
    case NFQA_IFINDEX_INDEV:
      if (length != 4) return false;
      packet.ifindex_in = network_order(load<std::uint32_t>(value));
      return true;
    case NFQA_PAYLOAD:
      packet.payload = value;
      packet.payload_length = static_cast<std::uint32_t>(length);
      return true;
    case NFQA_CT:
      packet.conntrack = value;
      packet.conntrack_length = static_cast<std::uint32_t>(length);
      return true;
    default: return true;
  }
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
  /* Even after a bad attribute: the id may still come. */
  const bool well_formed = for_each_attribute(
      bytes + kHeaders, end - kHeaders,
      [&message](const Attribute& attribute) { return take_attribute(message, attribute); });
  if (well_formed && whole && message.has_id) message.kind = MessageKind::kPacket;
  return message;
}

}  // namespace nfqc
