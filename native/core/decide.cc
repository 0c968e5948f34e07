#include "decide.h"

#include <linux/if_ether.h>
#include <linux/netfilter.h>

#include <bit>

namespace nfqc {
namespace {

/** What a policy reads from a packet. */
struct Reading {
  Key key{};                         ///< count 0 if it has none
  std::uint32_t bucket = kNoBucket;  ///< in place of a key, if the rules told it
  bool unicast = false;              ///< neither malformed nor for a multicast address
  bool unknown = false;              ///< well-formed, of a connection that is not known
  bool for_every_node = false;       ///< owned by all, and its frame's pkt_type left alone
};

/** The bucket that the packet's mark brings; kNoBucket if none. */
std::uint32_t marked_bucket(const DecisionConfig& config, const Packet& packet) noexcept {
  const std::uint32_t mask = config.marks.bucket_in ? config.marks.bucket_mask : 0;
  const std::uint32_t number = (packet.mark & mask) >> std::countr_zero(mask | 1U << 31);
  return number >= 1 && number <= config.hashing.buckets ? number - 1 : kNoBucket;
}

/** The key of the packet's connection, from the queue's message; count 0 if that does not have it.
 */
Key queued_key(const Packet& packet) noexcept {
  Connection connection;
  if (packet.conntrack == nullptr) return {};
  if (!parse_connection(packet.conntrack, packet.conntrack_length, connection)) return {};
  return connection.key();
}

void read_addresses(const DecisionConfig& config, const Packet& packet, KeyField field,
                    const Key& looked_up, Reading& reading) noexcept {
  const Addresses addresses = find_addresses(packet);
  if (!addresses.valid()) return;
  reading.unicast = !addresses.destination_is_multicast();
  if (config.connections == Connections::kOff) {
    reading.key = field == KeyField::kSource ? addresses.source_key() : addresses.destination_key();
    return;
  }
  reading.bucket = marked_bucket(config, packet);
  if (reading.bucket != kNoBucket) return;
  if ((packet.mark & config.marks.direct) != 0) {
    reading.key = addresses.source_key();
  } else {
    reading.key = config.connections == Connections::kQueue ? queued_key(packet) : looked_up;
  }
  reading.unknown = reading.key.count == 0;
}

Reading read_clusterip(const DecisionConfig& config, const Packet& packet,
                       KeyField field) noexcept {
  if (packet.hw_protocol != ETH_P_IP) return {};
  Ipv4Ends ends = parse_ipv4_ends(packet.payload, packet.payload_length);
  if (is_icmp_error(packet.payload, packet.payload_length)) {
    /* It is for the node that owns packets from the address to which the lost one was sent. */
    ends = parse_icmp_error(packet.payload, packet.payload_length).reversed();
    if (ends.valid && config.strict) return {.for_every_node = true};
  }
  if (!ends.valid) return {};
  if (field == KeyField::kDestination) ends = ends.reversed();
  return {.key = clusterip_key(config.hashing.mode, ends)};
}

/** Reads nothing if the interface is not ours. Not by return value: copying what was just written
 * would stall. */
void read(const DecisionConfig& config, const Packet& packet, const Key& looked_up,
          Reading& reading) noexcept {
  for (std::uint32_t i = 0; i < config.interface_count; ++i) {
    const InterfaceKey& interface = config.interfaces[i];
    if (interface.ifindex != packet.ifindex_in) continue;
    if (config.hashing.policy == Policy::kClusterip) {
      reading = read_clusterip(config, packet, interface.field);
    } else {
      read_addresses(config, packet, interface.field, looked_up, reading);
    }
    return;
  }
}

/** Whether the packet, if it came in no unicast frame, is to have pkt_type HOST from now on. */
bool is_fixed(const DecisionConfig& config, const Reading& reading, bool owned) noexcept {
  if (config.hashing.policy != Policy::kClusterip) return reading.unicast;
  return owned && !reading.for_every_node;
}

/** The verdict and the mark that follow from whether the packet is owned. */
void conclude(const DecisionConfig& config, const Packet& packet, bool owned, bool fixed,
              Decision& decision) noexcept {
  const MarkBits& bits = config.marks;
  if (!owned && config.action == Action::kDrop) {
    decision.verdict = NF_DROP;
    decision.mark = packet.mark;
    return;
  }
  std::uint32_t mark = packet.mark & ~(bits.owned_mask | bits.bucket_mask | bits.direct);
  if (owned) mark |= bits.owned_value & bits.owned_mask;
  decision.fixup = fixed && (mark & bits.multicast) != 0;
  if (!decision.fixup || !bits.for_rules) mark &= ~bits.multicast;
  if (bits.for_rules && bits.bucket_mask != 0 && decision.bucket != kNoBucket) {
    mark |= (decision.bucket + 1) << std::countr_zero(bits.bucket_mask) & bits.bucket_mask;
  }
  decision.verdict = config.pass_verdict;
  decision.mark = mark | bits.decided;
}

}  // namespace

Decision decide(const DecisionConfig& config, const Ownership& ownership, std::uint64_t now_ns,
                const Packet& packet, const Key& looked_up) noexcept {
  Decision decision;
  Reading reading;
  read(config, packet, looked_up, reading);
  bool owned = reading.for_every_node;
  decision.bucket = reading.key.count != 0 ? config.hashing.bucket(reading.key) : reading.bucket;
  if (decision.bucket != kNoBucket) {
    owned = now_ns < ownership.deadline_ns && ownership.has(decision.bucket);
  }
  if (decision.bucket != kNoBucket || owned) {
    decision.outcome = owned ? Outcome::kOwned : Outcome::kForeign;
  } else if (reading.unknown) {
    decision.outcome = Outcome::kUnknown;
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
