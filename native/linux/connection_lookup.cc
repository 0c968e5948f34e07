#include "connection_lookup.h"

#include <functional>
#include <random>

#include "clock.h"
#include "fault.h"

namespace nfqc {

ConnectionLookup::ConnectionLookup(const DecisionConfig& config, Counters& counters)
    : config_(config),
      counters_(counters),
      flows_(std::random_device{}()),
      expectations_(std::random_device{}()) {
  /* Before the list is read, so that nothing falls in between. */
  if (config.hears_expectations) announcements_.emplace();
  learn_all(now_ns());
}

void ConnectionLookup::learn_all(std::uint64_t now) {
  list_expectations(
      [this, now](const Expectation& expectation) { expectations_.add(expectation, now); });
  changed_ = true;
}

void ConnectionLookup::drain(std::uint64_t now) {
  drained_at_ = now;
  if (!announcements_) return;
  take_announced(now);
  /* Not at every lookup, since counting goes through all entries. */
  if (changed_) counters_.set(Counter::kExpectations, expectations_.held(now));
  changed_ = false;
}

void ConnectionLookup::take_announced(std::uint64_t now) {
  if (!announcements_) return;
  const auto take = [&](ExpectationSocket::Event event, const Expectation& expectation) {
    changed_ = true;
    if (event == ExpectationSocket::Event::kNew) return expectations_.add(expectation, now);
    expectations_.end(expectation, now);
  };
  /* By reference, for which std::function allocates nothing. */
  if (!announcements_->drain(std::cref(take))) relearn(now);
}

/** After a loss. If the list cannot be read either, what is missing is unknown, and dropped. */
void ConnectionLookup::relearn(std::uint64_t now) {
  counters_.add(Counter::kExpectationsLost);
  expectations_.end_permanent(now); /* which may be among the ends that were lost */
  try {
    learn_all(now);
  } catch (const Fault&) {
    counters_.add(Counter::kReceiveErrors);
  }
}

void ConnectionLookup::drain_if_due(std::uint64_t now) {
  constexpr auto kIntervalNs =
      static_cast<std::uint64_t>(std::chrono::nanoseconds(kDrainInterval).count());
  if (now - drained_at_ >= kIntervalNs) drain(now);
}

void ConnectionLookup::clear() noexcept {
  added_ = 0;
  asked_ = 0;
}

void ConnectionLookup::add(const Packet& packet, std::uint64_t now) noexcept {
  const std::size_t place = added_++;
  keys_[place] = {};
  if (!needs_lookup(config_, packet)) return;
  const Flow flow = flow_of(packet);
  if (!flow.tuple.valid()) return;
  if (const Key* key = flows_.find(flow.tuple, now)) {
    keys_[place] = *key;
    return counters_.add(Counter::kFlowHits);
  }
  tuples_[asked_] = flow.tuple;
  questions_[asked_++] = {
      .packet = place, .error = flow.error, .reset = flow.reset, .unknown = false};
}

void ConnectionLookup::find(std::uint64_t now) {
  if (asked_ == 0) return;
  const std::uint64_t started = now_ns();
  /* Before asking, so that a flow that is confirmed in between is found one way or the other. */
  take_announced(now);
  const int error = conntrack_.ask(
      {tuples_.data(), asked_}, [this, now](std::size_t index, const Connection* connection) {
        if (connection == nullptr) {
          questions_[index].unknown = true;
          return;
        }
        flows_.put(tuples_[index], connection->key(), now + kFlowLifetimeNs);
        keys_[questions_[index].packet] = connection->key();
        counters_.add(Counter::kLookupHits);
      });
  if (error != 0) counters_.add(Counter::kReceiveErrors);
  for (std::size_t i = 0; i < asked_; ++i) {
    if (questions_[i].unknown) find_without_flow(i, now);
  }
  counters_.add(Counter::kLookups, asked_);
  counters_.add(Counter::kLookupNs, now_ns() - started);
}

/** The kernel knows no confirmed flow: the packet is the first of one, or its flow is gone. */
void ConnectionLookup::find_without_flow(std::size_t question, std::uint64_t now) noexcept {
  const auto& [packet, error, reset, unknown] = questions_[question];
  const Tuple& tuple = tuples_[question];
  if (error || find_expected(packet, tuple, now)) return;
  /* No rule tells first packets from others, so keeping out what conntrack does not know is up to
     the user's rules. */
  if (config_.marks.direct == 0) {
    keys_[packet] = tuple.source;
  } else if (reset && !find_expected(packet, inverted(tuple), now)) {
    /* A RST as the first answer: on it conntrack has forgotten the connection, which only the node
       that let the SYN in knew. The RST goes to where the SYN came from. */
    keys_[packet] = tuple.destination;
  }
}

/** Whether a helper expects a flow whose first packet has this tuple. */
bool ConnectionLookup::find_expected(std::size_t packet, const Tuple& first,
                                     std::uint64_t now) noexcept {
  const Expectation* expectation = expectations_.find(first, now);
  if (expectation == nullptr) return false;
  keys_[packet] = expectation->master.source;
  counters_.add(Counter::kExpected);
  return true;
}

}  // namespace nfqc
