#include "core/bulk.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

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
  for (const Hashing& hashing : kHashings) {
    std::vector<std::uint16_t> buckets(addresses.size());
    buckets_ipv4(hashing, addresses, buckets);
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      const Key key = Key::ipv4(test::be32(addresses[i]).data());
      ASSERT_EQ(buckets[i], hashing.bucket(key)) << std::hex << addresses[i];
    }
  }
}

TEST(Bulk, BucketsOfIpv6AddressesEqualThoseOneByOne) {
  std::mt19937 random(6);
  std::vector<std::uint8_t> addresses(16 * kAddresses);
  for (std::uint8_t& byte : addresses) byte = static_cast<std::uint8_t>(random());
  for (const Hashing& hashing : kHashings) {
    std::vector<std::uint16_t> buckets(kAddresses);
    buckets_ipv6(hashing, addresses, buckets);
    for (std::size_t i = 0; i < kAddresses; ++i) {
      ASSERT_EQ(buckets[i], hashing.bucket(Key::ipv6(addresses.data() + 16 * i))) << i;
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
