#pragma once

#include <string>
#include <vector>

namespace nfqc {

struct Program {
  std::string path;
  std::vector<std::string> args;         ///< the first is what it is called
  std::vector<std::string> environment;  ///< each is NAME=VALUE
  std::string input;                     ///< what it can read from its standard input, a pipe
};

/** How a program ended, and what it wrote. */
struct ProgramOutcome {
  int status = 0;  ///< its exit status, if no signal ended it
  int signal = 0;  ///< the one that ended it, or 0
  std::string output;
  std::string errors;
};

/**
 * Runs a program to its end, in a session of its own and in the calling thread's network namespace.
 *
 * Node.js would fork the process for it: then every page of the process, also those that queue
 * threads write, is copied or at least faulted in anew when it is written next, and JavaScript
 * waits for that. Here the program borrows the memory until it is started.
 *
 * SIGPIPE must be ignored, as it is in Node.js.
 * @param until once this descriptor can be read, the program is killed; -1: never
 * @throws Fault kSystem
 */
[[nodiscard]] ProgramOutcome run_program(const Program& program, int until = -1);

}  // namespace nfqc
