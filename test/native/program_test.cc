#include "linux/program.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "linux/fault.h"

namespace nfqc {
namespace {

class RunProgram : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
};

ProgramOutcome shell(const std::string& script, const std::string& input = "") {
  return run_program({"/bin/sh", {"sh", "-c", script}, {"PATH=/usr/bin:/bin", "WORD=here"}, input});
}

TEST_F(RunProgram, TellsWhatItWroteAndItsStatus) {
  const ProgramOutcome outcome = shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(outcome.output, "out\n");
  EXPECT_EQ(outcome.errors, "err\n");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_EQ(outcome.signal, 0);
}

TEST_F(RunProgram, GivesItTheInputAndTakesTheOutputAtTheSameTime) {
  std::string input(5'000'000, '\0');
  std::generate(input.begin(), input.end(), [n = 0]() mutable { return static_cast<char>(n++); });
  const ProgramOutcome outcome = shell("tee /dev/stderr", input);
  EXPECT_EQ(outcome.output, input);
  EXPECT_EQ(outcome.errors, input);
}

TEST_F(RunProgram, DoesNotMindThatItIsNotRead) {
  EXPECT_EQ(shell("exit 5", std::string(5'000'000, 'x')).status, 5);
  EXPECT_EQ(shell("exec <&-; echo closed", std::string(5'000'000, 'x')).output, "closed\n");
}

TEST_F(RunProgram, GivesItAPipe) {
  EXPECT_EQ(shell("test -p /dev/stdin && cat", "through a pipe").output, "through a pipe");
}

TEST_F(RunProgram, GivesItTheEnvironmentAndNothingElse) {
  EXPECT_EQ(run_program({"/usr/bin/env", {"env"}, {"A=1", "B="}, ""}).output, "A=1\nB=\n");
}

TEST_F(RunProgram, GivesItNoFileThatAnotherWouldNotGet) {
  const std::string count = "ls /proc/self/fd | wc -l";
  std::FILE* other = ::popen(count.c_str(), "r");
  char line[16] = "";
  EXPECT_NE(std::fgets(line, sizeof line, other), nullptr);
  ::pclose(other);
  EXPECT_EQ(shell(count).output, line);
}

TEST_F(RunProgram, LetsSignalsReachIt) {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  EXPECT_EQ(shell("kill -TERM $$").signal, SIGTERM);
  EXPECT_EQ(shell("kill -PIPE $$").signal, SIGPIPE);
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
}

TEST_F(RunProgram, PutsItIntoASessionOfItsOwn) {
  EXPECT_EQ(shell("test $(cut -d' ' -f6 /proc/$$/stat) = $$").status, 0);
}

TEST_F(RunProgram, TellsWhatCannotBeStarted) {
  for (const auto& [path, error] : {std::pair{"/nowhere", ENOENT}, {"/dev/null", EACCES}}) {
    try {
      static_cast<void>(run_program({path, {path}, {}, ""}));
      FAIL() << path;
    } catch (const Fault& fault) {
      EXPECT_EQ(fault.error(), error);
      EXPECT_STREQ(fault.syscall(), "posix_spawn");
      EXPECT_NE(std::string(fault.what()).find(path), std::string::npos);
    }
  }
}

TEST_F(RunProgram, KillsItWhenItIsToEnd) {
  const int end = ::eventfd(1, 0);
  EXPECT_EQ(run_program({"/bin/sleep", {"sleep", "10"}, {}, ""}, end).signal, SIGKILL);
  ::close(end);
}

TEST_F(RunProgram, LeavesNoFileOpen) {
  const auto open_files = [] {
    const std::filesystem::directory_iterator files("/proc/self/fd");
    return std::distance(begin(files), end(files));
  };
  const auto before = open_files();
  static_cast<void>(shell("true"));
  EXPECT_THROW(static_cast<void>(run_program({"/nowhere", {""}, {}, ""})), Fault);
  EXPECT_EQ(open_files(), before);
}

}  // namespace
}  // namespace nfqc
