#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "../core/counters.h"
#include "../core/decide.h"
#include "../core/expectation_table.h"
#include "../core/flow.h"
#include "../core/flow_table.h"
#include "conntrack_socket.h"
#include "expectation_socket.h"

namespace nfqc {

/**
 * For queues whose messages carry no connection: finds the keys of a batch's packets in what this
 * thread has learned, by asking ctnetlink, and among the flows that helpers expect.
 */
class ConnectionLookup {
 public:
  /** After that a tuple may mean another flow; to look it up again costs a few microseconds. */
  static constexpr std::uint64_t kFlowLifetimeNs = 1'000'000'000;

  /**
   * Must be constructed before packets are asked for: an expectation is announced only to those who
   * listen. While anybody listens, the kernel keeps more for each new connection, for its events;
   * so this listens only if it is needed.
   * @throws Fault kPrivilege, kNoConntrack, kSystem
   */
  ConnectionLookup(const DecisionConfig& config, Counters& counters);

  /** How often to drain, so that the kernel loses nothing. */
  static constexpr std::chrono::milliseconds kDrainInterval{100};
  /** Takes the expectations that were announced, and counts those that it holds. */
  void drain(std::uint64_t now);
  void drain_if_due(std::uint64_t now);

  static constexpr std::size_t kPackets = ConntrackSocket::kQuestions;

  /* add() takes up to kPackets packets, find() looks up those that add() did not know, and key()
     returns the result, until clear(). */
  void add(const Packet& packet, std::uint64_t now) noexcept;
  void find(std::uint64_t now);
  void clear() noexcept;

  /** The key of the `index`th packet that was added; count 0 if it is not known. */
  [[nodiscard]] const Key& key(std::size_t index) const noexcept { return keys_[index]; }

 private:
  void take_announced(std::uint64_t now);
  void learn_all(std::uint64_t now);
  void relearn(std::uint64_t now);
  void find_without_flow(std::size_t question, std::uint64_t now) noexcept;
  [[nodiscard]] bool find_expected(std::size_t packet, const Tuple& first,
                                   std::uint64_t now) noexcept;

  const DecisionConfig& config_;
  Counters& counters_;
  std::optional<ExpectationSocket> announcements_;  ///< none if we do not listen
  ConntrackSocket conntrack_;
  FlowTable flows_;
  ExpectationTable expectations_;

  std::array<Key, kPackets> keys_{};
  std::size_t added_ = 0;
  std::uint64_t drained_at_ = 0;
  bool changed_ = false;  ///< the expectations, since they were counted

  /** What add() did not find: the packet's place in the batch, and what else matters of it. */
  struct Question {
    std::size_t packet = 0;
    bool error = false;
    bool reset = false;
    bool unknown = false;  ///< the kernel said that it knows no such flow
  };
  std::array<Tuple, kPackets> tuples_{};
  std::array<Question, kPackets> questions_{};
  std::size_t asked_ = 0;
};

}  // namespace nfqc
