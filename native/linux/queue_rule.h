#pragma once

#include <cstdint>
#include <string>

namespace nfqc {

/** A chain without a hook, and the queues over which it is to spread its packets. */
struct QueueRule {
  std::string table;  ///< of family inet
  std::string chain;
  std::uint32_t first_queue = 0;
  std::uint32_t queues = 1;
  bool cpu_fanout = false;  ///< by the processor's number, not by a hash of the addresses
};

/**
 * Makes xtables' NFQUEUE the only rule of an nft chain, by nft_compat, in one transaction; nft has
 * no syntax for it.
 * @param netns a path; empty: the calling thread's network namespace
 * @throws Fault kPrivilege, kNoNetns, kSystem; then the chain is as it was
 */
void set_queue_rule(const std::string& netns, const QueueRule& rule);

/**
 * 0 if the kernel takes such a rule in the calling thread's network namespace, else an errno.
 * Nothing is changed, as the transaction is never committed, but modules may be loaded.
 */
[[nodiscard]] int try_queue_rule();

}  // namespace nfqc
