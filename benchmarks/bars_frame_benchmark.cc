// Builds the frame, and measures what crossing the Arrow C data interface costs.
#include <arrow/api.h>
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bars_frame.h"

namespace barcache {

namespace {

template <typename Builder, typename Next>
std::shared_ptr<arrow::Array> Column(Builder builder, int64_t num_rows, Next next) {
  for (int64_t row = 0; row < num_rows; ++row) {
    if (!builder.Append(next(row)).ok()) std::abort();
  }
  return builder.Finish().ValueOrDie();
}

double Cents(double price) { return std::round(price * 100) / 100; }

}  // namespace

Frame MakeBarsFrame(int64_t num_rows) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> step(0.0, 0.03);
  double price = 100.0;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  columns.push_back(Column(arrow::TimestampBuilder(arrow::timestamp(arrow::TimeUnit::MICRO),
                                                   arrow::default_memory_pool()),
                           num_rows,
                           [](int64_t row) { return 1'420'191'000'000'000 + row * 60'000'000; }));
  columns.push_back(Column(arrow::StringViewBuilder(), num_rows,
                           [](int64_t) { return std::string_view("AAPL"); }));
  for (int column = 0; column < 4; ++column) {
    columns.push_back(Column(arrow::DoubleBuilder(), num_rows, [&](int64_t) {
      price = std::abs(price + step(random)) + 0.01;
      return Cents(price);
    }));
  }
  columns.push_back(Column(arrow::Int64Builder(), num_rows, [&](int64_t) {
    return static_cast<int64_t>(100 + random() % 250'000);
  }));
  columns.push_back(
      Column(arrow::DoubleBuilder(), num_rows, [&](int64_t) { return 100.0 + step(random); }));
  const char* names[] = {"timestamp", "symbol", "open", "high", "low", "close", "volume", "vwap"};
  arrow::FieldVector fields;
  for (size_t i = 0; i < columns.size(); ++i) {
    fields.push_back(arrow::field(names[i], columns[i]->type()));
  }
  ArrowSchema schema;
  ArrowArray array;
  const auto batch = arrow::RecordBatch::Make(arrow::schema(fields), num_rows, columns);
  if (!arrow::ExportRecordBatch(*batch, &array, &schema).ok()) std::abort();
  Result<Frame> frame = Frame::FromArray(&schema, &array, ImportMode::kCopy);
  if (!frame.ok()) std::abort();
  return *std::move(frame);
}

namespace {

void BM_FrameExportImport(benchmark::State& state) {
  const Frame frame = MakeBarsFrame(state.range(0));
  for (auto _ : state) {
    ArrowSchema schema;
    ArrowArray array;
    frame.ExportArray(&schema, &array);
    Result<Frame> back = Frame::FromArray(&schema, &array, ImportMode::kShare);
    if (!back.ok()) state.SkipWithError("import failed");
    benchmark::DoNotOptimize(back);
  }
}
BENCHMARK(BM_FrameExportImport)->Arg(252)->Arg(100'000);

}  // namespace
}  // namespace barcache
