#include "linux/ownership_table.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <thread>
#include <vector>

namespace nfqc {
namespace {

constexpr std::size_t kReaders = 3;
constexpr std::uint64_t kChanges = 500;

/** An ownership that tells by its one bucket which version it was published as. */
Ownership of_version(std::uint64_t version) {
  Ownership ownership;
  ownership.add(static_cast<std::uint32_t>(version % kMaxBuckets));
  ownership.deadline_ns = version;
  return ownership;
}

Ownership of(std::initializer_list<std::uint32_t> buckets) {
  Ownership ownership;
  for (const std::uint32_t bucket : buckets) ownership.add(bucket);
  return ownership;
}

/** Whether it is that version's whole, and no mixture with another's. */
bool is_of_version(const Ownership& ownership, std::uint64_t version) {
  return ownership.bits == of_version(version).bits && ownership.deadline_ns == version;
}

std::uint32_t no_packet_yet(std::size_t /*reader*/) { return 0; }

TEST(OwnershipTable, StartsWithItsFirstVersion) {
  OwnershipTable table(1, of_version(1));
  EXPECT_TRUE(is_of_version(table.newest(), 1));
  const OwnershipTable::Batch batch(table, table.reader(0));
  EXPECT_EQ(batch.version(), OwnershipTable::kFirstVersion);
}

TEST(OwnershipTable, TellsAReaderOfAChange) {
  OwnershipTable table(1, of({1, 2}));
  table.publish(of({2, 3}), [](std::size_t) { return 40U; });
  const OwnershipChange change = table.adopt(table.reader(0));
  EXPECT_EQ(change.version, 2U);
  EXPECT_EQ(change.last_id, 40U);
  EXPECT_EQ(change.newest.bits, of({2, 3}).bits);
  EXPECT_EQ(change.throughout.bits, of({2}).bits);
}

TEST(OwnershipTable, TellsAReaderOfSeveralChangesAsOne) {
  OwnershipTable table(1, of({1, 2, 3}));
  table.publish(of({3, 4}), [](std::size_t) { return 40U; });
  table.publish(of({1, 3, 4}), [](std::size_t) { return 50U; });
  const OwnershipChange change = table.adopt(table.reader(0));
  EXPECT_EQ(change.version, 3U);
  EXPECT_EQ(change.last_id, 50U);
  EXPECT_EQ(change.newest.bits, of({1, 3, 4}).bits);
  EXPECT_EQ(change.throughout.bits, of({3}).bits) << "1 was given up in between";
}

TEST(OwnershipTable, TellsEachReaderWhatHasChangedSinceItAskedLast) {
  OwnershipTable table(2, of({1, 2}));
  table.publish(of({2, 3}), [](std::size_t reader) { return reader == 0 ? 40U : 70U; });
  EXPECT_EQ(table.adopt(table.reader(0)).throughout.bits, of({2}).bits);
  table.publish(of({3}), [](std::size_t reader) { return reader == 0 ? 50U : 80U; });
  const OwnershipChange first = table.adopt(table.reader(0));
  const OwnershipChange second = table.adopt(table.reader(1));
  EXPECT_EQ(first.throughout.bits, of({3}).bits);
  EXPECT_EQ(first.last_id, 50U);
  EXPECT_EQ(second.throughout.bits, of({}).bits);
  EXPECT_EQ(second.last_id, 80U);
}

TEST(OwnershipTable, DoesNotWaitForAReaderBetweenBatches) {
  OwnershipTable table(kReaders, of_version(1));
  {
    const OwnershipTable::Batch batch(table, table.reader(0));
  }
  const std::uint64_t version = table.publish(of_version(2), no_packet_yet);
  EXPECT_EQ(version, 2U);
  table.wait_until_adopted(version);
}

TEST(OwnershipTable, DoesNotWaitForABatchBegunAfterTheChange) {
  OwnershipTable table(1, of_version(1));
  const std::uint64_t version = table.publish(of_version(2), no_packet_yet);
  const OwnershipTable::Batch batch(table, table.reader(0));
  EXPECT_EQ(batch.version(), version);
  table.wait_until_adopted(version);
}

TEST(OwnershipTable, WaitsForABatchBegunBeforeTheChange) {
  OwnershipTable table(1, of_version(1));
  std::atomic<bool> over = false;
  std::atomic<bool> waited = false;
  std::thread writer;
  {
    const OwnershipTable::Batch batch(table, table.reader(0));
    const std::uint64_t version = table.publish(of_version(2), no_packet_yet);
    writer = std::thread([&, version] {
      table.wait_until_adopted(version);
      waited = over.load();
    });
    std::this_thread::yield();
    over = true;
  }
  writer.join();
  EXPECT_TRUE(waited) << "returned while the old batch went on";
}

/** A queue thread: batch after batch, until told to end. */
void read(OwnershipTable& table, std::size_t index, const std::atomic<std::uint64_t>& retired,
          const std::atomic<bool>& end, std::atomic<std::uint64_t>& wrong) {
  std::uint64_t adopted = OwnershipTable::kFirstVersion;
  while (!end.load()) {
    const OwnershipTable::Batch batch(table, table.reader(index));
    if (batch.version() != adopted) {
      const OwnershipChange change = table.adopt(table.reader(index));
      const bool grows = change.version > adopted && change.version >= batch.version();
      if (!grows || !is_of_version(change.newest, change.version)) ++wrong;
      if (change.last_id != change.version + index) ++wrong;
      adopted = change.version;
    }
    for (int packet = 0; packet < 50; ++packet) {
      if (retired.load() > adopted) ++wrong;
    }
  }
}

TEST(OwnershipTable, HasNoReaderOfAnOldVersionOnceANewOneIsAdopted) {
  OwnershipTable table(kReaders, of_version(1));
  std::atomic<std::uint64_t> retired = 0; /* every version below is out of use */
  std::atomic<std::uint64_t> wrong = 0;
  std::atomic<bool> end = false;
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] { read(table, i, retired, end, wrong); });
  }
  for (std::uint64_t change = 2; change <= kChanges; ++change) {
    const std::uint64_t version = table.publish(of_version(change), [change](std::size_t reader) {
      return static_cast<std::uint32_t>(change + reader);
    });
    EXPECT_EQ(version, change);
    table.wait_until_adopted(version);
    retired = version;
  }
  end = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
}

TEST(OwnershipTable, GivesEachOfSeveralWritersAVersionOfItsOwn) {
  OwnershipTable table(1, of_version(1));
  constexpr int kWriters = 3;
  std::vector<std::vector<std::uint64_t>> versions(kWriters);
  std::vector<std::thread> writers;
  writers.reserve(kWriters);
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&table, &own = versions[static_cast<std::size_t>(i)]] {
      for (int change = 0; change < 200; ++change) {
        own.push_back(table.publish({}, no_packet_yet));
        table.wait_until_adopted(own.back());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::vector<bool> seen(2 + kWriters * 200);
  for (const auto& own : versions) {
    for (const std::uint64_t version : own) {
      ASSERT_LT(version, seen.size());
      EXPECT_FALSE(seen[version]);
      seen[version] = true;
    }
  }
  EXPECT_EQ(table.adopt(table.reader(0)).version, 1U + kWriters * 200);
}

}  // namespace
}  // namespace nfqc
