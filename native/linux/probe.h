#pragma once

namespace nfqc {

/** What the kernel supports, as errnos; 0 if it does. */
struct QueueProbe {
  int bind = 0;       ///< listening on a queue
  int conntrack = 0;  ///< attaching connections to its messages; EOPNOTSUPP without the glue
  int target = 0;     ///< xtables' NFQUEUE in an nft chain
};

/**
 * Tries it on a queue that nothing is sent to, in a network namespace of its own; if that may not
 * be created, on a spare queue of the calling thread's namespace, which is released at once.
 * @throws std::system_error if no thread can be started
 */
[[nodiscard]] QueueProbe probe_queue();

}  // namespace nfqc
