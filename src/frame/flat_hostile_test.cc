// The flat codec against bytes that nobody should believe: whatever they are, the answer is a
// valid frame or a Status. Built with address and undefined sanitizers this file is the proof.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "frame/flat_sample.h"
#include "frame/snappy_codec.h"

namespace barcache {
namespace {

using flat_sample::AllTypes;
using flat_sample::Decode;
using flat_sample::Encode;
using flat_sample::ToBatch;

// Only what every bit pattern is valid for, besides strings.
std::shared_ptr<arrow::RecordBatch> SmallBatch(int64_t rows, double null_share) {
  const auto all = AllTypes(rows, null_share);
  std::vector<int> columns;
  for (int i = 0; i < all->num_columns(); ++i) {
    const auto id = all->column(i)->type_id();
    if (id != arrow::Type::TIME64 && id != arrow::Type::DECIMAL128) columns.push_back(i);
  }
  return *all->SelectColumns(columns);
}

// True when the bytes became a frame; that frame must be sound.
bool DecodesSoundly(std::span<const uint8_t> bytes, const DecodeLimits& limits = {16 << 20}) {
  auto frame = Decode(bytes, limits);
  if (!frame.ok()) {
    const ErrorCode code = frame.status().code();
    EXPECT_TRUE(code == ErrorCode::kCorruption || code == ErrorCode::kOverBudget)
        << frame.status().ToString();
    return false;
  }
  if (!frame->has_value()) return false;
  EXPECT_LE((*frame)->data()->size_bytes, limits.max_decoded_bytes);
  const auto batch = ToBatch(**frame);
  if (batch == nullptr) return false;
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  return true;
}

// On the heap and of exactly this size, so that a sanitizer sees the first byte beyond.
std::vector<uint8_t> Exactly(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

// The same file with pages that are not compressed.
std::vector<uint8_t> Uncompressed(const std::vector<uint8_t>& bytes) {
  const SnappyCodec snappy = *SnappyCodec::Make();
  const std::span<const uint8_t> all(bytes);
  ParquetFooter footer = *ParseFooter(bytes);
  ByteSink sink;
  sink.Append("PAR1", 4);
  for (ColumnChunk& chunk : footer.chunks) {
    size_t position = static_cast<size_t>(
        chunk.dictionary_page_offset > 0 ? chunk.dictionary_page_offset : chunk.data_page_offset);
    const size_t end = position + static_cast<size_t>(chunk.compressed_size_bytes);
    const int64_t begin = static_cast<int64_t>(sink.size());
    if (chunk.dictionary_page_offset > 0) chunk.dictionary_page_offset = begin;
    bool has_data = false;
    while (position < end) {
      PageHeader header = *ParsePageHeader(all.subspan(position));
      position += header.header_size_bytes;
      const size_t size = static_cast<size_t>(header.compressed_size_bytes);
      std::vector<uint8_t> page(static_cast<size_t>(header.uncompressed_size_bytes));
      EXPECT_TRUE(snappy.Decompress(all.subspan(position, size), page).ok());
      position += size;
      header.compressed_size_bytes = header.uncompressed_size_bytes;
      if (header.kind == PageHeader::kData && !has_data) {
        chunk.data_page_offset = static_cast<int64_t>(sink.size());
        has_data = true;
      }
      AppendPageHeader(header, sink);
      sink.Append(page.data(), page.size());
    }
    chunk.compressed_size_bytes = static_cast<int64_t>(sink.size()) - begin;
    chunk.compression = ParquetCompression::kUncompressed;
  }
  AppendFooter(footer, {}, sink);
  return {sink.bytes().begin(), sink.bytes().end()};
}

class Hostile : public testing::TestWithParam<double> {};

TEST_P(Hostile, EveryBitFlipped) {
  const std::vector<uint8_t> good = Encode(*SmallBatch(9, GetParam()), {{"barcache", "stamp"}});
  ASSERT_TRUE(DecodesSoundly(good));
  int frames = 0;
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::vector<uint8_t> bytes = good;
    bytes[i / 8] ^= static_cast<uint8_t>(1u << (i % 8));
    frames += DecodesSoundly(bytes) ? 1 : 0;
  }
  EXPECT_GT(frames, 0);  // Flipped values are values; what says so is the checksum.
}

TEST_P(Hostile, EveryLength) {
  const std::vector<uint8_t> good = Encode(*SmallBatch(9, GetParam()));
  for (size_t size = 0; size < good.size(); ++size) {
    const std::span<const uint8_t> all(good);
    EXPECT_FALSE(DecodesSoundly(Exactly(all.first(size))));
    EXPECT_FALSE(DecodesSoundly(Exactly(all.last(size))));
  }
}

TEST_P(Hostile, RandomChanges) {
  const std::vector<uint8_t> good = Encode(*SmallBatch(40, GetParam()), {{"barcache", "stamp"}});
  const size_t footer = ParseFooter(good)->data_end;
  std::mt19937_64 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> bytes = good;
    // Half of them in the footer alone, which steers everything else.
    const size_t first = round % 2 == 0 ? footer : 0;
    for (size_t changes = 1 + random() % 8; changes > 0; --changes) {
      const size_t at = first + random() % (bytes.size() - 8 - first);
      static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x0f, 0xf0};
      bytes[at] = random() % 2 == 0 ? static_cast<uint8_t>(random()) : kEdges[random() % 8];
    }
    if (random() % 4 == 0) {  // A piece moved to another place.
      const size_t size = random() % 40;
      const size_t from = random() % (bytes.size() - size);
      const size_t to = random() % (bytes.size() - size);
      std::memmove(bytes.data() + to, bytes.data() + from, size);
    }
    DecodesSoundly(bytes);
  }
}

// The encodings of larger frames: dictionaries, differences, runs.
TEST_P(Hostile, RandomChangesOfStudiedColumns) {
  constexpr int64_t kRows = 1100;
  std::mt19937_64 random(9);
  arrow::DoubleBuilder prices;
  arrow::Int64Builder times;
  arrow::StringViewBuilder symbols;
  std::bernoulli_distribution is_null(GetParam());
  for (int64_t i = 0; i < kRows; ++i) {
    const std::string symbol = random() % 2 == 0 ? "A" : "A SYMBOL THAT IS LONG";
    const bool ok =
        is_null(random)
            ? prices.AppendNull().ok() && times.AppendNull().ok() && symbols.AppendNull().ok()
            : prices.Append(static_cast<double>(random() % 50) / 4).ok() &&
                  times.Append(i * 60 + static_cast<int64_t>(random() % 3)).ok() &&
                  symbols.Append(symbol).ok();
    ASSERT_TRUE(ok);
  }
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("p", arrow::float64()), arrow::field("t", arrow::int64()),
                     arrow::field("s", arrow::utf8_view())}),
      kRows, {*prices.Finish(), *times.Finish(), *symbols.Finish()});
  // Uncompressed, so that the changes reach the decoders instead of Snappy alone.
  const std::vector<uint8_t> compressed = Encode(*batch);
  for (const std::vector<uint8_t>& good : {compressed, Uncompressed(compressed)}) {
    ASSERT_TRUE(DecodesSoundly(good));
    for (size_t i = 0; i < good.size(); ++i) {
      std::vector<uint8_t> bytes = good;
      bytes[i] ^= static_cast<uint8_t>(1u << (random() % 8));
      DecodesSoundly(bytes);
      bytes[i] = random() % 2 == 0 ? 0xff : 0;
      DecodesSoundly(bytes);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nulls, Hostile, testing::Values(0.0, 0.5));

// A good file whose footer is changed in a way that keeps it readable.
class Forged {
 public:
  explicit Forged(const arrow::RecordBatch& batch)
      : good_(Encode(batch)), footer_(*ParseFooter(good_)) {}
  ParquetFooter& footer() { return footer_; }
  std::vector<uint8_t> Bytes() const {
    ByteSink sink;
    sink.Append(good_.data(), footer_.data_end);
    AppendFooter(footer_, {}, sink);
    return Exactly(sink.bytes());
  }

 private:
  std::vector<uint8_t> good_;
  ParquetFooter footer_;
};

ErrorCode CodeOf(const std::vector<uint8_t>& bytes, int64_t budget = 64 << 20) {
  return Decode(bytes, {budget}).status().code();
}

TEST(ForgedFooter, UnchangedItIsGood) {
  EXPECT_EQ(CodeOf(Forged(*SmallBatch(20, 0.2)).Bytes()), ErrorCode::kOk);
}

TEST(ForgedFooter, RowCountsBeyondTheBytes) {
  for (const int64_t rows : {int64_t{21}, int64_t{1} << 31, int64_t{1} << 55, INT64_MAX}) {
    Forged file(*SmallBatch(20, 0.2));
    file.footer().num_rows = rows;
    EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
    file.footer().row_groups[0].num_rows = rows;
    for (ColumnChunk& chunk : file.footer().chunks) chunk.num_values = rows;
    EXPECT_EQ(CodeOf(file.Bytes()), rows > 100 ? ErrorCode::kOverBudget : ErrorCode::kCorruption);
  }
}

TEST(ForgedFooter, FewerRowsThanThePagesHave) {
  Forged file(*SmallBatch(20, 0.2));
  file.footer().num_rows = file.footer().row_groups[0].num_rows = 19;
  for (ColumnChunk& chunk : file.footer().chunks) chunk.num_values = 19;
  EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
}

TEST(ForgedFooter, NegativeRows) {
  Forged file(*SmallBatch(20, 0.2));
  file.footer().num_rows = -1;
  EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
}

TEST(ForgedFooter, PagesOutsideTheFile) {
  for (const int64_t offset : {int64_t{0}, int64_t{-5}, int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
    Forged file(*SmallBatch(20, 0.2));
    file.footer().chunks[3].data_page_offset = offset;
    EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
  }
  for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
    Forged file(*SmallBatch(20, 0.2));
    file.footer().chunks[3].compressed_size_bytes = size;
    EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
  }
}

TEST(ForgedFooter, MissingChunks) {
  Forged file(*SmallBatch(20, 0.2));
  file.footer().chunks.pop_back();
  file.footer().row_groups[0].num_chunks -= 1;
  EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
}

TEST(ForgedFooter, SwappedTypes) {
  Forged file(*SmallBatch(20, 0));
  for (size_t i = 1; i < file.footer().schema.size(); ++i) {
    for (size_t k = 1; k < file.footer().schema.size(); ++k) {
      Forged forged(*SmallBatch(20, 0));
      const std::string_view name = forged.footer().schema[i].name;
      forged.footer().schema[i] = file.footer().schema[k];
      forged.footer().schema[i].name = name;
      DecodesSoundly(forged.Bytes());
    }
  }
}

TEST(ForgedFooter, NamesThatAreNoText) {
  for (const std::string_view name : {std::string_view("a\0b", 3), std::string_view("\xff\xfe")}) {
    Forged file(*SmallBatch(20, 0));
    file.footer().schema[1].name = name;
    file.footer().chunks[0].name = name;
    EXPECT_EQ(CodeOf(file.Bytes()), ErrorCode::kCorruption);
  }
}

TEST(ForgedFooter, DuplicateNamesAreLeftToArrow) {
  Forged file(*SmallBatch(20, 0));
  file.footer().schema[1].name = file.footer().schema[2].name;
  file.footer().chunks[0].name = file.footer().schema[2].name;
  const auto frame = Decode(file.Bytes());
  EXPECT_TRUE(frame.ok() && !frame->has_value());
}

// One column of one page, made by hand.
std::vector<uint8_t> OnePageFile(const PageHeader& header, std::span<const uint8_t> body,
                                 int64_t num_rows, ParquetType type, bool is_optional,
                                 ParquetCompression compression) {
  ByteSink sink;
  sink.Append("PAR1", 4);
  AppendPageHeader(header, sink);
  sink.Append(body.data(), body.size());
  ParquetFooter footer;
  footer.num_rows = num_rows;
  footer.schema.resize(2);
  footer.schema[0].name = "schema";
  footer.schema[0].num_children = 1;
  footer.schema[1].name = "c";
  footer.schema[1].type = static_cast<int32_t>(type);
  footer.schema[1].repetition =
      is_optional ? ParquetRepetition::kOptional : ParquetRepetition::kRequired;
  ColumnChunk chunk;
  chunk.type = type;
  chunk.name = "c";
  chunk.compression = compression;
  chunk.num_values = num_rows;
  chunk.data_page_offset = 4;
  chunk.compressed_size_bytes = static_cast<int64_t>(sink.size()) - 4;
  footer.chunks.push_back(chunk);
  footer.row_groups.push_back({num_rows, 0, 0, 1});
  AppendFooter(footer, {}, sink);
  return Exactly(sink.bytes());
}

PageHeader DataPage(int64_t num_values, size_t compressed, int64_t uncompressed) {
  PageHeader header;
  header.kind = PageHeader::kData;
  header.num_values = static_cast<int32_t>(num_values);
  header.compressed_size_bytes = static_cast<int32_t>(compressed);
  header.uncompressed_size_bytes = static_cast<int32_t>(uncompressed);
  return header;
}

// Five bytes of levels announce two billion nulls: only the budget can refuse that.
TEST(Bombs, ARunOfNulls) {
  std::vector<uint8_t> body = {6, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0};
  constexpr int64_t kRows = INT32_MAX;
  const auto file = [&](int64_t rows) {
    return OnePageFile(DataPage(rows, body.size(), static_cast<int64_t>(body.size())), body, rows,
                       ParquetType::kInt64, true, ParquetCompression::kUncompressed);
  };
  EXPECT_EQ(CodeOf(file(kRows)), ErrorCode::kOverBudget);
  EXPECT_EQ(CodeOf(file(1000)), ErrorCode::kCorruption);  // The run is longer than the page.
  body = {3, 0, 0, 0, 0xd0, 0x0f, 0};
  EXPECT_EQ(CodeOf(file(1000)), ErrorCode::kOk);
}

TEST(Bombs, APageThatStatesMoreThanSnappyCanHold) {
  // Snappy's own prefix says the same two billion bytes.
  const std::vector<uint8_t> body = {0xf8, 0xff, 0xff, 0xff, 0x07, 0x00, 'x', 0xfe, 1, 0};
  const int64_t rows = (int64_t{INT32_MAX} - 7) / 8;
  const auto bytes = OnePageFile(DataPage(rows, body.size(), rows * 8), body, rows,
                                 ParquetType::kInt64, false, ParquetCompression::kSnappy);
  EXPECT_EQ(CodeOf(bytes), ErrorCode::kOverBudget);
  const auto strings = OnePageFile(DataPage(4, body.size(), INT32_MAX), body, 4,
                                   ParquetType::kByteArray, false, ParquetCompression::kSnappy);
  EXPECT_EQ(CodeOf(strings, INT64_MAX), ErrorCode::kCorruption);
}

TEST(Bombs, LongStringsCountAgainstTheBudget) {
  arrow::StringViewBuilder builder;
  ASSERT_TRUE(builder.Append(std::string(1 << 20, 'x')).ok());
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("text", arrow::utf8_view())}), 1, {*builder.Finish()});
  const std::vector<uint8_t> bytes = Encode(*batch);
  EXPECT_LT(bytes.size(), 64U << 10);
  EXPECT_EQ(CodeOf(bytes, 1 << 16), ErrorCode::kOverBudget);
  EXPECT_EQ(CodeOf(bytes, (1 << 20) + 100), ErrorCode::kOverBudget);
  EXPECT_EQ(CodeOf(bytes, 2 << 20), ErrorCode::kOk);
}

TEST(Bombs, StringsThatAreNotUtf8) {
  for (const std::vector<uint8_t>& text :
       {std::vector<uint8_t>{0xff},
        {0xc0, 0x80},
        {0xed, 0xa0, 0x80},
        {0xe2, 0x82},
        {'1', '2', '3', '4', '5', '6', '7', '8', '9', '0', '1', '2', '3', 0x80}}) {
    std::vector<uint8_t> body = {static_cast<uint8_t>(text.size()), 0, 0, 0};
    body.insert(body.end(), text.begin(), text.end());
    auto bytes = OnePageFile(DataPage(1, body.size(), static_cast<int64_t>(body.size())), body, 1,
                             ParquetType::kByteArray, false, ParquetCompression::kUncompressed);
    EXPECT_EQ(CodeOf(bytes), ErrorCode::kOk);  // As binary.
    ParquetFooter footer = *ParseFooter(bytes);
    footer.schema[1].logical.kind = LogicalKind::kString;
    ByteSink sink;
    sink.Append(bytes.data(), footer.data_end);
    AppendFooter(footer, {}, sink);
    EXPECT_EQ(CodeOf(Exactly(sink.bytes())), ErrorCode::kCorruption);
  }
}

TEST(Bombs, AHundredThousandColumns) {
  constexpr size_t kColumns = 100000;
  std::vector<std::string> names(kColumns);
  ParquetFooter footer;
  footer.schema.resize(kColumns + 1);
  footer.schema[0].name = "schema";
  footer.schema[0].num_children = kColumns;
  for (size_t i = 0; i < kColumns; ++i) {
    names[i] = std::to_string(i);
    footer.schema[i + 1].name = names[i];
    footer.schema[i + 1].type = static_cast<int32_t>(ParquetType::kInt64);
  }
  ByteSink sink;
  sink.Append("PAR1", 4);
  AppendFooter(footer, {}, sink);
  EXPECT_EQ(CodeOf(Exactly(sink.bytes()), 1 << 20), ErrorCode::kOverBudget);
  EXPECT_EQ(CodeOf(Exactly(sink.bytes())), ErrorCode::kOk);
}

}  // namespace
}  // namespace barcache
