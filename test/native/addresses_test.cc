#include <gtest/gtest.h>

#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;
using test::ip_header;
using test::key;

Packet packet(std::uint16_t hw_protocol, const Bytes& payload) {
  Packet packet;
  packet.hw_protocol = hw_protocol;
  packet.payload = payload.data();
  packet.payload_length = static_cast<std::uint32_t>(payload.size());
  return packet;
}

TEST(ParseAddresses, ReadsThoseOfAnIpv4Header) {
  const Bytes header = ip_header("10.0.0.1", "192.0.2.77");
  const Addresses addresses = parse_addresses(packet(ETH_P_IP, header));
  EXPECT_TRUE(addresses.valid);
  EXPECT_EQ(addresses.source.count, 1);
  EXPECT_EQ(addresses.source.words, key("10.0.0.1").words);
  EXPECT_EQ(addresses.destination.words, key("192.0.2.77").words);
}

TEST(ParseAddresses, ReadsThoseOfAnIpv6Header) {
  const Bytes header = ip_header("2001:db8::1", "fd00:1:2:3:4:5:6:7");
  const Addresses addresses = parse_addresses(packet(ETH_P_IPV6, header));
  EXPECT_TRUE(addresses.valid);
  EXPECT_EQ(addresses.source.count, 4);
  EXPECT_EQ(addresses.source.words, key("2001:db8::1").words);
  EXPECT_EQ(addresses.destination.words, key("fd00:1:2:3:4:5:6:7").words);
}

TEST(ParseAddresses, DoesNotReadBehindTheHeader) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    Bytes longer = ip_header(source, source);
    const Addresses plain = parse_addresses(packet(test::hw_protocol_of(source), longer));
    longer.resize(1500, 0xff);
    const Addresses same = parse_addresses(packet(test::hw_protocol_of(source), longer));
    EXPECT_EQ(plain.source.words, same.source.words);
    EXPECT_EQ(plain.destination.words, same.destination.words);
  }
}

TEST(ParseAddresses, RefusesAHeaderCutAtAnyByte) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    const Bytes header = ip_header(source, source);
    for (std::size_t length = 0; length < header.size(); ++length) {
      /* Exactly as long as that, so that AddressSanitizer sees a read past the end. */
      const Bytes cut(header.begin(), header.begin() + static_cast<long>(length));
      EXPECT_FALSE(parse_addresses(packet(test::hw_protocol_of(source), cut)).valid) << length;
    }
  }
}

TEST(ParseAddresses, RefusesAVersionThatIsNotThatOfTheFrame) {
  for (unsigned version = 0; version < 16; ++version) {
    Bytes header(40, 0x11);
    header[0] = static_cast<unsigned char>(version << 4 | 5);
    EXPECT_EQ(parse_addresses(packet(ETH_P_IP, header)).valid, version == 4);
    EXPECT_EQ(parse_addresses(packet(ETH_P_IPV6, header)).valid, version == 6);
  }
}

TEST(ParseAddresses, RefusesWhatIsNotIp) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    const Bytes header = ip_header(source, source);
    for (const int protocol : {0, ETH_P_ARP, ETH_P_8021Q, ETH_P_PPP_SES, 0x0008, 0xffff}) {
      EXPECT_FALSE(parse_addresses(packet(static_cast<std::uint16_t>(protocol), header)).valid);
    }
  }
}

TEST(ParseAddresses, RefusesAPacketWithoutPayload) {
  EXPECT_FALSE(parse_addresses(packet(ETH_P_IP, {})).valid);
  EXPECT_FALSE(parse_addresses({}).valid);
}

struct Destination {
  const char* address;
  bool multicast;
};

constexpr Destination kDestinations[] = {
    {"223.255.255.255", false}, {"224.0.0.0", true},       {"224.0.0.1", true},
    {"239.255.255.255", true},  {"240.0.0.0", false},      {"255.255.255.255", false},
    {"10.0.0.255", false},      {"0.0.0.0", false},        {"ff00::", true},
    {"ff02::1", true},          {"ff0e:1:2:3::4", true},   {"ffff::", true},
    {"feff::1", false},         {"2001:db8::ff02", false}, {"::", false},
};

TEST(ParseAddresses, TellsMulticastDestinationsFromAllOthers) {
  for (const Destination& row : kDestinations) {
    const char* source = test::hw_protocol_of(row.address) == ETH_P_IP ? "10.0.0.1" : "fd00::1";
    const Bytes header = ip_header(source, row.address);
    const Addresses addresses = parse_addresses(packet(test::hw_protocol_of(row.address), header));
    EXPECT_EQ(addresses.destination_is_multicast, row.multicast) << row.address;
  }
}

TEST(ParseAddresses, DoesNotTakeAMulticastSourceForADestination) {
  const Bytes header = ip_header("224.0.0.1", "10.0.0.1");
  EXPECT_FALSE(parse_addresses(packet(ETH_P_IP, header)).destination_is_multicast);
}

}  // namespace
}  // namespace nfqc
