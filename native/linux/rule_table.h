#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "netlink_socket.h"

namespace nfqc {

/** An engine's nft table, as the kernel reports it. For one thread at a time. */
class RuleTable {
 public:
  /** For the network namespace of the calling thread. @throws Fault kPrivilege, kSystem */
  explicit RuleTable(std::string table);

  /**
   * The packets that the rules have decided without the queue since construction, from the table's
   * named counters. While those do not exist, the counts stay as they are; they never decrease.
   */
  [[nodiscard]] std::uint64_t owned();
  [[nodiscard]] std::uint64_t foreign();

  /**
   * Whether the table exists and has a chain, with rules in it if that is asked. A chain that a
   * transaction is just refilling may seem to have none. Empty if the kernel does not say.
   */
  [[nodiscard]] std::optional<bool> has_chain(const char* name, bool with_rules);

  /** What tells the table from one of its name that comes in its place; empty where there is none.
   */
  [[nodiscard]] std::optional<std::uint64_t> handle();

 private:
  struct Count {
    const char* name;
    std::uint64_t last = 0;  ///< the counter's value when it was read last
    std::uint64_t now = 0;
  };

  [[nodiscard]] std::uint64_t growth(Count& count);
  [[nodiscard]] std::optional<std::uint64_t> read(const char* name);

  std::string table_;
  MnlSocket socket_;
  Count owned_{.name = "offloaded-owned"};
  Count foreign_{.name = "offloaded-foreign"};
};

}  // namespace nfqc
