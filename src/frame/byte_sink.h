// ByteSink: bytes that grow at the end, never zero-filled; the output of the encoders and the
// scratch memory of the decoders. From 128 KB on in recycled memory: the first touch of fresh pages
// would cost more than what is written to them.
//
// Thread safety: none; one owner at a time.
// Errors: throws std::bad_alloc, which the doors of the codec turn into kOutOfMemory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "base/block_pool.h"

namespace barcache {

class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  ByteSink(ByteSink&& other) noexcept
      : data_(other.data_), size_(other.size_), capacity_(other.capacity_) {
    other.data_ = nullptr;
    other.size_ = other.capacity_ = 0;
  }
  ByteSink& operator=(ByteSink&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~ByteSink() { Release(data_, capacity_); }

  // Room for `extra` bytes behind the end; call Advance with what was written there.
  uint8_t* Reserve(size_t extra) {
    if (capacity_ - size_ < extra) Grow(extra);
    return data_ + size_;
  }
  // REQUIRES: at most what Reserve made room for.
  void Advance(size_t size) { size_ += size; }
  void Append(const void* bytes, size_t size) {
    uint8_t* end = Reserve(size);
    if (size > 0) std::memcpy(end, bytes, size);
    size_ += size;
  }
  void AppendByte(uint8_t byte) {
    *Reserve(1) = byte;
    ++size_;
  }
  void Clear() { size_ = 0; }

  uint8_t* data() { return data_; }
  size_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  // From here on the allocator gives back to the kernel what is freed, and gets it anew each time.
  static constexpr size_t kRecycledBytes = 128 << 10;

  void Grow(size_t extra) {
    if (extra > SIZE_MAX / 4 || size_ > SIZE_MAX / 4) throw std::bad_alloc();
    size_t capacity = size_ + extra;
    if (capacity < 2 * size_) capacity = 2 * size_;
    if (capacity < 64) capacity = 64;
    if (capacity < kRecycledBytes) {
      void* data = std::realloc(data_, capacity);
      if (data == nullptr) throw std::bad_alloc();
      data_ = static_cast<uint8_t*>(data);
    } else {
      // Powers of two, so that the next frame of about this size finds them again.
      const size_t size = std::max(std::bit_ceil(capacity), BlockPool::kLargeBytes);
      const BlockPool::Block block = BlockPool::Files().Take(size);
      if (block.data == nullptr) throw std::bad_alloc();
      if (size_ > 0) std::memcpy(block.data, data_, size_);
      Release(data_, capacity_);
      data_ = block.data;
      capacity = block.size;
    }
    capacity_ = capacity;
  }

  static void Release(uint8_t* data, size_t capacity) {
    if (capacity < BlockPool::kLargeBytes) {
      std::free(data);
    } else {
      BlockPool::Files().Give({data, capacity});
    }
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace barcache
