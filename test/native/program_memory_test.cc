#include <gtest/gtest.h>
#include <spawn.h>

#include <cerrno>

#include "linux/fault.h"
#include "linux/program.h"

/** In place of the C library's: there is no memory to note one. */
extern "C" int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t* /*actions*/, int /*fd*/,
                                                int /*to*/) noexcept {
  return ENOMEM;
}

namespace nfqc {
namespace {

TEST(RunProgram, StartsNoneThatWouldNotHaveItsPipes) {
  try {
    static_cast<void>(run_program({"/bin/true", {"true"}, {}, ""}));
    FAIL();
  } catch (const Fault& fault) {
    EXPECT_EQ(fault.error(), ENOMEM);
  }
}

}  // namespace
}  // namespace nfqc
