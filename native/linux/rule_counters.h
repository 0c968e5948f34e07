#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "netlink_socket.h"

namespace nfqc {

/**
 * The packets that the rules of an nft table decided without the queue since this was made, by its
 * named counters. As long as the table is not there, the counts stay.
 */
class RuleCounters {
 public:
  /** For the network namespace of the calling thread. @throws Fault kPrivilege, kSystem */
  explicit RuleCounters(std::string table);

  [[nodiscard]] std::uint64_t owned();
  [[nodiscard]] std::uint64_t foreign();

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
