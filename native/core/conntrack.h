#pragma once

#include <cstddef>
#include <cstdint>

#include "key.h"

/* What the kernel says of a connection, in NFQA_CT and in ctnetlink's messages alike. */
namespace nfqc {

/** One direction of a flow. Ports in host order; 0 where the protocol has none. */
struct Tuple {
  Key source;
  Key destination;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;       ///< ICMP: the id; GRE: the key
  std::uint16_t destination_port = 0;  ///< ICMP: type and code

  friend bool operator==(const Tuple&, const Tuple&) = default;

  [[nodiscard]] bool valid() const noexcept {
    return source.count != 0 && source.count == destination.count;
  }
};

struct Connection {
  Tuple original;
  Tuple master;  ///< the original direction of its master; not valid if it has none
  std::uint32_t mark = 0;

  /**
   * What the kernel's match hashes: the source of the original direction, or of the master's if
   * there is one. Only one level, as in the kernel: a master's master does not count.
   */
  [[nodiscard]] const Key& key() const noexcept {
    return master.valid() ? master.source : original.source;
  }
};

/** A flow that a helper expects. Its destination must match exactly, its source under the mask. */
struct Expectation {
  Tuple tuple;
  Tuple mask;
  Tuple master;  ///< the original direction of the flow that it belongs to
  std::uint32_t timeout_s = 0;
  bool permanent = false;  ///< matches any number of flows, until the helper ends it

  [[nodiscard]] bool matches(const Tuple& packet) const noexcept;
  /** Whether both are the same expectation; their timeouts may differ. */
  [[nodiscard]] bool is(const Expectation& other) const noexcept {
    return tuple == other.tuple && mask == other.mask && master == other.master;
  }
};

/**
 * Reads CTA_* attributes. False if one that is read has a wrong length or the original direction is
 * missing; all others are skipped.
 */
[[nodiscard]] bool parse_connection(const unsigned char* bytes, std::size_t length,
                                    Connection& connection) noexcept;

/** Reads CTA_EXPECT_* attributes. False if one has a wrong length, or a tuple is missing. */
[[nodiscard]] bool parse_expectation(const unsigned char* bytes, std::size_t length,
                                     Expectation& expectation) noexcept;

}  // namespace nfqc
