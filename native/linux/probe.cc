#include "probe.h"

#include <sched.h>

#include <cerrno>
#include <cstdint>
#include <future>

#include "fault.h"
#include "queue_rule.h"
#include "queue_socket.h"

namespace nfqc {
namespace {

constexpr std::uint16_t kLastQueue = 65535;
constexpr int kSpareQueues = 16;

int attaches_connections(QueueSocket& socket) {
  try {
    return socket.attach_connections() ? 0 : EOPNOTSUPP;
  } catch (const Fault& fault) {
    return fault.error();
  }
}

QueueProbe probe_here() {
  const int target = try_queue_rule();
  for (std::uint16_t queue = kLastQueue;; --queue) {
    try {
      QueueSocket socket({.queue = queue, .queue_length = 1, .receive_buffer = 0});
      return {0, attaches_connections(socket), target};
    } catch (const Fault& fault) {
      const bool taken = fault.kind() == FaultKind::kQueueTaken;
      if (taken && queue > kLastQueue - kSpareQueues) continue;
      return {fault.error(), fault.error(), target};
    }
  }
}

}  // namespace

QueueProbe probe_queue() {
  return std::async(std::launch::async,
                    [] {
                      /* Where that is refused, a queue number serves that nobody has. */
                      ::unshare(CLONE_NEWNET);
                      return probe_here();
                    })
      .get();
}

}  // namespace nfqc
