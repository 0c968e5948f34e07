#include "bulk.h"

#include <bit>

namespace nfqc {

void buckets_ipv4(const Hashing& hashing, std::span<const std::uint32_t> addresses,
                  std::span<std::uint16_t> out) noexcept {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::uint32_t word =
        std::endian::native == std::endian::little ? __builtin_bswap32(addresses[i]) : addresses[i];
    out[i] =
        static_cast<std::uint16_t>(bucket_of(jhash_1word(word, hashing.seed), hashing.buckets));
  }
}

void buckets_ipv6(const Hashing& hashing, std::span<const std::uint8_t> addresses,
                  std::span<std::uint16_t> out) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Key key = Key::ipv6(addresses.data() + 16 * i);
    out[i] = static_cast<std::uint16_t>(hashing.bucket(key));
  }
}

}  // namespace nfqc
