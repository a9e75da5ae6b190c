// Snappy through Arrow; see the header for the promises.
#include "frame/snappy_codec.h"

#include <arrow/result.h>
#include <arrow/util/compression.h>

#include <string>
#include <utility>

namespace barcache {

SnappyCodec::SnappyCodec(std::unique_ptr<arrow::util::Codec> codec) : codec_(std::move(codec)) {}
SnappyCodec::SnappyCodec(SnappyCodec&&) noexcept = default;
SnappyCodec& SnappyCodec::operator=(SnappyCodec&&) noexcept = default;
SnappyCodec::~SnappyCodec() = default;

Result<SnappyCodec> SnappyCodec::Make() {
  auto codec = arrow::util::Codec::Create(arrow::Compression::SNAPPY);
  if (!codec.ok()) {
    return Status(ErrorCode::kInternal, "Arrow has no Snappy (" + codec.status().ToString() +
                                            "); install a pyarrow built with it");
  }
  return SnappyCodec(std::move(codec).ValueUnsafe());
}

Result<size_t> SnappyCodec::Compress(std::span<const uint8_t> input, uint8_t* out) const {
  const auto size = codec_->Compress(static_cast<int64_t>(input.size()), input.data(),
                                     static_cast<int64_t>(MaxCompressedSize(input.size())), out);
  if (!size.ok()) {
    return Status(ErrorCode::kInternal, "Snappy did not compress: " + size.status().ToString());
  }
  return static_cast<size_t>(*size);
}

Status SnappyCodec::Decompress(std::span<const uint8_t> input, std::span<uint8_t> out) const {
  const auto size = codec_->Decompress(static_cast<int64_t>(input.size()), input.data(),
                                       static_cast<int64_t>(out.size()), out.data());
  if (!size.ok() || *size != static_cast<int64_t>(out.size())) {
    return Status(ErrorCode::kCorruption,
                  "a Parquet page does not decompress to the size it states; remove the file, or "
                  "restore it from its source");
  }
  return Status();
}

}  // namespace barcache
