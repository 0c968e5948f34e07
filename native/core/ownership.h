#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace nfqc {

inline constexpr std::uint32_t kMaxBuckets = 1023;
inline constexpr std::uint64_t kNeverEnds = UINT64_MAX;

/** Which buckets are this node's, and until when. Immutable once published to the queue threads. */
struct Ownership {
  std::array<std::uint64_t, (kMaxBuckets + 64) / 64> bits{};
  std::uint64_t deadline_ns = kNeverEnds;  ///< on the caller's clock; nothing is owned from here on

  [[nodiscard]] bool has(std::uint32_t bucket) const noexcept {
    return ((bits[bucket / 64] >> (bucket % 64)) & 1) != 0;
  }
  void add(std::uint32_t bucket) noexcept {
    bits[bucket / 64] |= std::uint64_t{1} << (bucket % 64);
  }

  /** What both own, until the earlier deadline. */
  [[nodiscard]] Ownership intersection(const Ownership& other) const noexcept {
    Ownership both;
    for (std::size_t i = 0; i < bits.size(); ++i) both.bits[i] = bits[i] & other.bits[i];
    both.deadline_ns = deadline_ns < other.deadline_ns ? deadline_ns : other.deadline_ns;
    return both;
  }
};

/** One change of ownership, or several that one queue thread learns of together. */
struct OwnershipChange {
  Ownership newest;
  Ownership throughout;       ///< owned before the change and ever since
  std::uint64_t version = 0;  ///< of `newest`
  /** The packet that was queued last when the change was made; empty if that is not known. */
  std::optional<std::uint32_t> last_id = 0;
};

/**
 * The ownership by which one queue thread decides. A packet that was already queued when it changed
 * may have been accepted by the node that owned it then, so it passes only if it was owned here all
 * the time.
 */
class OwnershipInForce {
 public:
  OwnershipInForce(const Ownership& initial, std::uint64_t version) noexcept
      : newest_(initial), version_(version) {}

  [[nodiscard]] bool changes_to(std::uint64_t version) const noexcept {
    return version != version_;
  }

  void change(const OwnershipChange& change) noexcept {
    waiting_ = has_waiting_ ? waiting_.intersection(change.throughout) : change.throughout;
    newest_ = change.newest;
    version_ = change.version;
    last_waiting_id_ = change.last_id;
    has_waiting_ = true;
  }

  /** The ownership for a packet. Ids must come in the order of the queue. */
  [[nodiscard]] const Ownership& for_packet(std::uint32_t id) noexcept {
    if (!has_waiting_) return newest_;
    if (!last_waiting_id_ || static_cast<std::int32_t>(id - *last_waiting_id_) <= 0)
      return waiting_;
    has_waiting_ = false;
    return newest_;
  }

  /**
   * The queue has been read empty, and all of it decided, since `version` was the newest: no packet
   * waits any more from before a change up to that version.
   */
  void drained(std::uint64_t version) noexcept {
    if (version >= version_) has_waiting_ = false;
  }

 private:
  Ownership newest_;
  Ownership waiting_;
  std::uint64_t version_;
  std::optional<std::uint32_t> last_waiting_id_;
  bool has_waiting_ = false;
};

}  // namespace nfqc
