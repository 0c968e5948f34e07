#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "netlink_socket.h"

namespace nfqc {

/** An engine's nft table, as the kernel tells of it. */
class RuleTable {
 public:
  /** For the network namespace of the calling thread. @throws Fault kPrivilege, kSystem */
  explicit RuleTable(std::string table);

  /**
   * The packets that the rules decided without the queue since this was made, by the table's named
   * counters. As long as these are not there, the counts stay.
   */
  [[nodiscard]] std::uint64_t owned();
  [[nodiscard]] std::uint64_t foreign();

  /**
   * Whether the table is there and has a chain, and one with rules if that is asked. Of a chain
   * that a transaction is just refilling, it may be told that it has none. Empty where the kernel
   * does not tell.
   */
  [[nodiscard]] std::optional<bool> has_chain(const char* name, bool with_rules);

 private:
  struct Count {
    const char* name;
    std::uint64_t before = 0;  ///< what the counter had when this was made
    std::uint64_t now = 0;
  };

  [[nodiscard]] std::uint64_t growth(Count& count);
  [[nodiscard]] std::optional<std::uint64_t> read(const char* name);

  std::string table_;
  std::mutex mutex_;
  MnlSocket socket_;
  Count owned_{.name = "offloaded-owned"};
  Count foreign_{.name = "offloaded-foreign"};
};

}  // namespace nfqc
