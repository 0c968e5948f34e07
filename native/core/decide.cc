#include "decide.h"

#include <linux/netfilter.h>

namespace nfqc {
namespace {

/**
 * The key of the flow that a packet belongs to; count 0 if the interface is not ours. Today the
 * packet's own header gives it; a flow's original direction and its master would be asked here.
 */
Key key_of(const DecisionConfig& config, const Packet& packet,
           const Addresses& addresses) noexcept {
  for (std::uint32_t i = 0; i < config.interface_count; ++i) {
    const InterfaceKey& interface = config.interfaces[i];
    if (interface.ifindex == packet.ifindex_in) {
      return interface.field == KeyField::kSource ? addresses.source : addresses.destination;
    }
  }
  return {};
}

/** The verdict and the mark that follow from whether the packet is owned. */
void conclude(const DecisionConfig& config, const Packet& packet, bool owned, bool unicast,
              Decision& decision) noexcept {
  const MarkBits& bits = config.marks;
  const bool passes = owned || config.action == Action::kMark;
  if (!passes) {
    decision.verdict = NF_DROP;
    decision.mark = packet.mark;
    return;
  }
  std::uint32_t mark = packet.mark & ~bits.owned_mask;
  if (owned) mark |= bits.owned_value & bits.owned_mask;
  if (!unicast) mark &= ~bits.multicast;
  decision.verdict = config.pass_verdict;
  decision.mark = mark | bits.decided;
  decision.fixup = (mark & bits.multicast) != 0;
}

}  // namespace

Decision decide(const DecisionConfig& config, const Ownership& ownership, std::uint64_t now_ns,
                const Packet& packet) noexcept {
  Decision decision;
  const Addresses addresses = parse_addresses(packet);
  const Key key = addresses.valid ? key_of(config, packet, addresses) : Key{};
  if (key.count == 0) {
    conclude(config, packet, false, false, decision);
    return decision;
  }
  decision.bucket = config.hashing.bucket(key);
  const bool owned = now_ns < ownership.deadline_ns && ownership.has(decision.bucket);
  decision.outcome = owned ? Outcome::kOwned : Outcome::kForeign;
  conclude(config, packet, owned, !addresses.destination_is_multicast, decision);
  return decision;
}

Decision decide_unreadable() noexcept {
  Decision decision;
  decision.verdict = NF_DROP;
  return decision;
}

}  // namespace nfqc
