#include "core/bulk.h"

#include <gtest/gtest.h>

#include <random>
#include <span>
#include <vector>

#include "core/ownership.h"
#include "fixtures.h"

namespace nfqc {
namespace {

constexpr std::size_t kAddresses = 5000;
constexpr Hashing kHashings[] = {
    {Policy::kJhash, 0, 1},      {Policy::kJhash, 0xdeadbeef, 3},     {Policy::kJhash, 7, 1023},
    {Policy::kXtCluster, 0, 32}, {Policy::kXtCluster, 0xffffffff, 2},
};

TEST(Bulk, BucketsOfIpv4AddressesEqualThoseOneByOne) {
  std::mt19937 random(4);
  std::vector<std::uint32_t> addresses{0, 1, 0x0a000001, 0xffffffff};
  while (addresses.size() < kAddresses) addresses.push_back(static_cast<std::uint32_t>(random()));
  for (const Isa isa : available_isas()) {
    for (const Hashing& hashing : kHashings) {
      std::vector<std::uint16_t> buckets(addresses.size());
      buckets_ipv4(hashing, addresses, buckets, isa);
      for (std::size_t i = 0; i < addresses.size(); ++i) {
        const Key key = Key::ipv4(test::be32(addresses[i]).data());
        ASSERT_EQ(buckets[i], hashing.bucket(key)) << std::hex << addresses[i];
      }
    }
  }
}

TEST(Bulk, BucketsOfIpv6AddressesEqualThoseOneByOne) {
  std::mt19937 random(6);
  std::vector<std::uint8_t> bytes(1 + 16 * kAddresses);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  const std::span<const std::uint8_t> addresses = std::span(bytes).subspan(1); /* not aligned */
  for (const Isa isa : available_isas()) {
    for (const Hashing& hashing : kHashings) {
      std::vector<std::uint16_t> buckets(kAddresses);
      buckets_ipv6(hashing, addresses, buckets, isa);
      for (std::size_t i = 0; i < kAddresses; ++i) {
        ASSERT_EQ(buckets[i], hashing.bucket(Key::ipv6(addresses.data() + 16 * i))) << i;
      }
    }
  }
}

/* The edges of the 16-bit halves that the bucket is computed from, for every bucket count. */
TEST(Bulk, NoBucketCountIsRoundedDifferently) {
  std::mt19937 random(5);
  std::vector<std::uint32_t> addresses(64);
  for (std::uint32_t& address : addresses) address = static_cast<std::uint32_t>(random());
  for (const Isa isa : available_isas()) {
    for (std::uint32_t buckets = 1; buckets <= kMaxBuckets; ++buckets) {
      const Hashing hashing{Policy::kJhash, buckets, buckets};
      std::vector<std::uint16_t> found(addresses.size());
      buckets_ipv4(hashing, addresses, found, isa);
      for (std::size_t i = 0; i < addresses.size(); ++i) {
        ASSERT_EQ(found[i], hashing.bucket(Key::ipv4(test::be32(addresses[i]).data()))) << buckets;
      }
    }
  }
}

TEST(Bulk, CountsEqualThoseOfTheBucketsOneByOne) {
  constexpr std::uint64_t kCounts[] = {0, 1, 4095, 4096, 3 * 4096 + 17};
  for (const Isa isa : available_isas()) {
    for (const Hashing& hashing : kHashings) {
      for (const std::uint64_t count : kCounts) {
        const auto first = static_cast<std::uint32_t>(0x100000000 - count); /* up to the last one */
        std::vector<std::uint64_t> expected(hashing.buckets, 7);
        for (std::uint64_t i = 0; i < count; ++i) {
          const auto address = static_cast<std::uint32_t>(first + i);
          ++expected[hashing.bucket(Key::ipv4(test::be32(address).data()))];
        }
        std::vector<std::uint64_t> counts(hashing.buckets, 7);
        count_ipv4(hashing, first, count, counts, isa);
        ASSERT_EQ(counts, expected) << count;
      }
    }
  }
}

TEST(Bulk, OfNothingWritesNothing) {
  std::vector<std::uint16_t> none;
  buckets_ipv4({}, {}, none);
  buckets_ipv6({}, {}, none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace nfqc
