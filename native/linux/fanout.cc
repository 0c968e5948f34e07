#include "fanout.h"

#include <pthread.h>
#include <sched.h>

namespace nfqc {

void run_where_queued(const FanoutPlace& place) noexcept {
  if (place.queues == 0) return;
  cpu_set_t processors;
  if (::pthread_getaffinity_np(::pthread_self(), sizeof processors, &processors) != 0) return;
  for (std::size_t i = 0; i < CPU_SETSIZE; ++i) {
    if (i % place.queues != place.index) CPU_CLR(i, &processors);
  }
  if (CPU_COUNT(&processors) == 0) return;
  ::pthread_setaffinity_np(::pthread_self(), sizeof processors, &processors);
}

}  // namespace nfqc
