#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>

#include "conntrack.h"

namespace nfqc {

/** A flow of the kernel's list; its zone and its original direction tell it from all others. */
struct ListedFlow {
  Connection connection;
  std::uint16_t zone = 0;  ///< of the original direction
};

/**
 * The listed flows that have a master. Each has begun with its master's connmark, which may be that
 * of a master in turn: SIP's media has that of the INVITE, and this that of the REGISTER.
 */
class RelatedFlows {
 public:
  void add(const ListedFlow& flow) { flows_.insert(flow); }

  /**
   * The source of the first of its masters, from which all below have their connmark. What is above
   * one that has ended is not known: then that one's.
   */
  [[nodiscard]] Key root_source(const ListedFlow& flow) const {
    ListedFlow master;
    master.connection.original = flow.connection.master;
    master.zone = flow.zone;
    /* No chain is longer; a circle is, where a tuple has come to mean another flow. */
    for (std::size_t left = flows_.size(); left > 0; --left) {
      const auto found = flows_.find(master);
      if (found == flows_.end()) break;
      master.connection.original = found->connection.master;
    }
    return master.connection.original.source;
  }

  [[nodiscard]] auto begin() const noexcept { return flows_.begin(); }
  [[nodiscard]] auto end() const noexcept { return flows_.end(); }

 private:
  struct ByOriginal {
    static auto place(const ListedFlow& flow) noexcept {
      const Tuple& original = flow.connection.original;
      return std::tie(flow.zone, original.source.count, original.source.words,
                      original.destination.words, original.protocol, original.source_port,
                      original.destination_port);
    }
    bool operator()(const ListedFlow& a, const ListedFlow& b) const noexcept {
      return place(a) < place(b);
    }
  };

  std::set<ListedFlow, ByOriginal> flows_;
};

}  // namespace nfqc
