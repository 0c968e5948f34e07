#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/*
 * A log-linear histogram's shape: values below 16 stand alone, then 8 slots for each power of two,
 * so that a slot is at most an eighth of its value wide. The last slot takes all above 2^36.
 */
namespace nfqc::histogram {

inline constexpr unsigned kSubBits = 3;
inline constexpr unsigned kLinear = 2U << kSubBits;
inline constexpr unsigned kFirstPower = kSubBits + 1;
inline constexpr unsigned kLastPower = 35;
inline constexpr std::size_t kSlots =
    kLinear + (std::size_t{kLastPower - kFirstPower + 1} << kSubBits);

[[nodiscard]] constexpr std::size_t slot_of(std::uint64_t value) noexcept {
  if (value < kLinear) return static_cast<std::size_t>(value);
  const unsigned power = static_cast<unsigned>(std::bit_width(value)) - 1;
  if (power > kLastPower) return kSlots - 1;
  const std::uint64_t sub = (value >> (power - kSubBits)) & ((1U << kSubBits) - 1);
  return kLinear + (std::size_t{power - kFirstPower} << kSubBits) + static_cast<std::size_t>(sub);
}

/** The least value that falls into the slot. */
[[nodiscard]] constexpr std::uint64_t lower_bound(std::size_t slot) noexcept {
  if (slot < kLinear) return slot;
  const std::size_t at = slot - kLinear;
  const std::size_t power = kFirstPower + (at >> kSubBits);
  const std::uint64_t sub = at & ((1U << kSubBits) - 1);
  return ((std::uint64_t{1} << kSubBits) + sub) << (power - kSubBits);
}

}  // namespace nfqc::histogram
