// GDSF and S3-FIFO over the catalog against plain models of both, and what switching between
// policies leaves behind.
#include "cold/evict_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "base/test_directory.h"

namespace barcache {
namespace {

struct Item {
  int64_t size_bytes = 0;
  int64_t uses = 0;
  double priority = 0.0;
  int64_t used_at = 0;
  double cost = 1.0;
};

// A cache of entries without files, evicted from as the cold tier does.
class CatalogCache {
 public:
  explicit CatalogCache(int64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {
    auto catalog = Catalog::Open({":memory:"}, &clock_);
    if (!catalog.ok()) std::abort();
    catalog_ = std::move(*catalog);
  }
  void Use(const std::string& key) { uses_.push_back({key, 1, 1}); }
  std::set<std::string> Put(const std::string& key, int64_t size_bytes, EvictionPolicy policy,
                            std::optional<double> cost = {}, bool to_capacity_only = true) {
    auto writer = catalog_->BeginWrite();
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE(writer->ApplyTouches(uses_).ok());
    uses_.clear();
    NewEntry entry;
    entry.cache_key = key;
    entry.parquet_path = key + ".parquet";
    entry.checksum = "sum";
    entry.size_bytes = size_bytes;
    entry.generation = ++generation_;
    entry.fetch_cost = cost;
    EXPECT_TRUE(writer->Upsert(entry).ok());
    EventBuffer events;
    auto eviction =
        EvictRows(&*writer, {policy, capacity_bytes_, to_capacity_only}, key, nullptr, &events);
    EXPECT_TRUE(eviction.ok()) << eviction.status().ToString();
    EXPECT_TRUE(writer->Commit().ok());
    std::set<std::string> keys;
    for (const Victim& victim : eviction->victims) keys.insert(victim.cache_key);
    return keys;
  }
  // Entries that stay whatever is put; returns their bytes.
  int64_t PutPinned(int count, int64_t size_bytes) {
    for (int i = 0; i < count; ++i) {
      const std::string key = "pinned" + std::to_string(i);
      Put(key, size_bytes, EvictionPolicy::kLru);
      auto writer = catalog_->BeginWrite();
      EXPECT_TRUE(writer->Pin(key).value());
      EXPECT_TRUE(writer->Commit().ok());
    }
    return count * size_bytes;
  }
  bool Holds(const std::string& key) { return catalog_->Find(key).value().has_value(); }
  Catalog* catalog() { return catalog_.get(); }
  bool IsSound() {
    auto writer = catalog_->BeginWrite();
    return writer.ok() && !writer->RebuildSideTables().value();
  }

 private:
  SystemClock clock_;
  int64_t capacity_bytes_;
  std::unique_ptr<Catalog> catalog_;
  std::vector<Touch> uses_;
  uint64_t generation_ = 0;
};

class GdsfModel {
 public:
  explicit GdsfModel(int64_t capacity_bytes) : free_bytes_(capacity_bytes) {}
  bool Use(const std::string& key) {
    const auto found = items_.find(key);
    if (found == items_.end()) return false;
    ++found->second.uses;
    Rank(&found->second);
    return true;
  }
  std::set<std::string> Put(const std::string& key, int64_t size_bytes, double cost) {
    std::set<std::string> left;
    Item item{size_bytes, 1, 0.0, 0, cost};
    Rank(&item);  // Before anything leaves.
    while (free_bytes_ < size_bytes) {
      const auto victim = std::ranges::min_element(items_, {}, [](const auto& item) {
        return std::pair(item.second.priority, item.second.used_at);
      });
      inflation_ = std::max(inflation_, victim->second.priority);
      free_bytes_ += victim->second.size_bytes;
      left.insert(victim->first);
      items_.erase(victim);
    }
    free_bytes_ -= size_bytes;
    items_[key] = item;
    return left;
  }

 private:
  void Rank(Item* item) {
    const auto uses = static_cast<double>(item->uses);
    item->priority = inflation_ + uses * item->cost / static_cast<double>(item->size_bytes);
    item->used_at = ++now_;
  }
  int64_t free_bytes_;
  int64_t now_ = 0;
  double inflation_ = 0.0;
  std::map<std::string, Item> items_;
};

class S3FifoModel {
 public:
  explicit S3FifoModel(int64_t capacity_bytes) : capacity_(capacity_bytes) {}
  bool Use(const std::string& key) {
    if (!items_.contains(key)) return false;
    ++items_[key].uses;
    return true;
  }
  std::set<std::string> Put(const std::string& key, int64_t size_bytes) {
    left_.clear();
    const auto ghost = std::ranges::find(ghosts_, key, &Ghost::first);
    const bool was_ghost = ghost != ghosts_.end();
    if (was_ghost) ghosts_.erase(ghost);
    while (Bytes(small_) + Bytes(main_) + size_bytes > capacity_) {
      has_evicted_ = true;
      Bytes(main_) > capacity_ - capacity_ / 10 || small_.empty() ? ShrinkMain() : ShrinkSmall();
    }
    items_[key] = {size_bytes, 0};
    const bool fill_main = !has_evicted_ && Bytes(small_) >= capacity_ / 10;
    (was_ghost || fill_main ? main_ : small_).push_back(key);
    return left_;
  }

 private:
  using Ghost = std::pair<std::string, int64_t>;
  int64_t Bytes(const std::deque<std::string>& queue) const {
    int64_t sum = 0;
    for (const std::string& key : queue) sum += items_.at(key).size_bytes;
    return sum;
  }
  void ShrinkSmall() {
    while (!small_.empty()) {
      const std::string key = small_.front();
      small_.pop_front();
      if (items_[key].uses >= 2) {
        items_[key].uses = 0;
        main_.push_back(key);
        continue;
      }
      ghosts_.emplace_back(key, items_[key].size_bytes);
      int64_t sum = 0;
      for (const Ghost& ghost : ghosts_) sum += ghost.second;
      for (; sum > capacity_ - capacity_ / 10; ghosts_.pop_front()) sum -= ghosts_.front().second;
      return Leave(key);
    }
  }
  void ShrinkMain() {
    while (!main_.empty()) {
      const std::string key = main_.front();
      main_.pop_front();
      int64_t& uses = items_[key].uses;
      if (uses == 0) return Leave(key);
      uses = std::min<int64_t>(uses, 3) - 1;
      main_.push_back(key);
    }
  }
  void Leave(const std::string& key) {
    items_.erase(key);
    left_.insert(key);
  }
  int64_t capacity_;
  bool has_evicted_ = false;
  std::map<std::string, Item> items_;
  std::deque<std::string> small_, main_;
  std::deque<Ghost> ghosts_;
  std::set<std::string> left_;
};

// A key that is asked for often is asked for with a smaller number.
int Popular(std::mt19937* random) {
  const auto pick = [&] { return static_cast<int>((*random)() % 120); };
  return std::min({pick(), pick(), pick()});
}

void CompareGdsf(CatalogCache* the_cache) {
  CatalogCache& cache = *the_cache;
  std::mt19937 random(7);
  GdsfModel model(2000);
  int evictions = 0;
  for (int i = 0; i < 6000; ++i) {
    const int number = Popular(&random);
    const std::string key = "key" + std::to_string(number);
    const bool held = model.Use(key);
    ASSERT_EQ(cache.Holds(key), held) << i;
    if (held) {
      cache.Use(key);
      continue;
    }
    const int64_t size_bytes = 1 + number * 7919 % 97;
    const double cost = 1.0 + number % 3;
    const auto expected = model.Put(key, size_bytes, cost);
    ASSERT_EQ(cache.Put(key, size_bytes, EvictionPolicy::kGdsf, cost), expected) << i;
    evictions += static_cast<int>(expected.size());
  }
  EXPECT_GT(evictions, 500);
  EXPECT_TRUE(cache.IsSound());
}

TEST(EvictRowsTest, GdsfEqualsItsModel) {
  CatalogCache cache(2000);
  CompareGdsf(&cache);
}

TEST(EvictRowsTest, GdsfBesidePinnedEntriesEqualsItsModelInTheRest) {
  CatalogCache cache(2000 + 40 * 50);
  ASSERT_EQ(cache.PutPinned(40, 50), 2000);
  CompareGdsf(&cache);
  EXPECT_EQ(cache.catalog()->PinnedKeys().value().size(), 40u);
}

void CompareS3Fifo(CatalogCache* the_cache) {
  CatalogCache& cache = *the_cache;
  std::mt19937 random(8);
  S3FifoModel model(2000);
  int evictions = 0;
  for (int i = 0; i < 6000; ++i) {
    const int number = Popular(&random);
    const std::string key = "key" + std::to_string(number);
    const bool held = model.Use(key);
    ASSERT_EQ(cache.Holds(key), held) << i;
    if (held) {
      cache.Use(key);
      continue;
    }
    const int64_t size_bytes = 1 + number * 7919 % 97;
    const auto expected = model.Put(key, size_bytes);
    ASSERT_EQ(cache.Put(key, size_bytes, EvictionPolicy::kS3Fifo), expected) << i;
    evictions += static_cast<int>(expected.size());
  }
  EXPECT_GT(evictions, 500);
  EXPECT_TRUE(cache.IsSound());
}

TEST(EvictRowsTest, S3FifoEqualsItsModel) {
  CatalogCache cache(2000);
  CompareS3Fifo(&cache);
}

TEST(EvictRowsTest, S3FifoBesidePinnedEntriesEqualsItsModelInTheRest) {
  CatalogCache cache(2000 + 40 * 50);
  ASSERT_EQ(cache.PutPinned(40, 50), 2000);
  CompareS3Fifo(&cache);
  EXPECT_EQ(cache.catalog()->PinnedKeys().value().size(), 40u);
}

// Total sizes stay within the limit whatever the policy was before, and the figures stay true.
TEST(EvictRowsTest, PoliciesMayChangeAtAnyPut) {
  std::mt19937 random(9);
  CatalogCache cache(2000);
  const EvictionPolicy policies[] = {EvictionPolicy::kLru, EvictionPolicy::kSize,
                                     EvictionPolicy::kHybrid, EvictionPolicy::kGdsf,
                                     EvictionPolicy::kS3Fifo};
  for (int i = 0; i < 3000; ++i) {
    const std::string key = "key" + std::to_string(Popular(&random));
    if (random() % 3 == 0) cache.Use(key);
    const auto size_bytes = static_cast<int64_t>(1 + random() % 300);  // Also replaces.
    cache.Put(key, size_bytes, policies[i / 20 % 5], {}, random() % 2 == 0);
    ASSERT_LE(cache.catalog()->Totals().value().size_bytes, 2000) << i;
    if (i % 50 == 0) {
      ASSERT_TRUE(cache.IsSound()) << i;
    }
  }
}

TEST(EvictRowsTest, WhatIsDearToFetchStays) {
  CatalogCache cache(100);
  cache.Put("dear", 40, EvictionPolicy::kGdsf, 30.0);
  cache.Put("cheap", 40, EvictionPolicy::kGdsf, 0.1);
  EXPECT_EQ(cache.Put("new", 40, EvictionPolicy::kGdsf), std::set<std::string>{"cheap"});
  // A put that does not know the cost keeps what was known.
  cache.Put("dear", 40, EvictionPolicy::kGdsf);
  EXPECT_EQ(cache.Put("newer", 40, EvictionPolicy::kGdsf), std::set<std::string>{"new"});
}

TEST(EvictRowsTest, AScanDoesNotPushOutWhatIsUsedUnderS3Fifo) {
  CatalogCache cache(1000);
  for (int i = 0; i < 5; ++i) cache.Put("used" + std::to_string(i), 100, EvictionPolicy::kS3Fifo);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5; ++i) cache.Use("used" + std::to_string(i));
  }
  for (int i = 0; i < 500; ++i) {
    cache.Put("scan" + std::to_string(i), 100, EvictionPolicy::kS3Fifo);
  }
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(cache.Holds("used" + std::to_string(i))) << i;
}

TEST(EvictRowsTest, OtherPoliciesWriteNoRanks) {
  CatalogCache cache(1000);
  for (int i = 0; i < 100; ++i) {
    cache.Put("key" + std::to_string(i), 50,
              i % 2 == 0 ? EvictionPolicy::kLru : EvictionPolicy::kHybrid);
  }
  auto writer = cache.catalog()->BeginWrite();
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(writer->Candidates(VictimOrder::kLowestPriority, 10, "").value().empty());
  EXPECT_FALSE(writer->HeadOf(0, "").value().has_value());
  EXPECT_FALSE(writer->ReadQueueTotals().value().started);
}

}  // namespace
}  // namespace barcache
