#pragma once

#include <bit>
#include <cstdint>

/* Between the machine's byte order and the network's; the same both ways. */
namespace nfqc {

[[nodiscard]] constexpr std::uint16_t network_order(std::uint16_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap16(value) : value;
}
[[nodiscard]] constexpr std::uint32_t network_order(std::uint32_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}
[[nodiscard]] constexpr std::uint64_t network_order(std::uint64_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap64(value) : value;
}

}  // namespace nfqc
