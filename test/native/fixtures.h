#pragma once

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/packet.h"

/* Packets and netlink messages, made by what they say. */
namespace nfqc::test {

using Bytes = std::vector<unsigned char>;

inline void append(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

/** As it lies in memory: netlink's own lengths and types. */
template <typename T>
void append_native(Bytes& to, T value) {
  std::array<unsigned char, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

/** In network order: what nfnetlink_queue puts into its attributes. */
inline Bytes be32(std::uint32_t value) {
  return {static_cast<unsigned char>(value >> 24), static_cast<unsigned char>(value >> 16),
          static_cast<unsigned char>(value >> 8), static_cast<unsigned char>(value)};
}

/** The 4 or 16 bytes of an address. */
inline Bytes address(const std::string& text) {
  Bytes bytes(16);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(4);
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return bytes;
  throw std::invalid_argument(text);
}

inline Key key(const std::string& text) {
  const Bytes bytes = address(text);
  return bytes.size() == 4 ? Key::ipv4(bytes.data()) : Key::ipv6(bytes.data());
}

inline std::uint16_t hw_protocol_of(const std::string& address_text) {
  return address_text.find(':') == std::string::npos ? ETH_P_IP : ETH_P_IPV6;
}

/** An IPv4 or IPv6 header, as the addresses' family is, with nothing behind it. */
inline Bytes ip_header(const std::string& source, const std::string& destination) {
  const bool v4 = hw_protocol_of(source) == ETH_P_IP;
  Bytes header(v4 ? 12 : 8);
  header[0] = v4 ? 0x45 : 0x60;
  append(header, address(source));
  append(header, address(destination));
  return header;
}

/** A netlink message of any type. */
inline Bytes netlink(std::uint16_t type, std::uint32_t seq, const Bytes& body) {
  Bytes message;
  append_native(message, static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size()));
  append_native(message, type);
  append_native(message, std::uint16_t{0});
  append_native(message, seq);
  append_native(message, std::uint32_t{0});
  append(message, body);
  return message;
}

/** An attribute with its header, not yet padded. */
inline Bytes attribute(std::uint16_t type, const Bytes& value) {
  Bytes bytes;
  append_native(bytes, static_cast<std::uint16_t>(NLA_HDRLEN + value.size()));
  append_native(bytes, type);
  append(bytes, value);
  return bytes;
}

/** An NFQNL_MSG_PACKET, attribute by attribute in the order of the calls. */
class PacketMessage {
 public:
  PacketMessage& with(std::uint16_t type, const Bytes& value) {
    body_.resize(NLA_ALIGN(body_.size()));
    append(body_, attribute(type, value));
    return *this;
  }
  PacketMessage& header(std::uint32_t id, std::uint16_t hw_protocol) {
    Bytes value = be32(id);
    append(value, {static_cast<unsigned char>(hw_protocol >> 8),
                   static_cast<unsigned char>(hw_protocol), NF_INET_PRE_ROUTING});
    return with(NFQA_PACKET_HDR, value);
  }
  PacketMessage& mark(std::uint32_t mark) { return with(NFQA_MARK, be32(mark)); }
  PacketMessage& arrived_by(std::uint32_t ifindex) {
    return with(NFQA_IFINDEX_INDEV, be32(ifindex));
  }
  PacketMessage& payload(const Bytes& bytes) { return with(NFQA_PAYLOAD, bytes); }

  /** The message; its length is right, its last attribute not padded. */
  [[nodiscard]] Bytes bytes() const {
    return netlink((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET, 0, body_);
  }

 private:
  Bytes body_ = Bytes(sizeof(nfgenmsg));
};

inline Message parse(const Bytes& bytes) { return parse_message(bytes.data(), bytes.size()); }

}  // namespace nfqc::test
