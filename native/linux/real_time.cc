#include "real_time.h"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include <cerrno>
#include <string>

#include "clock.h"
#include "fault.h"

namespace nfqc {
namespace {

/** For which a real-time thread's processor time is judged. */
constexpr std::uint64_t kWindowNs = 10'000'000;
/** For which a thread that took too much stays an ordinary one. */
constexpr std::uint64_t kPauseNs = 100'000'000;

[[nodiscard]] std::uint64_t thread_time() noexcept {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

/** Whether the kernel kills the process for a real-time thread that does not sleep, as one that
 * polls busily. */
[[nodiscard]] bool must_sleep() noexcept {
  rlimit limit;
  return ::getrlimit(RLIMIT_RTTIME, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

RealTime::RealTime(const Choice& choice) : priority_(choice.priority) {
  if (priority_ == 0) return;
  ::pthread_getschedparam(::pthread_self(), &ordinary_policy_, &ordinary_);
  if (!choice.required && (ordinary_policy_ != SCHED_OTHER || must_sleep())) return;
  const int error = enter();
  if (error == 0) {
    judge_at_ = 0;
  } else if (choice.required) {
    throw Fault(error == EPERM ? FaultKind::kPrivilege : FaultKind::kSystem, "sched_setscheduler",
                error,
                "cannot run a queue thread by SCHED_FIFO " + std::to_string(choice.priority));
  }
}

void RealTime::judge(std::uint64_t now) noexcept {
  const std::uint64_t used = thread_time();
  /* The first call only begins a window: what setting up takes does not count. */
  if (window_start_ == 0) return begin_window(now, used);
  if (entered_ && used - used_before_ > (now - window_start_) / 10 * 9) {
    leave();
  } else if (!entered_ && enter() != 0) {
    judge_at_ = UINT64_MAX;
    return;
  }
  begin_window(now, used);
}

void RealTime::begin_window(std::uint64_t now, std::uint64_t processor_time) noexcept {
  window_start_ = now;
  used_before_ = processor_time;
  judge_at_ = now + (entered_ ? kWindowNs : kPauseNs);
}

int RealTime::enter() noexcept {
  const sched_param parameters{static_cast<int>(priority_)};
  const int error = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &parameters);
  entered_ = error == 0;
  return error;
}

void RealTime::leave() noexcept {
  ::pthread_setschedparam(::pthread_self(), ordinary_policy_, &ordinary_);
  entered_ = false;
}

}  // namespace nfqc
