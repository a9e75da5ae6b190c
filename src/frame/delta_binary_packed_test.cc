// Packed bits, packed differences, runs of indices: round trips at every width, and refusals.
#include "frame/delta_binary_packed.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "frame/bit_packing.h"
#include "frame/index_gather.h"
#include "frame/index_runs.h"

namespace barcache {
namespace {

// On the heap, with just the slack that readers may touch.
std::vector<uint8_t> WithSlack(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  copy.resize(bytes.size() + kUnpackSlack);
  return copy;
}

TEST(BitPacking, EveryWidthComesBack) {
  std::mt19937_64 random(1);
  for (unsigned width = 0; width <= 64; ++width) {
    for (const size_t count : {0, 1, 7, 8, 31, 32, 100}) {
      std::vector<uint64_t> numbers(count);
      for (uint64_t& number : numbers) {
        number = width == 0 ? 0 : random() >> (64 - width);
      }
      std::vector<uint8_t> packed(PackedSize(count, width) + kUnpackSlack);
      PackBits(numbers.data(), count, width, packed.data());
      std::vector<uint64_t> back(count);
      UnpackBits(packed.data(), count, width, back.data());
      EXPECT_EQ(back, numbers) << width;
    }
  }
}

template <typename Number>
void ExpectDeltasComeBack(const std::vector<Number>& numbers) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
  ByteSink sink;
  AppendDeltas(bytes, numbers.size(), sizeof(Number), sink);
  const std::vector<uint8_t> encoded = WithSlack(sink.bytes());
  std::vector<Number> back(numbers.size() + 1);
  auto* out = reinterpret_cast<uint8_t*>(back.data());
  const std::span<const uint8_t> exact(encoded.data(), sink.size());
  ASSERT_TRUE(DecodeDeltas(exact, numbers.size(), sizeof(Number), out));
  back.pop_back();
  EXPECT_EQ(back, numbers);
  EXPECT_FALSE(DecodeDeltas(exact, numbers.size() + 1, sizeof(Number), out));
  for (size_t size = 0; size < exact.size() && numbers.size() > 1; ++size) {
    const std::vector<uint8_t> cut = WithSlack(exact.first(size));
    EXPECT_FALSE(DecodeDeltas({cut.data(), size}, numbers.size(), sizeof(Number), out));
  }
}

TEST(Deltas, ComeBackWhateverTheyAre) {
  std::mt19937_64 random(2);
  for (const size_t count : {0, 1, 2, 32, 33, 128, 129, 130, 300}) {
    for (const unsigned bits : {0, 1, 13, 31, 32, 33, 57, 58, 63, 64}) {
      std::vector<int64_t> wide(count);
      std::vector<int32_t> narrow(count);
      for (size_t i = 0; i < count; ++i) {
        const uint64_t number = bits == 0 ? i * 86400 : random() >> (64 - bits);
        wide[i] = static_cast<int64_t>(number);
        narrow[i] = static_cast<int32_t>(number);
      }
      ExpectDeltasComeBack(wide);
      ExpectDeltasComeBack(narrow);
    }
  }
  ExpectDeltasComeBack<int64_t>({INT64_MIN, INT64_MAX, INT64_MIN, 0, INT64_MAX});
  ExpectDeltasComeBack<int32_t>({INT32_MIN, INT32_MAX, INT32_MIN, 0, INT32_MAX});
}

TEST(Deltas, RegularTimesTakeNextToNothing) {
  std::vector<int64_t> times(10000);
  for (size_t i = 0; i < times.size(); ++i) times[i] = static_cast<int64_t>(i) * 60'000'000;
  ByteSink sink;
  const auto* bytes = reinterpret_cast<const uint8_t*>(times.data());
  AppendDeltas(bytes, times.size(), 8, sink);
  EXPECT_LT(sink.size(), 1000U);
  EXPECT_LT(EstimateDeltaSize(bytes, times.size(), 8), 0.2);
}

TEST(Deltas, RefusesHeadersThatCannotBe) {
  std::vector<uint64_t> out(1000);
  auto* target = reinterpret_cast<uint8_t*>(out.data());
  const auto decodes = [&](const std::vector<uint8_t>& bytes) {
    const std::vector<uint8_t> slack = WithSlack(bytes);
    return DecodeDeltas({slack.data(), bytes.size()}, 3, 8, target);
  };
  EXPECT_TRUE(decodes({0x80, 1, 4, 3, 0, 2, 0, 0, 0, 0}));
  EXPECT_FALSE(decodes({0x80, 1, 4, 4, 0, 2, 0, 0, 0, 0}));   // Another count.
  EXPECT_FALSE(decodes({0x81, 1, 4, 3, 0, 2, 0, 0, 0, 0}));   // Blocks of 129.
  EXPECT_FALSE(decodes({0x80, 1, 0, 3, 0, 2, 0, 0, 0, 0}));   // No mini block.
  EXPECT_FALSE(decodes({0x80, 1, 3, 3, 0, 2, 0, 0, 0, 0}));   // Three of them.
  EXPECT_FALSE(decodes({0x80, 1, 8, 3, 0, 2, 0, 0, 0, 0}));   // Mini blocks of 16.
  EXPECT_FALSE(decodes({0x80, 1, 4, 3, 0, 2, 65, 0, 0, 0}));  // 65 bits a number.
  EXPECT_FALSE(decodes({0, 4, 3, 0, 2, 0, 0, 0, 0}));
}

TEST(IndexRuns, ComeBackThroughAnyDictionary) {
  std::mt19937_64 random(3);
  for (const size_t dictionary_size : {1, 2, 3, 5, 255, 256, 257, 70000}) {
    for (const size_t count : {1, 7, 8, 15, 16, 17, 40, 600, 5000}) {
      std::vector<uint64_t> dictionary(dictionary_size);
      for (uint64_t& value : dictionary) value = random();
      std::vector<uint32_t> indices(count);
      uint32_t index = 0;
      for (uint32_t& i : indices) {  // Runs of all lengths.
        if (random() % 20 < (random() % 2) * 19) index = static_cast<uint32_t>(random());
        i = index % static_cast<uint32_t>(dictionary_size);
      }
      ByteSink sink;
      AppendIndexRuns(indices.data(), count, IndexWidth(dictionary_size), sink);
      const std::vector<uint8_t> bytes = WithSlack(sink.bytes());
      IndexRunReader reader({bytes.data(), sink.size()});
      std::vector<uint64_t> values(count);
      size_t done = 0;
      IndexRun run;
      while (done < count) {
        ASSERT_TRUE(reader.Next(count - done, run));
        auto* out = reinterpret_cast<uint8_t*>(values.data() + done);
        const auto* source = reinterpret_cast<const uint8_t*>(dictionary.data());
        ASSERT_TRUE(run.is_packed
                        ? GatherPacked(run.packed, run.length, reader.width(), source,
                                       dictionary_size, 8, out)
                        : GatherRepeated(run.value, run.length, source, dictionary_size, 8, out));
        done += run.length;
      }
      EXPECT_FALSE(reader.Next(1, run));
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(values[i], dictionary[indices[i]]);
    }
  }
}

TEST(IndexRuns, RefusesWhatIsNoRun) {
  const auto next = [](const std::vector<uint8_t>& bytes, size_t limit) {
    IndexRunReader reader(bytes);
    IndexRun run;
    return reader.Next(limit, run);
  };
  EXPECT_TRUE(next({3, 20, 5}, 10));
  EXPECT_FALSE(next({}, 10));
  EXPECT_FALSE(next({3}, 10));
  EXPECT_FALSE(next({3, 20}, 10));       // No value.
  EXPECT_FALSE(next({3, 22, 5}, 10));    // A run too long.
  EXPECT_FALSE(next({3, 0, 5}, 10));     // An empty run.
  EXPECT_FALSE(next({3, 3, 1, 2}, 10));  // Three bytes of indices, two there.
  EXPECT_FALSE(next({33, 20, 1, 1, 1, 1, 1}, 10));
  EXPECT_FALSE(next({3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 10));
}

TEST(IndexRuns, RefusesIndicesOutsideTheDictionary) {
  const uint32_t indices[] = {0, 1, 2, 3, 0, 1, 2, 3};
  std::vector<uint8_t> packed(2 + kUnpackSlack);
  PackBits(indices, 8, 2, packed.data());
  const std::vector<uint8_t> dictionary(4);
  std::vector<uint8_t> out(8);
  EXPECT_TRUE(GatherPacked(packed.data(), 8, 2, dictionary.data(), 4, 1, out.data()));
  EXPECT_FALSE(GatherPacked(packed.data(), 8, 2, dictionary.data(), 3, 1, out.data()));
  EXPECT_TRUE(GatherRepeated(3, 8, dictionary.data(), 4, 1, out.data()));
  EXPECT_FALSE(GatherRepeated(4, 8, dictionary.data(), 4, 1, out.data()));
}

}  // namespace
}  // namespace barcache
