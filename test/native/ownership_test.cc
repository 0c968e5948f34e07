#include "core/ownership.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace nfqc {
namespace {

Ownership of(std::initializer_list<std::uint32_t> buckets, std::uint64_t deadline = kNeverEnds) {
  Ownership ownership;
  for (const std::uint32_t bucket : buckets) ownership.add(bucket);
  ownership.deadline_ns = deadline;
  return ownership;
}

TEST(Ownership, IsOfNothingForEverAtFirst) {
  const Ownership nothing;
  for (std::uint32_t bucket = 0; bucket < kMaxBuckets; ++bucket) EXPECT_FALSE(nothing.has(bucket));
  EXPECT_EQ(nothing.deadline_ns, kNeverEnds);
}

TEST(Ownership, OfOneBucketIsOfNoOther) {
  for (std::uint32_t owned = 0; owned < kMaxBuckets; ++owned) {
    const Ownership ownership = of({owned});
    for (std::uint32_t bucket = 0; bucket < kMaxBuckets; ++bucket) {
      ASSERT_EQ(ownership.has(bucket), bucket == owned) << owned << " owned, asked for " << bucket;
    }
  }
}

TEST(Ownership, CanBeOfAll) {
  Ownership all;
  for (std::uint32_t bucket = 0; bucket < kMaxBuckets; ++bucket) all.add(bucket);
  for (std::uint32_t bucket = 0; bucket < kMaxBuckets; ++bucket) ASSERT_TRUE(all.has(bucket));
}

TEST(Ownership, OfABucketTwiceIsAsOnce) {
  const Ownership ownership = of({1022, 1022});
  EXPECT_TRUE(ownership.has(1022));
  EXPECT_FALSE(ownership.has(1021));
}

TEST(OwnershipIntersection, IsWhatBothOwnUntilTheEarlierDeadline) {
  const Ownership both = of({0, 63, 64, 1022}, 20).intersection(of({1, 63, 64, 1000}, 10));
  for (std::uint32_t bucket = 0; bucket < kMaxBuckets; ++bucket) {
    EXPECT_EQ(both.has(bucket), bucket == 63 || bucket == 64) << bucket;
  }
  EXPECT_EQ(both.deadline_ns, 10U);
  EXPECT_EQ(of({}, 10).intersection(of({}, 20)).deadline_ns, 10U);
  EXPECT_EQ(of({}).intersection(of({}, 20)).deadline_ns, 20U);
}

/** `throughout` is what was owned before and ever since, `last_id` the packet queued last by then.
 */
OwnershipChange to(const Ownership& newest, const Ownership& throughout, std::uint32_t last_id,
                   std::uint64_t version = 2) {
  return {newest, throughout, version, last_id};
}

TEST(OwnershipInForce, IsTheInitialOneUntilItChanges) {
  OwnershipInForce in_force(of({1}), 5);
  EXPECT_FALSE(in_force.changes_to(5));
  EXPECT_TRUE(in_force.changes_to(6));
  EXPECT_TRUE(in_force.for_packet(7).has(1));
  EXPECT_FALSE(in_force.for_packet(7).has(2));
}

TEST(OwnershipInForce, ForPacketsQueuedBeforeAChangeIsOfWhatWasOwnedAllTheTime) {
  OwnershipInForce in_force(of({1, 2}), 1);
  in_force.change(to(of({2, 3}), of({2}), 10));
  EXPECT_FALSE(in_force.changes_to(2));
  for (const std::uint32_t waiting : {9U, 10U}) {
    EXPECT_FALSE(in_force.for_packet(waiting).has(1)) << "given up: another node may have it";
    EXPECT_TRUE(in_force.for_packet(waiting).has(2));
    EXPECT_FALSE(in_force.for_packet(waiting).has(3)) << "another node may have let it pass";
  }
  EXPECT_FALSE(in_force.for_packet(11).has(1));
  EXPECT_TRUE(in_force.for_packet(11).has(2));
  EXPECT_TRUE(in_force.for_packet(11).has(3));
}

TEST(OwnershipInForce, ForPacketsOlderThanTwoChangesIsOfWhatWasOwnedThroughBoth) {
  OwnershipInForce in_force(of({1, 2, 3}), 1);
  in_force.change(to(of({2, 3, 4}), of({2, 3}), 10));
  in_force.change(to(of({1, 3, 4}), of({3, 4}), 20, 3));
  for (const std::uint32_t bucket : {1U, 2U, 4U}) EXPECT_FALSE(in_force.for_packet(5).has(bucket));
  EXPECT_TRUE(in_force.for_packet(5).has(3));
  EXPECT_TRUE(in_force.for_packet(20).has(3));
  for (const std::uint32_t bucket : {1U, 3U, 4U}) EXPECT_TRUE(in_force.for_packet(21).has(bucket));
}

TEST(OwnershipInForce, ForgetsAChangeOnceALaterPacketHasCome) {
  OwnershipInForce in_force(of({1}), 1);
  in_force.change(to(of({1, 2}), of({1}), 10));
  EXPECT_TRUE(in_force.for_packet(11).has(2));
  in_force.change(to(of({2}), of({2}), 20, 3));
  EXPECT_TRUE(in_force.for_packet(12).has(2)) << "owned all the time since the first change";
}

TEST(OwnershipInForce, KeepsTheEarlierDeadlineForPacketsThatWaited) {
  OwnershipInForce in_force(of({1}, 100), 1);
  in_force.change(to(of({1}, 900), of({1}, 100), 10));
  EXPECT_EQ(in_force.for_packet(10).deadline_ns, 100U);
  EXPECT_EQ(in_force.for_packet(11).deadline_ns, 900U);
}

TEST(OwnershipInForce, IsOfWhatWasOwnedThroughoutUntilTheQueueIsEmptyWhereTheLastIdIsUnknown) {
  OwnershipInForce in_force(of({1}), 1);
  OwnershipChange change = to(of({2}), of({}), 0);
  change.last_id.reset();
  in_force.change(change);
  for (const std::uint32_t id : {1U, 900U}) EXPECT_FALSE(in_force.for_packet(id).has(2)) << id;
  in_force.drained(change.version);
  EXPECT_TRUE(in_force.for_packet(901).has(2));
}

TEST(OwnershipInForce, IsNotEndedByAQueueThatWasReadEmptyBeforeTheChange) {
  OwnershipInForce in_force(of({1}), 1);
  in_force.change(to(of({2}), of({}), 10, 2));
  in_force.drained(1);
  EXPECT_FALSE(in_force.for_packet(10).has(2)) << "it came after the queue was found empty";
}

TEST(OwnershipInForce, FollowsIdsThatWrapAround) {
  OwnershipInForce in_force(of({1}), 1);
  in_force.change(to(of({2}), of({}), 3));
  for (const std::uint32_t waiting : {0xfffffffeU, 0xffffffffU, 0U, 3U}) {
    EXPECT_FALSE(in_force.for_packet(waiting).has(2)) << waiting;
  }
  EXPECT_TRUE(in_force.for_packet(4).has(2));
}

}  // namespace
}  // namespace nfqc
