#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "conntrack.h"
#include "jhash.h"

namespace nfqc {

/** A hash of a tuple, or of a part of one. The seed is secret, so that nobody can fill a set on
 * purpose. */
[[nodiscard]] inline std::uint32_t hash_tuple(const Tuple& tuple, std::uint32_t seed) noexcept {
  std::array<std::uint32_t, 10> words{};
  std::copy_n(tuple.source.words.begin(), 4, words.begin());
  std::copy_n(tuple.destination.words.begin(), 4, words.begin() + 4);
  words[8] = static_cast<std::uint32_t>(tuple.source_port) << 16 | tuple.destination_port;
  words[9] = tuple.protocol;
  return jhash_words(words.data(), words.size(), seed);
}

/**
 * The keys of flows, by the tuple of either direction. Of fixed size: if a flow's set is full, the
 * entry that expires first is replaced. Entries expire, as a tuple may come to mean another flow.
 */
class FlowTable {
 public:
  static constexpr std::size_t kSets = 4096;
  static constexpr std::size_t kWays = 4;

  explicit FlowTable(std::uint32_t seed) noexcept : seed_(seed) {}

  /** Null if it is not known. All times are on one clock, in ns. */
  [[nodiscard]] const Key* find(const Tuple& tuple, std::uint64_t now) const noexcept {
    const Entry* set = entries_.data() + set_of(tuple);
    for (std::size_t i = 0; i < kWays; ++i) {
      if (set[i].until > now && set[i].tuple == tuple) return &set[i].key;
    }
    return nullptr;
  }

  void put(const Tuple& tuple, const Key& key, std::uint64_t until) noexcept {
    Entry* set = entries_.data() + set_of(tuple);
    Entry* place = set;
    for (std::size_t i = 0; i < kWays; ++i) {
      if (set[i].tuple == tuple) {
        place = set + i;
        break;
      }
      if (set[i].until < place->until) place = set + i;
    }
    *place = {tuple, key, until};
  }

 private:
  struct Entry {
    Tuple tuple;
    Key key;
    std::uint64_t until = 0;
  };

  [[nodiscard]] std::size_t set_of(const Tuple& tuple) const noexcept {
    return hash_tuple(tuple, seed_) % kSets * kWays;
  }

  std::array<Entry, kSets * kWays> entries_{};
  std::uint32_t seed_;
};

}  // namespace nfqc
