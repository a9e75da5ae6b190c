// One column of a frame as the pages of a Parquet column chunk.
//
// Thread safety: none; each thread has a ColumnEncoder of its own.
#pragma once

#include <arrow/c/abi.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "barcache/status.h"
#include "frame/byte_sink.h"
#include "frame/flat_type.h"
#include "frame/page_encoding.h"
#include "frame/parquet_footer.h"
#include "frame/snappy_codec.h"
#include "frame/value_dictionary.h"

namespace barcache {

struct FlatColumn {
  const char* name = nullptr;
  FlatType type;
  size_t num_rows = 0;
  size_t num_values = 0;              // Rows that are not null.
  const uint8_t* validity = nullptr;  // Null: no null.
  const ArrowArray* array = nullptr;
  const uint8_t* data() const { return static_cast<const uint8_t*>(array->buffers[1]); }
};

// REQUIRES: a format that FlatTypeOfFormat knows.
FlatColumn FlatColumnOf(const ArrowSchema& schema, const ArrowArray& array);

class FlatColumnEncoder {
 public:
  explicit FlatColumnEncoder(SnappyCodec snappy) : snappy_(std::move(snappy)) {}

  // Appends the pages of `column` to `sink`. Offsets in the result count from the sink's begin.
  // `end_page` is called behind each page, and may take away what is in the sink.
  // REQUIRES: num_rows > 0. Throws std::bad_alloc.
  Result<ColumnChunk> Encode(const FlatColumn& column, ByteSink& sink,
                             const std::function<void()>& end_page);

 private:
  // Rows [first_row, + num_rows), of which [first_value, + num_values) among the values not null.
  struct PageRange {
    size_t first_row = 0;
    size_t num_rows = 0;
    size_t first_value = 0;
    size_t num_values = 0;
  };

  // Picks encoding and, if it pays, dictionary.
  void ChooseFor(const FlatColumn& column);
  // The stored values, closed up, of stored_width each: in the frame itself or in values_.
  const uint8_t* StoredValues(const FlatColumn& column);
  PageRange NextPage(const FlatColumn& column, const PageRange& previous) const;
  std::span<const uint8_t> PageBody(const FlatColumn& column, const PageRange& page);
  void AppendValues(const FlatColumn& column, const PageRange& page);
  Status AppendPage(PageHeader header, std::span<const uint8_t> body, ByteSink& sink,
                    ColumnChunk& chunk);

  SnappyCodec snappy_;
  ByteSink page_;
  ByteSink values_;
  ValueDictionary dictionary_;
  // The column at work.
  const uint8_t* stored_ = nullptr;
  ParquetEncoding encoding_ = ParquetEncoding::kPlain;
};

}  // namespace barcache
