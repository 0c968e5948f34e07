#include "core/histogram.h"

#include <gtest/gtest.h>

#include <random>

namespace nfqc::histogram {
namespace {

constexpr std::uint64_t kLargest = std::uint64_t{1} << 36;

TEST(Histogram, PutsEachSmallValueInASlotOfItsOwn) {
  for (std::uint64_t value = 0; value < 16; ++value) {
    EXPECT_EQ(slot_of(value), value);
    EXPECT_EQ(lower_bound(value), value);
  }
}

TEST(Histogram, HasSlotsThatMeetWithoutAGapOrAnOverlap) {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    ASSERT_EQ(slot_of(lower_bound(slot)), slot);
    if (slot > 0) {
      ASSERT_LT(lower_bound(slot - 1), lower_bound(slot));
      ASSERT_EQ(slot_of(lower_bound(slot) - 1), slot - 1);
    }
  }
}

TEST(Histogram, HasSlotsAtMostAnEighthOfTheirValueWide) {
  for (std::size_t slot = 16; slot + 1 < kSlots; ++slot) {
    const std::uint64_t width = lower_bound(slot + 1) - lower_bound(slot);
    ASSERT_LE(width * 8, lower_bound(slot)) << slot;
  }
}

TEST(Histogram, NeverPutsAGreaterValueIntoALowerSlot) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t value = random() >> (random() % 64);
    ASSERT_LE(slot_of(value), slot_of(value + (value < UINT64_MAX ? 1 : 0)));
    ASSERT_LE(lower_bound(slot_of(value)), value);
    ASSERT_LT(slot_of(value), kSlots);
    if (value < kLargest && slot_of(value) + 1 < kSlots) {
      ASSERT_GT(lower_bound(slot_of(value) + 1), value);
    }
  }
}

TEST(Histogram, TakesEverythingBeyondItsRangeIntoTheLastSlot) {
  for (const std::uint64_t value : {kLargest - 1, kLargest, kLargest * 2, UINT64_MAX}) {
    EXPECT_EQ(slot_of(value), kSlots - 1) << value;
  }
}

}  // namespace
}  // namespace nfqc::histogram
