#include "core/packet.h"

#include <gtest/gtest.h>

#include <climits>

#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;
using test::netlink;
using test::PacketMessage;
using test::parse;

constexpr std::uint16_t kPacketType = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET;
/** Headers before the first attribute. */
constexpr std::size_t kHeaders = 20;
constexpr std::size_t kEndOfPacketHeader = kHeaders + NLA_HDRLEN + 7;

PacketMessage whole_message() {
  PacketMessage message;
  message.header(0x01020304, ETH_P_IP)
      .mark(0xa0b0c0d0)
      .arrived_by(17)
      .payload(test::ip_header("10.0.0.1", "10.0.0.2"));
  return message;
}

void put_length(Bytes& bytes, std::size_t length) {
  const auto value = static_cast<std::uint32_t>(length);
  std::memcpy(bytes.data(), &value, sizeof value);
}

TEST(ParseMessage, ReadsEveryFieldOfAPacket) {
  const Bytes bytes = whole_message().bytes();
  const Message message = parse(bytes);
  EXPECT_EQ(message.kind, MessageKind::kPacket);
  EXPECT_TRUE(message.has_id);
  EXPECT_EQ(message.length, 0U) << "nothing follows";
  EXPECT_EQ(message.packet.id, 0x01020304U);
  EXPECT_EQ(message.packet.hw_protocol, ETH_P_IP);
  EXPECT_EQ(message.packet.mark, 0xa0b0c0d0U);
  EXPECT_EQ(message.packet.ifindex_in, 17U);
  EXPECT_EQ(message.packet.payload_length, 20U);
  EXPECT_EQ(message.packet.payload, bytes.data() + bytes.size() - 20) << "not a copy";
}

TEST(ParseMessage, TakesAMarkThatIsNotThereForZero) {
  const Message message = parse(PacketMessage().header(1, ETH_P_IPV6).bytes());
  EXPECT_EQ(message.kind, MessageKind::kPacket);
  EXPECT_EQ(message.packet.mark, 0U);
  EXPECT_EQ(message.packet.ifindex_in, 0U);
  EXPECT_EQ(message.packet.payload_length, 0U);
}

TEST(ParseMessage, DoesNotDependOnTheOrderOfAttributes) {
  PacketMessage backwards;
  backwards.payload(Bytes(41)).arrived_by(17).mark(5).header(7, ETH_P_IP);
  const Message message = parse(backwards.bytes());
  EXPECT_EQ(message.kind, MessageKind::kPacket);
  EXPECT_EQ(message.packet.id, 7U);
  EXPECT_EQ(message.packet.mark, 5U);
  EXPECT_EQ(message.packet.ifindex_in, 17U);
  EXPECT_EQ(message.packet.payload_length, 41U);
}

TEST(ParseMessage, SkipsAttributesThatItDoesNotKnow) {
  constexpr std::uint16_t kUnused[] = {NFQA_TIMESTAMP, NFQA_HWADDR, NFQA_CT, NFQA_L2HDR, 0, 60,
                                       0x3fff};
  for (const std::uint16_t type : kUnused) {
    for (std::size_t length = 0; length < 9; ++length) {
      PacketMessage odd;
      odd.with(type, Bytes(length, 0xff)).header(7, ETH_P_IP).mark(5);
      const Message message = parse(odd.bytes());
      EXPECT_EQ(message.kind, MessageKind::kPacket) << type << ", " << length << " bytes";
      EXPECT_EQ(message.packet.id, 7U);
      EXPECT_EQ(message.packet.mark, 5U);
    }
  }
}

TEST(ParseMessage, ReadsAnAttributeWhateverItsFlags) {
  PacketMessage flagged;
  flagged.header(7, ETH_P_IP).with(NFQA_MARK | NLA_F_NESTED, test::be32(5));
  EXPECT_EQ(parse(flagged.bytes()).packet.mark, 5U);
}

TEST(ParseMessage, RefusesAnAttributeOfWrongLengthButKeepsTheId) {
  constexpr std::uint16_t kOfFourBytes[] = {NFQA_MARK, NFQA_IFINDEX_INDEV};
  for (const std::uint16_t type : kOfFourBytes) {
    for (std::size_t length = 0; length < 12; ++length) {
      if (length == 4) continue;
      const Bytes value(length, 1);
      for (const bool id_first : {true, false}) {
        PacketMessage wrong;
        if (id_first) wrong.header(7, ETH_P_IP);
        wrong.with(type, value);
        if (!id_first) wrong.header(7, ETH_P_IP);
        const Message message = parse(wrong.bytes());
        EXPECT_EQ(message.kind, MessageKind::kMalformed) << type << ", " << length << " bytes";
        EXPECT_TRUE(message.has_id) << (id_first ? "id first" : "id behind");
        EXPECT_EQ(message.packet.id, 7U);
      }
    }
  }
}

TEST(ParseMessage, HasNoIdFromAPacketHeaderOfWrongLength) {
  for (std::size_t length = 0; length < 12; ++length) {
    if (length == sizeof(nfqnl_msg_packet_hdr)) continue;
    const Message message = parse(PacketMessage().with(NFQA_PACKET_HDR, Bytes(length, 1)).bytes());
    EXPECT_EQ(message.kind, MessageKind::kMalformed) << length;
    EXPECT_FALSE(message.has_id) << length;
  }
}

TEST(ParseMessage, RefusesAPacketWithoutAnId) {
  const Message message = parse(PacketMessage().mark(5).payload(Bytes(40)).bytes());
  EXPECT_EQ(message.kind, MessageKind::kMalformed);
  EXPECT_FALSE(message.has_id);
}

TEST(ParseMessage, RefusesAnAttributeShorterThanItsOwnHeaderOrLongerThanTheMessage) {
  for (const int size : {0, 1, 2, 3, 9, 0x7fff, 0xffff}) {
    Bytes bytes = PacketMessage().header(7, ETH_P_IP).mark(5).bytes();
    const std::size_t at = bytes.size() - 8;
    bytes[at] = static_cast<unsigned char>(size & 0xff);
    bytes[at + 1] = static_cast<unsigned char>(size >> 8);
    const Message message = parse(bytes);
    EXPECT_EQ(message.kind, MessageKind::kMalformed) << size;
    EXPECT_TRUE(message.has_id) << size;
  }
}

TEST(ParseMessage, RefusesBytesBehindTheLastAttributeThatAreNoAttribute) {
  for (std::size_t rest = 1; rest < NLA_HDRLEN; ++rest) {
    Bytes bytes = PacketMessage().header(7, ETH_P_IP).mark(5).bytes();
    bytes.resize(bytes.size() + rest);
    put_length(bytes, bytes.size());
    EXPECT_EQ(parse(bytes).kind, MessageKind::kMalformed) << rest;
    EXPECT_EQ(parse(bytes).packet.id, 7U);
  }
}

TEST(ParseMessage, RefusesAMessageThatTheReceiveBufferCutShort) {
  const Bytes whole = whole_message().bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Message message = parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(length)));
    EXPECT_EQ(message.kind, MessageKind::kMalformed) << length;
    EXPECT_EQ(message.has_id, length >= kEndOfPacketHeader) << length;
    EXPECT_EQ(message.length, 0U) << length;
  }
}

TEST(ParseMessage, RefusesALengthThatCannotBe) {
  for (const std::size_t length : {0U, 1U, 15U, 19U, 4000U, UINT32_MAX - 3, UINT32_MAX}) {
    Bytes bytes = whole_message().bytes();
    bytes.resize(bytes.size() + 64);
    put_length(bytes, length);
    EXPECT_EQ(parse(bytes).kind, MessageKind::kMalformed) << length;
  }
}

TEST(ParseMessage, WalksADatagramOfSeveralMessages) {
  Bytes datagram;
  std::vector<std::size_t> starts;
  for (const std::uint32_t id : {1U, 2U, 3U}) {
    datagram.resize(NLMSG_ALIGN(datagram.size()));
    starts.push_back(datagram.size());
    test::append(datagram, PacketMessage().header(id, ETH_P_IP).payload(Bytes(40 + id)).bytes());
  }
  std::size_t at = 0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    ASSERT_EQ(at, starts[i]);
    const Message message = parse_message(datagram.data() + at, datagram.size() - at);
    EXPECT_EQ(message.kind, MessageKind::kPacket);
    EXPECT_EQ(message.packet.id, i + 1);
    EXPECT_EQ(message.packet.payload_length, 41 + i);
    EXPECT_EQ(message.length != 0, i + 1 < starts.size());
    at += message.length;
  }
}

TEST(ParseMessage, GoesOnBehindAMessageThatItRefuses) {
  Bytes datagram = PacketMessage().mark(5).bytes();
  const std::size_t first = datagram.size();
  test::append(datagram, PacketMessage().header(9, ETH_P_IP).bytes());
  EXPECT_EQ(parse(datagram).kind, MessageKind::kMalformed);
  EXPECT_EQ(parse(datagram).length, first);
  EXPECT_EQ(parse_message(datagram.data() + first, datagram.size() - first).packet.id, 9U);
}

Bytes error_message(std::int32_t error, std::uint32_t seq) {
  Bytes body(sizeof error + NLMSG_HDRLEN);
  std::memcpy(body.data(), &error, sizeof error);
  return netlink(NLMSG_ERROR, seq, body);
}

TEST(ParseMessage, ReadsAnErrorWithTheSequenceNumberOfWhatItAnswers) {
  const Message message = parse(error_message(-ENOENT, 0x51));
  EXPECT_EQ(message.kind, MessageKind::kError);
  EXPECT_EQ(message.error, ENOENT);
  EXPECT_EQ(message.seq, 0x51U);
  EXPECT_FALSE(message.has_id);
}

TEST(ParseMessage, ReadsAnAcknowledgement) {
  const Message message = parse(error_message(0, 0x51));
  EXPECT_EQ(message.kind, MessageKind::kError);
  EXPECT_EQ(message.error, 0);
}

TEST(ParseMessage, SurvivesAnErrorNumberThatNoSystemHas) {
  EXPECT_EQ(parse(error_message(INT_MIN, 1)).kind, MessageKind::kError);
  EXPECT_NE(parse(error_message(INT_MIN, 1)).error, 0);
}

TEST(ParseMessage, RefusesAnErrorCutShort) {
  const Bytes whole = error_message(-ENOENT, 1);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
    EXPECT_EQ(parse(cut).kind, MessageKind::kMalformed) << length;
  }
  Bytes without_number = netlink(NLMSG_ERROR, 1, Bytes(3));
  EXPECT_EQ(parse(without_number).kind, MessageKind::kMalformed);
}

TEST(ParseMessage, LeavesOtherMessagesAlone) {
  constexpr std::uint16_t kOthers[] = {NLMSG_NOOP, NLMSG_DONE, NLMSG_OVERRUN,
                                       (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG,
                                       (NFNL_SUBSYS_CTNETLINK << 8) | NFQNL_MSG_PACKET};
  for (const std::uint16_t type : kOthers) {
    const Message message = parse(netlink(type, 3, Bytes(32, 0xff)));
    EXPECT_EQ(message.kind, MessageKind::kOther) << type;
    EXPECT_EQ(message.length, 0U);
  }
  EXPECT_EQ(parse(netlink(kPacketType, 3, {})).kind, MessageKind::kMalformed) << "no nfgenmsg";
}

}  // namespace
}  // namespace nfqc
