#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

/* Netlink attributes and their values, read without alignment and without trust. */
namespace nfqc {

template <typename T>
[[nodiscard]] T load(const unsigned char* bytes) noexcept {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/** One attribute: its type without flags, and its value. */
struct Attribute {
  unsigned type;
  const unsigned char* value;
  std::size_t length;
};

/**
 * Calls `take` with each attribute, even after it has refused one. False if it refused any, or the
 * attributes do not fill the length exactly.
 */
template <typename Take>
bool for_each_attribute(const unsigned char* bytes, std::size_t length, Take&& take) noexcept {
  bool well_formed = true;
  while (length >= NLA_HDRLEN) {
    const std::size_t size = load<std::uint16_t>(bytes);
    const unsigned type = load<std::uint16_t>(bytes + 2) & NLA_TYPE_MASK;
    if (size < NLA_HDRLEN || size > length) return false;
    well_formed &= take(Attribute{type, bytes + NLA_HDRLEN, size - NLA_HDRLEN});
    const std::size_t step = NLA_ALIGN(size);
    if (step >= length) return well_formed;
    bytes += step;
    length -= step;
  }
  return well_formed && length == 0;
}

}  // namespace nfqc
