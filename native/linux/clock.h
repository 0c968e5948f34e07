#pragma once

#include <time.h>

#include <cstdint>

namespace nfqc {

/** Nanoseconds since boot, suspend included: the clock of every deadline and latency here. */
[[nodiscard]] inline std::uint64_t now_ns() noexcept {
  timespec time;
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace nfqc
