// The Parquet codec alone: a frame to the bytes of a file and back, no disk, no hash.
#include <benchmark/benchmark.h>

#include "bars_frame.h"
#include "frame/parquet_codec.h"

namespace barcache {
namespace {

void BM_CodecEncode(benchmark::State& state) {
  const Frame frame = MakeBarsFrame(state.range(0));
  int64_t size_bytes = 0;
  for (auto _ : state) {
    Result<ByteBuffer> bytes = EncodeParquet(frame, {{"barcache", "benchmark"}});
    if (!bytes.ok()) {
      state.SkipWithError("encode failed");
      return;
    }
    size_bytes = static_cast<int64_t>(bytes->size());
    benchmark::DoNotOptimize(bytes);
  }
  state.counters["file_bytes"] = static_cast<double>(size_bytes);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * frame.size_bytes());
}
BENCHMARK(BM_CodecEncode)->Arg(252)->Arg(4'000)->Arg(100'000)->Arg(2'000'000);

void BM_CodecDecode(benchmark::State& state) {
  const Frame frame = MakeBarsFrame(state.range(0));
  Result<ByteBuffer> bytes = EncodeParquet(frame, {{"barcache", "benchmark"}});
  if (!bytes.ok()) {
    state.SkipWithError("encode failed");
    return;
  }
  for (auto _ : state) {
    Result<DecodedParquet> decoded = DecodeParquet(bytes->bytes(), DecodeLimits{});
    if (!decoded.ok()) {
      state.SkipWithError("decode failed");
      return;
    }
    benchmark::DoNotOptimize(decoded);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * frame.size_bytes());
}
BENCHMARK(BM_CodecDecode)->Arg(252)->Arg(4'000)->Arg(100'000)->Arg(2'000'000);

}  // namespace
}  // namespace barcache
