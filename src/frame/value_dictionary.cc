// Open addressing over the distinct values; see the header for the promises.
#include "frame/value_dictionary.h"

#include <bit>
#include <cstring>
#include <functional>
#include <string_view>

#include "frame/bitmap.h"
#include "frame/string_views.h"

namespace barcache {
namespace {

constexpr size_t kFirstSlots = 1024;
// After so many values it is known whether there is repetition at all.
constexpr size_t kProbe = 8192;
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

uint64_t Spread(uint64_t bits) { return bits * kGolden; }

// A view as two words. Those of short strings say all about them; those of long ones, where they
// lie.
struct ViewWords {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const ViewWords&) const = default;
  bool is_short() const { return static_cast<uint32_t>(low) <= kMaxInlineSize; }
};

ViewWords WordsAt(const ArrowArray& array, size_t row) {
  ViewWords words;
  std::memcpy(&words, static_cast<const uint8_t*>(array.buffers[1]) + row * kViewSize, kViewSize);
  return words;
}

uint64_t HashAt(const ArrowArray& array, size_t row, const ViewWords& words) {
  if (words.is_short()) return Spread(Spread(words.low) ^ words.high);
  return Spread(std::hash<std::string_view>()(StringAt(array, row)));
}

bool SameStrings(const ArrowArray& array, size_t row, const ViewWords& words, size_t other) {
  if (WordsAt(array, other) == words) return true;
  return !words.is_short() && StringAt(array, row) == StringAt(array, other);
}

bool IsHopeless(size_t seen, size_t distinct) {
  return seen == kProbe && distinct > kProbe / 10 * 9;
}

}  // namespace

void ValueDictionary::Start(size_t count) {
  size_ = 0;
  slots_.assign(kFirstSlots, 0);
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(kFirstSlots));
  indices_.resize(count);
  values_.Clear();
  string_hashes_.clear();
  string_rows_.clear();
}

template <typename HashOf>
void ValueDictionary::GrowIfFull(HashOf hash_of) {
  if (2 * size_ < slots_.size()) return;
  slots_.assign(2 * slots_.size(), 0);
  --shift_;
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < size_; ++i) {
    size_t slot = SlotOf(hash_of(i));
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

template <typename Number>
bool ValueDictionary::BuildNumbers(const uint8_t* values, size_t count, size_t limit) {
  Start(count);
  const auto load = [](const uint8_t* bytes, size_t i) {
    Number number;
    std::memcpy(&number, bytes + i * sizeof(Number), sizeof(Number));
    return number;
  };
  Number previous = 0;
  uint32_t index = 0;
  for (size_t i = 0; i < count; ++i) {
    const Number value = load(values, i);
    if (i == 0 || value != previous) {
      if (IsHopeless(i, size_)) return false;
      const size_t mask = slots_.size() - 1;
      size_t slot = SlotOf(Spread(value));
      while (slots_[slot] != 0 && load(values_.data(), slots_[slot] - 1) != value) {
        slot = (slot + 1) & mask;
      }
      if (slots_[slot] == 0) {
        if (size_ == limit) return false;
        slots_[slot] = static_cast<uint32_t>(++size_);
        values_.Append(&value, sizeof(value));
        index = static_cast<uint32_t>(size_ - 1);
        GrowIfFull([&](size_t k) { return Spread(load(values_.data(), k)); });
      } else {
        index = slots_[slot] - 1;
      }
      previous = value;
    }
    indices_[i] = index;
  }
  return true;
}

bool ValueDictionary::Build(const uint8_t* values, size_t count, size_t width, size_t limit) {
  return width == 8 ? BuildNumbers<uint64_t>(values, count, limit)
                    : BuildNumbers<uint32_t>(values, count, limit);
}

bool ValueDictionary::BuildStrings(const ArrowArray& array, const uint8_t* validity, size_t limit) {
  const size_t rows = static_cast<size_t>(array.length);
  Start(rows);
  ViewWords previous;
  uint32_t index = 0;
  size_t count = 0;
  for (size_t row = 0; row < rows; ++row) {
    if (validity != nullptr && !GetBit(validity, row)) continue;
    const ViewWords value = WordsAt(array, row);
    if (count == 0 || value != previous) {
      if (IsHopeless(count, size_)) return false;
      const uint64_t hash = HashAt(array, row, value);
      const size_t mask = slots_.size() - 1;
      size_t slot = SlotOf(hash);
      while (slots_[slot] != 0 && !SameStrings(array, row, value, string_rows_[slots_[slot] - 1])) {
        slot = (slot + 1) & mask;
      }
      if (slots_[slot] == 0) {
        if (size_ == limit) return false;
        slots_[slot] = static_cast<uint32_t>(++size_);
        string_rows_.push_back(row);
        string_hashes_.push_back(hash);
        AppendPlainString(StringAt(array, row), values_);
        index = static_cast<uint32_t>(size_ - 1);
        GrowIfFull([&](size_t k) { return string_hashes_[k]; });
      } else {
        index = slots_[slot] - 1;
      }
      previous = value;
    }
    indices_[count++] = index;
  }
  return true;
}

}  // namespace barcache
