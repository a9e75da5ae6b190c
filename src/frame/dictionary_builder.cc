// Categorical and Enum columns.
#include "frame/dictionary_builder.h"

#include <charconv>
#include <cstring>

#include "frame/arrow_format.h"

namespace barcache {
namespace {

constexpr std::string_view kEnumKey = "_PL_ENUM_VALUES2";

// Takes "<size>;<bytes>" from the front of `rest`.
bool TakeText(std::string_view* rest, std::string_view* text) {
  size_t size = 0;
  const char* end = rest->data() + rest->size();
  auto [next, error] = std::from_chars(rest->data(), end, size);
  if (error != std::errc() || next == end || *next != ';') return false;
  ++next;
  if (size > static_cast<size_t>(end - next)) return false;
  *text = {next, size};
  rest->remove_prefix(static_cast<size_t>(next - rest->data()) + size);
  return true;
}

// Reads strings of any layout by row.
class StringReader {
 public:
  // For rows [offset, offset + length), counted from the buffers.
  static Result<StringReader> Make(const ArrowSchema& type, const ArrowArray& source,
                                   int64_t offset, int64_t length) {
    const Layout layout = ParseFormat(type.format).layout;
    if (layout == Layout::kViews) {
      BARCACHE_RETURN_IF_ERROR(MeasureViews(source, offset, length).status());
    } else if (layout != Layout::kOffsets32 && layout != Layout::kOffsets64) {
      return BrokenArray("a dictionary of " + DescribeFormat(type.format) +
                         " where strings were declared");
    } else if (source.n_buffers != 3 || (length > 0 && source.buffers[1] == nullptr)) {
      return BrokenArray("a string array of too few buffers");
    }
    return StringReader(source, layout);
  }

  // The string at row `index`, counted from the buffers. REQUIRES: not null.
  Result<std::string_view> At(int64_t index) const {
    if (layout_ == Layout::kViews) return ViewAt(source_, index);
    return layout_ == Layout::kOffsets32 ? AtOffsets<int32_t>(index) : AtOffsets<int64_t>(index);
  }

 private:
  StringReader(const ArrowArray& source, Layout layout) : source_(source), layout_(layout) {}

  template <typename Offset>
  Result<std::string_view> AtOffsets(int64_t index) const {
    const auto* offsets = static_cast<const Offset*>(source_.buffers[1]) + index;
    const int64_t size = int64_t{offsets[1]} - int64_t{offsets[0]};
    if (offsets[0] < 0 || size < 0 || size > INT32_MAX) {
      return BrokenArray("string offsets that go backwards");
    }
    if (size == 0) return std::string_view();
    return std::string_view(static_cast<const char*>(source_.buffers[2]) + offsets[0],
                            static_cast<size_t>(size));
  }

  const ArrowArray& source_;
  Layout layout_;
};

}  // namespace

bool ParseEnumCategories(const std::string& metadata, std::vector<std::string>* categories) {
  MetadataPairs pairs;
  if (!DecodeMetadataChecked(metadata, &pairs)) return false;
  for (const auto& [key, value] : pairs) {
    if (key != kEnumKey) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::string_view category;
      if (!TakeText(&rest, &category)) return false;
      categories->emplace_back(category);
    }
    return true;
  }
  return false;
}

bool IsCategoricalMetadata(std::string_view value) {
  std::string_view text;
  if (!TakeText(&value, &text) || !TakeText(&value, &text)) return false;
  return value == "u8;" || value == "u16;" || value == "u32;";
}

DictionaryBuilder::DictionaryBuilder(const SchemaNode& target)
    : index_width_(ParseFormat(target.format).width) {
  is_enum_ = ParseEnumCategories(target.metadata, &categories_);
  for (const std::string& category : categories_) {
    if (index_of_.emplace(category, values_.length()).second) values_.AppendString(category);
  }
}

Status DictionaryBuilder::IndexOf(std::string_view text, int64_t* index) {
  auto found = index_of_.find(text);
  if (found != index_of_.end()) {
    *index = found->second;
    return Status();
  }
  if (is_enum_) {
    return Status(ErrorCode::kInvalidArgument,
                  "the value '" + std::string(text.substr(0, 64)) +
                      "' is not among the categories of its Enum column");
  }
  *index = values_.length();
  const int64_t limit = index_width_ == 1 ? UINT8_MAX : index_width_ == 2 ? UINT16_MAX : UINT32_MAX;
  if (*index > limit) return BrokenArray("more categories than the index type can count");
  index_of_.emplace(text, *index);
  values_.AppendString(text);
  return Status();
}

void DictionaryBuilder::PushIndex(int64_t index) {
  // Little-endian, as all that barcache runs on.
  indices_.Append(&index, static_cast<size_t>(index_width_));
}

Status DictionaryBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source,
                                       int64_t offset, int64_t length) {
  if (type.dictionary != nullptr) return AppendDictionary(type, source, offset, length);
  return AppendStrings(type, source, offset, length);
}

Status DictionaryBuilder::AppendStrings(const ArrowSchema& type, const ArrowArray& source,
                                        int64_t offset, int64_t length) {
  BARCACHE_ASSIGN_OR_RETURN(StringReader strings, StringReader::Make(type, source, offset, length));
  for (int64_t i = offset; i < offset + length; ++i) {
    int64_t index = 0;
    if (!IsNull(source, i)) {
      BARCACHE_ASSIGN_OR_RETURN(std::string_view text, strings.At(i));
      BARCACHE_RETURN_IF_ERROR(IndexOf(text, &index));
    }
    PushIndex(index);
  }
  return Status();
}

Status DictionaryBuilder::AppendDictionary(const ArrowSchema& type, const ArrowArray& source,
                                           int64_t offset, int64_t length) {
  const ArrowArray& values = *source.dictionary;
  BARCACHE_ASSIGN_OR_RETURN(StringReader strings, StringReader::Make(*type.dictionary, values,
                                                                     values.offset, values.length));
  constexpr int64_t kUnknown = -1;
  std::vector<int64_t> new_index(static_cast<size_t>(values.length), kUnknown);
  for (int64_t i = offset; i < offset + length; ++i) {
    if (IsNull(source, i)) {
      PushIndex(0);
      continue;
    }
    const int64_t old_index = ReadIndex(type.format[0], source.buffers[1], i);
    if (old_index < 0 || old_index >= values.length) {
      return BrokenArray("a dictionary index out of range");
    }
    int64_t& index = new_index[static_cast<size_t>(old_index)];
    if (index == kUnknown) {
      BARCACHE_ASSIGN_OR_RETURN(std::string_view text, strings.At(values.offset + old_index));
      BARCACHE_RETURN_IF_ERROR(IndexOf(text, &index));
    }
    PushIndex(index);
  }
  return Status();
}

void DictionaryBuilder::AppendNullValues(int64_t count) {
  const size_t start = indices_.size();
  const size_t size = static_cast<size_t>(count * index_width_);
  indices_.Resize(start + size);
  std::memset(indices_.data() + start, 0, size);
}

void DictionaryBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  indices_.Shrink();
  node->buffers.push_back(memory->Keep(std::move(indices_)));
  node->dictionary = std::make_unique<ArrayNode>(values_.Finish(memory));
}

}  // namespace barcache
