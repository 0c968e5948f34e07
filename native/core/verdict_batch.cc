#include "verdict_batch.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <cstring>

#include "byte_order.h"

namespace nfqc {
namespace {

/*
 *  0 nlmsghdr      length, type (subsystem, message), flags, sequence 0, port 0
 * 16 nfgenmsg      family, version, queue number
 * 20 nlattr        NFQA_VERDICT_HDR
 * 24               verdict, id
 * 32 nlattr        NFQA_MARK, only if the mark is set
 * 36               mark
 */
struct VerdictMessage {
  nlmsghdr header;
  nfgenmsg family;
  nlattr verdict_attribute;
  std::uint32_t verdict;
  std::uint32_t id;
  nlattr mark_attribute;
  std::uint32_t mark;
};
static_assert(sizeof(VerdictMessage) == 40);
constexpr std::uint32_t kWithoutMark = 32;

}  // namespace

std::span<const unsigned char> VerdictBatch::encode(std::uint16_t queue) noexcept {
  queue_ = queue;
  length_ = 0;
  if (passes_all_alike()) {
    encode_minority_then_majority();
  } else {
    encode_runs();
  }
  return {bytes_.data(), length_};
}

/* Drops may overtake packets that pass; two kinds of passing packets must not overtake each other.
 */
bool VerdictBatch::passes_all_alike() const noexcept {
  const Verdict* first = nullptr;
  for (std::size_t i = 0; i < size_; ++i) {
    const Verdict& verdict = verdicts_[i];
    if (verdict.verdict == NF_DROP) continue;
    if (first == nullptr) first = &verdict;
    if (!verdict.same_answer(*first)) return false;
  }
  return true;
}

void VerdictBatch::encode_minority_then_majority() noexcept {
  std::size_t drops = 0;
  for (std::size_t i = 0; i < size_; ++i) drops += verdicts_[i].verdict == NF_DROP ? 1 : 0;
  const bool drops_are_majority = drops * 2 > size_;
  const Verdict* last_of_majority = nullptr;
  for (std::size_t i = 0; i < size_; ++i) {
    const Verdict& verdict = verdicts_[i];
    if ((verdict.verdict == NF_DROP) == drops_are_majority) {
      last_of_majority = &verdict;
    } else {
      put(NFQNL_MSG_VERDICT, verdict);
    }
  }
  if (last_of_majority != nullptr) put(NFQNL_MSG_VERDICT_BATCH, *last_of_majority);
}

void VerdictBatch::encode_runs() noexcept {
  for (std::size_t i = 0; i < size_; ++i) {
    const bool run_goes_on = i + 1 < size_ && verdicts_[i].same_answer(verdicts_[i + 1]);
    if (!run_goes_on) put(NFQNL_MSG_VERDICT_BATCH, verdicts_[i]);
  }
}

void VerdictBatch::put(std::uint8_t message, const Verdict& verdict) noexcept {
  VerdictMessage m{};
  m.header.nlmsg_len = verdict.sets_mark ? sizeof m : kWithoutMark;
  m.header.nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_QUEUE << 8) | message);
  m.header.nlmsg_flags = NLM_F_REQUEST;
  m.family.version = NFNETLINK_V0;
  m.family.res_id = network_order(queue_);
  m.verdict_attribute = {.nla_len = 12, .nla_type = NFQA_VERDICT_HDR};
  m.verdict = network_order(verdict.verdict);
  m.id = network_order(verdict.id);
  m.mark_attribute = {.nla_len = 8, .nla_type = NFQA_MARK};
  m.mark = network_order(verdict.mark);
  std::memcpy(bytes_.data() + length_, &m, m.header.nlmsg_len);
  length_ += m.header.nlmsg_len;
}

}  // namespace nfqc
