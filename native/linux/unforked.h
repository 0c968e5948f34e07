#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace nfqc {

/*
 * Memory that a fork of this process leaves out. Of all other memory, a fork makes each page fault
 * at its next write, which a queue thread shall not wait for. Whoever forks Node.js, as
 * child_process does, executes a program at once, and needs none of it.
 */

[[nodiscard]] inline void* allocate_unforked(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
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
