#include "conntrack.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "attributes.h"
#include "byte_order.h"

namespace nfqc {
namespace {

bool take_u16(const Attribute& attribute, std::uint16_t& value) noexcept {
  if (attribute.length != 2) return false;
  value = network_order(load<std::uint16_t>(attribute.value));
  return true;
}

bool take_u32(const Attribute& attribute, std::uint32_t& value) noexcept {
  if (attribute.length != 4) return false;
  value = network_order(load<std::uint32_t>(attribute.value));
  return true;
}

bool take_permanent(const Attribute& attribute, bool& permanent) noexcept {
  std::uint32_t flags = 0;
  if (!take_u32(attribute, flags)) return false;
  permanent = (flags & NF_CT_EXPECT_PERMANENT) != 0;
  return true;
}

bool take_address(const Attribute& attribute, bool ipv6, Key& address) noexcept {
  if (attribute.length != (ipv6 ? 16 : 4)) return false;
  address = ipv6 ? Key::ipv6(attribute.value) : Key::ipv4(attribute.value);
  return true;
}

bool parse_addresses(const Attribute& nested, Tuple& tuple) noexcept {
  return for_each_attribute(nested.value, nested.length, [&tuple](const Attribute& attribute) {
    switch (attribute.type) {
      case CTA_IP_V4_SRC: return take_address(attribute, false, tuple.source);
      case CTA_IP_V4_DST: return take_address(attribute, false, tuple.destination);
      case CTA_IP_V6_SRC: return take_address(attribute, true, tuple.source);
      case CTA_IP_V6_DST: return take_address(attribute, true, tuple.destination);
      default: return true;
    }
  });
}

/** ICMP's type goes to the high byte, its code to the low one. */
bool take_icmp(const Attribute& attribute, unsigned shift, Tuple& tuple) noexcept {
  if (attribute.length != 1) return false;
  tuple.destination_port =
      static_cast<std::uint16_t>(tuple.destination_port | (attribute.value[0] << shift));
  return true;
}

bool parse_protocol(const Attribute& nested, Tuple& tuple) noexcept {
  return for_each_attribute(nested.value, nested.length, [&tuple](const Attribute& attribute) {
    switch (attribute.type) {
      case CTA_PROTO_NUM:
        if (attribute.length != 1) return false;
        tuple.protocol = attribute.value[0];
        return true;
      case CTA_PROTO_SRC_PORT:
      case CTA_PROTO_ICMP_ID:
      case CTA_PROTO_ICMPV6_ID: return take_u16(attribute, tuple.source_port);
      case CTA_PROTO_DST_PORT: return take_u16(attribute, tuple.destination_port);
      case CTA_PROTO_ICMP_TYPE:
      case CTA_PROTO_ICMPV6_TYPE: return take_icmp(attribute, 8, tuple);
      case CTA_PROTO_ICMP_CODE:
      case CTA_PROTO_ICMPV6_CODE: return take_icmp(attribute, 0, tuple);
      default: return true;
    }
  });
}

bool parse_tuple(const Attribute& nested, Tuple& tuple) noexcept {
  const bool well_formed =
      for_each_attribute(nested.value, nested.length, [&tuple](const Attribute& attribute) {
        switch (attribute.type) {
          case CTA_TUPLE_IP: return parse_addresses(attribute, tuple);
          case CTA_TUPLE_PROTO: return parse_protocol(attribute, tuple);
          default: return true;
        }
      });
  return well_formed && tuple.valid();
}

}  // namespace

bool parse_connection(const unsigned char* bytes, std::size_t length,
                      Connection& connection) noexcept {
  const bool well_formed =
      for_each_attribute(bytes, length, [&connection](const Attribute& attribute) {
        switch (attribute.type) {
          case CTA_TUPLE_ORIG: return parse_tuple(attribute, connection.original);
          case CTA_TUPLE_MASTER: return parse_tuple(attribute, connection.master);
          case CTA_MARK: return take_u32(attribute, connection.mark);
          default: return true;
        }
      });
  return well_formed && connection.original.valid();
}

bool parse_expectation(const unsigned char* bytes, std::size_t length,
                       Expectation& expectation) noexcept {
  const bool well_formed =
      for_each_attribute(bytes, length, [&expectation](const Attribute& attribute) {
        switch (attribute.type) {
          case CTA_EXPECT_MASTER: return parse_tuple(attribute, expectation.master);
          case CTA_EXPECT_TUPLE: return parse_tuple(attribute, expectation.tuple);
          case CTA_EXPECT_MASK: return parse_tuple(attribute, expectation.mask);
          case CTA_EXPECT_TIMEOUT: return take_u32(attribute, expectation.timeout_s);
          case CTA_EXPECT_FLAGS: return take_permanent(attribute, expectation.permanent);
          default: return true;
        }
      });
  return well_formed && expectation.master.valid() && expectation.tuple.valid() &&
         expectation.mask.valid();
}

bool Expectation::matches(const Tuple& packet) const noexcept {
  if (packet.protocol != tuple.protocol || packet.destination_port != tuple.destination_port ||
      packet.destination != tuple.destination || packet.source.count != tuple.source.count) {
    return false;
  }
  if (((packet.source_port ^ tuple.source_port) & mask.source_port) != 0) return false;
  for (std::size_t i = 0; i < tuple.source.count; ++i) {
    const std::uint32_t differ = packet.source.words[i] ^ tuple.source.words[i];
    if ((differ & mask.source.words[i]) != 0) return false;
  }
  return true;
}

}  // namespace nfqc
