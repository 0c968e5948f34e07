#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>

#include "conntrack.h"

namespace nfqc {

/** A flow in the kernel's list; its zone and its original direction identify it. */
struct ListedFlow {
  Connection connection;
  std::uint16_t zone = 0;  ///< of the original direction
};

/**
 * The listed flows that have a master. Each began with its master's connmark, which in turn may
 * come from that one's master: SIP media has the connmark of the INVITE, which has that of the
 * REGISTER.
 */
class RelatedFlows {
 public:
  void add(const ListedFlow& flow) { flows_.insert(flow); }

  /**
   * The source of the topmost of its masters, from which all below have their connmark. If one in
   * between has ended, it is that one's source, as its own master is not known.
   */
  [[nodiscard]] Key root_source(const ListedFlow& flow) const {
    ListedFlow master;
    master.connection.original = flow.connection.master;
    master.zone = flow.zone;
    /* No chain is longer, except for a circle, if a tuple has come to mean another flow. */
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
