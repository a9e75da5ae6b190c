// What the flat decoder will do with a file, worked out of its footer alone: for each column its
// Arrow type and the range of its pages, checked against the file.
//
// Thread safety: plain values; pure functions.
#pragma once

#include <arrow/c/abi.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/status.h"
#include "frame/flat_frame.h"
#include "frame/flat_type.h"
#include "frame/parquet_footer.h"

namespace barcache {

// Views point into the footer's bytes and the stored schema.
struct FlatColumnPlan {
  std::string_view name;
  std::string_view stored_format;  // Empty: `derived` holds.
  std::optional<DerivedFormat> derived;
  std::string_view metadata;  // Of the stored schema's field.
  FlatType type;              // stored_width is that of the file.
  bool is_optional = false;
  ParquetCompression compression = ParquetCompression::kSnappy;
  size_t offset = 0;  // Of the first page; 0 rows: no pages.
  size_t size = 0;
  std::string_view format() const { return derived ? derived->text() : stored_format; }
};

struct FlatPlan {
  std::vector<FlatColumnPlan> columns;
  // The shapes point into this plan.
  std::vector<FlatColumnShape> Shapes() const;
};

// nullopt: a file of another shape than the flat codec's. Arguments and errors as of DecodeFlat.
Result<std::optional<FlatPlan>> MakeFlatPlan(const ParquetFooter& footer,
                                             const ArrowSchema* stored_schema,
                                             const std::vector<std::string>* columns);

}  // namespace barcache
