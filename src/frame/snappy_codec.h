// Snappy, through Arrow's codec (the pyarrow wheel does not export Snappy itself).
//
// Thread safety: a SnappyCodec keeps no state between calls, yet is used by one call at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "barcache/status.h"
#include "frame/byte_sink.h"

namespace arrow::util {
class Codec;
}

namespace barcache {

class SnappyCodec {
 public:
  static Result<SnappyCodec> Make();
  SnappyCodec(SnappyCodec&&) noexcept;
  SnappyCodec& operator=(SnappyCodec&&) noexcept;
  ~SnappyCodec();

  // Snappy's own bound for what `size` bytes may take.
  static constexpr size_t MaxCompressedSize(size_t size) { return 32 + size + size / 6; }
  // The most that `size` compressed bytes can hold: 64 bytes for a copy of 3, and the prefix.
  static constexpr size_t MaxDecompressedSize(size_t size) { return 22 * size + 64; }

  // Compresses into `out`, which holds MaxCompressedSize(input.size()) bytes; the size written.
  Result<size_t> Compress(std::span<const uint8_t> input, uint8_t* out) const;
  // Fills `out` exactly, or kCorruption. Never reads beyond `input` or writes beyond `out`.
  Status Decompress(std::span<const uint8_t> input, std::span<uint8_t> out) const;

 private:
  explicit SnappyCodec(std::unique_ptr<arrow::util::Codec> codec);
  std::unique_ptr<arrow::util::Codec> codec_;
};

}  // namespace barcache
