#pragma once

namespace nfqc {

/** What the kernel answers, as errnos; 0 where it agrees. */
struct QueueProbe {
  int bind = 0;       ///< to listen on a queue
  int conntrack = 0;  ///< to put the flow into its messages; EOPNOTSUPP without the glue
  int target = 0;     ///< to have xtables' NFQUEUE in a chain of nft
};

/**
 * Asks by a queue that nothing is sent to, in a network namespace of its own; where that may not be
 * made, by a spare queue of the calling thread's namespace, given up at once.
 * @throws std::system_error where no thread can be started
 */
[[nodiscard]] QueueProbe probe_queue();

}  // namespace nfqc
