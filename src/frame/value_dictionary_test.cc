#include "frame/value_dictionary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <unordered_map>
#include <vector>

namespace barcache {
namespace {

template <typename Number>
bool Build(ValueDictionary& dictionary, const std::vector<Number>& numbers, size_t limit) {
  return dictionary.Build(reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size(),
                          sizeof(Number), limit);
}

// In the order in which they are met first, told apart by their bits.
template <typename Number>
void ExpectDictionaryOf(const ValueDictionary& dictionary, const std::vector<Number>& numbers) {
  std::unordered_map<Number, uint32_t> places;
  std::vector<Number> distinct;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto [found, is_new] = places.emplace(numbers[i], static_cast<uint32_t>(distinct.size()));
    if (is_new) distinct.push_back(numbers[i]);
    ASSERT_EQ(dictionary.indices()[i], found->second) << "value " << i;
  }
  ASSERT_EQ(dictionary.size(), distinct.size());
  ASSERT_EQ(dictionary.values().size(), distinct.size() * sizeof(Number));
  EXPECT_EQ(std::memcmp(dictionary.values().bytes().data(), distinct.data(),
                        distinct.size() * sizeof(Number)),
            0);
}

TEST(ValueDictionaryTest, PricesOfARandomWalk) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> numbers;
  int64_t cents = 10'000;
  for (int i = 0; i < 200'000; ++i) {
    cents += static_cast<int64_t>(random() % 7) - 3;
    numbers.push_back(std::bit_cast<uint64_t>(static_cast<double>(cents) / 100));
  }
  ValueDictionary dictionary;
  ASSERT_TRUE(Build(dictionary, numbers, 1 << 17));
  ExpectDictionaryOf(dictionary, numbers);
}

TEST(ValueDictionaryTest, ManyDistinctNumbersInAnyOrder) {
  std::mt19937_64 random(2);
  for (const size_t distinct : {1u, 2u, 255u, 256u, 257u, 5'000u, 100'000u}) {
    std::vector<uint64_t> pool;
    for (size_t i = 0; i < distinct; ++i) pool.push_back(random());
    std::vector<uint64_t> numbers;
    for (size_t i = 0; i < 3'000; ++i) numbers.push_back(pool[i % std::min<size_t>(distinct, 100)]);
    for (size_t i = 0; i < 250'000; ++i) numbers.push_back(pool[random() % distinct]);
    ValueDictionary dictionary;
    // Nearly all of the first ones are the same: it goes on beyond them.
    ASSERT_TRUE(Build(dictionary, numbers, distinct)) << distinct;
    ExpectDictionaryOf(dictionary, numbers);
  }
}

TEST(ValueDictionaryTest, NumbersWhoseHashesAreTheHighestOnes) {
  // The inverse of the hash's factor: these hash to 2^64 - 1 - i, the last slot of any table.
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;
  uint64_t inverse = kGolden;
  for (int i = 0; i < 6; ++i) inverse *= 2 - kGolden * inverse;
  ASSERT_EQ(kGolden * inverse, 1u);
  std::vector<uint64_t> numbers;
  for (int round = 0; round < 3; ++round) {
    for (uint64_t i = 0; i < 2'000; ++i) {
      numbers.push_back((std::numeric_limits<uint64_t>::max() - i) * inverse);
      numbers.push_back(i * inverse);
    }
  }
  ValueDictionary dictionary;
  ASSERT_TRUE(Build(dictionary, numbers, 1 << 17));
  ExpectDictionaryOf(dictionary, numbers);
}

TEST(ValueDictionaryTest, BitsDecide) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<uint64_t> numbers;
  for (int i = 0; i < 100; ++i) {
    for (const double value : {0.0, -0.0, nan, -nan, 1.5}) {
      numbers.push_back(std::bit_cast<uint64_t>(value));
    }
  }
  ValueDictionary dictionary;
  ASSERT_TRUE(Build(dictionary, numbers, 5));
  EXPECT_EQ(dictionary.size(), 5u);
  ExpectDictionaryOf(dictionary, numbers);
}

TEST(ValueDictionaryTest, NumbersOfFourBytes) {
  std::mt19937_64 random(3);
  std::vector<uint32_t> numbers;
  for (int i = 0; i < 100'000; ++i) numbers.push_back(static_cast<uint32_t>(random() % 3'000));
  ValueDictionary dictionary;
  ASSERT_TRUE(Build(dictionary, numbers, 3'000));
  ExpectDictionaryOf(dictionary, numbers);
}

TEST(ValueDictionaryTest, GivesUpBeyondTheLimit) {
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < 4'000; ++i) numbers.push_back(i % 1'001);
  ValueDictionary dictionary;
  EXPECT_FALSE(Build(dictionary, numbers, 1'000));
  EXPECT_TRUE(Build(dictionary, numbers, 1'001));
}

TEST(ValueDictionaryTest, GivesUpWhereNothingIsRepeated) {
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < 20'000; ++i) numbers.push_back(i);
  ValueDictionary dictionary;
  EXPECT_FALSE(Build(dictionary, numbers, 1 << 17));
  // It is known before the limit is met: a short column of distinct values has its dictionary.
  numbers.resize(8'000);
  EXPECT_TRUE(Build(dictionary, numbers, 1 << 17));
}

TEST(ValueDictionaryTest, OneAfterAnother) {
  ValueDictionary dictionary;
  const std::vector<uint64_t> first = {7, 7, 8, 0, 9};
  ASSERT_TRUE(Build(dictionary, first, 10));
  ExpectDictionaryOf(dictionary, first);
  const std::vector<uint64_t> second(400'000, 8);
  ASSERT_TRUE(Build(dictionary, second, 10));
  ExpectDictionaryOf(dictionary, second);
  ASSERT_TRUE(Build(dictionary, std::vector<uint64_t>{}, 10));
  EXPECT_EQ(dictionary.size(), 0u);
}

}  // namespace
}  // namespace barcache
