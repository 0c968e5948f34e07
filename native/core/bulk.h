#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "key.h"

/*
 * Buckets of many addresses at once. The loops exist once, and are compiled for several instruction
 * sets; the best one that the processor has is chosen when the program runs.
 */
namespace nfqc {

/** An instruction set that the loops are compiled for; the widest is the last. */
enum class Isa : std::uint8_t {
  kBaseline,  ///< what every processor of the architecture has: SSE2, or NEON
  kAvx2,
  kAvx512,
};

/** Those that this processor has. */
[[nodiscard]] std::vector<Isa> available_isas();

/** The widest of them; determined once. */
[[nodiscard]] Isa best_isa() noexcept;

/** `addresses` in host order (0x0a000001 is 10.0.0.1), without ports; `out` is as long. */
void buckets_ipv4(const Hashing& hashing, std::span<const std::uint32_t> addresses,
                  std::span<std::uint16_t> out, Isa isa = best_isa()) noexcept;

/** `addresses` are records of 16 bytes in network order; `out` is as long as there are records. Not
 * for kClusterip. */
void buckets_ipv6(const Hashing& hashing, std::span<const std::uint8_t> addresses,
                  std::span<std::uint16_t> out, Isa isa = best_isa()) noexcept;

/**
 * Adds to `counts`, one for each bucket, how many of the `count` consecutive addresses from `first`
 * on are in it; addresses are in host order, up to 0xffffffff.
 */
void count_ipv4(const Hashing& hashing, std::uint32_t first, std::uint64_t count,
                std::span<std::uint64_t> counts, Isa isa = best_isa()) noexcept;

}  // namespace nfqc
