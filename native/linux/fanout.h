#pragma once

#include <cstddef>

namespace nfqc {

/** A queue's place among those that NFQUEUE's CPU fan-out spreads packets over. */
struct FanoutPlace {
  std::size_t index = 0;
  std::size_t queues = 0;  ///< 0: no CPU fan-out
};

/**
 * Keeps the calling thread on the processors whose packets the queue gets: those whose number is
 * `index` modulo `queues`. There a packet is in the cache, and one that waits for the thread is
 * joined by all that its processor takes at a time. A thread that may use none of them stays where
 * it is.
 */
void run_where_queued(const FanoutPlace& place) noexcept;

}  // namespace nfqc
