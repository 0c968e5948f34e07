#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "decide.h"
#include "histogram.h"
#include "ownership.h"
#include "verdict_batch.h"

/*
 * The statistics of one queue thread: an array of 64-bit slots that the thread alone writes and
 * anybody reads. This file is the one place that says which slot is what.
 */
namespace nfqc {

/** Slots that hold one number each, and the names by which JavaScript knows them. */
enum class Counter : std::size_t {
  kOwned,             ///< packets whose bucket was owned
  kForeign,           ///< packets whose bucket was not
  kUnknown,           ///< packets whose connection was not known; treated as foreign
  kMalformed,         ///< packets or messages that could not be read; treated as foreign
  kFixups,            ///< unicast packets from multicast frames that passed
  kVerdictErrors,     ///< verdicts that the kernel refused, or that could not be sent
  kBatches,           ///< sends of verdicts
  kReceiveErrors,     ///< receive calls that failed for lack of memory or buffer space
  kQueueDropped,      ///< the kernel's: the queue was full
  kUserDropped,       ///< the kernel's: the socket's receive buffer was full
  kReceiveBuffer,     ///< bytes of receive buffer that the kernel granted
  kFlowHits,          ///< packets whose connection this thread knew from an earlier one
  kLookups,           ///< packets whose connection ctnetlink was asked for
  kLookupHits,        ///< those of them whose connection it knew
  kExpected,          ///< those of them that a helper expected
  kLookupNs,          ///< nanoseconds that these lookups took
  kExpectations,      ///< flows that helpers expect now
  kExpectationsLost,  ///< times that the kernel could not announce all of them
  kOffloadedOwned,    ///< the kernel's: passed by itself
  kOffloadedForeign,  ///< the kernel's: dropped by itself
  kCount,
};

inline constexpr std::array<std::string_view, static_cast<std::size_t>(Counter::kCount)>
    kCounterNames{"owned",        "foreign",          "unknown",        "malformed",
                  "fixups",       "verdictErrors",    "batches",        "receiveErrors",
                  "queueDropped", "userDropped",      "receiveBuffer",  "flowHits",
                  "lookups",      "lookupHits",       "expected",       "lookupTime",
                  "expectations", "expectationsLost", "offloadedOwned", "offloadedForeign"};
static_assert(!kCounterNames.back().empty(), "each counter has a name");

/** Slots that hold many numbers of one kind. */
struct SlotRange {
  std::size_t offset;
  std::size_t length;
};

inline constexpr SlotRange kBucketSlots{static_cast<std::size_t>(Counter::kCount), kMaxBuckets};
inline constexpr SlotRange kBatchSizeSlots{kBucketSlots.offset + kBucketSlots.length,
                                           VerdictBatch::kCapacity + 1};
inline constexpr SlotRange kLatencySlots{kBatchSizeSlots.offset + kBatchSizeSlots.length,
                                         histogram::kSlots};

inline constexpr std::size_t kCacheLineSlots = 64 / sizeof(std::uint64_t);
/** The distance from one thread's slots to the next thread's, so that they share no cache line. */
inline constexpr std::size_t kCounterStride =
    (kLatencySlots.offset + kLatencySlots.length + 2 * kCacheLineSlots - 1) / kCacheLineSlots *
    kCacheLineSlots;

/** The writer's view of one thread's slots. It is the only writer, so it needs no
 * read-modify-write. */
class Counters {
 public:
  explicit Counters(std::uint64_t* slots) noexcept : slots_(slots) {}

  void add(Counter counter, std::uint64_t by = 1) noexcept { add(index(counter), by); }
  void set(Counter counter, std::uint64_t to) noexcept { at(index(counter)).store(to, kRelaxed); }

  /** Adds what the kernel's count, which begins anew after 2^32, has grown by. */
  void follow(Counter counter, std::uint32_t kernel) noexcept {
    add(counter, kernel - static_cast<std::uint32_t>(get(counter)));
  }

  [[nodiscard]] std::uint64_t get(Counter counter) noexcept {
    return at(index(counter)).load(kRelaxed);
  }

  void decided(const Decision& decision) noexcept {
    switch (decision.outcome) {
      case Outcome::kOwned: add(Counter::kOwned); break;
      case Outcome::kForeign: add(Counter::kForeign); break;
      case Outcome::kUnknown: add(Counter::kUnknown); break;
      case Outcome::kMalformed: add(Counter::kMalformed); break;
    }
    if (decision.fixup) add(Counter::kFixups);
    if (decision.bucket != kNoBucket) add(kBucketSlots.offset + decision.bucket, 1);
  }

  /** A batch of `packets` was answered `ns` nanoseconds after it was received. */
  void answered(std::size_t packets, std::uint64_t ns) noexcept {
    add(Counter::kBatches);
    add(kBatchSizeSlots.offset + packets, 1);
    add(kLatencySlots.offset + histogram::slot_of(ns), packets);
  }

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;

  [[nodiscard]] static constexpr std::size_t index(Counter counter) noexcept {
    return static_cast<std::size_t>(counter);
  }
  [[nodiscard]] std::atomic_ref<std::uint64_t> at(std::size_t slot) noexcept {
    return std::atomic_ref(slots_[slot]);
  }
  void add(std::size_t slot, std::uint64_t by) noexcept {
    const auto counter = at(slot);
    counter.store(counter.load(kRelaxed) + by, kRelaxed);
  }

  std::uint64_t* slots_;
};

}  // namespace nfqc
