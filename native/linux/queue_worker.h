#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "../core/counters.h"
#include "../core/decide.h"
#include "../core/decided_batch.h"
#include "connection_lookup.h"
#include "fanout.h"
#include "fault.h"
#include "ownership_table.h"
#include "queue_socket.h"
#include "queue_status.h"
#include "real_time.h"
#include "rule_table.h"

namespace nfqc {

struct NamedInterface {
  std::string name;
  KeyField field = KeyField::kSource;
};

/** How connections are followed. */
enum class ConntrackChoice : std::uint8_t { kOff, kQueue, kNetlink, kQueueElseNetlink };

/** What all queue threads of an engine share. */
struct WorkerConfig {
  DecisionConfig decision;  ///< the thread fills in the interfaces, in its own namespace, and the
                            ///< connections
  std::vector<NamedInterface> interfaces;
  ConntrackChoice conntrack = ConntrackChoice::kOff;
  std::string netns;  ///< a path, or empty
  std::string table;  ///< the nft table of the rules, or empty
  std::uint32_t queue_length = 0;
  std::uint32_t receive_buffer = 0;
  std::uint32_t gather_us = 0;     ///< to sleep after each batch that emptied the socket
  std::uint32_t busy_poll_us = 0;  ///< to stay awake when no packet waits
  FanoutPlace fanout;
  RealTime::Choice realtime;
};

/** One thread that receives a queue's packets, decides them and answers. */
class QueueWorker {
 public:
  using OnFault = std::function<void(const Fault&)>;

  /** `on_fault` is called at most once, from the thread, when it can no longer decide packets. */
  QueueWorker(const WorkerConfig& config, std::uint16_t queue, OwnershipTable& table,
              OwnershipTable::Reader& reader, std::uint64_t* slots, OnFault on_fault);
  ~QueueWorker();
  QueueWorker(const QueueWorker&) = delete;
  QueueWorker& operator=(const QueueWorker&) = delete;

  /** Becomes ready when packets are being decided, or holds the Fault that prevents it. */
  [[nodiscard]] std::future<void> started() { return started_.get_future(); }

  /** How connections are followed, once it has started. */
  [[nodiscard]] Connections connections() const noexcept { return config_.decision.connections; }

  /**
   * Asks the thread to end once no packet waits, or at `deadline_ns` on the clock now_ns(). Packets
   * that still wait then are dropped by the kernel. May be called again with an earlier deadline.
   */
  void stop(std::uint64_t deadline_ns) noexcept;
  void join();

  /** The id of the packet that was queued last; empty if this process may not know, or the thread
   * has ended. */
  [[nodiscard]] std::optional<std::uint32_t> last_id();

  /** Copies the kernel's counts into the slots. */
  void read_counts();

  /** As RuleTable's; also empty without rules, and once the thread has ended. */
  [[nodiscard]] std::optional<bool> has_chain(const char* name, bool with_rules);
  [[nodiscard]] std::optional<std::uint64_t> table_handle();

 private:
  void run() noexcept;
  void fail(const Fault& fault);
  void set_up();
  void copy_kernel_counts();
  void release() noexcept;
  void follow_connections();
  void loop();
  /** Waits for packets; -EAGAIN when none came for as long as the socket waits. */
  [[nodiscard]] int receive() noexcept;
  /** The socket that stop() wakes, if any. */
  void set_waiting(QueueSocket* socket);
  void decide_all(int datagrams);
  /** Looks the interfaces up again after malformed packets: one that was recreated has a new index.
   */
  void find_interfaces(std::uint64_t now);
  void take(const Message& message, std::uint64_t now);
  void take_packet(const Packet& packet, std::uint64_t now);
  void decide_held(std::uint64_t now);
  void confirm();
  void take_error(const Message& message);
  void take_unreadable(const Message& message, std::uint64_t now);
  void answer(std::uint64_t received_at);

  WorkerConfig config_;
  std::uint16_t queue_;
  OwnershipTable& table_;
  OwnershipTable::Reader& reader_;
  Counters counters_;
  OnFault on_fault_;

  std::optional<QueueSocket> socket_;
  std::shared_ptr<ConnectionLookup> lookup_;  ///< or null; apart, for it is large
  std::mutex asked_mutex_;  ///< for status_ and rules_, which other threads ask, too
  std::optional<QueueStatusFile> status_;
  std::optional<RuleTable> rules_;
  std::optional<RealTime> real_time_;
  OwnershipInForce in_force_;
  DecidedBatch batch_{config_.decision, in_force_, counters_};
  /** From the first packet on whose connection must be looked up: a batch is looked up in one call.
   */
  std::array<Packet, DecidedBatch::kCapacity> held_{};
  std::size_t held_count_ = 0;
  std::uint64_t malformed_ = 0;       ///< when the interfaces were found last
  std::uint64_t find_no_sooner_ = 0;  ///< at a time of now_ns()
  static constexpr std::uint64_t kNever = UINT64_MAX;
  std::atomic<std::uint64_t> stop_at_{kNever};
  std::mutex waiting_mutex_;
  QueueSocket* waiting_ = nullptr;
  bool confirmed_ = false;
  std::promise<void> started_;
  std::thread thread_;
};

}  // namespace nfqc
