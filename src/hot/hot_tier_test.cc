// HotTier: order of use, exact charges, events, identity of entries, destruction outside the lock.
#include "hot/hot_tier.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/block_pool.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

constexpr int64_t kMb = 1024 * 1024;

HotEntry EntryOf(int64_t charge_bytes, uint64_t generation = 0) {
  HotEntry entry;
  entry.charge_bytes = charge_bytes;
  entry.tag.generation = generation;
  return entry;
}

using Keys = std::vector<std::string>;

std::string Describe(const Event& event) {
  std::string text = event.name;
  for (const auto& [name, value] : event.fields) {
    text.append(" ").append(name).append("=");
    if (const auto* string = std::get_if<std::string>(&value)) text.append(*string);
    if (const auto* number = std::get_if<double>(&value)) {
      text.append(std::to_string(*number).substr(0, 4));
    }
  }
  return text;
}

TEST(HotTierTest, KeepsAndFinds) {
  HotTier tier(100);
  EXPECT_EQ(tier.Lookup("a"), nullptr);
  EXPECT_TRUE(tier.Insert("a", EntryOf(10, 7), nullptr));
  ASSERT_NE(tier.Lookup("a"), nullptr);
  EXPECT_EQ(tier.Lookup("a")->tag.generation, 7u);
  EXPECT_EQ(tier.Lookup(std::string("ab").substr(0, 1))->charge_bytes, 10);
  EXPECT_EQ(tier.entry_count(), 1);
}

TEST(HotTierTest, WhatIsKeptElsewhereCountsToo) {
  HotTier tier(30);
  for (const char* key : {"a", "b", "c"}) tier.Insert(key, EntryOf(10), nullptr);
  tier.SetAside(15, nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"c"}));
  tier.Insert("d", EntryOf(10), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"d"}));
  tier.SetAside(0, nullptr);
  tier.Insert("e", EntryOf(20), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"d", "e"}));
}

TEST(HotTierTest, AnEntryThatIsTakenGoesOnLiving) {
  HotTier tier(30);
  tier.Insert("a", EntryOf(10, 7), nullptr);
  const auto taken = tier.Take("a");
  ASSERT_NE(taken, nullptr);
  EXPECT_EQ(taken->tag.generation, 7u);
  EXPECT_EQ(tier.Take("a"), nullptr);
  EXPECT_EQ(tier.total_charge_bytes(), 0);
}

TEST(HotTierTest, EvictsLeastRecentlyUsedFirst) {
  HotTier tier(30);
  for (const char* key : {"a", "b", "c"}) tier.Insert(key, EntryOf(10), nullptr);
  tier.Lookup("a");
  tier.Peek("b");  // Does not count as a use.
  tier.Insert("d", EntryOf(10), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"c", "a", "d"}));
  tier.Insert("e", EntryOf(20), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"d", "e"}));
  EXPECT_EQ(tier.total_charge_bytes(), 30);
}

// B7 of the reference: a second put added its size again and did not move the key.
TEST(HotTierTest, B7ReplacingChargesOnceAndMovesToTheRecentEnd) {
  HotTier tier(30);
  for (const char* key : {"a", "b", "c"}) tier.Insert(key, EntryOf(10), nullptr);
  EventBuffer events;
  EXPECT_TRUE(tier.Insert("a", EntryOf(10, 2), &events));
  EXPECT_EQ(tier.total_charge_bytes(), 30);
  EXPECT_EQ(tier.keys(), (Keys{"b", "c", "a"}));
  EXPECT_EQ(tier.Lookup("a")->tag.generation, 2u);
  EXPECT_EQ(events.size(), 1u) << "a replacement of the same size evicts nobody";
  tier.Insert("a", EntryOf(4), nullptr);
  EXPECT_EQ(tier.total_charge_bytes(), 24);
}

TEST(HotTierTest, TooLargeIsNotKeptAndTheOlderOneGoes) {
  HotTier tier(2 * kMb);
  tier.Insert("a", EntryOf(kMb), nullptr);
  tier.Insert("b", EntryOf(kMb), nullptr);
  EventBuffer events;
  EXPECT_FALSE(tier.Insert("a", EntryOf(3 * kMb), &events));
  EXPECT_EQ(tier.keys(), Keys{"b"});
  EXPECT_EQ(tier.total_charge_bytes(), kMb);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].level, EventLevel::kWarning);
  EXPECT_EQ(Describe(events[0]),
            "dataframe_too_large_for_hot_cache cache_key=a df_size_mb=3.00 max_size_mb=2.00");
  EXPECT_TRUE(tier.Insert("c", EntryOf(2 * kMb), nullptr)) << "just as large as the tier fits";
}

TEST(HotTierTest, ObjectsAroundTheBuffersCountWhereMemoryIsMeant) {
  HotEntry entry = EntryOf(1000);
  entry.frame = SampleBars(10, 1.0);  // Two columns: 2 700 bytes of objects.
  HotTier large(16 * kMb);
  HotTier small(16 * kMb - 1);
  for (int i = 0; i < 20'000; ++i) {
    large.Insert("key" + std::to_string(i), entry, nullptr);
    small.Insert("key" + std::to_string(i), entry, nullptr);
  }
  EXPECT_EQ(large.entry_count(), 16 * kMb / 3700);
  EXPECT_EQ(small.entry_count(), (16 * kMb - 1) / 1000);
  large.Erase("key19999");
  large.Insert("key0", entry, nullptr);
  EXPECT_EQ(large.entry_count(), 16 * kMb / 3700) << "what leaves is not counted any more";
}

TEST(HotTierTest, RecycledMemoryCountsAndNeverPushesOutTheNewest) {
  constexpr int64_t kCapacity = 32 * kMb;
  const BlockPool::Share share(kCapacity);
  HotTier tier(kCapacity);
  tier.Insert("a", EntryOf(15 * kMb), nullptr);
  tier.Insert("b", EntryOf(16 * kMb), nullptr);
  EXPECT_EQ(tier.entry_count(), 2);
  BlockPool::Frames().Give(BlockPool::Frames().Take(2 * kMb));
  ASSERT_GE(BlockPool::Frames().kept_bytes(), 2 * kMb);
  tier.Insert("b", EntryOf(16 * kMb), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"b"}));
  tier.Insert("b", EntryOf(32 * kMb), nullptr);
  EXPECT_EQ(tier.keys(), (Keys{"b"}));
}

TEST(HotTierTest, LogsEvictionsThenThePut) {
  HotTier tier(3 * kMb);
  tier.Insert("a", EntryOf(kMb), nullptr);
  tier.Insert("b", EntryOf(2 * kMb), nullptr);
  EventBuffer events;
  tier.Insert("c", EntryOf(3 * kMb / 2), &events);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(Describe(events[0]), "hot_cache_eviction evicted_key=a evicted_size_mb=1.00");
  EXPECT_EQ(events[0].level, EventLevel::kInfo);
  EXPECT_EQ(Describe(events[1]), "hot_cache_eviction evicted_key=b evicted_size_mb=2.00");
  EXPECT_EQ(Describe(events[2]), "hot_cache_put cache_key=c df_size_mb=1.50 total_size_mb=1.50");
  EXPECT_EQ(events[2].level, EventLevel::kDebug);
}

TEST(HotTierTest, CapacityZeroKeepsNothingAndSaysNothing) {
  HotTier tier(0);
  EventBuffer events;
  EXPECT_FALSE(tier.Insert("a", EntryOf(10), &events));
  EXPECT_FALSE(tier.Insert("b", EntryOf(0), &events));
  EXPECT_EQ(tier.entry_count(), 0);
  EXPECT_TRUE(events.empty());
}

TEST(HotTierTest, LoweringTheCapacityEvicts) {
  HotTier tier(30);
  for (const char* key : {"a", "b", "c"}) tier.Insert(key, EntryOf(10), nullptr);
  EventBuffer events;
  tier.SetCapacity(15, &events);
  EXPECT_EQ(tier.keys(), Keys{"c"});
  EXPECT_EQ(events.size(), 2u);
  EXPECT_EQ(tier.capacity_bytes(), 15);
  tier.SetCapacity(100, nullptr);
  tier.Insert("d", EntryOf(0), nullptr);
  tier.SetCapacity(0, nullptr);
  EXPECT_EQ(tier.entry_count(), 0);
  EXPECT_EQ(tier.total_charge_bytes(), 0);
}

TEST(HotTierTest, EraseAndClear) {
  HotTier tier(100);
  for (const char* key : {"a", "b", "c"}) tier.Insert(key, EntryOf(10), nullptr);
  EXPECT_TRUE(tier.Erase("b"));
  EXPECT_FALSE(tier.Erase("b"));
  EXPECT_EQ(tier.keys(), (Keys{"a", "c"}));
  EXPECT_EQ(tier.total_charge_bytes(), 20);
  auto held = tier.Lookup("a");
  tier.Clear();
  EXPECT_EQ(tier.entry_count(), 0);
  EXPECT_EQ(tier.total_charge_bytes(), 0);
  EXPECT_EQ(held->charge_bytes, 10) << "what was handed out stays valid";
  tier.Insert("d", EntryOf(10), nullptr);
  EXPECT_EQ(tier.keys(), Keys{"d"});
}

TEST(HotTierTest, RetagReplacesOnlyTheEntryThatWasSeen) {
  HotTier tier(100);
  tier.Insert("a", EntryOf(10, 1), nullptr);
  const auto seen = tier.Lookup("a");
  HotTag tag;
  tag.generation = 2;
  const auto kept = tier.Retag("a", seen, tag);
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(tier.Peek("a"), kept);
  EXPECT_EQ(kept->tag.generation, 2u);
  EXPECT_EQ(seen->tag.generation, 1u);
  EXPECT_EQ(tier.total_charge_bytes(), 10);
  tag.generation = 3;
  EXPECT_EQ(tier.Retag("a", seen, tag), nullptr) << "no longer the entry that is kept";
  EXPECT_EQ(tier.Retag("gone", kept, tag), nullptr);
  EXPECT_EQ(tier.Retag("gone", nullptr, tag), nullptr);
  EXPECT_EQ(tier.Peek("a")->tag.generation, 2u);
}

TEST(HotTierTest, AttachAddsACompanionOnce) {
  HotTier tier(100);
  tier.Insert("a", EntryOf(10), nullptr);
  const auto seen = tier.Lookup("a");
  const auto first = std::make_shared<int>(1);
  tier.Attach("a", seen, first);
  EXPECT_EQ(tier.Peek("a")->companion, first);
  tier.Attach("a", tier.Peek("a"), std::make_shared<int>(2));
  EXPECT_EQ(tier.Peek("a")->companion, first) << "it has one already";

  tier.Insert("a", EntryOf(10), nullptr);
  tier.Attach("a", seen, first);
  EXPECT_EQ(tier.Peek("a")->companion, nullptr) << "a companion of a replaced frame";
}

// A companion whose destructor asks the tier itself: it would hang if the lock were held.
std::shared_ptr<void> Reentrant(HotTier* tier, int* destroyed) {
  return {destroyed, [tier](void* counter) {
            tier->entry_count();
            ++*static_cast<int*>(counter);
          }};
}

TEST(HotTierTest, WhatLeavesIsDestroyedOutsideTheLock) {
  int destroyed = 0;
  HotTier tier(20);
  const auto insert = [&](const char* key, int64_t charge_bytes) {
    HotEntry entry = EntryOf(charge_bytes);
    entry.companion = Reentrant(&tier, &destroyed);
    tier.Insert(key, std::move(entry), nullptr);
  };
  insert("a", 10);
  insert("a", 10);  // Replaced.
  EXPECT_EQ(destroyed, 1);
  insert("b", 20);  // Evicts "a".
  EXPECT_EQ(destroyed, 2);
  insert("c", 50);  // Refused.
  EXPECT_EQ(destroyed, 3);
  tier.Erase("b");
  EXPECT_EQ(destroyed, 4);
  insert("d", 10);
  tier.Clear();
  EXPECT_EQ(destroyed, 5);
  insert("e", 10);
  tier.SetCapacity(5, nullptr);
  EXPECT_EQ(destroyed, 6);
}

TEST(HotTierTest, ManyLeaveAtOnce) {
  HotTier tier(300'000);
  for (int i = 0; i < 300'000; ++i) tier.Insert(std::to_string(i), EntryOf(1), nullptr);
  tier.Insert("all", EntryOf(300'000), nullptr);  // Must not recurse through the victims.
  EXPECT_EQ(tier.keys(), Keys{"all"});
}

// The same operations on a plain list, as the specification reads.
TEST(HotTierTest, AgreesWithAModel) {
  std::mt19937 random(20231231);
  HotTier tier(50);
  std::vector<std::pair<std::string, int64_t>> model;  // Oldest first.
  const auto total = [&] {
    int64_t sum = 0;
    for (const auto& item : model) sum += item.second;
    return sum;
  };
  for (int step = 0; step < 20'000; ++step) {
    const std::string key(1, static_cast<char>('a' + random() % 12));
    const auto found = std::find_if(model.begin(), model.end(),
                                    [&](const auto& item) { return item.first == key; });
    const auto action = random() % 10;
    if (action < 5) {
      const auto charge_bytes = static_cast<int64_t>(random() % 60);
      if (found != model.end()) model.erase(found);
      if (charge_bytes <= 50) {
        while (total() + charge_bytes > 50) model.erase(model.begin());
        model.emplace_back(key, charge_bytes);
      }
      ASSERT_EQ(tier.Insert(key, EntryOf(charge_bytes), nullptr), charge_bytes <= 50);
    } else if (action < 9) {
      ASSERT_EQ(tier.Lookup(key) != nullptr, found != model.end());
      if (found != model.end()) std::rotate(found, found + 1, model.end());
    } else {
      ASSERT_EQ(tier.Erase(key), found != model.end());
      if (found != model.end()) model.erase(found);
    }
    ASSERT_EQ(tier.total_charge_bytes(), total());
    Keys expected;
    for (const auto& item : model) expected.push_back(item.first);
    ASSERT_EQ(tier.keys(), expected);
  }
}

TEST(HotTierTest, ThreadsKeepTheBooksExact) {
  HotTier tier(200);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      EventBuffer events;
      for (int i = 0; i < 20'000; ++i) {
        const auto number = static_cast<unsigned>(random() % 40);
        const std::string key = std::to_string(number);
        const auto charge_bytes = static_cast<int64_t>(number);
        events.clear();
        switch (random() % 6) {
          case 0:
            tier.Insert(key, EntryOf(charge_bytes, number), &events);
            break;
          case 1:
            tier.Erase(key);
            break;
          case 2:
            if (auto entry = tier.Peek(key)) {
              HotTag tag;
              tag.generation = number;
              tier.Attach(key, tier.Retag(key, entry, tag), std::make_shared<int>(i));
            }
            break;
          default:
            if (auto entry = tier.Lookup(key)) wrong += entry->tag.generation != number;
        }
        wrong += tier.total_charge_bytes() > 200;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  int64_t sum = 0;
  for (const std::string& key : tier.keys()) sum += std::stoll(key);
  EXPECT_EQ(tier.total_charge_bytes(), sum);
}

TEST(HotTierTest, UsableOnBothSidesOfAFork) {
  HotTier tier(100);
  tier.Insert("a", EntryOf(10), nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    tier.Insert("b", EntryOf(10), nullptr);
    _exit(tier.Lookup("a") != nullptr && tier.entry_count() == 2 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(tier.entry_count(), 1);
}

}  // namespace
}  // namespace barcache
