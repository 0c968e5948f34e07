/* The policy clusterip, against what the target CLUSTERIP of Linux 6.1 decided. */
#include "core/clusterip.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "core/decide.h"
#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;

constexpr std::uint32_t kInterface = 7;

const std::map<std::string, HashMode> kModes{
    {"sourceip", HashMode::kSourceIp},
    {"sourceip-sourceport", HashMode::kSourceIpSourcePort},
    {"sourceip-sourceport-destport", HashMode::kSourceIpSourcePortDestPort}};

Bytes be16(std::uint32_t value) {
  return {static_cast<unsigned char>(value >> 8), static_cast<unsigned char>(value)};
}

/** Two ports, and something behind them. */
Bytes ports(std::uint32_t source, std::uint32_t destination) {
  Bytes bytes = be16(source);
  test::append(bytes, be16(destination));
  bytes.resize(12, 0xee);
  return bytes;
}

struct Shape {
  std::size_t options = 0;     ///< bytes of IP options, a multiple of 4
  std::uint32_t fragment = 0;  ///< flags and offset
};

Bytes ipv4(const std::string& source, const std::string& destination, unsigned protocol,
           const Bytes& payload, Shape shape = {}) {
  Bytes packet = test::ip_header(source, destination);
  packet[0] = static_cast<unsigned char>(0x45 + shape.options / 4);
  packet[6] = static_cast<unsigned char>(shape.fragment >> 8);
  packet[7] = static_cast<unsigned char>(shape.fragment);
  packet[9] = static_cast<unsigned char>(protocol);
  packet.resize(20 + shape.options, 1); /* NOP */
  test::append(packet, payload);
  return packet;
}

Bytes icmp(unsigned type, const Bytes& about) {
  Bytes message(8);
  message[0] = static_cast<unsigned char>(type);
  test::append(message, about);
  return message;
}

DecisionConfig config_for(HashMode mode, std::uint32_t total, std::uint32_t init) {
  DecisionConfig config;
  config.hashing = {Policy::kClusterip, init, total, mode};
  config.interfaces[0] = {kInterface, KeyField::kSource};
  config.interface_count = 1;
  return config;
}

Packet packet_of(const Bytes& bytes, std::uint32_t mark = 0) {
  Packet packet;
  packet.hw_protocol = ETH_P_IP;
  packet.ifindex_in = kInterface;
  packet.mark = mark;
  packet.payload = bytes.data();
  packet.payload_length = static_cast<std::uint32_t>(bytes.size());
  return packet;
}

Ownership everything() {
  Ownership all;
  for (std::uint32_t i = 0; i < kMaxBuckets; ++i) all.add(i);
  return all;
}

/** 0 if the packet cannot be read. */
std::uint32_t node_of(const DecisionConfig& config, const Bytes& bytes) {
  return decide(config, everything(), 0, packet_of(bytes)).bucket + 1;
}

/** All of a column's cells in a row of a file of comma-separated values. */
std::vector<std::string> cells(const std::string& row) {
  std::vector<std::string> result;
  std::istringstream stream(row);
  for (std::string cell; std::getline(stream, cell, ',');) result.push_back(cell);
  return result;
}

/** The payload that the recording's README describes. */
Bytes recorded_payload(unsigned protocol, std::uint32_t sport, std::uint32_t dport) {
  if (protocol == IPPROTO_ICMP) return icmp(8, ports(sport, dport));
  if (protocol != IPPROTO_AH) return ports(sport, dport);
  Bytes payload(4, 0x33);
  test::append(payload, ports(sport, dport));
  return payload;
}

TEST(Clusterip, DecidesEveryPacketAsLinux61Did) {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "../vectors/clusterip-6.1.csv";
  std::ifstream rows(path);
  std::string row;
  std::getline(rows, row);
  ASSERT_EQ(row, "hashmode,total,init,proto,src,sport,dport,node");
  int count = 0;
  while (std::getline(rows, row)) {
    const std::vector<std::string> cell = cells(row);
    const auto number = [&](std::size_t at) {
      return static_cast<std::uint32_t>(std::stoul(cell.at(at)));
    };
    const DecisionConfig config = config_for(kModes.at(cell.at(0)), number(1), number(2));
    const Bytes payload = recorded_payload(number(3), number(5), number(6));
    ASSERT_EQ(node_of(config, ipv4(cell.at(4), "10.0.0.100", number(3), payload)), number(7))
        << row;
    ++count;
  }
  EXPECT_EQ(count, 8640);
}

/* Of 7 nodes, by source and ports: node 2 with the ports 1111 and 2222, node 7 without. */
class OddPackets : public testing::Test {
 protected:
  static std::uint32_t node(unsigned protocol, const Bytes& payload, Shape shape = {}) {
    const DecisionConfig config = config_for(HashMode::kSourceIpSourcePortDestPort, 7, 0);
    return node_of(config, ipv4("198.51.100.77", "10.0.0.100", protocol, payload, shape));
  }
  static Bytes cut(Bytes bytes, std::size_t length) {
    bytes.resize(length);
    return bytes;
  }
  static Bytes ah() { return recorded_payload(IPPROTO_AH, 1111, 2222); }
};

TEST_F(OddPackets, WithIpOptionsHavePortsBehindThem) {
  for (std::size_t options = 0; options <= 40; options += 4) {
    EXPECT_EQ(node(IPPROTO_UDP, ports(1111, 2222), {.options = options}), 2U) << options;
  }
}

TEST_F(OddPackets, OfEspHavePortsFromFourBytesOn) {
  for (const std::size_t length : {0U, 1U, 2U, 3U}) {
    EXPECT_EQ(node(IPPROTO_ESP, cut(ports(1111, 2222), length)), 7U) << length;
  }
  for (const std::size_t length : {4U, 8U}) {
    EXPECT_EQ(node(IPPROTO_ESP, cut(ports(1111, 2222), length)), 2U) << length;
  }
}

TEST_F(OddPackets, OfAhHavePortsFromEightBytesOn) {
  for (const std::size_t length : {0U, 4U, 7U}) EXPECT_EQ(node(IPPROTO_AH, cut(ah(), length)), 7U);
  for (const std::size_t length : {8U, 12U}) EXPECT_EQ(node(IPPROTO_AH, cut(ah(), length)), 2U);
}

TEST_F(OddPackets, OfEveryOtherProtocolHaveNoPorts) {
  for (unsigned protocol = 0; protocol < 256; ++protocol) {
    const bool ported = port_offset(static_cast<std::uint8_t>(protocol)) == 0;
    if (protocol == IPPROTO_AH || protocol == IPPROTO_ICMP) continue;
    EXPECT_EQ(node(protocol, ports(1111, 2222)), ported ? 2U : 7U) << protocol;
  }
  for (const unsigned protocol : {6U, 17U, 33U, 50U, 132U, 136U}) {
    EXPECT_EQ(port_offset(static_cast<std::uint8_t>(protocol)), 0) << protocol;
  }
}

TEST_F(OddPackets, ThatAreLaterFragmentsHaveNoPorts) {
  EXPECT_EQ(node(IPPROTO_UDP, ports(1111, 2222), {.fragment = 0x2000}), 2U) << "the first";
  EXPECT_EQ(node(IPPROTO_UDP, ports(1111, 2222), {.fragment = 0x4000}), 2U) << "don't fragment";
  for (const std::uint32_t offset : {1U, 0xffU, 0x100U, 0x1000U, 0x3fffU}) {
    EXPECT_EQ(node(IPPROTO_UDP, ports(1111, 2222), {.fragment = offset}), 7U) << offset;
  }
}

TEST(Clusterip, CannotReadWhatIsNoIpv4) {
  const DecisionConfig config = config_for(HashMode::kSourceIp, 1, 0);
  const auto outcome = [&](const Bytes& bytes, std::uint16_t hw_protocol) {
    Packet packet = packet_of(bytes);
    packet.hw_protocol = hw_protocol;
    return decide(config, everything(), 0, packet).outcome;
  };
  const Bytes whole = ipv4("10.0.0.1", "10.0.0.2", IPPROTO_UDP, ports(1, 2));
  EXPECT_EQ(outcome(whole, ETH_P_IP), Outcome::kOwned);
  EXPECT_EQ(outcome(whole, ETH_P_IPV6), Outcome::kMalformed);
  EXPECT_EQ(outcome(test::ip_header("2001:db8::1", "2001:db8::2"), ETH_P_IPV6),
            Outcome::kMalformed);
  for (std::size_t length = 0; length < 20; ++length) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
    EXPECT_EQ(outcome(cut, ETH_P_IP), Outcome::kMalformed) << length;
  }
  Bytes short_header = whole;
  short_header[0] = 0x44;
  EXPECT_EQ(outcome(short_header, ETH_P_IP), Outcome::kMalformed);
}

/* A node sent 10.0.0.100:80 → 10.0.0.1:4000, and a router says that it did not arrive. */
class IcmpErrors : public testing::Test {
 protected:
  static constexpr unsigned kErrors[] = {3, 4, 5, 11, 12};
  static Bytes sent() { return ipv4("10.0.0.100", "10.0.0.1", IPPROTO_TCP, ports(80, 4000)); }
  static Bytes error(unsigned type, const Bytes& about) {
    return ipv4("203.0.113.9", "10.0.0.100", IPPROTO_ICMP, icmp(type, about));
  }
  static DecisionConfig config() {
    return config_for(HashMode::kSourceIpSourcePortDestPort, 1000, 0);
  }
};

TEST_F(IcmpErrors, AreForTheNodeOfTheFlowThatTheyAreAbout) {
  const Bytes from_client = ipv4("10.0.0.1", "10.0.0.100", IPPROTO_TCP, ports(4000, 80));
  const std::uint32_t node = node_of(config(), from_client);
  for (const unsigned type : kErrors) {
    EXPECT_EQ(node_of(config(), error(type, sent())), node) << type;
  }
  const Bytes from_router = ipv4("203.0.113.9", "10.0.0.100", IPPROTO_TCP, {});
  ASSERT_NE(node, node_of(config(), from_router));
  for (const unsigned type : {0U, 8U, 13U, 17U}) {
    EXPECT_EQ(node_of(config(), error(type, sent())), node_of(config(), from_router)) << type;
  }
}

TEST_F(IcmpErrors, AreForTheSameNodeOnTheInsideOfAGateway) {
  DecisionConfig inside = config();
  inside.interfaces[0].field = KeyField::kDestination;
  const Bytes to_client = sent();
  const Bytes from_client = ipv4("10.0.0.1", "10.0.0.100", IPPROTO_TCP, ports(4000, 80));
  const std::uint32_t node = node_of(config(), from_client);
  EXPECT_EQ(node_of(inside, to_client), node);
  EXPECT_EQ(node_of(inside, ipv4("10.0.0.100", "10.0.0.1", IPPROTO_ICMP, icmp(3, from_client))),
            node);
}

TEST_F(IcmpErrors, AreReadWithinTheBytesThatAreCopied) {
  const Bytes about = ipv4("10.0.0.100", "10.0.0.1", IPPROTO_AH,
                           recorded_payload(IPPROTO_AH, 80, 4000), {.options = 40});
  Bytes longest = ipv4("203.0.113.9", "10.0.0.100", IPPROTO_ICMP, icmp(3, about), {.options = 40});
  const std::uint32_t node = node_of(config(), longest);
  longest.resize(kClusteripCopyRange);
  EXPECT_EQ(node_of(config(), longest), node);
  longest.resize(kClusteripCopyRange - 1);
  EXPECT_NE(node_of(config(), longest), node);
}

TEST_F(IcmpErrors, ThatAreCutShortAreForNobody) {
  const Bytes whole = error(3, sent());
  for (const bool strict : {false, true}) {
    DecisionConfig cutting = config();
    cutting.strict = strict;
    for (std::size_t length = 21; length < 48; ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
      const Decision decision = decide(cutting, everything(), 0, packet_of(cut));
      EXPECT_EQ(decision.outcome, Outcome::kMalformed) << length;
      EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_DROP));
    }
  }
}

TEST_F(IcmpErrors, StrictlyAreForEveryNodeAndKeepTheirPktType) {
  DecisionConfig strict = config();
  strict.strict = true;
  strict.marks.multicast = 0x4000'0000;
  strict.marks.bucket_mask = 0x03ff'0000;
  for (const unsigned type : kErrors) {
    const Bytes bytes = error(type, sent());
    const Decision decision = decide(strict, {}, 0, packet_of(bytes, 0x4000'0005));
    EXPECT_EQ(decision.outcome, Outcome::kOwned);
    EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_ACCEPT));
    EXPECT_EQ(decision.bucket, kNoBucket);
    EXPECT_FALSE(decision.fixup);
    EXPECT_EQ(decision.mark, 5U);
  }
}

TEST(Clusterip, FixesThePktTypeOfEveryOwnedPacketAndNoOther) {
  DecisionConfig config = config_for(HashMode::kSourceIp, 2, 0);
  config.marks.multicast = 0x4000'0000;
  for (const Action action : {Action::kDrop, Action::kMark}) {
    config.action = action;
    for (const char* destination : {"10.0.0.100", "255.255.255.255", "224.0.0.5"}) {
      const Bytes bytes = ipv4("10.0.0.1", destination, IPPROTO_UDP, ports(1, 2));
      EXPECT_TRUE(decide(config, everything(), 0, packet_of(bytes, 0x4000'0000)).fixup);
      EXPECT_FALSE(decide(config, everything(), 0, packet_of(bytes)).fixup);
      EXPECT_FALSE(decide(config, {}, 0, packet_of(bytes, 0x4000'0000)).fixup);
    }
  }
}

TEST(Clusterip, NamesTheNodeInTheMark) {
  DecisionConfig config = config_for(HashMode::kSourceIpSourcePort, 1023, 0);
  config.action = Action::kMark;
  for (const std::uint32_t mask : {0x0000'03ffU, 0x03ff'0000U, 0xffc0'0000U}) {
    config.marks.bucket_mask = mask;
    config.marks.for_rules = true;
    for (std::uint32_t port = 0; port < 3000; ++port) {
      const Bytes bytes = ipv4("10.0.0.1", "10.0.0.100", IPPROTO_UDP, ports(port, 2));
      for (const Ownership& ownership : {everything(), Ownership{}}) {
        const Decision decision = decide(config, ownership, 0, packet_of(bytes, ~0U));
        ASSERT_EQ((decision.mark & mask) / (mask & -mask), decision.bucket + 1);
        ASSERT_EQ(decision.mark | mask, ~0U) << "the other bits are the user's";
      }
    }
  }
}

}  // namespace
}  // namespace nfqc
