// FrameData: what a Frame handle shares. Internal to the frame room.
//
// The table is a struct array of the Arrow C data interface, owned here (both structs are
// released by the destructor). Normalised on import, so that the codecs need not ask:
//   * the struct: format "+s", offset 0, null_count 0, no validity buffer;
//   * every node: offset 0; null_count known (never -1); no validity buffer when it is 0;
//   * strings and binaries are views ("vu", "vz"; buffers: validity, views, data..., sizes);
//   * every buffer 64-byte aligned, or read-only memory of the producer (ImportMode::kShare).
//
// Thread safety: immutable after construction.
#pragma once

#include <arrow/c/abi.h>

#include <cstdint>
#include <string>

namespace barcache {

struct FrameData {
  FrameData() = default;
  FrameData(const FrameData&) = delete;
  FrameData& operator=(const FrameData&) = delete;
  ~FrameData() {
    if (array.release != nullptr) array.release(&array);
    if (schema.release != nullptr) schema.release(&schema);
  }

  ArrowSchema schema{};
  ArrowArray array{};
  int64_t size_bytes = 0;
  bool is_shared = false;  // Some of the memory is the producer's.
  std::string origin;
};

}  // namespace barcache
