#pragma once

#include <string>

namespace nfqc {

/**
 * Moves the calling thread into a network namespace, given by its path; an empty path stays.
 * @throws Fault kNoNetns, kPrivilege
 */
void enter_netns(const std::string& path);

/**
 * The index of an interface in the calling thread's network namespace.
 * @throws Fault kNoInterface
 */
[[nodiscard]] unsigned interface_index(const std::string& name);

}  // namespace nfqc
