#pragma once

#include <array>
#include <cstdint>

#include "clusterip.h"
#include "flow.h"
#include "key.h"
#include "ownership.h"
#include "packet.h"

/* Where a packet's verdict is decided. Pure: the same inputs, the same decision. */
namespace nfqc {

enum class Action : std::uint8_t {
  kDrop,  ///< owned packets pass, foreign ones are dropped
  kMark,  ///< owned packets are marked, all pass
};

enum class KeyField : std::uint8_t { kSource, kDestination };

/** How the original direction of a packet's connection, and its master, are learned. */
enum class Connections : std::uint8_t {
  kOff,     ///< not at all: the packet's own header is the key
  kQueue,   ///< from NFQA_CT, in the queue's own messages
  kLookup,  ///< the caller of decide() looks them up
};

/** Which address is the key of packets that come in by an interface. */
struct InterfaceKey {
  std::uint32_t ifindex = 0;
  KeyField field = KeyField::kSource;
};

inline constexpr std::size_t kMaxInterfaces = 64;

/** Bits of a packet's mark that are ours; no two overlap. */
struct MarkBits {
  std::uint32_t owned_value = 0;
  std::uint32_t owned_mask = 0;   ///< 0 unless the action is kMark
  std::uint32_t multicast = 0;    ///< in: came in a multicast frame; out: set pkt_type to HOST
  std::uint32_t decided = 0;      ///< 0 unless packets are reinjected by NF_REPEAT
  std::uint32_t bucket_mask = 0;  ///< adjacent bits; out: the bucket plus 1. 0: unused
  bool for_rules = false;         ///< rules behind the queue read multicast and bucket
  bool bucket_in = false;         ///< in: the bucket plus 1, from rules that know it
  std::uint32_t direct = 0;       ///< in: the packet's own source is its connection's key
};

/** All that a decision depends on besides the packet and the ownership. */
struct DecisionConfig {
  Hashing hashing;
  Action action = Action::kDrop;
  std::uint32_t pass_verdict = 1;  ///< NF_ACCEPT or NF_REPEAT
  MarkBits marks;
  std::array<InterfaceKey, kMaxInterfaces> interfaces{};
  std::uint32_t interface_count = 0;
  Connections connections = Connections::kOff;
  /** Whether to listen to the expectations that helpers announce. */
  bool hears_expectations = true;
  bool strict = false;  ///< kClusterip: every node lets ICMP errors in, as the original does
};

/** Bytes of a packet that a decision needs; for an address alone, an IPv6 header. */
[[nodiscard]] constexpr std::uint32_t copy_range(const DecisionConfig& config) noexcept {
  if (config.connections == Connections::kLookup) return kFlowCopyRange;
  return config.hashing.policy == Policy::kClusterip ? kClusteripCopyRange : 40;
}

/** Whether the packet's connection must be looked up, since neither its mark nor its message has
 * the key. */
[[nodiscard]] constexpr bool needs_lookup(const DecisionConfig& config,
                                          const Packet& packet) noexcept {
  if (config.connections != Connections::kLookup) return false;
  const MarkBits& bits = config.marks;
  return (packet.mark & (bits.direct | (bits.bucket_in ? bits.bucket_mask : 0))) == 0;
}

enum class Outcome : std::uint8_t {
  kOwned,
  kForeign,
  kUnknown,  ///< foreign, since its connection is not known
  kMalformed,
};

inline constexpr std::uint32_t kNoBucket = UINT32_MAX;

struct Decision {
  std::uint32_t verdict = 0;  ///< NF_DROP, or the config's pass_verdict
  std::uint32_t mark = 0;     ///< the packet's whole new mark
  std::uint32_t bucket = kNoBucket;
  Outcome outcome = Outcome::kMalformed;
  bool fixup = false;  ///< it passes, and its pkt_type is, or is to be, set to HOST
};

/**
 * Decides one packet. `now_ns` is on the clock of the ownership's deadline. `looked_up` is the key
 * of a packet that needs_lookup(), with count 0 if it was not found. A packet without readable
 * addresses, or from an interface that is not in the config, is malformed: foreign, whatever is
 * owned. So is IPv6 under kClusterip.
 */
[[nodiscard]] Decision decide(const DecisionConfig& config, const Ownership& ownership,
                              std::uint64_t now_ns, const Packet& packet,
                              const Key& looked_up = {}) noexcept;

/**
 * The decision for a message that has an id but could not be parsed: dropped under every action,
 * since the packet's mark is not known and could not be kept.
 */
[[nodiscard]] Decision decide_unreadable() noexcept;

}  // namespace nfqc
