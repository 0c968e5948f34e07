#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../core/ownership.h"

namespace nfqc {

/**
 * The ownership in force, read by queue threads without lock or wait, and replaced as a whole.
 * Each reader announces in a slot of its own which ownership it decides by (a hazard pointer), so
 * that a writer knows when the old one has decided its last packet.
 */
class OwnershipTable {
 public:
  /** One queue thread's slot. It outlives every Lease taken from it. */
  struct alignas(64) Reader {
    std::atomic<const Ownership*> in_use{nullptr};
  };

  explicit OwnershipTable(std::size_t readers, const Ownership& initial)
      : readers_(std::make_unique<Reader[]>(readers)),
        count_(readers),
        published_(nullptr) {
    publish(initial);
  }

  [[nodiscard]] Reader& reader(std::size_t index) noexcept { return readers_[index]; }

  /** The ownership that a reader decides by, until the lease ends. */
  class Lease {
   public:
    Lease(const OwnershipTable& table, Reader& reader) noexcept : reader_(reader) {
      const Ownership* seen = table.published_.load(std::memory_order_acquire);
      for (;;) {
        reader_.in_use.store(seen, std::memory_order_seq_cst);
        const Ownership* again = table.published_.load(std::memory_order_seq_cst);
        if (again == seen) break;
        seen = again;
      }
      ownership_ = seen;
    }
    ~Lease() { reader_.in_use.store(nullptr, std::memory_order_release); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    [[nodiscard]] const Ownership& operator*() const noexcept { return *ownership_; }

   private:
    Reader& reader_;
    const Ownership* ownership_;
  };

  /**
   * Puts an ownership in force: every batch received from here on is decided by it. Returns the
   * one before, for wait_until_unused().
   */
  const Ownership* publish(const Ownership& ownership) {
    const std::lock_guard lock(writer_);
    kept_.push_back(std::make_unique<const Ownership>(ownership));
    return published_.exchange(kept_.back().get(), std::memory_order_seq_cst);
  }

  /** Returns when no verdict by `old`, which publish() returned, is still to be sent; frees it. */
  void wait_until_unused(const Ownership* old) {
    for (std::size_t i = 0; i < count_; ++i) {
      while (readers_[i].in_use.load(std::memory_order_seq_cst) == old) {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    }
    const std::lock_guard lock(writer_);
    std::erase_if(kept_, [old](const auto& kept) { return kept.get() == old; });
  }

  [[nodiscard]] Ownership current() {
    const std::lock_guard lock(writer_);
    return *published_.load(std::memory_order_relaxed);
  }

 private:
  std::unique_ptr<Reader[]> readers_;
  std::size_t count_;
  std::mutex writer_;
  std::vector<std::unique_ptr<const Ownership>> kept_;  ///< the one in force and those still in use
  std::atomic<const Ownership*> published_;
};

}  // namespace nfqc
