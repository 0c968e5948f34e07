#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <optional>

#include "core/attributes.h"
#include "core/conntrack.h"
#include "recorded.h"

namespace nfqc {
namespace {

using test::received;
using test::Recorded;

constexpr const char* kRecording = "nfqueue-ct-6.1.hex";
constexpr std::uint16_t kFtp = 21;
constexpr std::uint16_t kTftp = 69;

/** The value of a packet message's NFQA_CT. */
std::optional<Attribute> conntrack_of(const Recorded& recorded) {
  std::optional<Attribute> found;
  for_each_attribute(recorded.bytes.data() + 20, recorded.bytes.size() - 20,
                     [&found](const Attribute& attribute) {
                       if (attribute.type == NFQA_CT) found = attribute;
                       return true;
                     });
  return found;
}

bool mentions(const Recorded& recorded, const std::string& what) {
  return recorded.comment.find(what) != std::string::npos;
}

/** Calls `check` with every recorded packet that has a connection. */
template <typename Check>
int for_each_connection(Check check) {
  int count = 0;
  for (const Recorded& recorded : received(kRecording)) {
    const auto attribute = recorded.is_packet() ? conntrack_of(recorded) : std::nullopt;
    if (!attribute) continue;
    SCOPED_TRACE(recorded.comment);
    Connection connection;
    EXPECT_TRUE(parse_connection(attribute->value, attribute->length, connection));
    check(recorded, connection);
    ++count;
  }
  return count;
}

bool same(const Key& a, const Key& b) { return a.count == b.count && a.words == b.words; }

/** Whether the packet goes the way of the flow that the connection describes. */
bool is_reply(const Recorded& recorded) { return mentions(recorded, "_REPLY paylen"); }
bool is_icmp_error(const Recorded& recorded) {
  return mentions(recorded, "ctinfo=RELATED") && !mentions(recorded, "TUPLE_MASTER");
}

TEST(RecordedConnections, AreAllRead) {
  const int count = for_each_connection([](const Recorded& recorded, const Connection& connection) {
    EXPECT_TRUE(connection.original.valid());
    EXPECT_EQ(connection.master.valid(), mentions(recorded, "TUPLE_MASTER"));
  });
  EXPECT_EQ(count, 379);
}

TEST(RecordedConnections, AreOfThePacketThatCarriesThem) {
  int checked = 0;
  for_each_connection([&checked](const Recorded& recorded, const Connection& connection) {
    /* An ICMP error carries the flow that it is about. */
    if (recorded.source.empty() || is_icmp_error(recorded)) return;
    const Key source = test::key(recorded.source);
    const Attribute attribute = *conntrack_of(recorded);
    const Tuple way = is_reply(recorded) ? test::reply_of(attribute.value, attribute.length)
                                         : connection.original;
    EXPECT_EQ(way.protocol, recorded.number(mentions(recorded, "ip4") ? "proto" : "nh"));
    /* Behind DNAT, a reply leaves under the address of the server itself. */
    if (mentions(recorded, "dnat")) return;
    EXPECT_TRUE(same(way.source, source));
    const auto ports = recorded.fields.find("ports");
    if (ports != recorded.fields.end()) {
      EXPECT_EQ(std::to_string(way.source_port) + "->" + std::to_string(way.destination_port),
                ports->second);
    }
    ++checked;
  });
  EXPECT_GT(checked, 300);
}

TEST(RecordedConnections, OfAHelperAreKeyedByTheirMastersSource) {
  int checked = 0;
  for_each_connection([&checked](const Recorded& recorded, const Connection& connection) {
    if (!connection.master.valid()) return;
    const std::uint16_t port = connection.master.destination_port;
    EXPECT_EQ(port, mentions(recorded, "tftp") ? kTftp : kFtp);
    EXPECT_TRUE(same(connection.key(), connection.master.source));
    const bool from_server = mentions(recorded, "server port 20") || mentions(recorded, "tftp") ||
                             mentions(recorded, "active data");
    EXPECT_EQ(same(connection.key(), connection.original.source), !from_server);
    ++checked;
  });
  EXPECT_GT(checked, 50);
}

TEST(Connection, CutAnywhereIsRefusedOrIncompleteAndNeverReadBeyond) {
  for_each_connection([](const Recorded& recorded, const Connection&) {
    const Attribute attribute = *conntrack_of(recorded);
    for (std::size_t length = 0; length < attribute.length; ++length) {
      /* A copy of just this length, so that a sanitizer sees a read beyond it. */
      const test::Bytes cut(attribute.value, attribute.value + length);
      Connection connection;
      if (parse_connection(cut.data(), cut.size(), connection)) {
        EXPECT_TRUE(connection.original.valid());
      }
    }
  });
}

TEST(Connection, WithoutAnOriginalDirectionIsRefused) {
  Connection connection;
  EXPECT_FALSE(parse_connection(nullptr, 0, connection));
}

}  // namespace
}  // namespace nfqc
