#include "core/key.h"

#include <gtest/gtest.h>

#include <array>

#include "fixtures.h"
#include "jhash_bytes.h"

namespace nfqc {
namespace {

using test::jhash_bytes;
using test::key;

constexpr std::array<std::uint32_t, 4> kTotals{2, 3, 8, 32};

/** What the kernel's `cluster` match makes of a source. */
struct Decided {
  const char* source;
  std::uint32_t seed;
  std::uint32_t hash;
  std::array<std::uint32_t, 4> nodes;  ///< for each of kTotals, from 1
};

constexpr Decided kByTheKernel[] = {
    {"10.0.0.1", 0, 0x2fa5f781, {1, 1, 2, 6}},
    {"10.0.0.1", 0xdeadbeef, 0x52e26e5d, {1, 1, 3, 11}},
    {"192.0.2.1", 0, 0xb3bcb8d1, {2, 3, 6, 23}},
    {"192.0.2.1", 0xdeadbeef, 0xda05219e, {2, 3, 7, 28}},
    {"2001:db8::1", 0, 0xaa846c4a, {2, 2, 6, 22}},
    {"2001:db9::1", 0, 0x610cf6bc, {1, 2, 4, 13}},
};

TEST(Key, IsHashedByXtClusterAsTheKernelsMatchDoes) {
  for (const Decided& row : kByTheKernel) {
    SCOPED_TRACE(row.source);
    for (std::size_t i = 0; i < kTotals.size(); ++i) {
      const Hashing hashing{Policy::kXtCluster, row.seed, kTotals[i]};
      EXPECT_EQ(hashing.hash(key(row.source)), row.hash);
      EXPECT_EQ(hashing.bucket(key(row.source)) + 1, row.nodes[i]) << "of " << kTotals[i];
    }
  }
}

TEST(Key, OfIpv4IsHashedAlikeByBothPolicies) {
  for (const char* source : {"0.0.0.0", "10.0.0.1", "192.0.2.1", "255.255.255.255"}) {
    EXPECT_EQ(hash_key(Policy::kJhash, key(source), 7),
              hash_key(Policy::kXtCluster, key(source), 7));
  }
}

TEST(Key, OfIpv6IsHashedWholeByJhash) {
  const std::array<unsigned char, 16> bytes{0x20, 0x01, 0x0d, 0xb8, 1, 2,  3,  4,
                                            5,    6,    7,    8,    9, 10, 11, 12};
  EXPECT_EQ(hash_key(Policy::kJhash, Key::ipv6(bytes.data()), 7), jhash_bytes(bytes.data(), 16, 7));
}

TEST(Key, OfIpv6IsHashedByXtClusterInItsFirst32BitsOnly) {
  EXPECT_EQ(hash_key(Policy::kXtCluster, key("2001:db8::1"), 0),
            hash_key(Policy::kXtCluster, key("2001:db8:ffff::2"), 0));
  EXPECT_NE(hash_key(Policy::kXtCluster, key("2001:db8::1"), 0),
            hash_key(Policy::kXtCluster, key("2001:db9::1"), 0));
  EXPECT_NE(hash_key(Policy::kJhash, key("2001:db8::1"), 0),
            hash_key(Policy::kJhash, key("2001:db8::2"), 0));
}

TEST(Key, TakesItsBytesFromAnyPlaceInMemory) {
  const std::array<unsigned char, 19> memory{0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,
                                             0, 0, 0, 0,    0,    0,    0,    0, 1};
  EXPECT_EQ(Key::ipv6(memory.data() + 3).words, key("2001:db8::1").words);
  EXPECT_EQ(Key::ipv4(memory.data() + 3).words, key("32.1.13.184").words);
}

TEST(Bucket, IsTheHashScaledDownAndNotItsRemainder) {
  EXPECT_EQ(bucket_of(0x2fa5f781, 2), 0U);
  EXPECT_EQ(bucket_of(0x7fffffff, 2), 0U);
  EXPECT_EQ(bucket_of(0x80000000, 2), 1U);
  EXPECT_EQ(bucket_of(0x55555555, 3), 0U);
  EXPECT_EQ(bucket_of(0x55555556, 3), 1U);
}

TEST(Bucket, IsBelowTheNumberOfBucketsForEveryNumber) {
  for (std::uint32_t buckets = 1; buckets <= 1023; ++buckets) {
    EXPECT_EQ(bucket_of(0, buckets), 0U);
    EXPECT_EQ(bucket_of(UINT32_MAX, buckets), buckets - 1);
    std::uint32_t before = 0;
    for (std::uint64_t hash = 0; hash <= UINT32_MAX; hash += 0x3fffff) {
      const std::uint32_t bucket = bucket_of(static_cast<std::uint32_t>(hash), buckets);
      ASSERT_LT(bucket, buckets);
      ASSERT_GE(bucket, before) << "a greater hash has no lower bucket";
      before = bucket;
    }
  }
}

TEST(Bucket, IsReachedByAnEqualShareOfHashes) {
  for (const std::uint32_t buckets : {2U, 3U, 7U, 32U, 1000U, 1023U}) {
    for (std::uint32_t bucket = 0; bucket < buckets; ++bucket) {
      const std::uint64_t first = ((std::uint64_t{bucket} << 32) + buckets - 1) / buckets;
      ASSERT_EQ(bucket_of(static_cast<std::uint32_t>(first), buckets), bucket);
      if (bucket > 0) {
        ASSERT_EQ(bucket_of(static_cast<std::uint32_t>(first - 1), buckets), bucket - 1);
      }
    }
  }
}

}  // namespace
}  // namespace nfqc
