#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "counters.h"
#include "decide.h"
#include "ownership.h"
#include "packet.h"
#include "verdict_batch.h"

namespace nfqc {

/** Packets in the order of their queue: decided, counted, and answered in one send. */
class DecidedBatch {
 public:
  static constexpr std::size_t kCapacity = VerdictBatch::kCapacity;

  DecidedBatch(const DecisionConfig& config, OwnershipInForce& in_force,
               Counters& counters) noexcept
      : config_(config), in_force_(in_force), counters_(counters) {}

  [[nodiscard]] std::size_t size() const noexcept { return verdicts_.size(); }
  [[nodiscard]] bool full() const noexcept { return verdicts_.full(); }

  /** Decides a packet; `looked_up` as for decide(). The batch must not be full. */
  void add(const Packet& packet, const Key& looked_up, std::uint64_t now_ns) noexcept {
    const Ownership& ownership = in_force_.for_packet(packet.id);
    const Decision decision = decide(config_, ownership, now_ns, packet, looked_up);
    counters_.decided(decision);
    verdicts_.add({packet.id, decision.verdict, decision.mark, decision.mark != packet.mark});
  }

  /** Decides a message that has an id but could not be parsed. The batch must not be full. */
  void add_unreadable(std::uint32_t id) noexcept {
    const Decision decision = decide_unreadable();
    counters_.decided(decision);
    verdicts_.add({id, decision.verdict, 0, false});
  }

  /** The messages to send, valid until the batch changes. */
  [[nodiscard]] std::span<const unsigned char> encode(std::uint16_t queue) noexcept {
    return verdicts_.encode(queue);
  }

  /** They were sent, `ns` nanoseconds after their packets were received. Empties the batch. */
  void answered(std::uint64_t ns) noexcept {
    counters_.answered(verdicts_.size(), ns);
    verdicts_.clear();
  }

 private:
  const DecisionConfig& config_;
  OwnershipInForce& in_force_;
  Counters& counters_;
  VerdictBatch verdicts_;
};

}  // namespace nfqc
