#pragma once

#include <optional>
#include <string>

#include "../core/conntrack.h"

namespace nfqc {

/**
 * The confirmed connection that a tuple belongs to, in either direction; else the one that a helper
 * expects, of which only the master is known; empty if there is neither.
 * @throws Fault kPrivilege, kNoConntrack, kNoNetns, kSystem
 */
[[nodiscard]] std::optional<Connection> find_connection(const std::string& netns,
                                                        const Tuple& tuple);

}  // namespace nfqc
