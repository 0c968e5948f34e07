#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "ownership_table.h"
#include "queue_worker.h"
#include "unforked.h"

namespace nfqc {

struct EngineConfig {
  WorkerConfig worker;
  std::vector<std::uint16_t> queues;
  bool queue_cpu_fanout = false;  ///< packets come to a queue by their processor
  Ownership ownership;
};

/** The slots of all queue threads, one stride each. */
class CounterBlock {
 public:
  explicit CounterBlock(std::size_t threads);

  [[nodiscard]] std::uint64_t* thread(std::size_t index) noexcept {
    return slots_ + index * kCounterStride;
  }
  [[nodiscard]] std::uint64_t* data() noexcept { return slots_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return threads_ * kCounterStride * sizeof(std::uint64_t);
  }

 private:
  std::size_t threads_;
  std::vector<std::uint64_t, UnforkedAllocator<std::uint64_t>> storage_;
  std::uint64_t* slots_;
};

/** Owns the queue threads. open() is called once. */
class Engine {
 public:
  explicit Engine(const EngineConfig& config);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /**
   * Binds every queue and starts deciding; on a Fault nothing stays bound.
   * @throws Fault
   */
  void open(const QueueWorker::OnFault& on_fault);

  /**
   * Answers what waits, at most until `deadline_ns` on the clock now_ns(), and ends the threads. A
   * second call with an earlier deadline hurries the first.
   */
  void close(std::uint64_t deadline_ns);

  /**
   * Replaces what is owned, at once, also where some of the queues have failed. Returns its
   * version, for wait_until_adopted().
   * @throws Fault kSystem if it is not open
   */
  std::uint64_t set_ownership(const Ownership& ownership);

  /** Returns when no verdict by an ownership older than `version` is still to be sent. */
  void wait_until_adopted(std::uint64_t version) const { table_.wait_until_adopted(version); }

  [[nodiscard]] Ownership ownership() { return table_.newest(); }

  /** How connections are followed, once it is open. */
  [[nodiscard]] Connections connections();

  /** Whoever holds it may outlive the engine. */
  [[nodiscard]] const std::shared_ptr<CounterBlock>& counters() const noexcept { return counters_; }

  /** Copies the kernel's counts into the slots. */
  void read_counts();

  /** As RuleTable's; also empty without rules, and once the first queue's thread has ended. */
  [[nodiscard]] std::optional<bool> has_chain(const char* name, bool with_rules);
  [[nodiscard]] std::optional<std::uint64_t> table_handle();

 private:
  EngineConfig config_;
  OwnershipTable table_;
  std::shared_ptr<CounterBlock> counters_;
  std::mutex workers_mutex_;  ///< the list of workers
  std::mutex join_mutex_;     ///< their end
  std::vector<std::shared_ptr<QueueWorker>> workers_;
  bool closed_ = false;  ///< under workers_mutex_
};

}  // namespace nfqc
