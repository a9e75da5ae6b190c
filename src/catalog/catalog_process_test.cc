// Several openers of one file: threads, objects, processes, forks, deaths.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "catalog/catalog_testing.h"
#include "catalog/epochs.h"

namespace barcache {
namespace {

int ExitCodeOf(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Put(Catalog* catalog, const NewEntry& entry) {
  auto writer = catalog->BeginWrite();
  return writer.ok() && writer->Upsert(entry).ok() && writer->Commit().ok();
}

TEST(CatalogProcessTest, TwoCatalogsOnOneFile) {
  TestFolder folder;
  auto a = OpenOrDie(folder.db());
  auto b = OpenOrDie(folder.db());
  EXPECT_EQ(a->catalog_id(), b->catalog_id());
  const Epoch before = b->EpochOf("k");
  PutOrDie(a.get(), Entry("k", 10, 1), "bt");
  EXPECT_NE(b->EpochOf("k"), before);
  EXPECT_EQ(b->Find("k").value()->generation, 1u);
  PutOrDie(b.get(), Entry("k", 20, 2));
  EXPECT_EQ(a->Find("k").value()->generation, 2u);
  EXPECT_EQ(a->Totals().value().size_bytes, 20);
  a.reset();  // Closing one leaves the other's locks alone.
  PutOrDie(b.get(), Entry("k", 30, 3));
  EXPECT_EQ(OpenOrDie(folder.db())->Find("k").value()->generation, 3u);
}

TEST(CatalogProcessTest, AnotherCatalogsTransactionIsWaitedForThenBusy) {
  TestFolder folder;
  auto a = OpenOrDie(folder.db());
  CatalogOptions options;
  options.db_path = folder.db();
  options.busy_timeout_ms = 20;
  auto b = Catalog::Open(options, TestClock()).value();
  auto plain = OpenPlain(folder.db());
  {
    auto writer = a->BeginWrite();
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(b->BeginWrite().status().code(), ErrorCode::kBusy);
  }
  ASSERT_TRUE(plain->Execute("BEGIN IMMEDIATE").ok());
  const Status busy = b->BeginWrite().status();
  EXPECT_EQ(busy.code(), ErrorCode::kBusy) << busy.ToString();
  EXPECT_NE(busy.message().find(folder.db()), std::string::npos);
  ASSERT_TRUE(plain->Execute("ROLLBACK").ok());
  EXPECT_TRUE(Put(b.get(), Entry("k", 1, 1)));
}

TEST(CatalogProcessTest, AChildWritesWhileTheParentReads) {
  TestFolder folder;
  auto parent = OpenOrDie(folder.db());
  constexpr int kPuts = 200;
  parent->BeforeFork();
  const pid_t child = fork();
  parent->AfterFork(child == 0);
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto own = OpenCatalog(folder.db());
    if (!own.ok()) _exit(1);
    for (int i = 1; i <= kPuts; ++i) {
      if (!Put(own->get(), Entry("k", i, static_cast<uint64_t>(i)))) _exit(2);
    }
    _exit(0);
  }
  // An epoch that stands still means that what was read between still holds.
  uint64_t last = 0;
  int64_t checked = 0;
  while (last < kPuts) {
    const Epoch before = parent->EpochOf("k");
    auto found = parent->Find("k");
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    if (!found->has_value()) continue;
    ASSERT_GE((*found)->generation, last);
    last = (*found)->generation;
    auto again = parent->Find("k");
    ASSERT_TRUE(again.ok());
    if (before.settled() && parent->EpochOf("k") == before) {
      ++checked;
      ASSERT_EQ((*again)->generation, last);
    }
  }
  EXPECT_EQ(ExitCodeOf(child), 0);
  EXPECT_GT(checked, 0);
  EXPECT_EQ(parent->Totals().value().entry_count, 1);
}

TEST(CatalogProcessTest, FourProcessesAndThreadsLoseNothing) {
  TestFolder folder;
  OpenOrDie(folder.db()).reset();
  constexpr int kProcesses = 4;
  constexpr int kPuts = 60;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto catalog = OpenCatalog(folder.db());
      if (!catalog.ok()) _exit(1);
      std::atomic<bool> good{true};
      std::vector<std::thread> threads;
      for (int thread = 0; thread < 2; ++thread) {
        threads.emplace_back([&, thread] {
          for (int i = 0; i < kPuts; ++i) {
            const std::string key =
                std::to_string(process) + "-" + std::to_string(thread) + "-" + std::to_string(i);
            if (!Put(catalog->get(), Entry(key, 1, 1))) good = false;
            if (!(*catalog)->Find(key).value().has_value()) good = false;
            if (i % 20 == 0 && !(*catalog)->CheckpointIfNeeded().ok()) good = false;
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      _exit(good ? 0 : 2);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) EXPECT_EQ(ExitCodeOf(child), 0);
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->Totals().value().entry_count, kProcesses * 2 * kPuts);
  EXPECT_EQ(catalog->Entries().value().size(), size_t{kProcesses * 2 * kPuts});
  EXPECT_TRUE(catalog->QuickCheck().value().empty());
}

TEST(CatalogProcessTest, AKilledWriterLeavesNothingHalf) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("k", 10, 1));
  const Epoch before = catalog->EpochOf("k");
  catalog->BeforeFork();
  const pid_t child = fork();
  catalog->AfterFork(child == 0);
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto own = OpenCatalog(folder.db());
    if (!own.ok()) _exit(1);
    auto writer = (*own)->BeginWrite();
    if (!writer.ok() || !writer->Upsert(Entry("k", 20, 2)).ok()) _exit(2);
    _exit(0);  // In the middle of its transaction, with both locks.
  }
  EXPECT_EQ(ExitCodeOf(child), 0);
  EXPECT_EQ(catalog->Find("k").value()->generation, 1u);
  EXPECT_EQ(catalog->EpochOf("k"), before);
  PutOrDie(catalog.get(), Entry("k", 30, 3));
  EXPECT_EQ(catalog->Totals().value().size_bytes, 30);
}

TEST(CatalogProcessTest, BothSidesWorkAfterAFork) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer hangs in a child that is forked while threads allocate";
#endif
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("before", 1, 1));
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) EXPECT_TRUE(catalog->Find("before").value().has_value());
    });
  }
  for (int round = 0; round < 5; ++round) {
    const auto number = static_cast<uint64_t>(round) + 1;
    catalog->BeforeFork();
    const pid_t child = fork();
    catalog->AfterFork(child == 0);
    ASSERT_GE(child, 0);
    if (child == 0) {
      const bool good = Put(catalog.get(), Entry("child" + std::to_string(round), 1, number)) &&
                        catalog->Find("before").value().has_value();
      _exit(good ? 0 : 1);  // No destructor: as a killed process.
    }
    PutOrDie(catalog.get(), Entry("parent" + std::to_string(round), 1, number));
    EXPECT_EQ(ExitCodeOf(child), 0);
    EXPECT_TRUE(catalog->Find("child" + std::to_string(round)).value().has_value());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(catalog->Totals().value().entry_count, 11);
  EXPECT_TRUE(catalog->QuickCheck().value().empty());
}

TEST(CatalogProcessTest, AForkedMemoryCatalogIsACopy) {
  auto catalog = OpenOrDie(":memory:");
  PutOrDie(catalog.get(), Entry("k", 1, 1));
  catalog->BeforeFork();
  const pid_t child = fork();
  catalog->AfterFork(child == 0);
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool good =
        catalog->Find("k").value().has_value() && Put(catalog.get(), Entry("j", 1, 1));
    _exit(good ? 0 : 1);
  }
  EXPECT_EQ(ExitCodeOf(child), 0);
  EXPECT_FALSE(catalog->Find("j").value().has_value());
  EXPECT_TRUE(Put(catalog.get(), Entry("i", 1, 1)));
}

TEST(CatalogProcessTest, MemoryIsSharedByTargetAndOnlyByIt) {
  auto a = OpenOrDie(":memory:");
  auto b = OpenOrDie(":memory:");
  PutOrDie(a.get(), Entry("k", 1, 1));
  EXPECT_FALSE(b->Find("k").value().has_value());
  auto engine = OpenPlain(a->connection_target());
  EXPECT_EQ(QueryRows(engine.get(), "SELECT cache_key FROM cache_entries"),
            std::vector<std::string>{"k"});
  ASSERT_TRUE(engine->Execute("DELETE FROM cache_entries").ok());
  EXPECT_FALSE(a->Find("k").value().has_value());
  EXPECT_EQ(a->Totals().value().entry_count, 0);
}

TEST(CatalogProcessTest, CheckpointsShortenTheLog) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  const auto wal_bytes = [&] { return std::filesystem::file_size(folder.db() + "-wal"); };
  uint64_t generation = 0;
  for (int round = 0; round < 600; ++round) {
    PutOrDie(catalog.get(), Entry("k" + std::to_string(round % 40), 1, ++generation), "bt");
    ASSERT_TRUE(catalog->CheckpointIfNeeded().ok());
  }
  const auto settled = wal_bytes();
  EXPECT_LT(settled, 8u << 20);
  for (int round = 0; round < 600; ++round) {
    PutOrDie(catalog.get(), Entry("k" + std::to_string(round % 40), 1, ++generation), "bt");
    ASSERT_TRUE(catalog->CheckpointIfNeeded().ok());
  }
  EXPECT_EQ(wal_bytes(), settled);  // Used again from its start.
  // One that nobody has shortened says so, until somebody does.
  int puts = 0;
  for (; !catalog->IsLogLong() && puts < 20'000; ++puts) {
    PutOrDie(catalog.get(), Entry("k" + std::to_string(puts % 40), 1, ++generation), "bt");
  }
  EXPECT_TRUE(catalog->IsLogLong());
  EXPECT_GT(wal_bytes(), 15u << 20);
  EXPECT_LT(wal_bytes(), 17u << 20);
  ASSERT_TRUE(catalog->CheckpointIfNeeded().ok());
  EXPECT_FALSE(catalog->IsLogLong());
  // Another program in a transaction is not waited for, and not disturbed.
  auto plain = OpenPlain(folder.db());
  ASSERT_TRUE(plain->Execute("BEGIN IMMEDIATE").ok());
  EXPECT_TRUE(catalog->CheckpointIfNeeded().ok());
  ASSERT_TRUE(plain->Execute("ROLLBACK").ok());
}

}  // namespace
}  // namespace barcache
