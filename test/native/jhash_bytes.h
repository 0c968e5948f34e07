#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/jhash.h"

/* Another way to what jhash_words() gives: the kernel's jhash() of bytes. */
namespace nfqc::test {

/** jhash: any bytes. Whole words are loaded natively, the last 1 to 12 bytes little-endian. */
[[nodiscard]] inline std::uint32_t jhash_bytes(const void* key, std::size_t length,
                                               std::uint32_t seed) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(key);
  JhashState s(kJhashInitval + static_cast<std::uint32_t>(length) + seed);
  std::uint32_t words[3];
  for (; length > 12; length -= 12, bytes += 12) {
    std::memcpy(words, bytes, sizeof words);
    s.a += words[0], s.b += words[1], s.c += words[2];
    s.mix();
  }
  if (length == 0) return s.c;
  std::uint32_t tail[3] = {};
  for (std::size_t i = 0; i < length; ++i) {
    tail[i / 4] += static_cast<std::uint32_t>(bytes[i]) << (8 * (i % 4));
  }
  s.a += tail[0], s.b += tail[1], s.c += tail[2];
  return s.final();
}

}  // namespace nfqc::test
