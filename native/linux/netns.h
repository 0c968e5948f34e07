#pragma once

#include <future>
#include <optional>
#include <string>

#include "descriptor.h"

namespace nfqc {

/**
 * Moves the calling thread into a network namespace, given by its path; an empty path does nothing.
 * @throws Fault kNoNetns, kPrivilege, kSystem
 */
void enter_netns(const std::string& path);

/**
 * Runs `work` in a network namespace, on a temporary thread, and returns its result.
 * @throws Fault what enter_netns() and `work` throw
 */
template <typename Work>
[[nodiscard]] auto in_netns(const std::string& path, Work work) {
  return std::async(std::launch::async,
                    [&] {
                      enter_netns(path);
                      return work();
                    })
      .get();
}

/**
 * Has the lock (flock(2)) on a network namespace, given by its path, until the descriptor is
 * closed.
 * @returns nothing while somebody else has it
 * @throws Fault kNoNetns, kPrivilege, kSystem
 */
[[nodiscard]] std::optional<Descriptor> lock_netns(const std::string& path);

}  // namespace nfqc
