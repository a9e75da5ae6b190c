// Builder of dictionary columns (Categorical, Enum) from dictionaries and from plain strings.
//
// The dictionary is rebuilt by value: chunks with different dictionaries become one, values that
// no row uses are dropped (but for an Enum, whose categories stay in their order).
//
// Thread safety: none; one builder, one thread.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "frame/column_builder.h"
#include "frame/view_builder.h"

namespace barcache {

// The categories in the field metadata of a Polars Enum. Nothing if it has none, or is
// malformed.
bool ParseEnumCategories(const std::string& metadata, std::vector<std::string>* categories);

// Whether `value` is the field metadata of a Polars Categorical: name, name space and physical
// type of its Categories.
bool IsCategoricalMetadata(std::string_view value);

class DictionaryBuilder : public ColumnBuilder {
 public:
  explicit DictionaryBuilder(const SchemaNode& target);

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;
  bool takes_dictionaries() const override { return true; }

 private:
  Status AppendStrings(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                       int64_t length);
  Status AppendDictionary(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                          int64_t length);
  // The index of `text` in the new dictionary, where it is added if it may be.
  Status IndexOf(std::string_view text, int64_t* index);
  void PushIndex(int64_t index);

  const int64_t index_width_;
  bool is_enum_ = false;
  std::vector<std::string> categories_;
  std::unordered_map<std::string_view, int64_t> index_of_;
  ViewBuilder values_;
  GrowingBuffer indices_;
};

}  // namespace barcache
