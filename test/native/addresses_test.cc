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

TEST(FindAddresses, ReadsThoseOfAnIpv4Header) {
  const Bytes header = ip_header("10.0.0.1", "192.0.2.77");
  const Addresses addresses = find_addresses(packet(ETH_P_IP, header));
  EXPECT_TRUE(addresses.valid());
  EXPECT_EQ(addresses.source_key().count, 1);
  EXPECT_EQ(addresses.source_key().words, key("10.0.0.1").words);
  EXPECT_EQ(addresses.destination_key().words, key("192.0.2.77").words);
}

TEST(FindAddresses, ReadsThoseOfAnIpv6Header) {
  const Bytes header = ip_header("2001:db8::1", "fd00:1:2:3:4:5:6:7");
  const Addresses addresses = find_addresses(packet(ETH_P_IPV6, header));
  EXPECT_TRUE(addresses.valid());
  EXPECT_EQ(addresses.source_key().count, 4);
  EXPECT_EQ(addresses.source_key().words, key("2001:db8::1").words);
  EXPECT_EQ(addresses.destination_key().words, key("fd00:1:2:3:4:5:6:7").words);
}

TEST(FindAddresses, DoesNotReadBehindTheHeader) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    const Bytes header = ip_header(source, source);
    Bytes longer = header;
    longer.resize(1500, 0xff);
    const Addresses plain = find_addresses(packet(test::hw_protocol_of(source), header));
    const Addresses same = find_addresses(packet(test::hw_protocol_of(source), longer));
    EXPECT_EQ(plain.source_key().words, same.source_key().words);
    EXPECT_EQ(plain.destination_key().words, same.destination_key().words);
  }
}

TEST(FindAddresses, RefusesAHeaderCutAtAnyByte) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    const Bytes header = ip_header(source, source);
    for (std::size_t length = 0; length < header.size(); ++length) {
      /* Exactly as long as that, so that AddressSanitizer sees a read past the end. */
      const Bytes cut(header.begin(), header.begin() + static_cast<long>(length));
      EXPECT_FALSE(find_addresses(packet(test::hw_protocol_of(source), cut)).valid()) << length;
    }
  }
}

TEST(FindAddresses, RefusesAVersionThatIsNotThatOfTheFrame) {
  for (unsigned version = 0; version < 16; ++version) {
    Bytes header(40, 0x11);
    header[0] = static_cast<unsigned char>(version << 4 | 5);
    EXPECT_EQ(find_addresses(packet(ETH_P_IP, header)).valid(), version == 4);
    EXPECT_EQ(find_addresses(packet(ETH_P_IPV6, header)).valid(), version == 6);
  }
}

TEST(FindAddresses, RefusesWhatIsNotIp) {
  for (const char* source : {"10.0.0.1", "2001:db8::1"}) {
    const Bytes header = ip_header(source, source);
    for (const int protocol : {0, ETH_P_ARP, ETH_P_8021Q, ETH_P_PPP_SES, 0x0008, 0xffff}) {
      EXPECT_FALSE(find_addresses(packet(static_cast<std::uint16_t>(protocol), header)).valid());
    }
  }
}

TEST(FindAddresses, RefusesAPacketWithoutPayload) {
  EXPECT_FALSE(find_addresses(packet(ETH_P_IP, {})).valid());
  EXPECT_FALSE(find_addresses({}).valid());
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

TEST(FindAddresses, TellsMulticastDestinationsFromAllOthers) {
  for (const Destination& row : kDestinations) {
    const char* source = test::hw_protocol_of(row.address) == ETH_P_IP ? "10.0.0.1" : "fd00::1";
    const Bytes header = ip_header(source, row.address);
    const Addresses addresses = find_addresses(packet(test::hw_protocol_of(row.address), header));
    EXPECT_EQ(addresses.destination_is_multicast(), row.multicast) << row.address;
  }
}

TEST(FindAddresses, DoesNotTakeAMulticastSourceForADestination) {
  const Bytes header = ip_header("224.0.0.1", "10.0.0.1");
  EXPECT_FALSE(find_addresses(packet(ETH_P_IP, header)).destination_is_multicast());
}

}  // namespace
}  // namespace nfqc
