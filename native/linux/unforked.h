#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace nfqc {

/*
 * Memory that a fork of this process leaves out. Of all other memory, a fork makes each page fault
 * at its next write, which a queue thread shall not wait for. Whoever forks Node.js, as
 * child_process does, executes a program at once, and needs none of it.
 */

inline constexpr std::size_t kHugePage = std::size_t{2} * 1024 * 1024;

/** Whole pages. What is large gets huge ones where the kernel has them, for a fault takes long. */
[[nodiscard]] inline void* allocate_unforked(std::size_t size) {
  const std::size_t spare = size < kHugePage ? 0 : kHugePage;
  void* memory =
      ::mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  if (spare != 0) {
    auto* const start = static_cast<std::byte*>(memory);
    const std::size_t ahead = -reinterpret_cast<std::uintptr_t>(start) % kHugePage;
    memory = start + ahead;
    if (ahead != 0) ::munmap(start, ahead);
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::byte* const end = start + ahead + (size + page - 1) / page * page;
    ::munmap(end, static_cast<std::size_t>(start + size + spare - end));
    ::madvise(memory, size, MADV_HUGEPAGE);
  }
  ::madvise(memory, size, MADV_DONTFORK);
  return memory;
}

inline void free_unforked(void* memory, std::size_t size) noexcept { ::munmap(memory, size); }

/** For containers of a page or more. */
template <typename T>
struct UnforkedAllocator {
  using value_type = T;  // NOLINT(readability-identifier-naming): as containers want it

  UnforkedAllocator() noexcept = default;
  template <typename Other>
  explicit UnforkedAllocator(const UnforkedAllocator<Other>& /*other*/) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(allocate_unforked(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    free_unforked(memory, count * sizeof(T));
  }

  template <typename Other>
  [[nodiscard]] bool operator==(const UnforkedAllocator<Other>& /*other*/) const noexcept {
    return true;
  }
};

}  // namespace nfqc
