// Open addressing over the distinct values; see the header for the promises.
#include "frame/value_dictionary.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "base/file_system.h"
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

// Of the first kProbe values.
bool IsHopeless(size_t distinct) { return distinct > kProbe / 10 * 9; }

// The slot of a hash in a table of `slots`, a power of two: its highest bits.
size_t SlotOf(uint64_t hash, size_t slots) {
  return static_cast<size_t>(hash >> (64 - std::countr_zero(slots)));
}

template <typename Number>
Number LoadNumber(const uint8_t* bytes, size_t i) {
  Number number;
  std::memcpy(&number, bytes + i * sizeof(Number), sizeof(Number));
  return number;
}

// Distinct numbers and their places, by open addressing. Most numbers stand in the first slot of
// their hash or in the one behind it, and both are looked at without a branch: which of the two it
// is cannot be predicted, and guessing wrong would take longer than everything else.
template <typename Number>
class NumberTable {
 public:
  NumberTable() { Start(kFirstSlots); }

  // The place + 1 of `number`, if one of its first two slots holds it; else 0.
  uint32_t FindNear(Number number) const {
    const Slot* slot = slots_ + (Spread(number) >> shift_);
    const uint32_t is_first = slot[0].number == number ? 1 : 0;
    const uint32_t is_second = slot[1].number == number ? 1 : 0;
    return (slot[0].place & (0u - is_first)) | (slot[1].place & (0u - is_second));
  }

  // The place + 1 of `number`; if it is not there, `place` + 1 after putting it there.
  uint32_t FindOrPut(Number number, size_t place) {
    size_t at = SlotOf(Spread(number), num_slots_);
    while (slots_[at].place != 0) {
      if (slots_[at].number == number) return slots_[at].place;
      at = at + 1 == num_slots_ ? 0 : at + 1;
    }
    slots_[at] = {number, static_cast<uint32_t>(place + 1)};
    if (kSlotsPerNumber * ++size_ > num_slots_) Grow();
    return static_cast<uint32_t>(place + 1);
  }

 private:
  struct Slot {
    Number number = 0;
    uint32_t place = 0;  // + 1; 0: free.
  };
  static constexpr size_t kSlotsPerNumber = 4;  // With 2, a third of the numbers lie further on.

  void Start(size_t num_slots) {
    const size_t size_bytes = (num_slots + 1) * sizeof(Slot);
    if (!memory_.Reset(size_bytes)) throw std::bad_alloc();
    std::memset(memory_.data(), 0, size_bytes);
    slots_ = reinterpret_cast<Slot*>(memory_.data());
    num_slots_ = num_slots;
  }

  void Grow() {
    const ByteBuffer old_memory = std::move(memory_);
    const std::span<const Slot> old(slots_, num_slots_);
    Start(2 * num_slots_);
    --shift_;
    for (const Slot& slot : old) {
      if (slot.place == 0) continue;
      size_t at = SlotOf(Spread(slot.number), num_slots_);
      while (slots_[at].place != 0) at = at + 1 == num_slots_ ? 0 : at + 1;
      slots_[at] = slot;
    }
  }

  ByteBuffer memory_;  // Recycled: a column of many distinct numbers would touch megabytes anew.
  Slot* slots_ = nullptr;
  size_t num_slots_ = 0;  // And one behind the last, which stays free.
  int shift_ = 64 - std::countr_zero(kFirstSlots);
  size_t size_ = 0;
};

}  // namespace

void ValueDictionary::Start(size_t count) {
  size_ = 0;
  index_memory_.Clear();
  indices_ = reinterpret_cast<uint32_t*>(index_memory_.Reserve(count * sizeof(uint32_t)));
  values_.Clear();
}

template <typename Number>
bool ValueDictionary::BuildNumbers(const uint8_t* values, size_t count, size_t limit) {
  Start(count);
  NumberTable<Number> table;
  const auto index_up_to = [&](size_t first, size_t end) {
    uint32_t* const indices = indices_;
    for (size_t i = first; i < end; ++i) {
      const Number number = LoadNumber<Number>(values, i);
      uint32_t place = table.FindNear(number);
      if (place == 0) {
        place = table.FindOrPut(number, size_);
        if (place > size_) {
          if (size_ == limit) return false;
          values_.Append(&number, sizeof(number));
          ++size_;
        }
      }
      indices[i] = place - 1;
    }
    return true;
  };
  const size_t probe = std::min(count, kProbe);
  if (!index_up_to(0, probe)) return false;
  if (probe < count && IsHopeless(size_)) return false;
  return index_up_to(probe, count);
}

void ValueDictionary::GrowStringSlots() {
  if (2 * size_ < string_slots_.size()) return;
  string_slots_.assign(2 * string_slots_.size(), 0);
  const size_t mask = string_slots_.size() - 1;
  for (size_t i = 0; i < size_; ++i) {
    size_t slot = SlotOf(string_hashes_[i], string_slots_.size());
    while (string_slots_[slot] != 0) slot = (slot + 1) & mask;
    string_slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

bool ValueDictionary::Build(const uint8_t* values, size_t count, size_t width, size_t limit) {
  return width == 8 ? BuildNumbers<uint64_t>(values, count, limit)
                    : BuildNumbers<uint32_t>(values, count, limit);
}

bool ValueDictionary::BuildStrings(const ArrowArray& array, const uint8_t* validity, size_t limit) {
  const size_t rows = static_cast<size_t>(array.length);
  Start(rows);
  string_slots_.assign(kFirstSlots, 0);
  string_hashes_.clear();
  string_rows_.clear();
  std::vector<uint32_t>& slots = string_slots_;
  ViewWords previous;
  uint32_t index = 0;
  size_t count = 0;
  for (size_t row = 0; row < rows; ++row) {
    if (validity != nullptr && !GetBit(validity, row)) continue;
    const ViewWords value = WordsAt(array, row);
    if (count == 0 || value != previous) {
      if (count == kProbe && IsHopeless(size_)) return false;
      const uint64_t hash = HashAt(array, row, value);
      const size_t mask = slots.size() - 1;
      size_t slot = SlotOf(hash, slots.size());
      while (slots[slot] != 0 && !SameStrings(array, row, value, string_rows_[slots[slot] - 1])) {
        slot = (slot + 1) & mask;
      }
      if (slots[slot] == 0) {
        if (size_ == limit) return false;
        slots[slot] = static_cast<uint32_t>(++size_);
        string_rows_.push_back(row);
        string_hashes_.push_back(hash);
        AppendPlainString(StringAt(array, row), values_);
        index = static_cast<uint32_t>(size_ - 1);
        GrowStringSlots();
      } else {
        index = slots[slot] - 1;
      }
      previous = value;
    }
    indices_[count++] = index;
  }
  return true;
}

}  // namespace barcache
