#include "decide.h"

#include <linux/if_ether.h>
#include <linux/netfilter.h>

#include <bit>

namespace nfqc {
namespace {

/** What a policy reads of a packet. */
struct Reading {
  Key key{};                    ///< count 0 if it has none
  bool unicast = false;         ///< neither malformed nor for a multicast address
  bool for_every_node = false;  ///< owned by all, and its frame's pkt_type left alone
};

/*
 * Today the packet's own header gives the key; a flow's original direction and its master would be
 * asked here.
 */
Reading read_addresses(const Packet& packet, KeyField field) noexcept {
  const Addresses addresses = parse_addresses(packet);
  if (!addresses.valid) return {};
  return {.key = field == KeyField::kSource ? addresses.source : addresses.destination,
          .unicast = !addresses.destination_is_multicast};
}

Reading read_clusterip(const DecisionConfig& config, const Packet& packet,
                       KeyField field) noexcept {
  if (packet.hw_protocol != ETH_P_IP) return {};
  Ipv4Ends ends = parse_ipv4_ends(packet.payload, packet.payload_length);
  if (is_icmp_error(packet.payload, packet.payload_length)) {
    /* It is for whoever owns the packets that come from where the lost one went. */
    ends = parse_icmp_error(packet.payload, packet.payload_length).reversed();
    if (ends.valid && config.strict) return {.for_every_node = true};
  }
  if (!ends.valid) return {};
  if (field == KeyField::kDestination) ends = ends.reversed();
  return {.key = clusterip_key(config.hashing.mode, ends)};
}

/** Nothing is read where the interface is not ours. */
Reading read(const DecisionConfig& config, const Packet& packet) noexcept {
  for (std::uint32_t i = 0; i < config.interface_count; ++i) {
    const InterfaceKey& interface = config.interfaces[i];
    if (interface.ifindex != packet.ifindex_in) continue;
    return config.hashing.policy == Policy::kClusterip
               ? read_clusterip(config, packet, interface.field)
               : read_addresses(packet, interface.field);
  }
  return {};
}

/** Whether the packet's frame, if it was not a unicast one, is from now on for this host. */
bool is_fixed(const DecisionConfig& config, const Reading& reading, bool owned) noexcept {
  if (config.hashing.policy != Policy::kClusterip) return reading.unicast;
  return owned && !reading.for_every_node;
}

/** The verdict and the mark that follow from whether the packet is owned. */
void conclude(const DecisionConfig& config, const Packet& packet, bool owned, bool fixed,
              Decision& decision) noexcept {
  const MarkBits& bits = config.marks;
  const bool passes = owned || config.action == Action::kMark;
  if (!passes) {
    decision.verdict = NF_DROP;
    decision.mark = packet.mark;
    return;
  }
  std::uint32_t mark = packet.mark & ~(bits.owned_mask | bits.node_mask);
  if (owned) mark |= bits.owned_value & bits.owned_mask;
  if (!fixed) mark &= ~bits.multicast;
  if (bits.node_mask != 0 && decision.bucket != kNoBucket) {
    mark |= (decision.bucket + 1) << std::countr_zero(bits.node_mask) & bits.node_mask;
  }
  decision.verdict = config.pass_verdict;
  decision.mark = mark | bits.decided;
  decision.fixup = (mark & bits.multicast) != 0;
}

}  // namespace

Decision decide(const DecisionConfig& config, const Ownership& ownership, std::uint64_t now_ns,
                const Packet& packet) noexcept {
  Decision decision;
  const Reading reading = read(config, packet);
  bool owned = reading.for_every_node;
  if (reading.key.count != 0) {
    decision.bucket = config.hashing.bucket(reading.key);
    owned = now_ns < ownership.deadline_ns && ownership.has(decision.bucket);
  }
  if (reading.key.count != 0 || owned) {
    decision.outcome = owned ? Outcome::kOwned : Outcome::kForeign;
  }
  conclude(config, packet, owned, is_fixed(config, reading, owned), decision);
  return decision;
}

Decision decide_unreadable() noexcept {
  Decision decision;
  decision.verdict = NF_DROP;
  return decision;
}

}  // namespace nfqc
