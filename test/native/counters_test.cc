#include "core/counters.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace nfqc {
namespace {

constexpr auto kCounters = static_cast<std::size_t>(Counter::kCount);

std::size_t slot(Counter counter) { return static_cast<std::size_t>(counter); }

/** One thread's slots, and which of them are not 0. */
class Slots {
 public:
  Counters counters() { return Counters(slots_.data()); }

  [[nodiscard]] std::map<std::size_t, std::uint64_t> changed() const {
    std::map<std::size_t, std::uint64_t> result;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i] != 0) result[i] = slots_[i];
    }
    return result;
  }

 private:
  std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(kCounterStride);
};

using Changes = std::map<std::size_t, std::uint64_t>;

TEST(CounterLayout, NamesEveryCounterOnce) {
  EXPECT_EQ(kCounterNames.size(), kCounters);
  EXPECT_EQ(std::set(kCounterNames.begin(), kCounterNames.end()).size(), kCounters);
  for (const std::string_view name : kCounterNames) EXPECT_FALSE(name.empty());
}

TEST(CounterLayout, HasItsNamesInTheOrderOfTheirSlots) {
  EXPECT_EQ(kCounterNames[slot(Counter::kOwned)], "owned");
  EXPECT_EQ(kCounterNames[slot(Counter::kForeign)], "foreign");
  EXPECT_EQ(kCounterNames[slot(Counter::kMalformed)], "malformed");
  EXPECT_EQ(kCounterNames[slot(Counter::kFixups)], "fixups");
  EXPECT_EQ(kCounterNames[slot(Counter::kVerdictErrors)], "verdictErrors");
  EXPECT_EQ(kCounterNames[slot(Counter::kBatches)], "batches");
  EXPECT_EQ(kCounterNames[slot(Counter::kReceiveErrors)], "receiveErrors");
  EXPECT_EQ(kCounterNames[slot(Counter::kQueueDropped)], "queueDropped");
  EXPECT_EQ(kCounterNames[slot(Counter::kUserDropped)], "userDropped");
  EXPECT_EQ(kCounterNames[slot(Counter::kReceiveBuffer)], "receiveBuffer");
}

TEST(CounterLayout, HasNoSlotInTwoRanges) {
  std::vector<int> uses(kCounterStride);
  for (std::size_t i = 0; i < kCounters; ++i) ++uses[i];
  for (const SlotRange range : {kBucketSlots, kBatchSizeSlots, kLatencySlots}) {
    ASSERT_LE(range.offset + range.length, kCounterStride);
    for (std::size_t i = 0; i < range.length; ++i) ++uses[range.offset + i];
  }
  for (const int use : uses) EXPECT_LE(use, 1);
}

TEST(CounterLayout, HasARangeForEveryBucketBatchSizeAndLatency) {
  EXPECT_EQ(kBucketSlots.length, kMaxBuckets);
  EXPECT_EQ(kBatchSizeSlots.length, VerdictBatch::kCapacity + 1);
  EXPECT_EQ(kLatencySlots.length, histogram::kSlots);
}

TEST(CounterLayout, KeepsThreadsOutOfEachOthersCacheLines) {
  EXPECT_EQ(kCounterStride * sizeof(std::uint64_t) % 64, 0U);
  EXPECT_GE(kCounterStride,
            kLatencySlots.offset + kLatencySlots.length + 64 / sizeof(std::uint64_t));
}

TEST(Counters, CountAnOwnedPacketWithItsBucket) {
  Slots slots;
  slots.counters().decided({.bucket = 1022, .outcome = Outcome::kOwned});
  EXPECT_EQ(slots.changed(),
            (Changes{{slot(Counter::kOwned), 1}, {kBucketSlots.offset + 1022, 1}}));
}

TEST(Counters, CountAForeignPacketThatIsFixed) {
  Slots slots;
  slots.counters().decided({.bucket = 0, .outcome = Outcome::kForeign, .fixup = true});
  EXPECT_EQ(slots.changed(), (Changes{{slot(Counter::kForeign), 1},
                                      {slot(Counter::kFixups), 1},
                                      {kBucketSlots.offset, 1}}));
}

TEST(Counters, CountAMalformedPacketWithoutABucket) {
  Slots slots;
  slots.counters().decided(decide_unreadable());
  EXPECT_EQ(slots.changed(), (Changes{{slot(Counter::kMalformed), 1}}));
}

TEST(Counters, CountABatchOnceAndItsLatencyForEveryPacket) {
  Slots slots;
  slots.counters().answered(VerdictBatch::kCapacity, 5);
  EXPECT_EQ(slots.changed(), (Changes{{slot(Counter::kBatches), 1},
                                      {kBatchSizeSlots.offset + 64, 1},
                                      {kLatencySlots.offset + 5, 64}}));
}

TEST(Counters, FollowACountOfTheKernelBeyond32Bits) {
  Slots slots;
  Counters counters = slots.counters();
  for (const std::uint32_t kernel : {5U, UINT32_MAX, UINT32_MAX, 3U}) {
    counters.follow(Counter::kQueueDropped, kernel);
  }
  EXPECT_EQ(slots.changed(), (Changes{{slot(Counter::kQueueDropped), (1ULL << 32) + 3}}));
}

TEST(Counters, AddAndSet) {
  Slots slots;
  slots.counters().add(Counter::kVerdictErrors, 3);
  slots.counters().add(Counter::kVerdictErrors);
  slots.counters().set(Counter::kUserDropped, 9);
  slots.counters().set(Counter::kUserDropped, 2);
  EXPECT_EQ(slots.changed(),
            (Changes{{slot(Counter::kVerdictErrors), 4}, {slot(Counter::kUserDropped), 2}}));
}

}  // namespace
}  // namespace nfqc
