#include "core/verdict_batch.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "kernel_queue.h"

namespace nfqc {
namespace {

using test::KernelQueue;

constexpr std::uint16_t kQueue = 0x1234;

Verdict drop(std::uint32_t id) { return {id, NF_DROP, 0, false}; }
Verdict accept(std::uint32_t id) { return {id, NF_ACCEPT, 0, false}; }
Verdict accept(std::uint32_t id, std::uint32_t mark) { return {id, NF_ACCEPT, mark, true}; }

/** The mark that a packet comes with. */
std::uint32_t mark_of(std::uint32_t id) { return id * 2654435761U; }

/** Sends the verdicts as one batch, and some later packets wait behind them. */
KernelQueue answered(const std::vector<Verdict>& verdicts, std::uint32_t waiting = 0) {
  KernelQueue kernel(kQueue);
  VerdictBatch batch;
  for (const Verdict& verdict : verdicts) {
    kernel.hold(verdict.id, mark_of(verdict.id));
    batch.add(verdict);
  }
  for (std::uint32_t i = 1; i <= waiting; ++i) kernel.hold(verdicts.back().id + i, 0);
  kernel.receive(batch.encode(kQueue));
  EXPECT_EQ(kernel.held().size(), waiting) << "later packets wait on";
  EXPECT_TRUE(kernel.errors().empty());
  return kernel;
}

/** Every packet got its own verdict, and those that pass did so in their order. */
void expect_right(const std::vector<Verdict>& verdicts, const KernelQueue& kernel) {
  ASSERT_EQ(kernel.answers().size(), verdicts.size());
  std::map<std::uint32_t, KernelQueue::Answer> answers;
  std::vector<std::uint32_t> passed;
  for (const KernelQueue::Answer& answer : kernel.answers()) {
    ASSERT_TRUE(answers.emplace(answer.id, answer).second) << "answered twice";
    if (answer.verdict != NF_DROP) passed.push_back(answer.id);
  }
  std::vector<std::uint32_t> expected_passed;
  for (const Verdict& verdict : verdicts) {
    const KernelQueue::Answer& answer = answers.at(verdict.id);
    ASSERT_EQ(answer.verdict, verdict.verdict);
    if (verdict.verdict == NF_DROP) continue;
    ASSERT_EQ(answer.mark, verdict.sets_mark ? verdict.mark : mark_of(verdict.id));
    expected_passed.push_back(verdict.id);
  }
  ASSERT_EQ(passed, expected_passed);
}

struct Example {
  const char* sentence;
  std::vector<Verdict> verdicts;
  std::size_t messages;
};

const std::vector<Example> kExamples{
    {"one packet", {accept(9)}, 1},
    {"one dropped packet", {drop(9)}, 1},
    {"all pass", {accept(1), accept(2), accept(3)}, 1},
    {"all are dropped", {drop(1), drop(2), drop(3)}, 1},
    {"all get one mark", {accept(1, 7), accept(2, 7), accept(3, 7)}, 1},
    {"one of many is dropped", {accept(1), drop(2), accept(3), accept(4)}, 2},
    {"one of many passes", {drop(1), drop(2), accept(3, 7), drop(4)}, 2},
    {"the last of those that pass stands before a drop", {accept(1), accept(2), drop(3)}, 2},
    {"as many pass as are dropped", {accept(1), drop(2), accept(3), drop(4)}, 3},
    {"ids have gaps", {accept(1), accept(5), drop(9), accept(100)}, 2},
    {"two marks take turns", {accept(1, 7), accept(2, 8), accept(3, 7)}, 3},
    {"two marks stand apart", {accept(1, 7), accept(2, 7), accept(3, 8), accept(4, 8)}, 2},
    {"marked and unmarked packets pass", {accept(1), accept(2, 0), accept(3)}, 3},
    {"two verdicts pass", {accept(1), {2, NF_REPEAT, 0, false}, accept(3)}, 3},
    {"two marks, and drops between", {accept(1, 7), drop(2), drop(3), accept(4, 8)}, 3},
    {"ids wrap around", {accept(0xfffffffe), drop(0xffffffff), accept(0), accept(1)}, 2},
};

TEST(VerdictBatch, GivesEveryPacketItsVerdictWithAsFewMessagesAsItCan) {
  for (const Example& example : kExamples) {
    SCOPED_TRACE(example.sentence);
    const KernelQueue kernel = answered(example.verdicts, 2);
    expect_right(example.verdicts, kernel);
    EXPECT_EQ(kernel.messages(), example.messages);
  }
}

TEST(VerdictBatch, OfNothingIsNothing) {
  VerdictBatch batch;
  EXPECT_EQ(batch.size(), 0U);
  EXPECT_TRUE(batch.encode(kQueue).empty());
}

TEST(VerdictBatch, IsFullAtItsCapacityAndEmptyOnceCleared) {
  VerdictBatch batch;
  for (std::uint32_t id = 0; id < VerdictBatch::kCapacity; ++id) {
    EXPECT_FALSE(batch.full());
    batch.add(accept(id));
  }
  EXPECT_TRUE(batch.full());
  batch.clear();
  EXPECT_FALSE(batch.full());
  EXPECT_TRUE(batch.encode(kQueue).empty());
}

TEST(VerdictBatch, CanBeEncodedAgainForAnotherSend) {
  VerdictBatch batch;
  batch.add(accept(1, 7));
  batch.add(drop(2));
  const auto first = batch.encode(kQueue);
  const std::vector<unsigned char> copy(first.begin(), first.end());
  const auto second = batch.encode(kQueue);
  EXPECT_EQ(copy, std::vector<unsigned char>(second.begin(), second.end()));
}

TEST(VerdictBatch, HasRoomForTheLongestEncoding) {
  std::vector<Verdict> verdicts;
  for (std::uint32_t id = 0; id < VerdictBatch::kCapacity; ++id) verdicts.push_back(accept(id, id));
  const KernelQueue kernel = answered(verdicts);
  EXPECT_EQ(kernel.messages(), VerdictBatch::kCapacity);
  expect_right(verdicts, kernel);
}

/** Verdicts as traffic has them: a share dropped, and the others by one mark or by several. */
std::vector<Verdict> random_verdicts(std::mt19937& random) {
  const auto below = [&random](std::uint32_t limit) {
    return static_cast<std::uint32_t>(random() % limit);
  };
  const std::uint32_t percent_dropped = below(5) * 25;
  const std::uint32_t marks = 1 + below(3);
  const bool may_keep_mark = below(2) == 0;
  const bool may_repeat = below(4) == 0;
  const std::uint32_t largest_gap = 1 + below(3) * below(1000);
  std::uint32_t id = below(2) == 0 ? 0U - below(80) : static_cast<std::uint32_t>(random());
  std::vector<Verdict> verdicts(1 + below(VerdictBatch::kCapacity));
  for (Verdict& verdict : verdicts) {
    id += 1 + below(largest_gap);
    const bool dropped = below(100) < percent_dropped;
    const bool keeps_mark = may_keep_mark && below(2) == 0;
    const std::uint32_t passes = may_repeat && below(2) == 0 ? NF_REPEAT : NF_ACCEPT;
    verdict = {id, dropped ? std::uint32_t{NF_DROP} : passes, below(marks) << 16, !keeps_mark};
  }
  return verdicts;
}

TEST(VerdictBatch, GivesEveryPacketOfRandomBatchesItsVerdict) {
  std::mt19937 random(20);
  for (int round = 0; round < 20'000; ++round) {
    SCOPED_TRACE(round);
    const std::vector<Verdict> verdicts = random_verdicts(random);
    const KernelQueue kernel = answered(verdicts, static_cast<std::uint32_t>(random() % 3));
    expect_right(verdicts, kernel);
    ASSERT_LE(kernel.messages(), verdicts.size());
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

TEST(KernelQueue, TellsOfAVerdictForNoPacket) {
  VerdictBatch batch;
  batch.add(accept(7));
  KernelQueue kernel(kQueue);
  kernel.hold(8, 0);
  kernel.receive(batch.encode(kQueue));
  EXPECT_EQ(kernel.errors(), std::vector<int>{ENOENT});
  EXPECT_THROW(kernel.receive(batch.encode(kQueue + 1)), std::runtime_error);
}

}  // namespace
}  // namespace nfqc
