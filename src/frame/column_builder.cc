// Columns of fixed width, bits and nulls; what all builders share.
#include "frame/column_builder.h"

#include <arrow/util/bitmap_ops.h>

#include <cstring>
#include <string>
#include <string_view>

#include "frame/arrow_format.h"
#include "frame/dictionary_builder.h"
#include "frame/nested_builder.h"
#include "frame/offsets_builder.h"
#include "frame/view_builder.h"

namespace barcache {
namespace {

size_t BytesForBits(int64_t bits) { return static_cast<size_t>((bits + 7) / 8); }

void SetBits(uint8_t* bits, int64_t start, int64_t count, bool value) {
  int64_t i = start;
  const int64_t end = start + count;
  auto set_one = [&](int64_t at) {
    auto mask = static_cast<uint8_t>(1U << (at & 7));
    bits[at >> 3] = static_cast<uint8_t>(value ? bits[at >> 3] | mask : bits[at >> 3] & ~mask);
  };
  for (; i < end && (i & 7) != 0; ++i) set_one(i);
  if (int64_t whole = (end - i) / 8; whole > 0) {
    std::memset(bits + (i >> 3), value ? 0xFF : 0, static_cast<size_t>(whole));
    i += whole * 8;
  }
  for (; i < end; ++i) set_one(i);
}

class NullBuilder : public ColumnBuilder {
 protected:
  Status AppendValues(const ArrowSchema&, const ArrowArray&, int64_t, int64_t) override {
    return BrokenArray("values where a column of nulls was declared");
  }
  void AppendNullValues(int64_t) override {}
  void FinishValues(ArrayMemory*, ArrayNode* node) override { node->buffers.clear(); }
};

class BitsBuilder : public ColumnBuilder {
 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override {
    if (ParseFormat(type.format).layout != Layout::kBits || source.n_buffers != 2) {
      return BrokenArray("a boolean array of another layout");
    }
    bits_.Resize(BytesForBits(length_ + length));
    arrow::internal::CopyBitmap(static_cast<const uint8_t*>(source.buffers[1]), offset, length,
                                bits_.data(), length_);
    length_ += length;
    return Status();
  }
  void AppendNullValues(int64_t count) override {
    bits_.Resize(BytesForBits(length_ + count));
    SetBits(bits_.data(), length_, count, false);
    length_ += count;
  }
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override {
    bits_.Shrink();
    node->buffers.push_back(memory->Keep(std::move(bits_)));
  }

 private:
  GrowingBuffer bits_;
  int64_t length_ = 0;
};

// How a source value becomes a target value.
struct FixedConversion {
  int64_t source_width = 0;
  int64_t factor = 1;  // Of integers: coarser time units.
};

// Unsigned: an overflow of a foreign timestamp wraps, as it does in Polars.
template <typename Source>
void Widen(const void* source, int64_t offset, int64_t length, int64_t factor, uint8_t* target) {
  const auto* values = static_cast<const Source*>(source) + offset;
  for (int64_t i = 0; i < length; ++i) {
    uint64_t value = static_cast<uint64_t>(static_cast<int64_t>(values[i]));
    value *= static_cast<uint64_t>(factor);
    std::memcpy(target + i * 8, &value, sizeof(value));
  }
}

template <typename Source>
void WidenDecimal(const void* source, int64_t offset, int64_t length, uint8_t* target) {
  const auto* values = static_cast<const Source*>(source) + offset;
  for (int64_t i = 0; i < length; ++i) {
    auto low = static_cast<int64_t>(values[i]);
    int64_t high = low < 0 ? -1 : 0;
    std::memcpy(target + i * 16, &low, sizeof(low));
    std::memcpy(target + i * 16 + 8, &high, sizeof(high));
  }
}

int64_t FactorFor(std::string_view source, std::string_view target) {
  if (target == "ttn") {
    if (source == "tts") return 1'000'000'000;
    if (source == "ttm") return 1'000'000;
    if (source == "ttu") return 1'000;
  }
  if (source.starts_with("tss") && target.starts_with("tsm")) return 1'000;
  if (source == "tDs" && target == "tDm") return 1'000;
  return 1;
}

class FixedBuilder : public ColumnBuilder {
 public:
  explicit FixedBuilder(const SchemaNode& target)
      : format_(target.format), width_(ParseFormat(target.format).width) {}

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override {
    Format from = ParseFormat(type.format);
    if (from.layout != Layout::kFixed || source.n_buffers != 2 || source.buffers[1] == nullptr) {
      return BrokenArray("an array of " + DescribeFormat(type.format) + " where " +
                         DescribeFormat(format_) + " was declared");
    }
    const size_t start = values_.size();
    const int64_t factor = FactorFor(type.format, format_);
    const void* values = source.buffers[1];
    values_.Resize(start + static_cast<size_t>(length * width_));
    uint8_t* target = values_.data() + start;
    if (from.width == width_ && factor == 1) {
      std::memcpy(target, static_cast<const uint8_t*>(values) + offset * width_,
                  static_cast<size_t>(length * width_));
    } else if (from.width == 8 && width_ == 8) {
      Widen<int64_t>(values, offset, length, factor, target);
    } else if (from.width == 4 && width_ == 8) {
      Widen<int32_t>(values, offset, length, factor, target);
    } else if (from.width == 8 && width_ == 16) {
      WidenDecimal<int64_t>(values, offset, length, target);
    } else if (from.width == 4 && width_ == 16) {
      WidenDecimal<int32_t>(values, offset, length, target);
    } else {
      return BrokenArray("an array of " + DescribeFormat(type.format) + " where " +
                         DescribeFormat(format_) + " was declared");
    }
    return Status();
  }
  void AppendNullValues(int64_t count) override {
    const size_t start = values_.size();
    values_.Resize(start + static_cast<size_t>(count * width_));
    std::memset(values_.data() + start, 0, static_cast<size_t>(count * width_));
  }
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override {
    values_.Shrink();
    node->buffers.push_back(memory->Keep(std::move(values_)));
  }

 private:
  const std::string format_;
  const int64_t width_;
  GrowingBuffer values_;
};

}  // namespace

bool HasNulls(const ArrowArray& source) {
  for (int64_t i = source.offset; i < source.offset + source.length; ++i) {
    if (source.null_count == 0) return false;
    if (IsNull(source, i)) return true;
  }
  return false;
}

Status BrokenArray(const std::string& what) {
  return Status(ErrorCode::kInvalidArgument,
                "the Arrow data breaks the contract of the C data interface: " + what);
}

bool IsNull(const ArrowArray& source, int64_t index) {
  if (source.null_count == 0 || source.n_buffers == 0) return false;
  const auto* bits = static_cast<const uint8_t*>(source.buffers[0]);
  return bits != nullptr && (bits[index >> 3] >> (index & 7) & 1) == 0;
}

int64_t ReadIndex(char format, const void* buffer, int64_t index) {
  switch (format) {
    case 'c':
      return static_cast<const int8_t*>(buffer)[index];
    case 'C':
      return static_cast<const uint8_t*>(buffer)[index];
    case 's':
      return static_cast<const int16_t*>(buffer)[index];
    case 'S':
      return static_cast<const uint16_t*>(buffer)[index];
    case 'i':
      return static_cast<const int32_t*>(buffer)[index];
    case 'I':
      return static_cast<const uint32_t*>(buffer)[index];
    default:
      // An unsigned 64-bit index beyond int64 becomes negative: out of bounds either way.
      return static_cast<const int64_t*>(buffer)[index];
  }
}

void ValidityBuilder::Materialise(int64_t length) {
  const bool is_new = bits_.size() == 0;
  bits_.Resize(BytesForBits(length_ + length));
  if (is_new) SetBits(bits_.data(), 0, length_, true);
}

void ValidityBuilder::AppendRun(int64_t count, bool valid) {
  if (!valid && count > 0) {
    Materialise(count);
    SetBits(bits_.data(), length_, count, false);
    null_count_ += count;
  } else if (null_count_ > 0) {
    bits_.Resize(BytesForBits(length_ + count));
    SetBits(bits_.data(), length_, count, true);
  }
  length_ += count;
}

void ValidityBuilder::Append(const ArrowArray& source, int64_t offset, int64_t length) {
  const bool may_have_nulls =
      source.null_count != 0 && source.n_buffers > 0 && source.buffers[0] != nullptr;
  int64_t nulls = 0;
  const auto* bits = may_have_nulls ? static_cast<const uint8_t*>(source.buffers[0]) : nullptr;
  if (bits != nullptr) nulls = length - arrow::internal::CountSetBits(bits, offset, length);
  if (nulls == 0) {
    AppendValid(length);
    return;
  }
  Materialise(length);
  arrow::internal::CopyBitmap(bits, offset, length, bits_.data(), length_);
  null_count_ += nulls;
  length_ += length;
}

const void* ValidityBuilder::Finish(ArrayMemory* memory) {
  if (null_count_ == 0) return nullptr;
  bits_.Shrink();
  return memory->Keep(std::move(bits_));
}

std::unique_ptr<ColumnBuilder> ColumnBuilder::Make(const SchemaNode& target) {
  if (target.dictionary) return std::make_unique<DictionaryBuilder>(target);
  switch (ParseFormat(target.format).layout) {
    case Layout::kNull:
      return std::make_unique<NullBuilder>();
    case Layout::kBits:
      return std::make_unique<BitsBuilder>();
    case Layout::kViews:
      return std::make_unique<ViewBuilder>();
    case Layout::kOffsets64:
      return std::make_unique<OffsetsBuilder>();
    case Layout::kList64:
    case Layout::kMap:
      return std::make_unique<ListBuilder>(target);
    case Layout::kFixedList:
      return std::make_unique<FixedListBuilder>(target);
    case Layout::kStruct:
      return std::make_unique<StructBuilder>(target);
    default:
      return std::make_unique<FixedBuilder>(target);
  }
}

Status ColumnBuilder::Append(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                             int64_t length) {
  if (offset < 0 || length < 0 || source.offset < 0 || source.length < 0 ||
      offset + length > source.offset + source.length) {
    return BrokenArray("a child is shorter than its parent needs");
  }
  if (length == 0) return Status();
  if (type.dictionary == nullptr && std::string_view(type.format) == "n") {
    AppendNulls(length);
    return Status();
  }
  if (type.dictionary != nullptr) {
    if (source.dictionary == nullptr || source.n_buffers != 2) {
      return BrokenArray("a dictionary array without its dictionary");
    }
    if (!takes_dictionaries() || HasNulls(*source.dictionary)) {
      return AppendDecoded(type, source, offset, length);
    }
  }
  validity_.Append(source, offset, length);
  return AppendValues(type, source, offset, length);
}

Status ColumnBuilder::AppendDecoded(const ArrowSchema& type, const ArrowArray& source,
                                    int64_t offset, int64_t length) {
  const ArrowArray& values = *source.dictionary;
  for (int64_t i = offset; i < offset + length; ++i) {
    if (IsNull(source, i)) {
      AppendNulls(1);
      continue;
    }
    int64_t index = ReadIndex(type.format[0], source.buffers[1], i);
    if (index < 0 || index >= values.length) return BrokenArray("a dictionary index out of range");
    BARCACHE_RETURN_IF_ERROR(Append(*type.dictionary, values, values.offset + index, 1));
  }
  return Status();
}

void ColumnBuilder::AppendNulls(int64_t count) {
  if (count == 0) return;
  validity_.AppendNulls(count);
  AppendNullValues(count);
}

ArrayNode ColumnBuilder::Finish(ArrayMemory* memory) {
  ArrayNode node;
  node.length = validity_.length();
  node.null_count = validity_.null_count();
  node.buffers.reserve(4);
  node.buffers.push_back(validity_.Finish(memory));
  FinishValues(memory, &node);
  return node;
}

}  // namespace barcache
