// SHA-256: the floor under every verified read of a large file.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "base/sha256.h"

namespace barcache {
namespace {

void BM_Sha256(benchmark::State& state) {
  const std::vector<uint8_t> bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(Sha256(bytes));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(BM_Sha256)->Arg(8 << 10)->Arg(2 << 20)->Arg(32 << 20);

}  // namespace
}  // namespace barcache
