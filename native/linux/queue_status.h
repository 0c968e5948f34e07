#pragma once

#include <cstdint>
#include <optional>

#include "descriptor.h"

namespace nfqc {

/** What the kernel says of one queue. */
struct QueueStatus {
  std::uint32_t queue_dropped = 0;  ///< the queue was full
  std::uint32_t user_dropped = 0;   ///< the message could not be delivered to the socket
  std::uint32_t last_id = 0;        ///< the id of the packet queued last
};

/**
 * A view of /proc/net/netfilter/nfnetlink_queue in the network namespace of the thread that opened
 * it; read from any thread.
 */
class QueueStatusFile {
 public:
  /** Opens the view in the calling thread's namespace. */
  QueueStatusFile();

  /** Only root may read the list of queues, whatever capabilities a process has. */
  [[nodiscard]] bool readable() const noexcept { return static_cast<bool>(file_); }

  /** Empty if nobody listens on the queue, or the file cannot be read. */
  [[nodiscard]] std::optional<QueueStatus> read(std::uint16_t queue) const;

 private:
  Descriptor file_;
};

}  // namespace nfqc
