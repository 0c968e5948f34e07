#include "linux/real_time.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <time.h>

#include <cstdint>
#include <thread>

#include "linux/clock.h"
#include "linux/fault.h"

namespace nfqc {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

[[nodiscard]] std::uint64_t processor_time() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000 * kMillisecond +
         static_cast<std::uint64_t>(time.tv_nsec);
}

void use_processor(std::uint64_t duration) {
  const std::uint64_t until = processor_time() + duration;
  while (processor_time() < until) {
  }
}

/** Of the calling thread. */
int policy() { return sched_getscheduler(0); }

/** Each test has a thread of its own, if it may schedule it, and says itself what time it is. */
template <typename Body>
void in_a_thread(Body body) {
  bool permitted = true;
  std::thread([&] {
    try {
      RealTime real_time({1, true});
      body(real_time, now_ns());
    } catch (const Fault&) {
      permitted = false;
    }
  }).join();
  if (!permitted) GTEST_SKIP() << "needs CAP_SYS_NICE";
}

TEST(RealTime, IsNotLeftForWhatSettingUpTook) {
  in_a_thread([](RealTime& real_time, std::uint64_t start) {
    use_processor(30 * kMillisecond);
    real_time.check(start + 30 * kMillisecond);
    EXPECT_EQ(policy(), SCHED_FIFO);
  });
}

TEST(RealTime, IsLeftForAHundredMillisecondsByOneThatTakesTheProcessor) {
  in_a_thread([](RealTime& real_time, std::uint64_t start) {
    real_time.check(start);
    use_processor(20 * kMillisecond);
    const std::uint64_t left = start + 20 * kMillisecond;
    real_time.check(left);
    EXPECT_EQ(policy(), SCHED_OTHER);
    real_time.check(left + 99 * kMillisecond);
    EXPECT_EQ(policy(), SCHED_OTHER);
    real_time.check(left + 100 * kMillisecond);
    EXPECT_EQ(policy(), SCHED_FIFO);
  });
}

TEST(RealTime, IsKeptByOneThatLeavesTheOthersTime) {
  in_a_thread([](RealTime& real_time, std::uint64_t start) {
    real_time.check(start);
    use_processor(10 * kMillisecond);
    real_time.check(start + 20 * kMillisecond);
    EXPECT_EQ(policy(), SCHED_FIFO);
  });
}

}  // namespace
}  // namespace nfqc
