// Differences of integers, packed; see the header for the promises.
#include "frame/delta_binary_packed.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "frame/bit_packing.h"

namespace barcache {
namespace {

// What every writer uses.
constexpr size_t kBlock = 128;
constexpr size_t kMiniBlocks = 4;
constexpr size_t kMiniBlock = kBlock / kMiniBlocks;

// All arithmetic wraps, in the width of the column, as the format asks: unsigned.
template <typename U>
using Signed = std::make_signed_t<U>;

template <typename U>
U LoadAt(const uint8_t* values, size_t i) {
  U value;
  std::memcpy(&value, values + i * sizeof(U), sizeof(U));
  return value;
}

void AppendVarint(uint64_t value, ByteSink& sink) {
  while (value >= 0x80) {
    sink.AppendByte(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  sink.AppendByte(static_cast<uint8_t>(value));
}

void AppendZigZag(int64_t value, ByteSink& sink) {
  AppendVarint(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63), sink);
}

// The differences of up to kBlock values to those before them.
template <typename U>
U BlockDeltas(const uint8_t* values, size_t first, size_t count, U* deltas) {
  Signed<U> lowest = 0;
  U previous = LoadAt<U>(values, first - 1);
  for (size_t i = 0; i < count; ++i) {
    const U value = LoadAt<U>(values, first + i);
    deltas[i] = static_cast<U>(value - previous);
    previous = value;
    const auto delta = static_cast<Signed<U>>(deltas[i]);
    lowest = i == 0 ? delta : std::min(lowest, delta);
  }
  return static_cast<U>(lowest);
}

template <typename U>
unsigned WidthOf(const U* deltas, size_t count, U lowest) {
  U all = 0;
  for (size_t i = 0; i < count; ++i) all |= static_cast<U>(deltas[i] - lowest);
  return static_cast<unsigned>(std::bit_width(all));
}

template <typename U>
void AppendBlock(U* deltas, size_t count, U lowest, ByteSink& sink) {
  AppendZigZag(static_cast<Signed<U>>(lowest), sink);
  uint8_t* widths = sink.Reserve(kMiniBlocks + kBlock * sizeof(U) + sizeof(uint64_t));
  std::memset(widths, 0, kMiniBlocks);
  sink.Advance(kMiniBlocks);
  for (size_t first = 0, block = 0; first < count; first += kMiniBlock, ++block) {
    const size_t size = std::min(kMiniBlock, count - first);
    const unsigned width = WidthOf(deltas + first, size, lowest);
    widths[block] = static_cast<uint8_t>(width);
    U packed[kMiniBlock] = {};
    for (size_t i = 0; i < size; ++i) packed[i] = static_cast<U>(deltas[first + i] - lowest);
    PackBits(packed, kMiniBlock, width, sink.data() + sink.size());
    sink.Advance(PackedSize(kMiniBlock, width));
  }
}

template <typename U>
void Append(const uint8_t* values, size_t count, ByteSink& sink) {
  AppendVarint(kBlock, sink);
  AppendVarint(kMiniBlocks, sink);
  AppendVarint(count, sink);
  AppendZigZag(count == 0 ? 0 : static_cast<Signed<U>>(LoadAt<U>(values, 0)), sink);
  U deltas[kBlock];
  for (size_t first = 1; first < count; first += kBlock) {
    const size_t size = std::min(kBlock, count - first);
    const U lowest = BlockDeltas<U>(values, first, size, deltas);
    AppendBlock<U>(deltas, size, lowest, sink);
  }
}

class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (position_ == bytes_.size()) break;
      const uint8_t byte = bytes_[position_++];
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  uint64_t ZigZag() {
    const uint64_t value = Varint();
    return (value >> 1) ^ (~(value & 1) + 1);
  }
  const uint8_t* Take(size_t size) {
    if (size > bytes_.size() - position_) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* taken = bytes_.data() + position_;
    position_ += size;
    return taken;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

// AddDeltas with one way of unpacking.
template <typename Delta, typename U, typename Unpack>
U AddUnpacked(const uint8_t* packed, size_t count, unsigned width, U lowest, U value, uint8_t* out,
              Unpack unpack) {
  Delta deltas[kMiniBlock];
  for (size_t first = 0; first < count; first += kMiniBlock) {
    const size_t size = std::min(kMiniBlock, count - first);
    unpack(packed + first * width / 8, size, width, deltas);
    for (size_t i = 0; i < size; ++i) {
      value = static_cast<U>(value + deltas[i] + lowest);
      std::memcpy(out + (first + i) * sizeof(U), &value, sizeof(U));
    }
  }
  return value;
}

// Adds `count` packed differences to `value`, one after the other.
template <typename U>
U AddDeltas(const uint8_t* packed, size_t count, unsigned width, U lowest, U value, uint8_t* out) {
  if (width == 0) {
    for (size_t i = 0; i < count; ++i) {
      value = static_cast<U>(value + lowest);
      std::memcpy(out + i * sizeof(U), &value, sizeof(U));
    }
    return value;
  }
  if (width <= kNarrowBits) {
    return AddUnpacked<uint32_t, U>(packed, count, width, lowest, value, out, UnpackNarrow);
  }
  return AddUnpacked<U, U>(packed, count, width, lowest, value, out, UnpackBits<U>);
}

template <typename U>
bool Decode(std::span<const uint8_t> bytes, size_t count, uint8_t* out) {
  Cursor cursor(bytes);
  const uint64_t block = cursor.Varint();
  const uint64_t mini_blocks = cursor.Varint();
  const uint64_t total = cursor.Varint();
  U value = static_cast<U>(cursor.ZigZag());
  if (!cursor.ok() || total != count || mini_blocks == 0 || mini_blocks > 512 || block == 0 ||
      block > (1 << 20) || block % 128 != 0 || block / mini_blocks % 32 != 0 ||
      block % mini_blocks != 0) {
    return false;
  }
  if (count == 0) return true;
  std::memcpy(out, &value, sizeof(U));
  const size_t mini_block = static_cast<size_t>(block / mini_blocks);
  size_t done = 1;
  while (done < count) {
    const U lowest = static_cast<U>(cursor.ZigZag());
    const uint8_t* widths = cursor.Take(static_cast<size_t>(mini_blocks));
    if (!cursor.ok()) return false;
    for (size_t i = 0; i < mini_blocks && done < count; ++i) {
      const unsigned width = widths[i];
      if (width > 8 * sizeof(U)) return false;
      const uint8_t* packed = cursor.Take(PackedSize(mini_block, width));
      if (packed == nullptr) return false;
      const size_t size = std::min(mini_block, count - done);
      value = AddDeltas<U>(packed, size, width, lowest, value, out + done * sizeof(U));
      done += size;
    }
  }
  return true;
}

template <typename U>
double Estimate(const uint8_t* values, size_t count) {
  constexpr size_t kRuns = 8;
  if (count < kRuns * kBlock) return sizeof(U);
  U deltas[kBlock];
  size_t bits = 0;
  for (size_t run = 0; run < kRuns; ++run) {
    const size_t first = 1 + run * ((count - kBlock - 1) / (kRuns - 1));
    const U lowest = BlockDeltas<U>(values, first, kBlock, deltas);
    for (size_t i = 0; i < kBlock; i += kMiniBlock) {
      bits += WidthOf(deltas + i, kMiniBlock, lowest) * kMiniBlock;
    }
  }
  return static_cast<double>(bits) / (8.0 * kRuns * kBlock) + 0.05;
}

}  // namespace

void AppendDeltas(const uint8_t* values, size_t count, size_t width, ByteSink& sink) {
  width == 8 ? Append<uint64_t>(values, count, sink) : Append<uint32_t>(values, count, sink);
}

bool DecodeDeltas(std::span<const uint8_t> bytes, size_t count, size_t width, uint8_t* out) {
  return width == 8 ? Decode<uint64_t>(bytes, count, out) : Decode<uint32_t>(bytes, count, out);
}

double EstimateDeltaSize(const uint8_t* values, size_t count, size_t width) {
  return width == 8 ? Estimate<uint64_t>(values, count) : Estimate<uint32_t>(values, count);
}

}  // namespace barcache
