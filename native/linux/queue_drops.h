#pragma once

#include <cstdint>
#include <optional>

#include "descriptor.h"

namespace nfqc {

/** What the kernel lost of one queue. */
struct Drops {
  std::uint64_t queue = 0;  ///< the queue was full
  std::uint64_t user = 0;   ///< the message could not be delivered to the socket
};

/**
 * A view of /proc/net/netfilter/nfnetlink_queue in the network namespace of the thread that opened
 * it; read from any thread.
 */
class QueueDrops {
 public:
  /** Opens the view in the calling thread's namespace. A missing file reads as no drops. */
  QueueDrops();

  /** The counts of a queue; empty if nobody listens on it, or the file cannot be read. */
  [[nodiscard]] std::optional<Drops> read(std::uint16_t queue) const;

 private:
  Descriptor file_;
};

}  // namespace nfqc
