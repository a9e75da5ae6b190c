// Opens a cache, puts three bars, gets them back and prints the statistics.
//   cmake -S examples/cpp -B build/example -DCMAKE_PREFIX_PATH=<where barcache was installed>
#include <arrow/api.h>
#include <arrow/c/bridge.h>

#include <cstdio>
#include <cstdlib>

#include "barcache/cache.h"

// The value, or the end of the program with the reason.
template <typename R>
auto OrDie(R result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return std::move(result).operator*();
}

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "bars";
  barcache::CacheOptions options;
  options.db_path = directory + "/metadata.db";
  options.cache_directory = directory;
  auto cache = OrDie(barcache::Cache::Open(options));

  arrow::DoubleBuilder closes;
  std::shared_ptr<arrow::Array> close;
  if (!closes.AppendValues({187.15, 184.92, 185.4}).ok() || !closes.Finish(&close).ok()) return 1;
  auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("close", arrow::float64())}),
                                        close->length(), {close});
  ArrowSchema schema;
  ArrowArray array;
  if (!arrow::ExportRecordBatch(*batch, &array, &schema).ok()) return 1;
  auto frame = OrDie(barcache::Frame::FromArray(&schema, &array, barcache::ImportMode::kShare));

  const barcache::DataRequest request{{"AAPL"}, "2024-01-02", "2024-01-04", "1d", "example"};
  const std::string key = OrDie(cache->GenerateKey(request));
  if (barcache::Status put = cache->Put(key, frame, {.backtest_id = "bt-001"}); !put.ok()) {
    std::fprintf(stderr, "%s\n", put.ToString().c_str());
    return 1;
  }
  const auto hit = OrDie(cache->Get(key));
  const auto statistics = OrDie(cache->Statistics());
  std::printf("%s: %lld rows; %lld hits, %lld misses\n", key.c_str(),
              hit ? static_cast<long long>(hit->frame.num_rows()) : 0LL,
              static_cast<long long>(statistics.hit_count),
              static_cast<long long>(statistics.miss_count));
  return hit ? 0 : 1;
}
