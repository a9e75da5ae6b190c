// ArrayNode: one node of an Arrow array tree while it is put together, and the memory under it.
//
// Thread safety: values; an exported ArrowArray may be released on any thread.
#pragma once

#include <arrow/c/abi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace barcache {

// A growing buffer, 64-byte aligned, not zero-filled. Throws std::bad_alloc.
class GrowingBuffer {
 public:
  GrowingBuffer() = default;
  GrowingBuffer(GrowingBuffer&& other) noexcept;
  GrowingBuffer& operator=(GrowingBuffer&& other) noexcept;
  GrowingBuffer(const GrowingBuffer&) = delete;
  GrowingBuffer& operator=(const GrowingBuffer&) = delete;
  ~GrowingBuffer();

  // Makes room for exactly `capacity` bytes, keeping the content.
  void Reserve(size_t capacity);
  // Sets the size, keeping the content; what is new is undefined. The first growth is exact,
  // later ones by half.
  void Resize(size_t size);
  void Append(const void* bytes, size_t size);
  // Gives back what was reserved and not used, where that is worth a copy.
  void Shrink();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  template <typename T>
  T* As() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Memory that the nodes of one frame point into: buffers of our own and arrays of the producer.
class ArrayMemory {
 public:
  // `keep_alive`, if any, goes last: the pool that the producer's arrays return to.
  explicit ArrayMemory(std::shared_ptr<const void> keep_alive = nullptr)
      : keep_alive_(std::move(keep_alive)) {}
  ArrayMemory(const ArrayMemory&) = delete;
  ArrayMemory& operator=(const ArrayMemory&) = delete;
  ~ArrayMemory();

  // Keeps the buffer; its address, never null (an empty buffer points at a static pad).
  const void* Keep(GrowingBuffer buffer);
  // Keeps the producer's array alive. Moves out of `array`.
  void KeepProducer(ArrowArray* array);
  // Producer buffers are counted by whoever shares them.
  void CountShared(int64_t bytes) { size_bytes_ += bytes; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  std::shared_ptr<const void> keep_alive_;
  std::vector<GrowingBuffer> buffers_;
  std::vector<ArrowArray> producers_;
  int64_t size_bytes_ = 0;
};

struct ArrayNode {
  int64_t length = 0;
  int64_t null_count = 0;
  std::vector<const void*> buffers;
  std::vector<ArrayNode> children;
  std::unique_ptr<ArrayNode> dictionary;
};

// A C array over `node`; `memory` lives until all of its nodes are released.
void ToArrowArray(ArrayNode node, std::shared_ptr<const void> memory, ArrowArray* out);

// A C array, or schema, that shares what `source` points at: one allocation a tree, `owner`
// keeps `source` and its buffers alive. Children may be moved out, as the interface allows.
void ShareArray(const ArrowArray& source, std::shared_ptr<const void> owner, ArrowArray* out);
void ShareSchema(const ArrowSchema& source, std::shared_ptr<const void> owner, ArrowSchema* out);

}  // namespace barcache
