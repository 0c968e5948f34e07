#pragma once

#include <cstdint>

#include "conntrack.h"
#include "packet.h"

/* Which flow a packet belongs to, read as conntrack reads it. */
namespace nfqc {

/** Bytes of a packet that are read: two IP headers with options or extensions, and an ICMP header.
 */
inline constexpr std::uint32_t kFlowCopyRange = 256;

struct Flow {
  Tuple tuple;         ///< not valid if the packet does not have it
  bool error = false;  ///< an ICMP error: the tuple is that of the answers to the lost packet
  bool reset = false;  ///< TCP, with RST
};

/**
 * The tuple of a packet in its own direction. Among fragments only the first one has a tuple, as
 * for conntrack, which reassembles packets before any queue, but not what an ICMP error quotes. In
 * GRE only the key that a packet of version 1 carries counts, as if no helper knew the other one;
 * in other protocols without ports, only the addresses and the protocol.
 */
[[nodiscard]] Flow flow_of(const Packet& packet) noexcept;

/** The direction of the answers; not valid where nothing answers. */
[[nodiscard]] Tuple inverted(const Tuple& tuple) noexcept;

}  // namespace nfqc
