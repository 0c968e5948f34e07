/* Any batch of verdicts: a model of the kernel's queue gives every packet its own, once, in order.
 */
#include <cstdlib>

#include "../native/kernel_queue.h"
#include "core/verdict_batch.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/** Four bits of `byte` choose the verdict, the others the distance of the ids. */
nfqc::Verdict verdict_of(unsigned char byte, std::uint32_t id) {
  constexpr std::uint32_t kVerdicts[] = {NF_DROP, NF_ACCEPT, NF_REPEAT, NF_DROP};
  return {id + 1 + (byte >> 4), kVerdicts[byte & 3], byte & 4U, (byte & 8) != 0};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t length) {
  nfqc::VerdictBatch batch;
  nfqc::test::KernelQueue kernel(7);
  std::vector<nfqc::Verdict> verdicts;
  std::uint32_t id = 0U - 64; /* so that ids wrap around */
  for (std::size_t i = 0; i < length && !batch.full(); ++i) {
    verdicts.push_back(verdict_of(bytes[i], id));
    id = verdicts.back().id;
    kernel.hold(id, static_cast<std::uint32_t>(i));
    batch.add(verdicts.back());
  }
  kernel.receive(batch.encode(7));
  require(kernel.held().empty() && kernel.errors().empty());
  require(kernel.answers().size() == verdicts.size());
  std::uint32_t last_passed = 0U - 65;
  for (const auto& answer : kernel.answers()) {
    std::size_t at = 0;
    while (verdicts[at].id != answer.id) ++at;
    require(answer.verdict == verdicts[at].verdict);
    if (answer.verdict == NF_DROP) continue;
    require(answer.mark == (verdicts[at].sets_mark ? verdicts[at].mark : at));
    require(static_cast<std::int32_t>(answer.id - last_passed) > 0);
    last_passed = answer.id;
  }
  return 0;
}
