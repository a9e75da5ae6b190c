// Buffers, array trees, and their way into the C structs.
#include "frame/array_node.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace barcache {
namespace {

constexpr size_t kAlignment = 64;

// Where the buffer pointers of empty buffers point: readers may form, not follow, them.
alignas(kAlignment) constexpr uint8_t kEmptyBuffer[kAlignment] = {};

size_t RoundUp(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

struct ArrayOwner {
  std::vector<const void*> buffers;
  std::vector<ArrowArray> children;
  std::vector<ArrowArray*> child_pointers;
  ArrowArray dictionary{};
  std::shared_ptr<const void> memory;

  ~ArrayOwner() {
    for (ArrowArray& child : children) {
      if (child.release != nullptr) child.release(&child);
    }
    if (dictionary.release != nullptr) dictionary.release(&dictionary);
  }
};

void ReleaseArray(ArrowArray* array) {
  delete static_cast<ArrayOwner*>(array->private_data);
  array->release = nullptr;
}

// The nodes of one exported tree, in one block. Each node counts, because a consumer may move
// a child out and release it after its parent. CStruct: ArrowArray or ArrowSchema.
template <typename CStruct>
struct SharedBlock {
  std::atomic<int64_t> live_nodes{0};
  std::shared_ptr<const void> owner;
  std::vector<CStruct> nodes;
  std::vector<CStruct*> pointers;
};

template <typename CStruct>
void ReleaseShared(CStruct* node) {
  for (int64_t i = 0; i < node->n_children; ++i) {
    CStruct* child = node->children[i];
    if (child->release != nullptr) child->release(child);
  }
  if (node->dictionary != nullptr && node->dictionary->release != nullptr) {
    node->dictionary->release(node->dictionary);
  }
  auto* block = static_cast<SharedBlock<CStruct>*>(node->private_data);
  node->release = nullptr;
  if (block->live_nodes.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
}

template <typename CStruct>
void CountNodes(const CStruct& source, size_t* nodes, size_t* pointers) {
  *nodes += 1;
  *pointers += static_cast<size_t>(source.n_children);
  for (int64_t i = 0; i < source.n_children; ++i) {
    CountNodes(*source.children[i], nodes, pointers);
  }
  if (source.dictionary != nullptr) CountNodes(*source.dictionary, nodes, pointers);
}

// Appends `source` and what is below it to the block, which has the room reserved.
template <typename CStruct>
CStruct* CopyNode(const CStruct& source, SharedBlock<CStruct>* block) {
  block->nodes.push_back(source);
  CStruct* node = &block->nodes.back();
  node->release = &ReleaseShared<CStruct>;
  node->private_data = block;
  size_t first_pointer = block->pointers.size();
  block->pointers.resize(first_pointer + static_cast<size_t>(source.n_children));
  node->children = block->pointers.data() + first_pointer;
  for (int64_t i = 0; i < source.n_children; ++i) {
    node->children[i] = CopyNode(*source.children[i], block);
  }
  if (source.dictionary != nullptr) node->dictionary = CopyNode(*source.dictionary, block);
  return node;
}

template <typename CStruct>
void Share(const CStruct& source, std::shared_ptr<const void> owner, CStruct* out) {
  auto block = std::make_unique<SharedBlock<CStruct>>();
  size_t nodes = 0;
  size_t pointers = 0;
  CountNodes(source, &nodes, &pointers);
  block->owner = std::move(owner);
  block->nodes.reserve(nodes);
  block->pointers.reserve(pointers);
  block->live_nodes.store(static_cast<int64_t>(nodes), std::memory_order_relaxed);
  *out = *CopyNode(source, block.get());
  block.release();
}

}  // namespace

GrowingBuffer::GrowingBuffer(GrowingBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

GrowingBuffer& GrowingBuffer::operator=(GrowingBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

GrowingBuffer::~GrowingBuffer() { std::free(data_); }

void GrowingBuffer::Reserve(size_t capacity) {
  if (capacity <= capacity_) return;
  if (capacity > SIZE_MAX / 2) throw std::bad_alloc();
  size_t rounded = RoundUp(capacity);
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, rounded));
  if (data == nullptr) throw std::bad_alloc();
  if (size_ > 0) std::memcpy(data, data_, size_);
  std::free(data_);
  data_ = data;
  capacity_ = rounded;
}

void GrowingBuffer::Resize(size_t size) {
  if (size > capacity_) Reserve(capacity_ == 0 ? size : std::max(size, capacity_ / 2 * 3));
  size_ = size;
}

void GrowingBuffer::Append(const void* bytes, size_t size) {
  if (size == 0) return;
  size_t start = size_;
  Resize(start + size);
  std::memcpy(data_ + start, bytes, size);
}

void GrowingBuffer::Shrink() {
  constexpr size_t kWorthACopy = 4096;
  if (capacity_ - size_ < kWorthACopy || capacity_ - size_ < size_ / 8) return;
  GrowingBuffer smaller;
  smaller.Append(data_, size_);
  *this = std::move(smaller);
}

ArrayMemory::~ArrayMemory() {
  for (ArrowArray& producer : producers_) {
    if (producer.release != nullptr) producer.release(&producer);
  }
}

const void* ArrayMemory::Keep(GrowingBuffer buffer) {
  if (buffer.capacity() == 0) return kEmptyBuffer;
  const void* data = buffer.data();
  size_bytes_ += static_cast<int64_t>(buffer.capacity());
  buffers_.push_back(std::move(buffer));
  return data;
}

void ArrayMemory::KeepProducer(ArrowArray* array) {
  producers_.push_back(*array);
  array->release = nullptr;
}

void ToArrowArray(ArrayNode node, std::shared_ptr<const void> memory, ArrowArray* out) {
  auto owner = std::make_unique<ArrayOwner>();
  owner->buffers = std::move(node.buffers);
  owner->children.resize(node.children.size());
  for (size_t i = 0; i < node.children.size(); ++i) {
    ToArrowArray(std::move(node.children[i]), memory, &owner->children[i]);
    owner->child_pointers.push_back(&owner->children[i]);
  }
  if (node.dictionary) ToArrowArray(std::move(*node.dictionary), memory, &owner->dictionary);
  owner->memory = std::move(memory);
  *out = ArrowArray{};
  out->length = node.length;
  out->null_count = node.null_count;
  out->n_buffers = static_cast<int64_t>(owner->buffers.size());
  out->buffers = owner->buffers.data();
  out->n_children = static_cast<int64_t>(owner->children.size());
  out->children = owner->child_pointers.data();
  out->dictionary = node.dictionary ? &owner->dictionary : nullptr;
  out->private_data = owner.release();
  out->release = &ReleaseArray;
}

void ShareArray(const ArrowArray& source, std::shared_ptr<const void> owner, ArrowArray* out) {
  Share(source, std::move(owner), out);
}

void ShareSchema(const ArrowSchema& source, std::shared_ptr<const void> owner, ArrowSchema* out) {
  Share(source, std::move(owner), out);
}

}  // namespace barcache
