#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <string_view>
#include <system_error>

#include "descriptor.h"
#include "fault.h"

namespace nfqc {
namespace {

struct Pipe {
  Descriptor read;
  Descriptor write;
};

[[nodiscard]] Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw Fault(FaultKind::kSystem, "pipe2", errno, "cannot make a pipe");
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/** How a program begins: with these files, no signal blocked or ignored, in a session of its own.
 */
class Beginning {
 public:
  Beginning(const Descriptor& input, const Descriptor& output, const Descriptor& errors) {
    ::posix_spawn_file_actions_init(&actions_);
    put(input, STDIN_FILENO);
    put(output, STDOUT_FILENO);
    put(errors, STDERR_FILENO);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    sigset_t signals;
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
  }
  Beginning(const Beginning&) = delete;
  Beginning& operator=(const Beginning&) = delete;
  ~Beginning() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  [[nodiscard]] pid_t start(const Program& program) const {
    pid_t pid = 0;
    int error = error_;
    if (error == 0) {
      error = ::posix_spawn(&pid, program.path.c_str(), &actions_, &attributes_,
                            pointers(program.args).data(), pointers(program.environment).data());
    }
    if (error != 0) {
      throw Fault(FaultKind::kSystem, "posix_spawn", error,
                  "cannot run " + program.path + ": " + std::generic_category().message(error));
    }
    return pid;
  }

 private:
  void put(const Descriptor& file, int as) noexcept {
    const int error = ::posix_spawn_file_actions_adddup2(&actions_, file.get(), as);
    if (error != 0) error_ = error;
  }

  /** As execve() takes them, which does not write to them. */
  [[nodiscard]] static std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> all;
    all.reserve(texts.size() + 1);
    for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
    all.push_back(nullptr);
    return all;
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  int error_ = 0;  ///< for want of memory; without its files the program must not be started
};

/** Writes as much as the pipe takes. @returns whether there is more to be written */
[[nodiscard]] bool feed(const Descriptor& pipe, std::string_view& input) {
  const ssize_t written = ::write(pipe.get(), input.data(), input.size());
  if (written < 0) return errno == EAGAIN || errno == EINTR;
  input.remove_prefix(static_cast<std::size_t>(written));
  return !input.empty();
}

/** Reads what is there. @returns whether there may be more to come */
[[nodiscard]] bool drain(const Descriptor& pipe, std::string& text) {
  std::array<char, 65536> buffer;
  const ssize_t length = ::read(pipe.get(), buffer.data(), buffer.size());
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  text.append(buffer.data(), static_cast<std::size_t>(length));
  return length != 0;
}

/** Until the program has closed both of what it writes to: true. False: it is to end before. */
[[nodiscard]] bool talk(Descriptor& input, const Descriptor& output, const Descriptor& errors,
                        int until, std::string_view unread, ProgramOutcome& outcome) {
  ::fcntl(input.get(), F_SETFL, O_NONBLOCK);
  bool more_output = true;
  bool more_errors = true;
  while (more_output || more_errors) {
    if (unread.empty()) input = Descriptor();
    /* poll() passes over what is -1. */
    std::array<pollfd, 4> waiting{{{input.get(), POLLOUT, 0},
                                   {more_output ? output.get() : -1, POLLIN, 0},
                                   {more_errors ? errors.get() : -1, POLLIN, 0},
                                   {until, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    if (waiting[0].revents != 0 && !feed(input, unread)) unread = {};
    if (waiting[1].revents != 0) more_output = drain(output, outcome.output);
    if (waiting[2].revents != 0) more_errors = drain(errors, outcome.errors);
    if (waiting[3].revents != 0) return false;
  }
  return true;
}

void await(pid_t pid, ProgramOutcome& outcome) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw Fault(FaultKind::kSystem, "waitpid", errno, "cannot wait");
  }
  if (WIFSIGNALED(status)) {
    outcome.signal = WTERMSIG(status);
  } else {
    outcome.status = WEXITSTATUS(status);
  }
}

}  // namespace

ProgramOutcome run_program(const Program& program, int until) {
  Pipe input = make_pipe();
  Pipe output = make_pipe();
  Pipe errors = make_pipe();
  const pid_t pid = Beginning(input.read, output.write, errors.write).start(program);
  /* Or what it writes would never end. */
  for (Descriptor* its : {&input.read, &output.write, &errors.write}) *its = Descriptor();
  ProgramOutcome outcome;
  try {
    const bool talked = talk(input.write, output.read, errors.read, until, program.input, outcome);
    if (!talked) ::kill(pid, SIGKILL);
  } catch (const std::bad_alloc&) {
    ::kill(pid, SIGKILL);
    await(pid, outcome);
    throw;
  }
  await(pid, outcome);
  return outcome;
}

}  // namespace nfqc
