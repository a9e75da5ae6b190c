// DecodeFlat; see flat_codec.h for the promises.
//
// Nothing in a file is believed: offsets, sizes and counts are compared with the bytes that are
// there before they are used, and memory is taken only within the budget.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frame/bit_packing.h"
#include "frame/bitmap.h"
#include "frame/byte_sink.h"
#include "frame/byte_stream_split.h"
#include "frame/column_tasks.h"
#include "frame/delta_binary_packed.h"
#include "frame/flat_codec.h"
#include "frame/flat_frame.h"
#include "frame/flat_plan.h"
#include "frame/index_gather.h"
#include "frame/index_runs.h"
#include "frame/rle_levels.h"
#include "frame/snappy_codec.h"
#include "frame/string_views.h"

namespace barcache {
namespace {

// Some 9 000 rows of bars. Below, waking another thread takes longer than it helps.
constexpr size_t kSideBySideBytes = 128 << 10;

// A column, or a page of it, is filled; or it turned out to be of a shape that Arrow must read.
enum class Outcome { kFilled, kOtherShape };

// One page, decompressed: its rows are [row, row + num_rows) of the column.
struct Page {
  size_t row = 0;
  size_t num_rows = 0;
  size_t num_values = 0;  // Rows that are not null.
  ParquetEncoding encoding = ParquetEncoding::kPlain;
  std::span<const uint8_t> values;
};

class Decoder {
 public:
  Decoder(std::span<const uint8_t> bytes, SnappyCodec snappy, FlatFrameBuilder& builder,
          const DecodeLimits& limits)
      : bytes_(bytes), snappy_(std::move(snappy)), builder_(builder), limits_(limits) {}

  Result<Outcome> DecodeColumn(const FlatColumnPlan& plan, size_t column, size_t num_rows);

 private:
  Result<Outcome> DecodePage(const PageHeader& header, std::span<const uint8_t> body, size_t row);
  // True when the page went straight into the frame.
  bool TakesWholePage(const PageHeader& header) const;
  Result<std::span<const uint8_t>> Decompress(const PageHeader& header,
                                              std::span<const uint8_t> body);
  Result<Outcome> DecodeValues(const Page& page);
  Result<Outcome> DecodeStrings(const Page& page);
  Result<Outcome> DecodeBits(const Page& page);
  Result<Outcome> DecodeIndices(const Page& page);
  // Dictionaries are kept as they will lie in memory.
  Result<Outcome> DecodeDictionary(const PageHeader& header, std::span<const uint8_t> body);
  // PLAIN strings to views and, where they are long, a block of the frame.
  Status WriteStrings(std::span<const uint8_t> values, size_t count, uint8_t* views);
  // Stored values, PLAIN, to what lies in memory; `stored` may be `target` itself.
  void Convert(const uint8_t* stored, size_t count, uint8_t* target) const;
  // Moves the values of a page apart where nulls are between them.
  void Spread(const Page& page, uint8_t* target);
  // Values of stored_width in PLAIN order: in the page, or joined into `target` or scratch.
  Result<const uint8_t*> StoredValues(const Page& page, uint8_t* target);

  Status Corrupt(std::string_view what) const {
    return Status(ErrorCode::kCorruption, "the Parquet column '" + std::string(plan_->name) +
                                              "' is damaged: " + std::string(what) +
                                              "; remove the file, or restore it from its source");
  }

  Status OverBudget(size_t size) const {
    return Status(ErrorCode::kOverBudget,
                  "a page of the Parquet column '" + std::string(plan_->name) + "' has " +
                      std::to_string(size) + " bytes, more than the limit of " +
                      std::to_string(limits_.max_decoded_bytes) +
                      "; raise the limit for decoded frames");
  }

  std::span<const uint8_t> bytes_;
  SnappyCodec snappy_;
  FlatFrameBuilder& builder_;
  const DecodeLimits& limits_;
  ByteSink page_;
  ByteSink values_;
  ByteSink dictionary_;
  // The column at work.
  const FlatColumnPlan* plan_ = nullptr;
  size_t column_ = 0;
  size_t num_nulls_ = 0;
  bool has_dictionary_ = false;
  size_t dictionary_size_ = 0;
};

Result<Outcome> Decoder::DecodeColumn(const FlatColumnPlan& plan, size_t column, size_t num_rows) {
  plan_ = &plan;
  column_ = column;
  num_nulls_ = 0;
  has_dictionary_ = false;
  const std::span<const uint8_t> pages = bytes_.subspan(plan.offset, plan.size);
  size_t position = 0;
  size_t row = 0;
  while (row < num_rows) {
    BARCACHE_ASSIGN_OR_RETURN(const PageHeader header, ParsePageHeader(pages.subspan(position)));
    position += header.header_size_bytes;
    const size_t body_size = static_cast<size_t>(header.compressed_size_bytes);
    if (body_size > pages.size() - position) return Corrupt("a page is longer than its column");
    const std::span<const uint8_t> body = pages.subspan(position, body_size);
    position += body_size;
    if (header.kind == PageHeader::kIndex) continue;
    if (header.kind == PageHeader::kDictionary) {
      BARCACHE_ASSIGN_OR_RETURN(const Outcome outcome, DecodeDictionary(header, body));
      if (outcome == Outcome::kOtherShape) return outcome;
      continue;
    }
    if (header.kind != PageHeader::kData) return Outcome::kOtherShape;
    if (static_cast<size_t>(header.num_values) > num_rows - row) {
      return Corrupt("it has more values than the file has rows");
    }
    BARCACHE_ASSIGN_OR_RETURN(const Outcome outcome, DecodePage(header, body, row));
    if (outcome == Outcome::kOtherShape) return outcome;
    row += static_cast<size_t>(header.num_values);
  }
  builder_.set_null_count(column, static_cast<int64_t>(num_nulls_));
  return Outcome::kFilled;
}

bool Decoder::TakesWholePage(const PageHeader& header) const {
  return plan_->type.layout == FlatLayout::kFixed && !plan_->is_optional &&
         plan_->compression == ParquetCompression::kSnappy &&
         header.encoding == ParquetEncoding::kPlain &&
         int64_t{header.uncompressed_size_bytes} ==
             int64_t{header.num_values} * plan_->type.stored_width;
}

Result<std::span<const uint8_t>> Decoder::Decompress(const PageHeader& header,
                                                     std::span<const uint8_t> body) {
  const size_t size = static_cast<size_t>(header.uncompressed_size_bytes);
  const bool is_snappy = plan_->compression == ParquetCompression::kSnappy;
  if (is_snappy ? size > SnappyCodec::MaxDecompressedSize(body.size()) : size != body.size()) {
    return Corrupt("a page states a size that its bytes cannot have");
  }
  if (int64_t{header.uncompressed_size_bytes} > limits_.max_decoded_bytes) {
    return OverBudget(size);
  }
  page_.Clear();
  uint8_t* page = page_.Reserve(size + kStringSlack);
  std::memset(page + size, 0, kStringSlack);
  if (is_snappy) {
    BARCACHE_RETURN_IF_ERROR(snappy_.Decompress(body, {page, size}));
  } else if (size > 0) {
    std::memcpy(page, body.data(), size);
  }
  return std::span<const uint8_t>(page, size);
}

Result<Outcome> Decoder::DecodePage(const PageHeader& header, std::span<const uint8_t> body,
                                    size_t row) {
  Page page;
  page.row = row;
  page.num_rows = page.num_values = static_cast<size_t>(header.num_values);
  page.encoding = header.encoding;
  if (TakesWholePage(header)) {
    const size_t width = static_cast<size_t>(plan_->type.stored_width);
    uint8_t* target = builder_.data(column_) + row * width;
    BARCACHE_RETURN_IF_ERROR(snappy_.Decompress(body, {target, page.num_rows * width}));
    return Outcome::kFilled;
  }
  BARCACHE_ASSIGN_OR_RETURN(page.values, Decompress(header, body));
  if (plan_->is_optional) {
    if (header.definition_encoding != ParquetEncoding::kRle) return Outcome::kOtherShape;
    uint32_t size = 0;
    if (page.values.size() < sizeof(size)) return Corrupt("a page has no levels");
    std::memcpy(&size, page.values.data(), sizeof(size));
    page.values = page.values.subspan(sizeof(size));
    if (size > page.values.size()) return Corrupt("levels are longer than their page");
    uint8_t* validity = builder_.validity(column_);
    if (!DecodeLevels(page.values.first(size), page.num_rows, validity, row)) {
      return Corrupt("levels are not what their page announces");
    }
    page.values = page.values.subspan(size);
    page.num_values = CountBits(validity, row, page.num_rows);
    num_nulls_ += page.num_rows - page.num_values;
  }
  if (page.encoding == ParquetEncoding::kRleDictionary ||
      page.encoding == ParquetEncoding::kPlainDictionary) {
    return DecodeIndices(page);
  }
  switch (plan_->type.layout) {
    case FlatLayout::kBits:
      return DecodeBits(page);
    case FlatLayout::kView:
      return DecodeStrings(page);
    default:
      return DecodeValues(page);
  }
}

Result<const uint8_t*> Decoder::StoredValues(const Page& page, uint8_t* target) {
  const size_t width = static_cast<size_t>(plan_->type.stored_width);
  const size_t size = page.num_values * width;
  if (page.encoding == ParquetEncoding::kPlain) {
    if (page.values.size() < size) return Corrupt("a page has fewer values than it announces");
    return page.values.data();
  }
  const bool is_delta = page.encoding == ParquetEncoding::kDeltaBinaryPacked;
  if (!is_delta && page.values.size() != size) {
    return Corrupt("a page has not the values that it announces");
  }
  if (target == nullptr) {
    if (size > static_cast<size_t>(limits_.max_decoded_bytes)) return OverBudget(size);
    values_.Clear();
    target = values_.Reserve(size);
  }
  if (is_delta) {
    if (!DecodeDeltas(page.values, page.num_values, width, target)) {
      return Corrupt("its differences are not those that a page announces");
    }
  } else {
    JoinByteStreams(page.values.data(), page.num_values, width, target);
  }
  return const_cast<const uint8_t*>(target);
}

template <typename Narrow>
void NarrowIntegers(const uint8_t* stored, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t wide;
    std::memcpy(&wide, stored + i * sizeof(wide), sizeof(wide));
    const Narrow narrow = static_cast<Narrow>(wide);
    std::memcpy(out + i * sizeof(Narrow), &narrow, sizeof(Narrow));
  }
}

// Big endian of `width` bytes to little endian of 16, sign extended.
void WidenDecimals(const uint8_t* stored, size_t count, size_t width, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* value = stored + i * width;
    uint8_t* target = out + i * 16;
    std::memset(target, (value[0] & 0x80) != 0 ? 0xff : 0, 16);
    std::reverse_copy(value, value + width, target);
  }
}

void Decoder::Convert(const uint8_t* stored, size_t count, uint8_t* target) const {
  const FlatType& type = plan_->type;
  if (count == 0) return;
  switch (type.layout) {
    case FlatLayout::kNarrow8:
      return NarrowIntegers<uint8_t>(stored, count, target);
    case FlatLayout::kNarrow16:
      return NarrowIntegers<uint16_t>(stored, count, target);
    case FlatLayout::kDecimal:
      return WidenDecimals(stored, count, static_cast<size_t>(type.stored_width), target);
    default:
      if (stored != target) {
        std::memcpy(target, stored, count * static_cast<size_t>(type.memory_width));
      }
  }
}

void Decoder::Spread(const Page& page, uint8_t* target) {
  if (page.num_values == page.num_rows) return;
  ScatterValues(target, static_cast<size_t>(plan_->type.memory_width), builder_.validity(column_),
                page.row, page.num_rows, page.num_values);
}

Result<Outcome> Decoder::DecodeValues(const Page& page) {
  const FlatType& type = plan_->type;
  const bool is_integer =
      type.physical == ParquetType::kInt32 || type.physical == ParquetType::kInt64;
  if (page.encoding != ParquetEncoding::kPlain &&
      page.encoding != ParquetEncoding::kByteStreamSplit &&
      !(is_integer && page.encoding == ParquetEncoding::kDeltaBinaryPacked)) {
    return Outcome::kOtherShape;
  }
  uint8_t* target = builder_.data(column_) + page.row * static_cast<size_t>(type.memory_width);
  const bool is_fixed = type.layout == FlatLayout::kFixed;
  BARCACHE_ASSIGN_OR_RETURN(const uint8_t* stored, StoredValues(page, is_fixed ? target : nullptr));
  Convert(stored, page.num_values, target);
  Spread(page, target);
  return Outcome::kFilled;
}

Result<Outcome> Decoder::DecodeBits(const Page& page) {
  if (page.encoding != ParquetEncoding::kPlain) return Outcome::kOtherShape;
  if (page.values.size() < BitmapSize(page.num_values)) {
    return Corrupt("a page has fewer values than it announces");
  }
  if (page.num_values < page.num_rows) {
    ScatterBits(page.values.data(), builder_.validity(column_), page.row, page.num_rows,
                builder_.data(column_));
  } else {
    CopyBits(page.values.data(), page.num_values, builder_.data(column_), page.row);
  }
  return Outcome::kFilled;
}

Status Decoder::WriteStrings(std::span<const uint8_t> values, size_t count, uint8_t* views) {
  const PlainStrings strings = MeasurePlainStrings(values, count);
  if (!strings.ok) return Corrupt("a string is longer than its page");
  uint8_t* block = nullptr;
  int32_t block_index = 0;
  if (strings.long_bytes > 0) {
    block = builder_.AddBlock(column_, strings.long_bytes, &block_index);
    if (block == nullptr) {
      return Status(ErrorCode::kOverBudget, "the strings of the Parquet column '" +
                                                std::string(plan_->name) +
                                                "' exceed the limit for decoded frames; raise it");
    }
  }
  if (!DecodePlainStrings(values, count, plan_->type.is_text, views, block, block_index)) {
    return Corrupt("a string is not UTF-8");
  }
  return Status();
}

Result<Outcome> Decoder::DecodeStrings(const Page& page) {
  if (page.encoding != ParquetEncoding::kPlain) return Outcome::kOtherShape;
  uint8_t* views = builder_.data(column_) + page.row * kViewSize;
  BARCACHE_RETURN_IF_ERROR(WriteStrings(page.values, page.num_values, views));
  Spread(page, views);
  return Outcome::kFilled;
}

Result<Outcome> Decoder::DecodeDictionary(const PageHeader& header, std::span<const uint8_t> body) {
  const FlatType& type = plan_->type;
  if (has_dictionary_) return Corrupt("it has two dictionaries");
  if (type.layout == FlatLayout::kBits || (header.encoding != ParquetEncoding::kPlain &&
                                           header.encoding != ParquetEncoding::kPlainDictionary)) {
    return Outcome::kOtherShape;
  }
  BARCACHE_ASSIGN_OR_RETURN(const std::span<const uint8_t> values, Decompress(header, body));
  const size_t count = static_cast<size_t>(header.num_values);
  // Any value takes a byte at least, a string four: what is reserved is bounded by what is there.
  const bool is_view = type.layout == FlatLayout::kView;
  const size_t stored_width = is_view ? sizeof(uint32_t) : static_cast<size_t>(type.stored_width);
  if (count > values.size() / stored_width) return Corrupt("its dictionary is cut short");
  dictionary_.Clear();
  uint8_t* target = dictionary_.Reserve(count * static_cast<size_t>(type.memory_width));
  if (is_view) {
    BARCACHE_RETURN_IF_ERROR(WriteStrings(values, count, target));
  } else {
    Convert(values.data(), count, target);
  }
  has_dictionary_ = true;
  dictionary_size_ = count;
  return Outcome::kFilled;
}

Result<Outcome> Decoder::DecodeIndices(const Page& page) {
  if (!has_dictionary_) return Corrupt("it has indices but no dictionary");
  const size_t width = static_cast<size_t>(plan_->type.memory_width);
  uint8_t* target = builder_.data(column_) + page.row * width;
  const uint8_t* dictionary = dictionary_.data();
  IndexRunReader reader(page.values);
  IndexRun run;
  size_t done = 0;
  while (done < page.num_values) {
    if (!reader.Next(page.num_values - done, run)) return Corrupt("its indices are cut short");
    uint8_t* out = target + done * width;
    const bool ok = run.is_packed ? GatherPacked(run.packed, run.length, reader.width(), dictionary,
                                                 dictionary_size_, width, out)
                                  : GatherRepeated(run.value, run.length, dictionary,
                                                   dictionary_size_, width, out);
    if (!ok) return Corrupt("an index lies outside its dictionary");
    done += run.length;
  }
  Spread(page, target);
  return Outcome::kFilled;
}

Result<Outcome> DecodeInTurn(std::span<const uint8_t> bytes, const FlatPlan& plan,
                             const ParquetFooter& footer, const DecodeLimits& limits,
                             FlatFrameBuilder& builder) {
  BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
  Decoder decoder(bytes, std::move(snappy), builder, limits);
  for (size_t i = 0; i < plan.columns.size(); ++i) {
    BARCACHE_ASSIGN_OR_RETURN(
        const Outcome outcome,
        decoder.DecodeColumn(plan.columns[i], i, static_cast<size_t>(footer.num_rows)));
    if (outcome == Outcome::kOtherShape) return outcome;
  }
  return Outcome::kFilled;
}

Result<Outcome> DecodeSideBySide(std::span<const uint8_t> bytes, const FlatPlan& plan,
                                 const ParquetFooter& footer, const DecodeLimits& limits,
                                 FlatFrameBuilder& builder) {
  std::vector<size_t> costs;
  for (const FlatColumnPlan& column : plan.columns) costs.push_back(column.size);
  std::atomic<bool> is_other_shape{false};
  const Status status = ForEachColumn(costs, [&](size_t column) {
    if (is_other_shape) return Status();
    BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
    Decoder decoder(bytes, std::move(snappy), builder, limits);
    BARCACHE_ASSIGN_OR_RETURN(
        const Outcome outcome,
        decoder.DecodeColumn(plan.columns[column], column, static_cast<size_t>(footer.num_rows)));
    if (outcome == Outcome::kOtherShape) is_other_shape = true;
    return Status();
  });
  if (is_other_shape) return Outcome::kOtherShape;
  BARCACHE_RETURN_IF_ERROR(status);
  return Outcome::kFilled;
}

Result<std::optional<Frame>> Decode(std::span<const uint8_t> bytes, const ParquetFooter& footer,
                                    const ArrowSchema* stored_schema, const DecodeLimits& limits,
                                    const std::vector<std::string>* columns) {
  BARCACHE_ASSIGN_OR_RETURN(const std::optional<FlatPlan> plan,
                            MakeFlatPlan(footer, stored_schema, columns));
  if (!plan.has_value()) return std::optional<Frame>();
  BARCACHE_ASSIGN_OR_RETURN(
      FlatFrameBuilder builder,
      FlatFrameBuilder::Make(plan->Shapes(), footer.num_rows, limits.max_decoded_bytes));
  const bool is_large = bytes.size() >= kSideBySideBytes && plan->columns.size() > 1;
  BARCACHE_ASSIGN_OR_RETURN(const Outcome outcome,
                            is_large ? DecodeSideBySide(bytes, *plan, footer, limits, builder)
                                     : DecodeInTurn(bytes, *plan, footer, limits, builder));
  if (outcome == Outcome::kOtherShape) return std::optional<Frame>();
  return std::optional<Frame>(builder.Finish());
}

}  // namespace

Result<std::optional<Frame>> DecodeFlat(std::span<const uint8_t> bytes, const ParquetFooter& footer,
                                        const ArrowSchema* stored_schema,
                                        const DecodeLimits& limits,
                                        const std::vector<std::string>* columns) {
  try {
    return Decode(bytes, footer, stored_schema, limits, columns);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to decode a Parquet file; free some and try again");
  }
}

}  // namespace barcache
