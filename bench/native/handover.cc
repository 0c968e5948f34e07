/*
 * How long a cache line takes from one processor to another. What one makes and the other decides
 * costs both of them more where they share no cache; a virtual machine's may be moved apart, and
 * together again. Prints nanoseconds, the least of some rounds: handover ONE OTHER
 */
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

constexpr unsigned kRounds = 10;
constexpr unsigned kHandovers = 10'000;

alignas(128) std::atomic<unsigned> line{0};

void pin(const char* processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(std::atoi(processor), &set);
  if (const int error = ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set); error != 0) {
    std::fprintf(stderr, "handover: no processor %s\n", processor);
    std::exit(1);
  }
}

/** Hands the line over when it has a number of one's own turns: the even ones or the odd ones. */
void hand_over(unsigned turn) {
  for (const unsigned end = turn + kHandovers; turn < end; turn += 2) {
    while (line.load(std::memory_order_acquire) != turn) {
    }
    line.store(turn + 1, std::memory_order_release);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::thread other([argv] {
    pin(argv[2]);
    for (unsigned round = 0; round < kRounds; ++round) hand_over(round * kHandovers + 1);
  });
  pin(argv[1]);
  double least = 1e9;
  for (unsigned round = 0; round < kRounds; ++round) {
    const auto started = std::chrono::steady_clock::now();
    hand_over(round * kHandovers);
    const std::chrono::duration<double, std::nano> spent =
        std::chrono::steady_clock::now() - started;
    least = std::min(least, spent.count() / kHandovers);
  }
  other.join();
  std::printf("%.1f\n", least);
  return 0;
}
