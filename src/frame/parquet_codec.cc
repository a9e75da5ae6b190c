// The door of the Parquet room: which way through, and what the footer says about the frame.
#include "frame/parquet_codec.h"

#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include "frame/arrow_codec.h"
#include "frame/arrow_schema_key.h"
#include "frame/flat_codec.h"
#include "frame/frame_data.h"
#include "frame/parquet_footer.h"
#include "frame/stored_schema.h"

namespace barcache {
namespace {

// What Arrow needs at most for one column, row group or column chunk of a footer.
constexpr int64_t kFooterPartBytes = 2048;

// What this room keeps in a footer, and what is the caller's.
struct FooterTexts {
  std::optional<SchemaNode> stored_schema;
  std::string origin;
  KeyValues others;
};

bool IsOfThisRoom(std::string_view key) {
  return key.starts_with(kFrameKeyPrefix) || key == kArrowSchemaKey;
}

Result<FooterTexts> SortKeyValues(const ParquetFooter& footer) {
  FooterTexts texts;
  for (const auto& [key, value] : footer.key_values) {
    if (key == kStoredSchemaKey) {
      BARCACHE_ASSIGN_OR_RETURN(SchemaNode schema, ParseStoredSchema(value));
      texts.stored_schema = std::move(schema);
    } else if (key == kOriginKey) {
      texts.origin = std::string(value);
    } else if (!IsOfThisRoom(key)) {
      texts.others.emplace_back(key, value);
    }
  }
  return texts;
}

// A C schema that is released at the end.
class OwnedSchema {
 public:
  explicit OwnedSchema(const SchemaNode& node) { ToArrowSchema(node, &schema_); }
  OwnedSchema(const OwnedSchema&) = delete;
  OwnedSchema& operator=(const OwnedSchema&) = delete;
  ~OwnedSchema() { schema_.release(&schema_); }
  const ArrowSchema* get() const { return &schema_; }

 private:
  ArrowSchema schema_{};
};

// By hand where the file has the shape for it, else by Arrow.
Result<Frame> DecodeFrame(std::span<const uint8_t> bytes, ParquetFooter footer,
                          const SchemaNode* stored, const DecodeLimits& limits,
                          const std::vector<std::string>* columns, RowsToRead rows) {
  std::optional<OwnedSchema> c_schema;
  if (stored != nullptr) c_schema.emplace(*stored);
  const ArrowSchema* stored_schema = c_schema ? c_schema->get() : nullptr;
  // Arrow's form of a footer takes more memory than the file, up to several hundred times.
  const auto parts =
      static_cast<int64_t>(footer.schema.size() + footer.chunks.size() + footer.row_groups.size());
  if (rows == RowsToRead::kNone) {
    footer.num_rows = 0;
    footer.row_groups.clear();
    footer.chunks.clear();
  }
  BARCACHE_ASSIGN_OR_RETURN(std::optional<Frame> flat,
                            DecodeFlat(bytes, footer, stored_schema, limits, columns));
  if (flat.has_value()) return std::move(*flat);
  if (parts > limits.max_decoded_bytes / kFooterPartBytes) {
    return Status(ErrorCode::kOverBudget, "the footer alone would take more than the budget of " +
                                              std::to_string(limits.max_decoded_bytes) + " bytes");
  }
  return DecodeArrow(bytes, limits, stored, columns, rows);
}

Result<DecodedParquet> Decode(std::span<const uint8_t> bytes, const DecodeLimits& limits,
                              const std::vector<std::string>* columns,
                              RowsToRead rows = RowsToRead::kAll) {
  BARCACHE_ASSIGN_OR_RETURN(ParquetFooter footer, ParseFooter(bytes));
  BARCACHE_ASSIGN_OR_RETURN(FooterTexts texts, SortKeyValues(footer));
  // The stored schema says more than what is there for other readers.
  if (texts.stored_schema) {
    std::erase_if(footer.key_values,
                  [](const auto& pair) { return pair.first == kArrowSchemaKey; });
  }
  const SchemaNode* stored = texts.stored_schema ? &*texts.stored_schema : nullptr;
  DecodedParquet decoded;
  BARCACHE_ASSIGN_OR_RETURN(decoded.frame,
                            DecodeFrame(bytes, std::move(footer), stored, limits, columns, rows));
  if (!texts.origin.empty()) decoded.frame = decoded.frame.WithOrigin(std::move(texts.origin));
  decoded.key_values = std::move(texts.others);
  return decoded;
}

Status NoFrame() { return {ErrorCode::kInvalidArgument, "there is no frame to encode"}; }

// And what the footer says about the frame for this room.
KeyValues WithOwnPairs(const FrameData& frame, KeyValues key_values) {
  const SchemaNode table = FromArrowSchema(frame.schema);
  if (NeedsStoredSchema(table)) {
    key_values.emplace_back(kStoredSchemaKey, SerializeSchema(table));
    key_values.emplace_back(kArrowSchemaKey, ArrowSchemaText(table));
  }
  if (!frame.origin.empty()) key_values.emplace_back(kOriginKey, frame.origin);
  return key_values;
}

// Runs `decode` and turns want of memory into a Status.
template <typename Decode>
auto Guarded(Decode decode) -> decltype(decode()) {
  try {
    return decode();
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory for a Parquet file; free some and try again");
  } catch (const std::length_error&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory for a Parquet file; free some and try again");
  }
}

}  // namespace

Result<ByteBuffer> EncodeParquet(const Frame& frame, const KeyValues& key_values) {
  if (!frame.valid()) return NoFrame();
  return Guarded([&]() -> Result<ByteBuffer> {
    const FrameData& data = *frame.data();
    const KeyValues all = WithOwnPairs(data, key_values);
    return FlatCodecTakes(data) ? EncodeFlat(data, all) : EncodeArrow(data, all);
  });
}

Status EncodeParquetInPieces(const Frame& frame, const KeyValues& key_values,
                             std::span<const PieceTaker> takers) {
  if (!frame.valid()) return NoFrame();
  return Guarded([&]() -> Status {
    const FrameData& data = *frame.data();
    const KeyValues all = WithOwnPairs(data, key_values);
    if (FlatCodecTakes(data)) return EncodeFlatInPieces(data, all, takers);
    BARCACHE_ASSIGN_OR_RETURN(const ByteBuffer bytes, EncodeArrow(data, all));
    HandOn(bytes.bytes(), takers);
    return Status();
  });
}

Result<DecodedParquet> DecodeParquet(std::span<const uint8_t> bytes, const DecodeLimits& limits) {
  return Guarded([&] { return Decode(bytes, limits, nullptr); });
}

Result<DecodedParquet> DecodeParquetColumns(std::span<const uint8_t> bytes,
                                            const DecodeLimits& limits,
                                            const std::vector<std::string>& columns) {
  return Guarded([&] { return Decode(bytes, limits, &columns); });
}

Result<Frame> ReadEmptyFrame(std::span<const uint8_t> bytes, const DecodeLimits& limits) {
  return Guarded([&]() -> Result<Frame> {
    BARCACHE_ASSIGN_OR_RETURN(DecodedParquet decoded,
                              Decode(bytes, limits, nullptr, RowsToRead::kNone));
    return std::move(decoded.frame);
  });
}

Result<KeyValues> ReadKeyValues(std::span<const uint8_t> bytes) {
  return Guarded([&]() -> Result<KeyValues> {
    BARCACHE_ASSIGN_OR_RETURN(ParquetFooter footer, ParseFooter(bytes));
    KeyValues key_values;
    for (const auto& [key, value] : footer.key_values) {
      if (!IsOfThisRoom(key)) key_values.emplace_back(key, value);
    }
    return key_values;
  });
}

}  // namespace barcache
