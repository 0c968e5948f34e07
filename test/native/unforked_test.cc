#include "linux/unforked.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "linux/engine.h"
#include "linux/queue_socket.h"

namespace nfqc {
namespace {

/** Whether the kernel finds memory in a fork of this process. */
bool is_in_a_fork(const void* memory) {
  const pid_t child = ::fork();
  if (child == 0) {
    int ends[2];
    _exit(::pipe(ends) == 0 && ::write(ends[1], memory, 1) == 1 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Unforked, MemoryIsLeftOutOfAFork) {
  const std::vector<unsigned char> ordinary(65536, 1);
  const std::vector<unsigned char, UnforkedAllocator<unsigned char>> unforked(65536, 2);
  EXPECT_TRUE(is_in_a_fork(ordinary.data()));
  EXPECT_FALSE(is_in_a_fork(unforked.data()));
  EXPECT_EQ(unforked.back(), 2);
}

TEST(Unforked, IsWhatThreadsCountIn) {
  CounterBlock counts(2);
  EXPECT_FALSE(is_in_a_fork(counts.thread(1)));
}

TEST(Unforked, IsWhereAThreadNotesByWhatItDecides) {
  OwnershipTable table(2, {});
  EXPECT_FALSE(is_in_a_fork(&table.reader(0)));
  EXPECT_FALSE(is_in_a_fork(&table.reader(1)));
}

TEST(Unforked, IsWhatAQueueReceivesInto) {
  bool permitted = false;
  /* In a thread, which alone goes into the new network namespace. */
  std::thread([&permitted] {
    permitted = ::unshare(CLONE_NEWNET) == 0;
    if (!permitted) return;
    const QueueSocket socket(QueueSocketConfig{0, 1024, 65536});
    EXPECT_FALSE(is_in_a_fork(socket.datagram(0).bytes));
  }).join();
  if (!permitted) GTEST_SKIP() << "needs root";
}

TEST(Unforked, MemoryIsGivenBack) {
  UnforkedAllocator<std::size_t> allocator;
  /* More than a process may have at a time (vm.max_map_count). */
  for (int i = 0; i < 70'000; ++i) allocator.deallocate(allocator.allocate(1), 1);
}

/** The process's mappings. */
std::size_t mappings() {
  std::ifstream file("/proc/self/maps");
  return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

TEST(Unforked, WhatIsLargeIsAlignedAndGivenBackWhole) {
  for (const std::size_t size : {kHugePage, kHugePage + 1, 3 * kHugePage - 1}) {
    const std::size_t before = mappings();
    auto* const memory = static_cast<unsigned char*>(allocate_unforked(size));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % kHugePage, 0U);
    memory[0] = memory[size - 1] = 1;
    EXPECT_FALSE(is_in_a_fork(memory));
    EXPECT_FALSE(is_in_a_fork(memory + size - 1));
    EXPECT_LE(mappings(), before + 1) << "what was spare is given back";
    free_unforked(memory, size);
    EXPECT_EQ(mappings(), before);
  }
}

TEST(Unforked, WantOfMemoryIsTold) {
  EXPECT_THROW(static_cast<void>(allocate_unforked(SIZE_MAX / 2)), std::bad_alloc);
}

}  // namespace
}  // namespace nfqc
