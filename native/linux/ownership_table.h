#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "../core/ownership.h"
#include "unforked.h"

namespace nfqc {

/**
 * The ownership that was asked for last, with a growing version. Queue threads look at the version
 * before every batch, without lock or wait, and take a copy when it has changed. Each of them notes
 * in a slot of its own by which version it is deciding, so that a writer knows when an old one has
 * decided its last packet.
 */
class OwnershipTable {
 public:
  static constexpr std::uint64_t kIdle = 0;

  static constexpr std::uint64_t kFirstVersion = 1;

  /** One queue thread's slot. */
  class alignas(64) Reader {
    friend OwnershipTable;
    std::atomic<std::uint64_t> deciding_by_{kIdle};
    OwnershipChange pending_;  ///< since its last adopt(); under the table's lock
  };

  OwnershipTable(std::size_t readers, const Ownership& initial)
      : readers_(readers), newest_(initial) {
    for (Reader& reader : readers_) reader.pending_.throughout = initial;
  }

  [[nodiscard]] Reader& reader(std::size_t index) noexcept { return readers_[index]; }

  /** While it lives, a writer that replaces `version()` waits. */
  class Batch {
   public:
    Batch(const OwnershipTable& table, Reader& reader) noexcept : reader_(reader) {
      do {
        version_ = table.version_.load(std::memory_order_seq_cst);
        reader_.deciding_by_.store(version_, std::memory_order_seq_cst);
      } while (table.version_.load(std::memory_order_seq_cst) != version_);
    }
    ~Batch() { reader_.deciding_by_.store(kIdle, std::memory_order_release); }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    /** The version of the ownership that was asked for last. */
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

   private:
    Reader& reader_;
    std::uint64_t version_ = 0;
  };

  [[nodiscard]] Ownership newest() {
    const std::lock_guard lock(mutex_);
    return newest_;
  }

  [[nodiscard]] std::uint64_t version() const noexcept {
    return version_.load(std::memory_order_seq_cst);
  }

  /** What has changed since this reader last called it; only for the reader's own thread. */
  [[nodiscard]] OwnershipChange adopt(Reader& reader) {
    const std::lock_guard lock(mutex_);
    OwnershipChange change = reader.pending_;
    change.newest = newest_;
    change.version = version_.load(std::memory_order_relaxed);
    reader.pending_.throughout = newest_;
    return change;
  }

  /**
   * Every batch from here on is decided by this ownership, or a newer one. `last_id(i)` gives the
   * id of the packet that was queued last for reader i. Returns the ownership's version.
   */
  template <typename LastId>
  std::uint64_t publish(const Ownership& ownership, LastId last_id) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < readers_.size(); ++i) {
      OwnershipChange& pending = readers_[i].pending_;
      pending.last_id = last_id(i);
      pending.throughout = pending.throughout.intersection(ownership);
    }
    newest_ = ownership;
    return version_.fetch_add(1, std::memory_order_seq_cst) + 1;
  }

  /** Returns when no verdict by an ownership older than `version` is still to be sent. */
  void wait_until_adopted(std::uint64_t version) const {
    for (const Reader& reader : readers_) {
      for (;;) {
        const std::uint64_t used = reader.deciding_by_.load(std::memory_order_seq_cst);
        if (used == kIdle || used >= version) break;
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    }
  }

 private:
  std::vector<Reader, UnforkedAllocator<Reader>> readers_;
  std::mutex mutex_;
  Ownership newest_;
  std::atomic<std::uint64_t> version_{kFirstVersion};
};

}  // namespace nfqc
