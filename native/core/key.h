#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "jhash.h"

/* From a key (an address, perhaps with ports) to its hash and bucket. */
namespace nfqc {

enum class Policy : std::uint8_t {
  kJhash,      ///< the whole address; equal to nft's `jhash`
  kXtCluster,  ///< as the kernel's `cluster` match, which hashes an IPv6 address's first 32 bits
               ///< only
  kClusterip,  ///< as the kernel's CLUSTERIP target; its keys are made by clusterip_key()
};

/** What CLUSTERIP hashes; each value is the number of words. */
enum class HashMode : std::uint8_t {
  kSourceIp = 1,
  kSourceIpSourcePort = 2,
  kSourceIpSourcePortDestPort = 3,
};

/** The words that may be hashed. An address's are as they lie in memory, in network byte order. */
struct Key {
  std::array<std::uint32_t, 4> words{};
  std::uint8_t count = 0;  ///< of words; for an address 1 (IPv4) or 4 (IPv6)

  friend bool operator==(const Key&, const Key&) = default;

  [[nodiscard]] static Key ipv4(const void* address) noexcept {
    Key key;
    key.count = 1;
    std::memcpy(key.words.data(), address, 4);
    return key;
  }
  [[nodiscard]] static Key ipv6(const void* address) noexcept {
    Key key;
    key.count = 4;
    std::memcpy(key.words.data(), address, 16);
    return key;
  }
};

/** How many of a key's words the policy hashes. */
[[nodiscard]] constexpr std::uint8_t hashed_words(Policy policy, const Key& key) noexcept {
  return policy == Policy::kXtCluster ? 1 : key.count;
}

[[nodiscard]] constexpr std::uint32_t hash_key(Policy policy, const Key& key,
                                               std::uint32_t seed) noexcept {
  return jhash_words(key.words.data(), hashed_words(policy, key), seed);
}

/** The bucket of a hash: `(h * buckets) >> 32`, the kernel's reciprocal_scale. Never a modulo. */
[[nodiscard]] constexpr std::uint32_t bucket_of(std::uint32_t hash,
                                                std::uint32_t buckets) noexcept {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(hash) * buckets) >> 32);
}

/** What turns a key into a bucket; the same on every node. */
struct Hashing {
  Policy policy = Policy::kJhash;
  std::uint32_t seed = 0;
  std::uint32_t buckets = 1;
  HashMode mode = HashMode::kSourceIp;  ///< only for kClusterip

  [[nodiscard]] constexpr std::uint32_t hash(const Key& key) const noexcept {
    return hash_key(policy, key, seed);
  }
  [[nodiscard]] constexpr std::uint32_t bucket(const Key& key) const noexcept {
    return bucket_of(hash(key), buckets);
  }
};

}  // namespace nfqc
