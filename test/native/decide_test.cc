#include "core/decide.h"

#include <gtest/gtest.h>

#include <random>

#include "fixtures.h"

namespace nfqc {
namespace {

using test::Bytes;
using test::ip_header;
using test::key;

constexpr std::uint32_t kInterface = 7;
constexpr std::uint64_t kNow = 1000;
constexpr std::uint32_t kOwnedValue = 0x0012;
constexpr std::uint32_t kOwnedMask = 0x00ff;
constexpr std::uint32_t kMulticast = 0x4000'0000;
constexpr std::uint32_t kDecided = 0x8000'0000;

DecisionConfig config_for(Action action, std::uint32_t pass_verdict) {
  DecisionConfig config;
  config.hashing = {Policy::kJhash, 0xdeadbeef, 8};
  config.action = action;
  config.pass_verdict = pass_verdict;
  config.marks.multicast = kMulticast;
  config.marks.for_rules = true;
  if (action == Action::kMark) {
    config.marks.owned_value = kOwnedValue;
    config.marks.owned_mask = kOwnedMask;
  }
  if (pass_verdict == NF_REPEAT) config.marks.decided = kDecided;
  config.interfaces[0] = {kInterface, KeyField::kSource};
  config.interface_count = 1;
  return config;
}

/** A packet together with the bytes that it points at. */
class Arrival {
 public:
  Arrival(const std::string& source, const std::string& destination, std::uint32_t mark = 0)
      : bytes_(ip_header(source, destination)) {
    packet.hw_protocol = test::hw_protocol_of(source);
    packet.ifindex_in = kInterface;
    packet.mark = mark;
    packet.payload = bytes_.data();
    packet.payload_length = static_cast<std::uint32_t>(bytes_.size());
  }
  Packet packet;

 private:
  Bytes bytes_;
};

Ownership owning(std::uint32_t bucket) {
  Ownership ownership;
  ownership.add(bucket);
  return ownership;
}

Ownership owning_all_but(std::uint32_t bucket) {
  Ownership ownership;
  for (std::uint32_t i = 0; i < kMaxBuckets; ++i) {
    if (i != bucket) ownership.add(i);
  }
  return ownership;
}

/** What must hold of a decision, said apart from how decide() comes to it. */
void expect_lawful(const DecisionConfig& config, const Packet& packet, bool owned, bool multicast,
                   const Decision& decision) {
  EXPECT_EQ(decision.outcome, owned ? Outcome::kOwned : Outcome::kForeign);
  if (config.action == Action::kDrop && !owned) {
    EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_DROP));
    EXPECT_EQ(decision.mark, packet.mark) << "a dropped packet needs no mark";
    EXPECT_FALSE(decision.fixup);
    return;
  }
  const MarkBits& bits = config.marks;
  const bool fixed = (packet.mark & kMulticast) != 0 && !multicast;
  EXPECT_EQ(decision.verdict, config.pass_verdict);
  EXPECT_EQ(decision.fixup, fixed);
  EXPECT_EQ(decision.mark & kMulticast, fixed && bits.for_rules ? kMulticast : 0);
  if (config.action == Action::kMark) {
    EXPECT_EQ(decision.mark & kOwnedMask, owned ? kOwnedValue : 0);
  }
  if (config.pass_verdict == NF_REPEAT) {
    EXPECT_EQ(decision.mark & kDecided, kDecided);
  }
  const std::uint32_t ours = bits.owned_mask | bits.multicast | bits.decided;
  EXPECT_EQ(decision.mark & ~ours, packet.mark & ~ours) << "the other bits are the user's";
}

struct Way {
  const char* source;
  const char* destination;
  bool multicast;
};
constexpr Way kWays[] = {{"10.0.0.1", "192.0.2.1", false},
                         {"10.0.0.1", "224.0.0.5", true},
                         {"10.0.0.1", "255.255.255.255", false},
                         {"2001:db8::1", "2001:db8::2", false},
                         {"2001:db8::1", "ff02::5", true}};

void decide_and_expect(const DecisionConfig& config, const Way& way, bool owned,
                       std::uint32_t mark) {
  SCOPED_TRACE(testing::Message() << way.source << " to " << way.destination << ", mark "
                                  << std::hex << mark << (owned ? ", owned" : ", foreign"));
  const Arrival arrival(way.source, way.destination, mark);
  const std::uint32_t bucket = config.hashing.bucket(key(way.source));
  const Ownership ownership = owned ? owning(bucket) : owning_all_but(bucket);
  const Decision decision = decide(config, ownership, kNow, arrival.packet);
  EXPECT_EQ(decision.bucket, bucket);
  expect_lawful(config, arrival.packet, owned, way.multicast, decision);
}

TEST(Decide, IsLawfulForEveryActionOwnershipDestinationMarkAndVerdict) {
  std::mt19937 random(1);
  for (const Action action : {Action::kDrop, Action::kMark}) {
    for (const std::uint32_t pass : {std::uint32_t{NF_ACCEPT}, std::uint32_t{NF_REPEAT}}) {
      for (const bool for_rules : {true, false}) {
        DecisionConfig config = config_for(action, pass);
        config.marks.for_rules = for_rules;
        for (const Way& way : kWays) {
          for (const bool owned : {true, false}) {
            for (const std::uint32_t mark : {0U, ~0U, kMulticast, kOwnedMask, kDecided, 0x10000U}) {
              decide_and_expect(config, way, owned, mark);
            }
            for (int i = 0; i < 200; ++i) {
              decide_and_expect(config, way, owned, static_cast<std::uint32_t>(random()));
            }
          }
        }
      }
    }
  }
}

TEST(Decide, SendsAUnicastPacketInAMulticastFrameOnToBeFixed) {
  const DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  const Arrival arrival("10.0.0.1", "192.0.2.1", kMulticast | 5);
  const Ownership ownership = owning(config.hashing.bucket(key("10.0.0.1")));
  const Decision decision = decide(config, ownership, kNow, arrival.packet);
  EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_ACCEPT));
  EXPECT_TRUE(decision.fixup);
  EXPECT_EQ(decision.mark, kMulticast | 5);
}

TEST(Decide, LeavesAMulticastPacketInItsMulticastFrame) {
  const DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  const Arrival arrival("10.0.0.1", "224.0.0.1", kMulticast | 5);
  const Ownership ownership = owning(config.hashing.bucket(key("10.0.0.1")));
  const Decision decision = decide(config, ownership, kNow, arrival.packet);
  EXPECT_FALSE(decision.fixup);
  EXPECT_EQ(decision.mark, 5U);
}

TEST(Decide, OwnsNothingFromTheDeadlineOn) {
  const DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  const Arrival arrival("10.0.0.1", "192.0.2.1");
  Ownership ownership = owning(config.hashing.bucket(key("10.0.0.1")));
  ownership.deadline_ns = kNow;
  const auto outcome_at = [&](std::uint64_t now) {
    return decide(config, ownership, now, arrival.packet).outcome;
  };
  EXPECT_EQ(outcome_at(0), Outcome::kOwned);
  EXPECT_EQ(outcome_at(kNow - 1), Outcome::kOwned);
  EXPECT_EQ(outcome_at(kNow), Outcome::kForeign);
  EXPECT_EQ(outcome_at(kNow + 1), Outcome::kForeign);
  ownership.deadline_ns = kNeverEnds;
  EXPECT_EQ(outcome_at(kNeverEnds - 1), Outcome::kOwned);
  ownership.deadline_ns = 0;
  EXPECT_EQ(outcome_at(0), Outcome::kForeign);
}

TEST(Decide, HashesTheDestinationWhereTheInterfaceSaysSo) {
  DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  config.interfaces[1] = {kInterface + 1, KeyField::kDestination};
  config.interface_count = 2;
  Arrival out("10.0.0.1", "192.0.2.1");
  Arrival back("192.0.2.1", "10.0.0.1");
  back.packet.ifindex_in = kInterface + 1;
  const Ownership nothing;
  EXPECT_EQ(decide(config, nothing, kNow, out.packet).bucket,
            config.hashing.bucket(key("10.0.0.1")));
  EXPECT_EQ(decide(config, nothing, kNow, back.packet).bucket,
            config.hashing.bucket(key("10.0.0.1")));
}

TEST(Decide, KnowsEveryInterfaceOfAFullList) {
  DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  for (std::uint32_t i = 0; i < kMaxInterfaces; ++i) config.interfaces[i].ifindex = 100 + i;
  config.interface_count = kMaxInterfaces;
  Arrival arrival("10.0.0.1", "192.0.2.1");
  for (std::uint32_t i = 0; i < kMaxInterfaces; ++i) {
    arrival.packet.ifindex_in = 100 + i;
    EXPECT_EQ(decide(config, {}, kNow, arrival.packet).outcome, Outcome::kForeign);
  }
  config.interface_count = kMaxInterfaces - 1;
  EXPECT_EQ(decide(config, {}, kNow, arrival.packet).outcome, Outcome::kMalformed);
}

TEST(Decide, FollowsThePolicy) {
  DecisionConfig config = config_for(Action::kDrop, NF_ACCEPT);
  const Arrival arrival("2001:db8::1", "2001:db8::2");
  for (const Policy policy : {Policy::kJhash, Policy::kXtCluster}) {
    config.hashing = {policy, 0, 1023};
    EXPECT_EQ(decide(config, {}, kNow, arrival.packet).bucket,
              config.hashing.bucket(key("2001:db8::1")));
  }
}

/** What cannot be decided, though everything is owned. */
void expect_malformed(const Packet& packet) {
  Ownership all = owning(0);
  for (std::uint32_t i = 0; i < kMaxBuckets; ++i) all.add(i);
  const Decision dropped = decide(config_for(Action::kDrop, NF_ACCEPT), all, kNow, packet);
  EXPECT_EQ(dropped.outcome, Outcome::kMalformed);
  EXPECT_EQ(dropped.verdict, static_cast<std::uint32_t>(NF_DROP));
  EXPECT_EQ(dropped.bucket, kNoBucket);
  const Decision passed = decide(config_for(Action::kMark, NF_REPEAT), all, kNow, packet);
  EXPECT_EQ(passed.outcome, Outcome::kMalformed);
  EXPECT_EQ(passed.verdict, static_cast<std::uint32_t>(NF_REPEAT));
  EXPECT_EQ(passed.mark & kOwnedMask, 0U) << "foreign, so not marked";
  EXPECT_EQ(passed.mark & 0x0fff'ff00U, packet.mark & 0x0fff'ff00U);
  EXPECT_FALSE(passed.fixup);
}

TEST(Decide, TakesForForeignWhatItCannotRead) {
  Arrival unknown_interface("10.0.0.1", "192.0.2.1", ~0U);
  unknown_interface.packet.ifindex_in = kInterface + 1;
  expect_malformed(unknown_interface.packet);

  Arrival cut_short("10.0.0.1", "192.0.2.1", ~0U);
  cut_short.packet.payload_length = 19;
  expect_malformed(cut_short.packet);

  Arrival not_ip("10.0.0.1", "192.0.2.1", ~0U);
  not_ip.packet.hw_protocol = ETH_P_ARP;
  expect_malformed(not_ip.packet);

  Packet empty;
  empty.mark = 0x1234'5678;
  expect_malformed(empty);
}

TEST(DecideUnreadable, DropsUnderEveryAction) {
  const Decision decision = decide_unreadable();
  EXPECT_EQ(decision.verdict, static_cast<std::uint32_t>(NF_DROP));
  EXPECT_EQ(decision.outcome, Outcome::kMalformed);
  EXPECT_EQ(decision.bucket, kNoBucket);
  EXPECT_FALSE(decision.fixup);
}

/** Connections are looked up; rules tell direct packets, and buckets of known connections. */
DecisionConfig following() {
  DecisionConfig config = config_for(Action::kMark, NF_ACCEPT);
  config.connections = Connections::kLookup;
  config.marks.direct = 0x2000'0000;
  config.marks.bucket_mask = 0x03ff'0000;
  config.marks.bucket_in = true;
  return config;
}

TEST(DecideByConnection, AKnownBucketComesBeforeTheOwnSourceAndThatBeforeALookup) {
  const DecisionConfig config = following();
  const std::uint32_t bucket = config.hashing.bucket(key("10.0.0.1"));
  const std::uint32_t other = (bucket + 1) % 8;
  const auto decided = [&](std::uint32_t mark, const Key& looked_up) {
    return decide(config, owning(bucket), kNow, Arrival("10.0.0.1", "192.0.2.1", mark).packet,
                  looked_up);
  };
  EXPECT_EQ(decided((other + 1) << 16 | 0x2000'0000, {}).bucket, other);
  EXPECT_EQ(decided((other + 1) << 16, {}).outcome, Outcome::kForeign);
  EXPECT_EQ(decided(0x2000'0000, key("192.0.2.77")).bucket, bucket);
  EXPECT_EQ(decided(0, key("192.0.2.77")).bucket, config.hashing.bucket(key("192.0.2.77")));
  EXPECT_EQ(decided(0, {}).outcome, Outcome::kUnknown);
  EXPECT_EQ(decided(0, {}).bucket, kNoBucket);
}

TEST(DecideByConnection, ABucketBeyondTheLastIsNone) {
  const DecisionConfig config = following();
  const Arrival arrival("10.0.0.1", "192.0.2.1", 9U << 16);
  EXPECT_EQ(decide(config, owning_all_but(8), kNow, arrival.packet).outcome, Outcome::kUnknown);
}

TEST(DecideByConnection, ThePassingPacketCarriesNoBitThatWasForTheEngine) {
  DecisionConfig config = following();
  const std::uint32_t bucket = config.hashing.bucket(key("10.0.0.1"));
  const Arrival arrival("10.0.0.1", "192.0.2.1", 0x2000'0000 | 0x400);
  const Decision decision = decide(config, owning(bucket), kNow, arrival.packet);
  EXPECT_EQ(decision.mark, (bucket + 1) << 16 | 0x400 | kOwnedValue);
  config.marks.for_rules = false;
  EXPECT_EQ(decide(config, owning(bucket), kNow, arrival.packet).mark, 0x400U | kOwnedValue);
}

TEST(DecideByConnection, AnUnknownOneIsForeignButNotMalformed) {
  DecisionConfig config = following();
  const Arrival arrival("10.0.0.1", "192.0.2.1", kMulticast);
  const Decision marked = decide(config, owning_all_but(8), kNow, arrival.packet);
  EXPECT_EQ(marked.mark & kOwnedMask, 0U);
  EXPECT_TRUE(marked.fixup) << "as the kernel's match, which sets pkt_type without conntrack, too";
  config.action = Action::kDrop;
  EXPECT_EQ(decide(config, owning_all_but(8), kNow, arrival.packet).verdict,
            static_cast<std::uint32_t>(NF_DROP));
}

TEST(NeedsLookup, OnlyWhatNeitherItsMarkNorItsMessageTells) {
  DecisionConfig config = following();
  const auto needed = [&config](std::uint32_t mark) {
    return needs_lookup(config, Arrival("10.0.0.1", "192.0.2.1", mark).packet);
  };
  EXPECT_TRUE(needed(0));
  EXPECT_TRUE(needed(0x400));
  EXPECT_FALSE(needed(0x2000'0000));
  EXPECT_FALSE(needed(1U << 16));
  config.marks.bucket_in = false;
  EXPECT_TRUE(needed(1U << 16));
  config.connections = Connections::kQueue;
  EXPECT_FALSE(needed(0));
}

}  // namespace
}  // namespace nfqc
