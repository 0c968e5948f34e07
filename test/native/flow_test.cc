#include "core/flow.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <memory>

#include "core/expectation_table.h"
#include "core/flow_table.h"
#include "recorded.h"

namespace nfqc {
namespace {

using test::Bytes;
using test::key;

/** A packet together with the bytes that it points at. */
struct Made {
  Bytes bytes;
  Packet packet;
  explicit Made(Bytes content) : bytes(std::move(content)) {
    packet.payload = bytes.data();
    packet.payload_length = static_cast<std::uint32_t>(bytes.size());
    packet.hw_protocol = bytes[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6;
  }
};

Bytes ip(const std::string& source, const std::string& destination, std::uint8_t protocol,
         const Bytes& payload) {
  Bytes bytes = test::ip_header(source, destination);
  bytes[bytes[0] >> 4 == 4 ? 9 : 6] = protocol;
  test::append(bytes, payload);
  return bytes;
}

Bytes ports(std::uint16_t source, std::uint16_t destination) {
  const auto high = [](std::uint16_t value) { return static_cast<unsigned char>(value >> 8); };
  const auto low = [](std::uint16_t value) { return static_cast<unsigned char>(value); };
  return {high(source), low(source), high(destination), low(destination), 0, 0, 0, 0};
}

Tuple tuple(const std::string& source, const std::string& destination, std::uint8_t protocol,
            std::uint16_t source_port, std::uint16_t destination_port) {
  return {key(source), key(destination), protocol, source_port, destination_port};
}

TEST(FlowOf, IsThePacketsOwnTuple) {
  for (const int number : {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_UDPLITE}) {
    const auto protocol = static_cast<std::uint8_t>(number);
    const Made v4(ip("10.0.0.1", "10.0.0.2", protocol, ports(1000, 53)));
    EXPECT_EQ(flow_of(v4.packet).tuple, tuple("10.0.0.1", "10.0.0.2", protocol, 1000, 53));
    const Made v6(ip("2001:db8::1", "2001:db8::2", protocol, ports(1000, 53)));
    EXPECT_EQ(flow_of(v6.packet).tuple, tuple("2001:db8::1", "2001:db8::2", protocol, 1000, 53));
    EXPECT_FALSE(flow_of(v6.packet).error);
  }
  const Made esp(ip("10.0.0.1", "10.0.0.2", IPPROTO_ESP, ports(1, 2)));
  EXPECT_EQ(flow_of(esp.packet).tuple, tuple("10.0.0.1", "10.0.0.2", IPPROTO_ESP, 0, 0));
}

TEST(FlowOf, IsBehindOptionsAndExtensions) {
  Bytes options = ip("10.0.0.1", "10.0.0.2", IPPROTO_UDP, {});
  options[0] = 0x47;
  test::append(options, Bytes(8, 1));
  test::append(options, ports(5, 6));
  EXPECT_EQ(flow_of(Made(options).packet).tuple, tuple("10.0.0.1", "10.0.0.2", IPPROTO_UDP, 5, 6));

  Bytes payload{IPPROTO_DSTOPTS, 1};
  payload.resize(16);
  test::append(payload, {IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 0});
  test::append(payload, ports(5, 6));
  EXPECT_EQ(flow_of(Made(ip("2001:db8::1", "2001:db8::2", IPPROTO_HOPOPTS, payload)).packet).tuple,
            tuple("2001:db8::1", "2001:db8::2", IPPROTO_UDP, 5, 6));
}

/** The first fragment of a UDP packet: more of it follows. */
Bytes first_fragment(const std::string& source, const std::string& destination) {
  if (source.find(':') == std::string::npos) {
    Bytes fragment = ip(source, destination, IPPROTO_UDP, ports(1000, 53));
    fragment[6] = 0x60; /* more fragments, and do not fragment */
    return fragment;
  }
  Bytes payload{IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 7};
  test::append(payload, ports(1000, 53));
  return ip(source, destination, IPPROTO_FRAGMENT, payload);
}

TEST(FlowOf, OnlyTheFirstFragmentTells) {
  const Bytes first = first_fragment("10.0.0.1", "10.0.0.2");
  EXPECT_EQ(flow_of(Made(first).packet).tuple,
            tuple("10.0.0.1", "10.0.0.2", IPPROTO_UDP, 1000, 53));
  Bytes later = first;
  later[7] = 1;
  EXPECT_FALSE(flow_of(Made(later).packet).tuple.valid());

  const Bytes first6 = first_fragment("2001:db8::1", "2001:db8::2");
  EXPECT_EQ(flow_of(Made(first6).packet).tuple,
            tuple("2001:db8::1", "2001:db8::2", IPPROTO_UDP, 1000, 53));
  Bytes later6 = first6;
  later6[43] = 9; /* an offset of 8 bytes */
  EXPECT_FALSE(flow_of(Made(later6).packet).tuple.valid());
}

TEST(FlowOf, AnIcmpErrorMayQuoteAFirstFragment) {
  Bytes message{3, 4, 0, 0, 0, 0, 5, 0};
  test::append(message, first_fragment("10.0.0.1", "192.0.2.9"));
  EXPECT_EQ(flow_of(Made(ip("192.0.2.1", "10.0.0.1", IPPROTO_ICMP, message)).packet).tuple,
            tuple("192.0.2.9", "10.0.0.1", IPPROTO_UDP, 53, 1000));

  Bytes too_big{2, 0, 0, 0, 0, 0, 5, 0};
  test::append(too_big, first_fragment("2001:db8::1", "2001:db8::9"));
  const Made made(ip("2001:db8::5", "2001:db8::1", IPPROTO_ICMPV6, too_big));
  EXPECT_TRUE(flow_of(made.packet).error);
  EXPECT_EQ(flow_of(made.packet).tuple, tuple("2001:db8::9", "2001:db8::1", IPPROTO_UDP, 53, 1000));
}

TEST(FlowOf, AnIcmpErrorIsThatOfTheAnswersToTheLostPacket) {
  Bytes message{3, 3, 0, 0, 0, 0, 0, 0};
  test::append(message, ip("10.0.0.1", "192.0.2.9", IPPROTO_UDP, ports(1000, 53)));
  const Made made(ip("192.0.2.1", "10.0.0.1", IPPROTO_ICMP, message));
  EXPECT_TRUE(flow_of(made.packet).error);
  EXPECT_EQ(flow_of(made.packet).tuple, tuple("192.0.2.9", "10.0.0.1", IPPROTO_UDP, 53, 1000));

  Bytes message6{1, 4, 0, 0, 0, 0, 0, 0};
  test::append(message6,
               ip("2001:db8::1", "2001:db8::9", IPPROTO_ICMPV6, {128, 0, 0, 0, 0, 7, 0, 1}));
  const Made made6(ip("2001:db8::5", "2001:db8::1", IPPROTO_ICMPV6, message6));
  EXPECT_TRUE(flow_of(made6.packet).error);
  EXPECT_EQ(flow_of(made6.packet).tuple,
            tuple("2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6, 7, 129 << 8));
}

/* As conntrack: whatever is no informational message is an error. */
TEST(FlowOf, AnIcmpv6ErrorIsOfAnyKindBelow128) {
  for (const int type : {0, 1, 4, 5, 100, 127}) {
    Bytes message{static_cast<unsigned char>(type), 0, 0, 0, 0, 0, 0, 0};
    test::append(message, ip("2001:db8::1", "2001:db8::9", IPPROTO_UDP, ports(1000, 53)));
    const Made made(ip("2001:db8::5", "2001:db8::1", IPPROTO_ICMPV6, message));
    EXPECT_TRUE(flow_of(made.packet).error) << type;
    EXPECT_EQ(flow_of(made.packet).tuple,
              tuple("2001:db8::9", "2001:db8::1", IPPROTO_UDP, 53, 1000));
  }
}

TEST(FlowOf, PptpsGreHasOneKey) {
  const Bytes version_1{0x20, 0x01, 0x88, 0x0b, 0, 0, 0x12, 0x34};
  const Made pptp(ip("10.0.0.1", "10.0.0.2", IPPROTO_GRE, version_1));
  EXPECT_EQ(flow_of(pptp.packet).tuple, tuple("10.0.0.1", "10.0.0.2", IPPROTO_GRE, 0, 0x1234));
  const Bytes version_0{0x20, 0x00, 0x08, 0x00, 0, 0, 0x12, 0x34};
  const Made plain(ip("10.0.0.1", "10.0.0.2", IPPROTO_GRE, version_0));
  EXPECT_EQ(flow_of(plain.packet).tuple, tuple("10.0.0.1", "10.0.0.2", IPPROTO_GRE, 0, 0));
}

TEST(FlowOf, TellsTcpsResets) {
  Bytes segment = ports(1000, 80);
  segment.resize(20);
  for (const int flags : {0x02, 0x04, 0x10, 0x14}) {
    segment[13] = static_cast<unsigned char>(flags);
    const Made tcp(ip("10.0.0.1", "10.0.0.2", IPPROTO_TCP, segment));
    EXPECT_EQ(flow_of(tcp.packet).reset, (flags & 4) != 0) << flags;
    EXPECT_FALSE(flow_of(Made(ip("10.0.0.1", "10.0.0.2", IPPROTO_UDP, segment)).packet).reset);
  }
}

TEST(FlowOf, APingsIdAndTypeAreItsPorts) {
  const Made made(ip("10.0.0.1", "10.0.0.2", IPPROTO_ICMP, {0, 0, 0, 0, 0x12, 0x34, 0, 1}));
  EXPECT_EQ(flow_of(made.packet).tuple, tuple("10.0.0.1", "10.0.0.2", IPPROTO_ICMP, 0x1234, 0));
}

TEST(FlowOf, CutAnywhereIsNoneAndNeverReadBeyond) {
  Bytes message{3, 3, 0, 0, 0, 0, 0, 0};
  test::append(message, ip("10.0.0.1", "192.0.2.9", IPPROTO_TCP, ports(1000, 53)));
  const Bytes whole = ip("192.0.2.1", "10.0.0.1", IPPROTO_ICMP, message);
  const std::size_t enough = whole.size() - 4;
  for (std::size_t length = 1; length < enough; ++length) {
    /* A copy of just this length, so that a sanitizer sees a read beyond it. */
    const Made cut(Bytes(whole.begin(), whole.begin() + static_cast<long>(length)));
    EXPECT_FALSE(flow_of(cut.packet).tuple.valid()) << length;
  }
}

/* Every recorded packet, against the connection that its kernel said it belongs to. */
TEST(FlowOf, IsADirectionOfTheRecordedConnection) {
  int checked = 0;
  for (const test::Recorded& recorded : test::received("nfqueue-ct-6.1.hex")) {
    if (!recorded.is_packet()) continue;
    SCOPED_TRACE(recorded.comment);
    const Packet packet = test::parse(recorded.bytes).packet;
    Connection connection;
    if (packet.conntrack == nullptr) continue;
    ASSERT_TRUE(parse_connection(packet.conntrack, packet.conntrack_length, connection));
    const Flow flow = flow_of(packet);
    /* GRE's keys, and what a NAT before the queue had changed already, are not in the packet. */
    const bool exempt = connection.original.protocol == IPPROTO_GRE || !flow.tuple.valid() ||
                        recorded.comment.find("dnat") != std::string::npos;
    if (exempt) continue;
    const Tuple reply = test::reply_of(packet.conntrack, packet.conntrack_length);
    EXPECT_TRUE(flow.tuple == connection.original || flow.tuple == reply);
    ++checked;
  }
  EXPECT_GT(checked, 300);
}

TEST(FlowTable, KnowsAFlowUntilItsTimeIsOver) {
  FlowTable table(1);
  const Tuple one = tuple("10.0.0.1", "10.0.0.2", 6, 1, 2);
  table.put(one, key("192.0.2.1"), 100);
  ASSERT_NE(table.find(one, 99), nullptr);
  EXPECT_EQ(*table.find(one, 99), key("192.0.2.1"));
  EXPECT_EQ(table.find(one, 100), nullptr);
  EXPECT_EQ(table.find(tuple("10.0.0.1", "10.0.0.2", 17, 1, 2), 99), nullptr);
  table.put(one, key("192.0.2.2"), 200);
  EXPECT_EQ(*table.find(one, 150), key("192.0.2.2"));
}

/* So that whoever makes it says where all of it lies. */
TEST(FlowTable, IsInOnePiece) {
  const auto table = std::make_unique<FlowTable>(1);
  const Tuple one = tuple("10.0.0.1", "10.0.0.2", 6, 1, 2);
  table->put(one, key("192.0.2.1"), 100);
  const void* const start = table.get();
  const void* const end = table.get() + 1;
  const void* const found = table->find(one, 99);
  EXPECT_TRUE(found >= start && found < end);
}

TEST(FlowTable, IsBoundedAndForgetsOnlyWhatItMust) {
  FlowTable table(1);
  constexpr unsigned kFlows = 3 * FlowTable::kSets * FlowTable::kWays;
  const auto flow = [](unsigned i) {
    Tuple made = tuple("10.0.0.1", "10.0.0.2", 6, 1, 2);
    made.source.words[0] = i;
    return made;
  };
  for (unsigned i = 0; i < kFlows; ++i) table.put(flow(i), flow(i).source, 1000 + i);
  unsigned known = 0;
  for (unsigned i = 0; i < kFlows; ++i) {
    const Key* found = table.find(flow(i), 1);
    if (found == nullptr) continue;
    EXPECT_EQ(*found, flow(i).source);
    ++known;
  }
  EXPECT_LE(known, FlowTable::kSets * FlowTable::kWays);
  EXPECT_GT(known, FlowTable::kSets * FlowTable::kWays * 9 / 10);
  EXPECT_NE(table.find(flow(kFlows - 1), 1), nullptr);
}

/** As FTP's helper makes it: from any port of an address, to one port. */
Expectation awaited(const std::string& source, std::uint16_t port, const std::string& master) {
  Expectation expectation;
  expectation.tuple = tuple(source, "10.0.0.2", 6, 0, port);
  expectation.mask = {key("255.255.255.255"), key("0.0.0.0"), 6, 0, 0};
  expectation.master = tuple(master, "10.0.0.2", 6, 1000, 21);
  expectation.timeout_s = 10;
  return expectation;
}

TEST(ExpectationTable, MatchesByMaskOfTheSourceAndExactlyByTheDestination) {
  ExpectationTable table(1);
  table.add(awaited("10.0.0.1", 4000, "10.0.0.9"), 0);
  const auto found = [&table](const Tuple& packet) { return table.find(packet, 1) != nullptr; };
  EXPECT_TRUE(found(tuple("10.0.0.1", "10.0.0.2", 6, 1, 4000)));
  EXPECT_TRUE(found(tuple("10.0.0.1", "10.0.0.2", 6, 65535, 4000)));
  EXPECT_FALSE(found(tuple("10.0.0.3", "10.0.0.2", 6, 1, 4000)));
  EXPECT_FALSE(found(tuple("10.0.0.1", "10.0.0.3", 6, 1, 4000)));
  EXPECT_FALSE(found(tuple("10.0.0.1", "10.0.0.2", 6, 1, 4001)));
  EXPECT_FALSE(found(tuple("10.0.0.1", "10.0.0.2", 17, 1, 4000)));
  EXPECT_FALSE(found(tuple("2001:db8::1", "2001:db8::2", 6, 1, 4000)));
}

TEST(ExpectationTable, KeepsAnEndedOneForAWhileAndTheNewestFirst) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  ExpectationTable table(1);
  const Tuple packet = tuple("10.0.0.1", "10.0.0.2", 6, 1, 4000);
  const Expectation first = awaited("10.0.0.1", 4000, "10.0.0.8");
  table.add(first, 0);
  table.end(first, kSecond);
  EXPECT_NE(table.find(packet, kSecond + ExpectationTable::kLingerNs - 1), nullptr);
  EXPECT_EQ(table.find(packet, kSecond + ExpectationTable::kLingerNs), nullptr);
  table.add(awaited("10.0.0.1", 4000, "10.0.0.9"), 2 * kSecond);
  ASSERT_NE(table.find(packet, 3 * kSecond), nullptr);
  EXPECT_EQ(table.find(packet, 3 * kSecond)->master.source, key("10.0.0.9"));
  EXPECT_EQ(table.held(3 * kSecond), 2U);
  const std::uint64_t over = 2 * kSecond + 10 * kSecond + ExpectationTable::kLingerNs;
  EXPECT_EQ(table.find(packet, over), nullptr);
  EXPECT_EQ(table.held(over), 0U);
}

TEST(ExpectationTable, KeepsAPermanentOneUntilItsEndOrALoss) {
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  const Tuple packet = tuple("10.0.0.1", "10.0.0.2", 6, 1, 4000);
  Expectation permanent = awaited("10.0.0.1", 4000, "10.0.0.8");
  permanent.permanent = true;
  for (const bool heard : {true, false}) {
    ExpectationTable table(1);
    table.add(permanent, 0);
    EXPECT_NE(table.find(packet, kHour), nullptr);
    heard ? table.end(permanent, kHour) : table.end_permanent(kHour);
    EXPECT_NE(table.find(packet, kHour + ExpectationTable::kLingerNs - 1), nullptr);
    EXPECT_EQ(table.find(packet, kHour + ExpectationTable::kLingerNs), nullptr);
  }
}

TEST(ExpectationTable, ForgetsTheFirstWhenItIsFull) {
  ExpectationTable table(1);
  const auto packet = [](std::uint16_t port) { return tuple("10.0.0.1", "10.0.0.2", 6, 1, port); };
  constexpr std::uint16_t kMore = 100;
  constexpr std::uint16_t kAll = ExpectationTable::kCapacity + kMore;
  for (std::uint16_t port = 0; port < kAll; ++port) {
    table.add(awaited("10.0.0.1", port, "10.0.0.9"), 0);
  }
  for (std::uint16_t port = 0; port < kAll; ++port) {
    ASSERT_EQ(table.find(packet(port), 1) != nullptr, port >= kMore) << port;
  }
  EXPECT_EQ(table.held(1), ExpectationTable::kCapacity);
}

}  // namespace
}  // namespace nfqc
