#pragma once

#include <cstdint>
#include <span>

#include "key.h"

/* Buckets of many addresses at once. */
namespace nfqc {

/** `addresses` in host order (0x0a000001 is 10.0.0.1); `out` is as long. */
void buckets_ipv4(const Hashing& hashing, std::span<const std::uint32_t> addresses,
                  std::span<std::uint16_t> out) noexcept;

/** `addresses` are records of 16 bytes in network order; `out` is as long as there are records. */
void buckets_ipv6(const Hashing& hashing, std::span<const std::uint8_t> addresses,
                  std::span<std::uint16_t> out) noexcept;

}  // namespace nfqc
