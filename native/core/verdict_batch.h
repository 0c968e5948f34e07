#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/* Verdicts gathered for one queue and encoded for one send. */
namespace nfqc {

struct Verdict {
  std::uint32_t id = 0;
  std::uint32_t verdict = 0;
  std::uint32_t mark = 0;
  bool sets_mark = false;  ///< false: the packet keeps its mark, and `mark` is not sent

  /** Whether one VERDICT_BATCH could answer both packets. */
  [[nodiscard]] bool same_answer(const Verdict& other) const noexcept {
    return verdict == other.verdict && sets_mark == other.sets_mark &&
           (!sets_mark || mark == other.mark);
  }
};

/**
 * Up to kCapacity verdicts, added in the order of their ids. All packets with lower ids must have
 * been answered before, since VERDICT_BATCH answers every held packet up to its id.
 */
class VerdictBatch {
 public:
  static constexpr std::size_t kCapacity = 64;

  void clear() noexcept { size_ = 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool full() const noexcept { return size_ == kCapacity; }

  /** The batch must not be full. */
  void add(const Verdict& verdict) noexcept { verdicts_[size_++] = verdict; }

  /**
   * The netlink messages that give every added packet exactly one verdict, valid until the next
   * call. Packets that pass keep their order.
   */
  [[nodiscard]] std::span<const unsigned char> encode(std::uint16_t queue) noexcept;

 private:
  static constexpr std::size_t kMaxMessage = 40;

  [[nodiscard]] bool passes_all_alike() const noexcept;
  void encode_minority_then_majority() noexcept;
  void encode_runs() noexcept;
  void put(std::uint8_t message, const Verdict& verdict) noexcept;

  std::array<Verdict, kCapacity> verdicts_;
  std::size_t size_ = 0;
  std::uint16_t queue_ = 0;
  std::array<unsigned char, kCapacity * kMaxMessage> bytes_;
  std::size_t length_ = 0;
};

}  // namespace nfqc
