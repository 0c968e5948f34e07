#include "engine.h"

namespace nfqc {

CounterBlock::CounterBlock(std::size_t threads)
    : threads_(threads), storage_(threads * kCounterStride + kCacheLineSlots) {
  const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
  const std::size_t misaligned = (address / sizeof(std::uint64_t)) % kCacheLineSlots;
  slots_ = storage_.data() + (misaligned == 0 ? 0 : kCacheLineSlots - misaligned);
}

Engine::Engine(const EngineConfig& config)
    : config_(config),
      table_(config.queues.size(), config.ownership),
      counters_(std::make_shared<CounterBlock>(config.queues.size())) {}

Engine::~Engine() { close(0); }

void Engine::open(const QueueWorker::OnFault& on_fault) {
  const std::lock_guard lock(workers_mutex_);
  try {
    for (std::size_t i = 0; i < config_.queues.size(); ++i) {
      WorkerConfig worker = config_.worker;
      if (config_.queue_cpu_fanout) worker.fanout = {.index = i, .queues = config_.queues.size()};
      if (i != 0) worker.table.clear(); /* what concerns all queues is the first one's to do */
      workers_.push_back(std::allocate_shared<QueueWorker>(
          UnforkedAllocator<QueueWorker>(), worker, config_.queues[i], table_, table_.reader(i),
          counters_->thread(i), on_fault));
      workers_.back()->started().get();
    }
  } catch (...) {
    workers_.clear();
    throw;
  }
}

void Engine::close(std::uint64_t deadline_ns) {
  {
    const std::lock_guard lock(workers_mutex_);
    closed_ = true;
    for (const auto& worker : workers_) worker->stop(deadline_ns);
  }
  const std::lock_guard lock(join_mutex_);
  for (const auto& worker : workers_) worker->join();
}

std::uint64_t Engine::set_ownership(const Ownership& ownership) {
  const std::lock_guard lock(workers_mutex_);
  if (workers_.empty() || closed_) throw Fault(FaultKind::kSystem, "", 0, "the engine is not open");
  return table_.publish(ownership, [this](std::size_t i) { return workers_[i]->last_id(); });
}

Connections Engine::connections() {
  const std::lock_guard lock(workers_mutex_);
  return workers_.empty() ? Connections::kOff : workers_.front()->connections();
}

void Engine::read_counts() {
  const std::lock_guard lock(workers_mutex_);
  for (const auto& worker : workers_) worker->read_counts();
}

std::optional<bool> Engine::has_chain(const char* name, bool with_rules) {
  const std::lock_guard lock(workers_mutex_);
  return workers_.empty() ? std::nullopt : workers_.front()->has_chain(name, with_rules);
}

std::optional<std::uint64_t> Engine::table_handle() {
  const std::lock_guard lock(workers_mutex_);
  return workers_.empty() ? std::nullopt : workers_.front()->table_handle();
}

}  // namespace nfqc
