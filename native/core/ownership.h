#pragma once

#include <array>
#include <cstdint>

namespace nfqc {

inline constexpr std::uint32_t kMaxBuckets = 1023;
inline constexpr std::uint64_t kNeverEnds = UINT64_MAX;

/** Which buckets are this node's, and until when. Immutable once published to the queue threads. */
struct Ownership {
  std::array<std::uint64_t, (kMaxBuckets + 64) / 64> bits{};
  std::uint64_t deadline_ns = kNeverEnds;  ///< on the caller's clock; nothing is owned from here on

  [[nodiscard]] bool has(std::uint32_t bucket) const noexcept {
    return ((bits[bucket / 64] >> (bucket % 64)) & 1) != 0;
  }
  void add(std::uint32_t bucket) noexcept { bits[bucket / 64] |= std::uint64_t{1} << (bucket % 64); }
};

}  // namespace nfqc
