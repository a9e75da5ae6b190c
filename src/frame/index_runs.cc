// Runs of dictionary indices; see the header for the promises.
#include "frame/index_runs.h"

#include <algorithm>
#include <bit>

#include "frame/bit_packing.h"

namespace barcache {
namespace {

constexpr unsigned kMaxWidth = 32;
constexpr size_t kGroup = 8;
// A shorter run costs more than it saves: it ends a packed run and begins another.
constexpr size_t kMinRun = 16;

void AppendVarint(uint64_t value, ByteSink& sink) {
  while (value >= 0x80) {
    sink.AppendByte(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  sink.AppendByte(static_cast<uint8_t>(value));
}

void AppendPacked(const uint32_t* indices, size_t count, unsigned width, ByteSink& sink) {
  if (count == 0) return;
  const size_t groups = (count + kGroup - 1) / kGroup;
  AppendVarint(uint64_t{groups} << 1 | 1, sink);
  const size_t size = PackedSize(groups * kGroup, width);
  uint8_t* out = sink.Reserve(size + sizeof(uint64_t));
  const size_t whole = count / kGroup * kGroup;
  PackBits(indices, whole, width, out);
  if (whole < count) {
    uint32_t last[kGroup] = {};
    std::copy(indices + whole, indices + count, last);
    PackBits(last, kGroup, width, out + PackedSize(whole, width));
  }
  sink.Advance(size);
}

void AppendRepeated(uint32_t index, size_t count, unsigned width, ByteSink& sink) {
  AppendVarint(uint64_t{count} << 1, sink);
  for (unsigned shift = 0; shift < width; shift += 8) {
    sink.AppendByte(static_cast<uint8_t>(index >> shift));
  }
}

size_t RunLength(const uint32_t* indices, size_t count) {
  size_t length = 1;
  while (length < count && indices[length] == indices[0]) ++length;
  return length;
}

}  // namespace

unsigned IndexWidth(size_t size) {
  return size <= 2 ? 1 : static_cast<unsigned>(std::bit_width(size - 1));
}

void AppendIndexRuns(const uint32_t* indices, size_t count, unsigned width, ByteSink& sink) {
  sink.AppendByte(static_cast<uint8_t>(width));
  size_t packed_from = 0;
  size_t i = 0;
  while (i < count) {
    // Packed runs are whole groups: a run can begin only where one ends.
    const size_t length = RunLength(indices + i, count - i);
    if (length >= kMinRun) {
      AppendPacked(indices + packed_from, i - packed_from, width, sink);
      AppendRepeated(indices[i], length, width, sink);
      i += length;
      packed_from = i;
    } else {
      i += kGroup;
    }
  }
  AppendPacked(indices + packed_from, count - packed_from, width, sink);
}

IndexRunReader::IndexRunReader(std::span<const uint8_t> bytes) : bytes_(bytes) {
  if (!bytes.empty()) width_ = bytes[position_++];
  if (width_ > kMaxWidth) position_ = bytes_.size();
}

bool IndexRunReader::Next(size_t limit, IndexRun& run) {
  uint64_t header = 0;
  bool is_complete = false;
  for (unsigned shift = 0; shift < 35 && position_ < bytes_.size() && !is_complete; shift += 7) {
    const uint8_t byte = bytes_[position_++];
    header |= static_cast<uint64_t>(byte & 0x7f) << shift;
    is_complete = byte < 0x80;
  }
  const uint64_t length = header >> 1;
  if (!is_complete || length == 0 || limit == 0) return false;
  const size_t left = bytes_.size() - position_;
  run.is_packed = (header & 1) != 0;
  if (run.is_packed) {
    if (length * width_ > left) return false;  // Groups of 8: width bytes each.
    run.packed = bytes_.data() + position_;
    run.length = std::min(static_cast<size_t>(length) * kGroup, limit);
    position_ += static_cast<size_t>(length) * width_;
    return true;
  }
  const size_t value_size = (width_ + 7) / 8;
  if (length > limit || value_size > left) return false;
  run.length = static_cast<size_t>(length);
  run.value = 0;
  for (size_t k = 0; k < value_size; ++k) {
    run.value |= static_cast<uint32_t>(bytes_[position_ + k]) << (8 * k);
  }
  position_ += value_size;
  return true;
}

}  // namespace barcache
