/* Messages that real kernels sent, each with a comment that says what is in it. */
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/decide.h"
#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;

struct Recorded {
  Bytes bytes;
  std::string comment;
  std::map<std::string, std::string> fields;  ///< NAME=VALUE in the comment
  std::string source;                         ///< of "SOURCE->DESTINATION"; empty if not IP
  std::string destination;

  [[nodiscard]] bool is_packet() const { return fields.contains("hwproto"); }
  /** 0 if it is not there: a comment does not mention a mark of 0, or a payload of no length. */
  [[nodiscard]] std::uint32_t number(const std::string& name) const {
    const auto field = fields.find(name);
    if (field == fields.end()) return 0;
    return static_cast<std::uint32_t>(std::stoul(field->second, nullptr, 0));
  }
};

Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<unsigned char>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

/** Of "… ip4 proto=6 10.0.0.1->10.0.0.2 totlen=60 …"; a label before that may have an arrow, too.
 */
void read_comment(Recorded& recorded) {
  std::istringstream words(recorded.comment);
  bool ip = false;
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::size_t arrow = word.find("->");
    ip |= word == "ip4" || word == "ip6";
    if (equals != std::string::npos) {
      recorded.fields[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (ip && arrow != std::string::npos && recorded.source.empty()) {
      recorded.source = word.substr(0, arrow);
      recorded.destination = word.substr(arrow + 2);
    }
  }
}

std::vector<Recorded> received(const std::string& file) {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "../vectors" / file;
  std::ifstream lines(path);
  EXPECT_TRUE(lines) << path;
  std::vector<Recorded> result;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    Recorded recorded{from_hex(line.substr(0, tab)), line.substr(tab + 1), {}, {}, {}};
    read_comment(recorded);
    if (recorded.fields["dir"] == "rx") result.push_back(recorded);
  }
  return result;
}

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
  const Addresses addresses = parse_addresses(packet);
  ASSERT_EQ(addresses.valid, !recorded.source.empty());
  if (!addresses.valid) return;
  EXPECT_EQ(addresses.source.words, test::key(recorded.source).words);
  EXPECT_EQ(addresses.destination.words, test::key(recorded.destination).words);
  const unsigned first = test::address(recorded.destination)[0];
  const bool v4 = packet.hw_protocol == ETH_P_IP;
  EXPECT_EQ(addresses.destination_is_multicast, v4 ? first >= 224 && first < 240 : first == 255);
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

}  // namespace
}  // namespace nfqc
