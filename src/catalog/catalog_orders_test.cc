// Who leaves first: the orders against a plain model, and their cost against the number of entries.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <random>

#include "catalog/catalog_testing.h"
#include "catalog/victim_sql.h"

namespace barcache {
namespace {

struct ModelEntry {
  std::string key;
  int64_t size_bytes;
  bool is_pinned = false;
};

// Entries from the least to the most recently used.
class Model {
 public:
  void Put(const std::string& key, int64_t size_bytes) {
    const auto found = Find(key);
    if (found != entries_.end() && found->is_pinned) {
      found->size_bytes = size_bytes;
      return;
    }
    Erase(key);
    entries_.push_back({key, size_bytes});
  }
  void Pin(const std::string& key) {
    const auto found = Find(key);
    if (found != entries_.end()) found->is_pinned = true;
  }
  void Unpin(const std::string& key) {
    const auto found = Find(key);
    if (found == entries_.end() || !found->is_pinned) return;
    found->is_pinned = false;
    Touch(key);  // Let go, it counts as just used.
  }
  void Touch(const std::string& key) {
    const auto found = Find(key);
    if (found != entries_.end()) std::rotate(found, found + 1, entries_.end());
  }
  void Erase(const std::string& key) {
    const auto found = Find(key);
    if (found != entries_.end()) entries_.erase(found);
  }
  std::vector<std::string> Order(VictimOrder order, const std::string& except) const {
    std::vector<ModelEntry> chosen = entries_;
    std::erase_if(chosen, [](const ModelEntry& entry) { return entry.is_pinned; });
    if (order == VictimOrder::kLargestOfOldHalf) chosen.resize(chosen.size() / 2);
    if (order != VictimOrder::kLeastRecentlyUsed) {
      std::ranges::stable_sort(chosen, [](const ModelEntry& a, const ModelEntry& b) {
        return a.size_bytes > b.size_bytes;
      });
    }
    std::vector<std::string> keys;
    for (const ModelEntry& entry : chosen) {
      if (entry.key != except) keys.push_back(entry.key);
    }
    return keys;
  }
  int64_t size_bytes() const {
    int64_t sum = 0;
    for (const ModelEntry& entry : entries_) sum += entry.size_bytes;
    return sum;
  }
  size_t count() const { return entries_.size(); }
  int64_t pinned_bytes() const {
    int64_t sum = 0;
    for (const ModelEntry& entry : entries_) sum += entry.is_pinned ? entry.size_bytes : 0;
    return sum;
  }

 private:
  std::vector<ModelEntry>::iterator Find(const std::string& key) {
    return std::ranges::find(entries_, key, &ModelEntry::key);
  }
  std::vector<ModelEntry> entries_;
};

class RandomOperations {
 public:
  RandomOperations(Catalog* catalog, uint32_t seed) : catalog_(catalog), random_(seed) {}

  void Run(int transactions) {
    for (int i = 0; i < transactions; ++i) {
      auto writer = catalog_->BeginWrite();
      ASSERT_TRUE(writer.ok());
      for (uint32_t step = Pick(6) + 1; step > 0; --step) Step(&*writer);
      Compare(&*writer);
      if (testing::Test::HasFailure()) return;
      ASSERT_TRUE(writer->Commit().ok());
    }
  }

 private:
  uint32_t Pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  std::string PickKey() { return "key" + std::to_string(Pick(60)); }

  void Step(CatalogWriter* writer) {
    const std::string key = PickKey();
    switch (Pick(10)) {
      case 0:
      case 1:
      case 2: {
        const int64_t size_bytes = Pick(20);  // Few sizes: ties.
        ASSERT_TRUE(writer->Upsert(Entry(key, size_bytes, ++generation_)).value().stored);
        model_.Put(key, size_bytes);
        break;
      }
      case 3:
      case 4:
        ASSERT_TRUE(writer->ApplyTouches({{key, 1, 0}}).ok());
        model_.Touch(key);
        break;
      case 5: {
        const auto order = static_cast<VictimOrder>(Pick(3));
        auto victims = writer->Candidates(order, Pick(4) + 1, "").value();
        for (const Victim& victim : victims) {
          ASSERT_TRUE(writer->Erase(victim.cache_key).ok());
          model_.Erase(victim.cache_key);
        }
        break;
      }
      case 6:
        ASSERT_TRUE(writer->Erase(key).ok());
        model_.Erase(key);
        break;
      case 7:
        ASSERT_TRUE(writer->Pin(key).ok());
        model_.Pin(key);
        break;
      case 8:
        ASSERT_TRUE(writer->Unpin(key).ok());
        model_.Unpin(key);
        break;
      default:
        if (Pick(20) != 0) break;
        ASSERT_TRUE(writer->EraseAll().ok());
        model_ = Model();
    }
  }

  void Compare(CatalogWriter* writer) {
    const std::string except = PickKey();
    for (const auto order :
         {VictimOrder::kLeastRecentlyUsed, VictimOrder::kLargest, VictimOrder::kLargestOfOldHalf}) {
      if (Pick(3) == 0) continue;  // Also leave the halves unbalanced for a while.
      auto victims = writer->Candidates(order, 1000, except);
      ASSERT_TRUE(victims.ok()) << victims.status().ToString();
      std::vector<std::string> keys;
      for (const Victim& victim : *victims) keys.push_back(victim.cache_key);
      ASSERT_EQ(keys, model_.Order(order, except)) << "order " << static_cast<int>(order);
    }
    const CatalogTotals totals = writer->Totals().value();
    ASSERT_EQ(totals.size_bytes, model_.size_bytes());
    ASSERT_EQ(totals.entry_count, static_cast<int64_t>(model_.count()));
    ASSERT_EQ(totals.pinned_size_bytes, model_.pinned_bytes());
  }

  Catalog* catalog_;
  std::mt19937 random_;
  Model model_;
  uint64_t generation_ = 0;
};

TEST(CatalogOrdersTest, EqualAModelUnderRandomOperations) {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE(seed);
    auto catalog = OpenOrDie(":memory:");
    RandomOperations(catalog.get(), seed).Run(400);
    auto writer = catalog->BeginWrite();
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(writer->RebuildSideTables().value());
  }
}

TEST(CatalogOrdersTest, NoQuerySorts) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  auto db = OpenPlain(folder.db());
  for (const char* sql :
       {kVictimsByUse, kVictimsBySize, kVictimsOldBySize, kVictimsByPriority, kQueueHead,
        kEntriesToRank, kBoundaryAbove, kBoundaryBelow, kAge, kRejuvenate}) {
    for (const std::string& row : QueryRows(db.get(), std::string("EXPLAIN QUERY PLAN ") + sql)) {
      EXPECT_EQ(row.find("TEMP B-TREE"), std::string::npos) << sql << "\n" << row;
      EXPECT_EQ(row.find("SCAN e"), std::string::npos) << sql << "\n" << row;
    }
  }
}

// Instructions of SQLite's machine: a cost that does not depend on the clock.
int64_t StepsOf(SqliteConnection* db, const std::string& sql, int64_t first, int64_t second) {
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db->handle(), sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
  sqlite3_bind_int64(statement, 1, first);
  sqlite3_bind_int64(statement, 2, second);
  while (sqlite3_step(statement) == SQLITE_ROW) {
  }
  const int steps = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 0);
  sqlite3_finalize(statement);
  return steps;
}

TEST(CatalogOrdersTest, CostPerVictimDoesNotGrow) {
  std::vector<std::vector<int64_t>> costs;
  // All entries, and how many of them are pinned.
  for (const auto& [count, pinned] : {std::pair{1000, 0}, {50'000, 0}, {50'000, 25'000}}) {
    TestFolder folder;
    auto catalog = OpenOrDie(folder.db());
    auto writer = catalog->BeginWrite();
    ASSERT_TRUE(writer.ok());
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(writer->Upsert(Entry("key" + std::to_string(i), i * 7919 % 10'007, 1)).ok());
    }
    for (int i = 0; i < pinned; ++i) {
      ASSERT_TRUE(writer->Pin("key" + std::to_string(4 + i)).value());
    }
    ASSERT_TRUE(writer->Candidates(VictimOrder::kLargestOfOldHalf, 1, "").ok());
    const std::vector<RankInput> inputs = writer->EntriesToRank().value();
    ASSERT_EQ(inputs.size(), static_cast<size_t>(count - pinned));
    for (const RankInput& input : inputs) {
      const double priority = 1.0 / (1.0 + static_cast<double>(input.size_bytes));
      ASSERT_TRUE(writer->SetPriority(input.use_order, priority).ok());
      ASSERT_TRUE(writer->Enqueue(input.use_order, input.use_order % 2 == 0 ? 0 : 1, 1).ok());
    }
    ASSERT_TRUE(writer->FinishRanking(0.0).ok());
    ASSERT_TRUE(writer->FinishQueueing().ok());
    ASSERT_TRUE(writer->Commit().ok());
    auto db = OpenPlain(folder.db());
    std::vector<int64_t> cost;
    for (const char* sql : {kVictimsByUse, kVictimsBySize, kVictimsOldBySize, kVictimsByPriority,
                            kQueueHead, kEntriesToRank, kEntriesToQueue}) {
      cost.push_back(StepsOf(db.get(), sql, 0, 5));
    }
    const int64_t boundary =
        std::stoll(QueryRows(db.get(), "SELECT old_boundary FROM barcache_totals")[0]);
    ASSERT_TRUE(db->Execute("BEGIN").ok());
    cost.push_back(StepsOf(db.get(), kBoundaryAbove, boundary, 0));
    cost.push_back(StepsOf(db.get(), kAge, boundary, boundary + 1));
    ASSERT_TRUE(db->Execute("ROLLBACK").ok());
    cost.push_back(StepsOf(db.get(), "DELETE FROM cache_entries WHERE cache_key = 'key3'", 0, 0));
    costs.push_back(cost);
  }
  EXPECT_EQ(costs[0], costs[1]);
  EXPECT_EQ(costs[1], costs[2]);
}

}  // namespace
}  // namespace barcache
