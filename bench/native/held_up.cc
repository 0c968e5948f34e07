/*
 * How much of a processor's time others take in long stretches: its interrupts, and in a virtual
 * machine the host. Packets that come meanwhile are late, whoever decides them. Prints the
 * percentage of the time in which a loop that does nothing else was held up for longer than a
 * stretch of so many microseconds: held_up PROCESSOR SECONDS MICROSECONDS
 */
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(std::atoi(argv[1]), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) {
    std::fprintf(stderr, "held_up: no processor %s\n", argv[1]);
    return 1;
  }
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  const Seconds stretch(std::atof(argv[3]) / 1e6);
  const Seconds length(std::atof(argv[2]));
  Seconds held_up{0};
  const Clock::time_point start = Clock::now();
  Clock::time_point last = start;
  while (last - start < length) {
    const Clock::time_point now = Clock::now();
    if (now - last > stretch) held_up += now - last;
    last = now;
  }
  std::printf("%.3f\n", 100 * held_up / Seconds(last - start));
  return 0;
}
