// Makes the frame by hand, and measures what crossing the Arrow C data interface costs.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bars_frame.h"
#include "frame/frame_data.h"

namespace barcache {
namespace {

constexpr int kColumns = 8;
constexpr const char* kNames[kColumns] = {"timestamp", "symbol", "open",   "high",
                                          "low",       "close",  "volume", "vwap"};
constexpr const char* kFormats[kColumns] = {"tsu:", "u", "g", "g", "g", "g", "l", "g"};
constexpr char kSymbol[] = "AAPL";

// Everything the C structs point at. Lives on the stack: the import copies.
struct Bars {
  explicit Bars(int64_t num_rows) {
    std::mt19937_64 random(7);
    std::normal_distribution<double> step(0.0, 0.03);
    double price = 100.0;
    offsets.push_back(0);
    for (int64_t row = 0; row < num_rows; ++row) {
      timestamps.push_back(1'420'191'000'000'000 + row * 60'000'000);
      symbols += kSymbol;
      offsets.push_back(static_cast<int32_t>(symbols.size()));
      for (auto& column : prices) {
        price = std::abs(price + step(random)) + 0.001;
        column.push_back(std::round(price * 100) / 100);
      }
      volumes.push_back(static_cast<int64_t>(100 + random() % 250'000));
      vwaps.push_back(price + step(random));
    }
  }
  std::vector<int64_t> timestamps;
  std::string symbols;
  std::vector<int32_t> offsets;
  std::vector<double> prices[4];
  std::vector<int64_t> volumes;
  std::vector<double> vwaps;
};

}  // namespace

Frame MakeBarsFrame(int64_t num_rows) {
  const Bars bars(num_rows);
  const void* values[kColumns] = {
      bars.timestamps.data(), bars.offsets.data(),   bars.prices[0].data(), bars.prices[1].data(),
      bars.prices[2].data(),  bars.prices[3].data(), bars.volumes.data(),   bars.vwaps.data()};
  const void* buffers[kColumns][3] = {};
  const void* no_buffers[1] = {nullptr};
  ArrowArray arrays[kColumns];
  ArrowSchema schemas[kColumns];
  ArrowArray* array_children[kColumns];
  ArrowSchema* schema_children[kColumns];
  const auto keep_array = [](ArrowArray* array) { array->release = nullptr; };
  const auto keep_schema = [](ArrowSchema* schema) { schema->release = nullptr; };
  for (int i = 0; i < kColumns; ++i) {
    const bool text = i == 1;
    buffers[i][1] = values[i];
    if (text) buffers[i][2] = bars.symbols.data();
    arrays[i] = ArrowArray{num_rows,   0,       0,       text ? 3 : 2, 0,
                           buffers[i], nullptr, nullptr, keep_array,   nullptr};
    schemas[i] =
        ArrowSchema{kFormats[i], kNames[i], nullptr, 0, 0, nullptr, nullptr, keep_schema, nullptr};
    array_children[i] = &arrays[i];
    schema_children[i] = &schemas[i];
  }
  ArrowArray array{num_rows,       0,       0,          1,      kColumns, no_buffers,
                   array_children, nullptr, keep_array, nullptr};
  ArrowSchema schema{"+s",    "",          nullptr, 0, kColumns, schema_children,
                     nullptr, keep_schema, nullptr};
  Result<Frame> frame = Frame::FromArray(&schema, &array, ImportMode::kCopy);
  if (!frame.ok()) std::abort();
  return std::move(frame).value();
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
