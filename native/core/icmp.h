#pragma once

#include <linux/icmp.h>

#include <cstdint>

namespace nfqc {

/** Whether ICMP messages of this type are errors, which quote the packet that they are about. */
[[nodiscard]] constexpr bool is_icmp_error_type(std::uint8_t type) noexcept {
  switch (type) {
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_REDIRECT:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB: return true;
    default: return false;
  }
}

}  // namespace nfqc
