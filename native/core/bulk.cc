#include "bulk.h"

#include <algorithm>
#include <array>
#include <bit>

#include "clusterip.h"
#include "ownership.h"

/* What is inlined is compiled for its caller's instruction set. */
#define NFQC_INLINE [[gnu::always_inline]] inline

namespace nfqc {
namespace {

/** A bucket by 32-bit arithmetic, which vectors are good at: exact while buckets < 2^16. */
NFQC_INLINE std::uint32_t narrow_bucket_of(std::uint32_t hash, std::uint32_t buckets) noexcept {
  return ((hash >> 16) * buckets + (((hash & 0xffff) * buckets) >> 16)) >> 16;
}

NFQC_INLINE std::uint32_t in_memory(std::uint32_t address) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap32(address) : address;
}

NFQC_INLINE std::uint16_t bucket_ipv4(const Hashing& hashing, std::uint32_t address) noexcept {
  const std::uint32_t hash = jhash_1word(in_memory(address), hashing.seed);
  return static_cast<std::uint16_t>(narrow_bucket_of(hash, hashing.buckets));
}

NFQC_INLINE void ipv4_loop(const Hashing& given, std::span<const std::uint32_t> addresses,
                           std::uint16_t* __restrict out) noexcept {
  const Hashing hashing = given; /* a copy, which the writes cannot change */
  for (std::size_t i = 0; i < addresses.size(); ++i) out[i] = bucket_ipv4(hashing, addresses[i]);
}

/** Words of records that may lie anywhere. */
using Word [[gnu::aligned(1), gnu::may_alias]] = std::uint32_t;

NFQC_INLINE void ipv6_loop(const Hashing& given, const std::uint8_t* addresses,
                           std::span<std::uint16_t> out) noexcept {
  const Hashing hashing = given;
  const std::size_t count = out.size();
  const Word* words = reinterpret_cast<const Word*>(addresses); /* auto would lose the alignment */
  std::uint16_t* __restrict to = out.data();
  if (hashing.policy == Policy::kXtCluster) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t hash = jhash_1word(words[4 * i], hashing.seed);
      to[i] = static_cast<std::uint16_t>(narrow_bucket_of(hash, hashing.buckets));
    }
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Word* key = words + 4 * i;
    JhashState state(kJhashInitval + 16 + hashing.seed); /* jhash_words() of four, unrolled */
    state.a += key[0], state.b += key[1], state.c += key[2];
    state.mix();
    state.a += key[3];
    to[i] = static_cast<std::uint16_t>(narrow_bucket_of(state.final(), hashing.buckets));
  }
}

/** An address alone: a packet without ports. */
std::uint32_t bucket_clusterip(const Hashing& hashing, std::uint32_t address) noexcept {
  return hashing.bucket(clusterip_key(hashing.mode, {.source = in_memory(address)}));
}

constexpr std::size_t kBlock = 4096;
using Buckets = std::array<std::uint16_t, kBlock>;

/** 32-bit counts of single buckets, or of pairs of them, in several tables in turn: in a single
   one, equal buckets in a row would wait for each other's sum. */
class Tally {
 public:
  /** Whether two buckets fit into one number, which halves the additions. */
  explicit Tally(std::uint32_t buckets) noexcept : buckets_(buckets), paired_(buckets <= 32) {}

  NFQC_INLINE void add_block(Buckets& block) noexcept {
    const auto buckets = static_cast<std::uint16_t>(buckets_);
    const std::size_t numbers = paired_ ? kBlock / 2 : kBlock;
    if (paired_) {
      for (std::size_t i = 0; i < kBlock / 2; ++i) {
        block[i] = static_cast<std::uint16_t>(block[i] * buckets + block[i + kBlock / 2]);
      }
    }
    for (std::size_t i = 0; i < numbers; i += kTables) {
      for (std::size_t t = 0; t < kTables; ++t) ++tables_[t][block[i + t]];
    }
  }

  /** Adds what was counted to `counts`, and starts anew. */
  void add_to(std::uint64_t* counts) noexcept {
    for (auto& table : tables_) {
      for (std::size_t number = 0; number < table.size(); ++number) {
        const std::uint32_t n = table[number];
        if (n == 0) continue;
        if (paired_) counts[number / buckets_] += n;
        counts[number % buckets_] += n;
      }
      table = {};
    }
  }

 private:
  static constexpr std::size_t kTables = 4;

  std::uint32_t buckets_;
  bool paired_;
  std::array<std::array<std::uint32_t, kMaxBuckets + 1>, kTables> tables_{};
};

NFQC_INLINE void count_loop(const Hashing& given, std::uint32_t first, std::uint64_t count,
                            std::uint64_t* counts) noexcept {
  constexpr std::uint64_t kBeforeOverflow = std::uint64_t{1} << 31;
  const Hashing hashing = given;
  Tally tally(hashing.buckets);
  Buckets block;
  std::uint64_t done = 0;
  for (; count - done >= kBlock; done += kBlock) {
    const std::uint32_t from = first + static_cast<std::uint32_t>(done);
    for (std::uint32_t i = 0; i < kBlock; ++i) block[i] = bucket_ipv4(hashing, from + i);
    tally.add_block(block);
    if ((done + kBlock) % kBeforeOverflow == 0) tally.add_to(counts);
  }
  tally.add_to(counts);
  for (; done < count; ++done) {
    ++counts[bucket_ipv4(hashing, first + static_cast<std::uint32_t>(done))];
  }
}

/* NOLINTBEGIN(bugprone-macro-parentheses): an attribute cannot stand in parentheses. */
#define NFQC_LOOPS(name, attributes)                                                              \
  struct name {                                                                                   \
    attributes static void ipv4(const Hashing& hashing, std::span<const std::uint32_t> addresses, \
                                std::uint16_t* out) noexcept {                                    \
      ipv4_loop(hashing, addresses, out);                                                         \
    }                                                                                             \
    attributes static void ipv6(const Hashing& hashing, const std::uint8_t* addresses,            \
                                std::span<std::uint16_t> out) noexcept {                          \
      ipv6_loop(hashing, addresses, out);                                                         \
    }                                                                                             \
    attributes static void count(const Hashing& hashing, std::uint32_t first, std::uint64_t n,    \
                                 std::uint64_t* counts) noexcept {                                \
      count_loop(hashing, first, n, counts);                                                      \
    }                                                                                             \
  }

/* NOLINTEND(bugprone-macro-parentheses) */

NFQC_LOOPS(Baseline, );
#ifdef __x86_64__
NFQC_LOOPS(Avx2, __attribute__((target("avx2"))));
#ifdef __clang__
NFQC_LOOPS(Avx512, __attribute__((target("avx512f,avx512bw,avx512vl"))));
#else
NFQC_LOOPS(Avx512, __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512"))));
#endif
#endif

/** Calls `work` with the loops of an instruction set. */
template <typename Work>
void with_loops(Isa isa, Work work) noexcept {
#ifdef __x86_64__
  if (isa == Isa::kAvx512) return work(Avx512{});
  if (isa == Isa::kAvx2) return work(Avx2{});
#endif
  static_cast<void>(isa);
  work(Baseline{});
}

}  // namespace

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::kBaseline};
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) isas.push_back(Isa::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    isas.push_back(Isa::kAvx512);
  }
#endif
  return isas;
}

Isa best_isa() noexcept {
  static const Isa best = available_isas().back();
  return best;
}

void buckets_ipv4(const Hashing& hashing, std::span<const std::uint32_t> addresses,
                  std::span<std::uint16_t> out, Isa isa) noexcept {
  if (hashing.policy == Policy::kClusterip) {
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      out[i] = static_cast<std::uint16_t>(bucket_clusterip(hashing, addresses[i]));
    }
    return;
  }
  with_loops(isa, [&](auto loops) { loops.ipv4(hashing, addresses, out.data()); });
}

void buckets_ipv6(const Hashing& hashing, std::span<const std::uint8_t> addresses,
                  std::span<std::uint16_t> out, Isa isa) noexcept {
  with_loops(isa, [&](auto loops) { loops.ipv6(hashing, addresses.data(), out); });
}

void count_ipv4(const Hashing& hashing, std::uint32_t first, std::uint64_t count,
                std::span<std::uint64_t> counts, Isa isa) noexcept {
  if (hashing.policy == Policy::kClusterip) {
    for (std::uint64_t i = 0; i < count; ++i) {
      ++counts[bucket_clusterip(hashing, first + static_cast<std::uint32_t>(i))];
    }
    return;
  }
  with_loops(isa, [&](auto loops) { loops.count(hashing, first, count, counts.data()); });
}

}  // namespace nfqc
