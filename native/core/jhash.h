#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/* Bob Jenkins' lookup3 as <linux/jhash.h> has it since 2.6.37. All arithmetic is modulo 2^32. */
namespace nfqc {

inline constexpr std::uint32_t kJhashInitval = 0xdeadbeef;

struct JhashState {
  std::uint32_t a, b, c;

  constexpr explicit JhashState(std::uint32_t start) noexcept : a(start), b(start), c(start) {}

  constexpr void mix() noexcept {
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }

  [[nodiscard]] constexpr std::uint32_t final() noexcept {
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
    return c;
  }
};

/** jhash2: `count` words, each taken as it lies in memory. No words: the start value. */
[[nodiscard]] constexpr std::uint32_t jhash_words(const std::uint32_t* words, std::size_t count,
                                                  std::uint32_t seed) noexcept {
  JhashState s(kJhashInitval + (static_cast<std::uint32_t>(count) << 2) + seed);
  for (; count > 3; count -= 3, words += 3) {
    s.a += words[0], s.b += words[1], s.c += words[2];
    s.mix();
  }
  switch (count) {
    case 3: s.c += words[2]; [[fallthrough]];
    case 2: s.b += words[1]; [[fallthrough]];
    case 1: s.a += words[0]; return s.final();
    default: return s.c;
  }
}

[[nodiscard]] constexpr std::uint32_t jhash_1word(std::uint32_t a, std::uint32_t seed) noexcept {
  return jhash_words(&a, 1, seed);
}

}  // namespace nfqc
