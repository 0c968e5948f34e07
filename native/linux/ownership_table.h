#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "../core/ownership.h"

namespace nfqc {

/**
 * The ownership that was last asked for, with a version that grows. Queue threads look at the
 * version before every batch, without lock or wait, and take a copy when it has changed. Each says
 * in a slot of its own by which version it decides, so that a writer knows when an old one has
 * decided its last packet.
 */
class OwnershipTable {
 public:
  static constexpr std::uint64_t kIdle = 0;

  /** One queue thread's slot. */
  struct alignas(64) Reader {
    std::atomic<std::uint64_t> deciding_by{kIdle};
  };

  OwnershipTable(std::size_t readers, const Ownership& initial)
      : readers_(std::make_unique<Reader[]>(readers)), count_(readers), ownership_(initial) {}

  [[nodiscard]] Reader& reader(std::size_t index) noexcept { return readers_[index]; }

  /** While it lives, a writer that replaces `version()` waits. */
  class Batch {
   public:
    Batch(const OwnershipTable& table, Reader& reader) noexcept : reader_(reader) {
      do {
        version_ = table.version_.load(std::memory_order_seq_cst);
        reader_.deciding_by.store(version_, std::memory_order_seq_cst);
      } while (table.version_.load(std::memory_order_seq_cst) != version_);
    }
    ~Batch() { reader_.deciding_by.store(kIdle, std::memory_order_release); }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

   private:
    Reader& reader_;
    std::uint64_t version_ = 0;
  };

  /** The newest ownership and its version. */
  [[nodiscard]] std::pair<Ownership, std::uint64_t> newest() {
    const std::lock_guard lock(mutex_);
    return {ownership_, version_.load(std::memory_order_relaxed)};
  }

  /** Every batch from here on is decided by this ownership, or a newer one. Returns its version. */
  std::uint64_t publish(const Ownership& ownership) {
    const std::lock_guard lock(mutex_);
    ownership_ = ownership;
    return version_.fetch_add(1, std::memory_order_seq_cst) + 1;
  }

  /** Returns when no verdict by an ownership older than `version` is still to be sent. */
  void wait_until_adopted(std::uint64_t version) const {
    for (std::size_t i = 0; i < count_; ++i) {
      for (;;) {
        const std::uint64_t used = readers_[i].deciding_by.load(std::memory_order_seq_cst);
        if (used == kIdle || used >= version) break;
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    }
  }

 private:
  std::unique_ptr<Reader[]> readers_;
  std::size_t count_;
  std::mutex mutex_;
  Ownership ownership_;
  std::atomic<std::uint64_t> version_{1};
};

}  // namespace nfqc
