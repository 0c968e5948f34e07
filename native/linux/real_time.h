#pragma once

#include <sched.h>

#include <cstdint>

namespace nfqc {

/**
 * Runs the calling thread by SCHED_FIFO, ahead of every ordinary thread of its processor, as long
 * as it leaves them some time: a thread that has used nine tenths of 10 ms is an ordinary one for
 * the next 100 ms.
 */
class RealTime {
 public:
  struct Choice {
    std::uint32_t priority = 0;  ///< 1 to 99; 0: leaves the thread as it is
    bool required = false;  ///< else a thread that may not, or is no ordinary one, is left as is
  };

  /** @throws Fault kPrivilege, kSystem if it is required and not possible */
  explicit RealTime(const Choice& choice);

  /** To be called for each batch. @param now of the clock now_ns() */
  void check(std::uint64_t now) noexcept {
    if (now >= judge_at_) judge(now);
  }

 private:
  /** Ends a window or pause: leaves or enters real time by what was used. */
  void judge(std::uint64_t now) noexcept;
  void begin_window(std::uint64_t now, std::uint64_t processor_time) noexcept;
  /** 0, or an errno. */
  [[nodiscard]] int enter() noexcept;
  void leave() noexcept;

  std::uint32_t priority_;
  int ordinary_policy_ = SCHED_OTHER;
  sched_param ordinary_{};
  bool entered_ = false;
  std::uint64_t window_start_ = 0;       ///< 0 before the first window
  std::uint64_t used_before_ = 0;        ///< processor time up to the window's start
  std::uint64_t judge_at_ = UINT64_MAX;  ///< the end of the window or pause, on now_ns()
};

}  // namespace nfqc
