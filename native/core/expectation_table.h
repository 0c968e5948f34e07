#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "conntrack.h"
#include "flow_table.h"

namespace nfqc {

/**
 * The flows that helpers expect, as the kernel announced them. Of fixed size: when it is full, the
 * one that was announced first is forgotten.
 */
class ExpectationTable {
 public:
  static constexpr std::size_t kCapacity = 4096;
  /** The kernel forgets an expectation when its packet arrives; that packet may still wait in the
   * queue. */
  static constexpr std::uint64_t kLingerNs = 10'000'000'000;

  explicit ExpectationTable(std::uint32_t seed) noexcept : seed_(seed) { heads_.fill(kNone); }

  void add(const Expectation& expectation, std::uint64_t now) noexcept {
    /* The kernel prolongs a permanent one without announcing that. */
    const std::uint64_t until =
        expectation.permanent ? kNever : now + expectation.timeout_s * kNsPerS + kLingerNs;
    if (Entry* known = find_same(expectation)) {
      known->until = until;
      return;
    }
    const auto place = static_cast<std::uint32_t>(added_++ % kCapacity);
    Entry& entry = entries_[place];
    if (entry.until != 0) unlink(place);
    std::uint32_t& head = head_of(expectation.tuple);
    entry = {expectation, until, head};
    head = place;
  }

  /** The kernel has forgotten it. */
  void end(const Expectation& expectation, std::uint64_t now) noexcept {
    if (Entry* known = find_same(expectation)) {
      known->until = std::min(known->until, now + kLingerNs);
    }
  }

  /** After a loss of announcements: what has no timeout may have ended. */
  void end_permanent(std::uint64_t now) noexcept {
    for (Entry& entry : entries_) {
      if (entry.until == kNever) entry.until = now + kLingerNs;
    }
  }

  /** The newest that a packet of this tuple matches; null if there is none. */
  [[nodiscard]] const Expectation* find(const Tuple& packet, std::uint64_t now) const noexcept {
    for (std::uint32_t at = head_of(packet); at != kNone; at = entries_[at].next) {
      const Entry& entry = entries_[at];
      if (entry.until > now && entry.expectation.matches(packet)) return &entry.expectation;
    }
    return nullptr;
  }

  /** How many are held; goes through all entries. */
  [[nodiscard]] std::size_t held(std::uint64_t now) const noexcept {
    return static_cast<std::size_t>(std::count_if(
        entries_.begin(), entries_.end(), [now](const Entry& entry) { return entry.until > now; }));
  }

 private:
  static constexpr std::uint64_t kNever = UINT64_MAX;
  static constexpr std::uint64_t kNsPerS = 1'000'000'000;
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Entry {
    Expectation expectation;
    std::uint64_t until = 0;  ///< 0 if the place was never used
    std::uint32_t next = kNone;
  };

  /** By the part of a tuple that no mask applies to. */
  [[nodiscard]] std::size_t chain_of(Tuple tuple) const noexcept {
    tuple.source = {};
    tuple.source_port = 0;
    return hash_tuple(tuple, seed_) % kCapacity;
  }
  [[nodiscard]] std::uint32_t head_of(const Tuple& tuple) const noexcept {
    return heads_[chain_of(tuple)];
  }
  [[nodiscard]] std::uint32_t& head_of(const Tuple& tuple) noexcept {
    return heads_[chain_of(tuple)];
  }

  [[nodiscard]] Entry* find_same(const Expectation& expectation) noexcept {
    for (std::uint32_t at = head_of(expectation.tuple); at != kNone; at = entries_[at].next) {
      if (entries_[at].expectation.is(expectation)) return &entries_[at];
    }
    return nullptr;
  }

  void unlink(std::uint32_t place) noexcept {
    std::uint32_t* link = &head_of(entries_[place].expectation.tuple);
    while (*link != place) link = &entries_[*link].next;
    *link = entries_[place].next;
  }

  std::array<Entry, kCapacity> entries_{};
  std::array<std::uint32_t, kCapacity> heads_{};
  std::uint64_t added_ = 0;
  std::uint32_t seed_;
};

}  // namespace nfqc
