#include "recorded.h"

#include <gtest/gtest.h>

#include <set>

#include "core/decide.h"
#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;
using test::received;
using test::Recorded;

bool has_attribute(const Recorded& recorded, const std::string& name) {
  return ("," + recorded.fields.at("attrs") + ",").find("," + name + ",") != std::string::npos;
}

void expect_packet(const Recorded& recorded) {
  const Message message = test::parse(recorded.bytes);
  ASSERT_EQ(message.kind, MessageKind::kPacket);
  EXPECT_EQ(message.length, 0U);
  const Packet& packet = message.packet;
  EXPECT_EQ(packet.id, recorded.number("id"));
  EXPECT_EQ(packet.hw_protocol, recorded.number("hwproto"));
  EXPECT_EQ(packet.payload_length, recorded.number("paylen"));
  EXPECT_EQ(packet.mark, recorded.number("mark"));
  EXPECT_EQ(packet.ifindex_in != 0, has_attribute(recorded, "IFINDEX_INDEV"));
  const Addresses addresses = find_addresses(packet);
  ASSERT_EQ(addresses.valid(), !recorded.source.empty());
  if (!addresses.valid()) return;
  EXPECT_EQ(addresses.source_key().words, test::key(recorded.source).words);
  EXPECT_EQ(addresses.destination_key().words, test::key(recorded.destination).words);
  const unsigned first = test::address(recorded.destination)[0];
  const bool v4 = packet.hw_protocol == ETH_P_IP;
  EXPECT_EQ(addresses.destination_is_multicast(), v4 ? first >= 224 && first < 240 : first == 255);
}

class RecordedMessages : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kernels, RecordedMessages,
                         testing::Values("nfqueue-ct-6.1.hex", "nfqueue-noct-6.18.hex"));

TEST_P(RecordedMessages, AreReadAsTheirCommentsSay) {
  int packets = 0;
  int acknowledgements = 0;
  for (const Recorded& recorded : received(GetParam())) {
    SCOPED_TRACE(recorded.comment);
    if (recorded.is_packet()) {
      expect_packet(recorded);
      ++packets;
    } else {
      const Message message = test::parse(recorded.bytes);
      EXPECT_EQ(message.kind, MessageKind::kError);
      EXPECT_EQ(message.error, 0);
      EXPECT_EQ(message.seq, recorded.number("seq"));
      ++acknowledgements;
    }
  }
  EXPECT_EQ(packets, 418);
  EXPECT_EQ(acknowledgements, 20);
}

/** Where the attributes of a whole message end, with and without their padding. */
std::set<std::size_t> attribute_ends(const Bytes& bytes) {
  std::set<std::size_t> ends;
  for (std::size_t at = 20; at + 4 <= bytes.size();) {
    std::uint16_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof size);
    for (std::size_t end = at + size; end <= at + NLA_ALIGN(size); ++end) ends.insert(end);
    at += NLA_ALIGN(size);
  }
  return ends;
}

/* The packet header comes first in every message, so an id can be read from byte 31 on. */
constexpr std::size_t kEndOfId = 31;

TEST_P(RecordedMessages, AreMalformedWhenTheBufferCutsThem) {
  for (const Recorded& recorded : received(GetParam())) {
    SCOPED_TRACE(recorded.comment);
    for (std::size_t length = 0; length < recorded.bytes.size(); ++length) {
      const Bytes cut(recorded.bytes.begin(), recorded.bytes.begin() + static_cast<long>(length));
      const Message message = test::parse(cut);
      ASSERT_EQ(message.kind, MessageKind::kMalformed) << length;
      ASSERT_EQ(message.has_id, recorded.is_packet() && length >= kEndOfId) << length;
      if (message.has_id) {
        ASSERT_EQ(message.packet.id, recorded.number("id"));
      }
    }
  }
}

TEST_P(RecordedMessages, AreReadableOnlyAsFarAsTheirAttributesAreWhole) {
  for (const Recorded& recorded : received(GetParam())) {
    if (!recorded.is_packet()) continue;
    SCOPED_TRACE(recorded.comment);
    const std::set<std::size_t> ends = attribute_ends(recorded.bytes);
    for (std::size_t length = 20; length < recorded.bytes.size(); ++length) {
      Bytes cut(recorded.bytes.begin(), recorded.bytes.begin() + static_cast<long>(length));
      const auto said = static_cast<std::uint32_t>(length);
      std::memcpy(cut.data(), &said, sizeof said);
      const Message message = test::parse(cut);
      const bool whole = length >= kEndOfId && ends.contains(length);
      ASSERT_EQ(message.kind, whole ? MessageKind::kPacket : MessageKind::kMalformed) << length;
      ASSERT_EQ(message.has_id, length >= kEndOfId) << length;
    }
  }
}

TEST_P(RecordedMessages, AreDecidedByTheSourceThatTheirCommentsName) {
  DecisionConfig config;
  config.hashing = {Policy::kJhash, 0xfeedcafe, 5};
  Ownership all;
  for (std::uint32_t bucket = 0; bucket < 5; ++bucket) all.add(bucket);
  for (const Recorded& recorded : received(GetParam())) {
    if (!recorded.is_packet()) continue;
    SCOPED_TRACE(recorded.comment);
    const Message message = test::parse(recorded.bytes);
    config.interfaces[0].ifindex = message.packet.ifindex_in;
    config.interface_count = 1;
    const Decision decision = decide(config, all, 0, message.packet);
    if (recorded.source.empty()) {
      EXPECT_EQ(decision.outcome, Outcome::kMalformed);
    } else {
      EXPECT_EQ(decision.outcome, Outcome::kOwned);
      EXPECT_EQ(decision.bucket, config.hashing.bucket(test::key(recorded.source)));
    }
  }
}

/* By the connection in the message: no packet without one is owned, whatever its own source. */
TEST(RecordedConnectionMessages, AreDecidedByTheKeyOfTheirConnection) {
  DecisionConfig config;
  config.hashing = {Policy::kJhash, 0xfeedcafe, 5};
  config.connections = Connections::kQueue;
  config.interface_count = 1;
  Ownership all;
  for (std::uint32_t bucket = 0; bucket < 5; ++bucket) all.add(bucket);
  int known = 0;
  int unknown = 0;
  for (const Recorded& recorded : received("nfqueue-ct-6.1.hex")) {
    if (!recorded.is_packet() || recorded.source.empty()) continue;
    SCOPED_TRACE(recorded.comment);
    const Packet packet = test::parse(recorded.bytes).packet;
    config.interfaces[0].ifindex = packet.ifindex_in;
    const Decision decision = decide(config, all, 0, packet);
    Connection connection;
    if (packet.conntrack == nullptr) {
      EXPECT_EQ(decision.outcome, Outcome::kUnknown);
      EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_DROP));
      ++unknown;
    } else {
      ASSERT_TRUE(parse_connection(packet.conntrack, packet.conntrack_length, connection));
      const Key& expected =
          connection.master.valid() ? connection.master.source : connection.original.source;
      EXPECT_EQ(decision.outcome, Outcome::kOwned);
      EXPECT_EQ(decision.bucket, config.hashing.bucket(expected));
      ++known;
    }
  }
  EXPECT_EQ(known, 373); /* and 6 that are not IP: of a bridge, with a VLAN's tag */
  EXPECT_GT(unknown, 0);
}

}  // namespace
}  // namespace nfqc
