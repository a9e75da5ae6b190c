// Layout and life of a decoded frame's memory; see the header for the promises.
#include "frame/flat_frame.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "base/block_pool.h"
#include "base/failpoint.h"
#include "base/mutex.h"
#include "frame/bitmap.h"
#include "frame/frame_data.h"

namespace barcache {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kBuffersPerColumn = 3;  // Validity, values or views, variadic sizes.

// Memory of the pool, given back at the end.
class OwnedBlock {
 public:
  explicit OwnedBlock(size_t size) : block_(BlockPool::Frames().Take(size)) {}
  OwnedBlock(OwnedBlock&& other) noexcept : block_(other.Release()) {}
  OwnedBlock& operator=(OwnedBlock&&) = delete;
  ~OwnedBlock() { BlockPool::Frames().Give(block_); }
  // Null: there was no memory.
  uint8_t* data() const { return block_.data; }
  size_t size() const { return block_.size; }
  BlockPool::Block Release() { return std::exchange(block_, {}); }

 private:
  BlockPool::Block block_;
};

constexpr size_t RoundUp(size_t size) { return (size + kAlignment - 1) & ~(kAlignment - 1); }

// Buffers of a string column beyond the views.
struct StringBlocks {
  std::vector<OwnedBlock> blocks;
  std::vector<int64_t> sizes;
  std::vector<const void*> buffers;  // Made by Finish: validity, views, blocks, sizes.
};

}  // namespace

struct FlatFrameMemory {
  std::atomic<int64_t> references{1};
  BlockPool::Block block;  // This allocation itself.
  size_t num_columns = 0;
  int64_t num_rows = 0;
  std::atomic<int64_t> budget_left_bytes{0};
  std::atomic<int64_t> size_bytes{0};
  ArrowSchema* schemas = nullptr;  // [num_columns] each; inside the allocation.
  ArrowSchema** schema_pointers = nullptr;
  ArrowArray* arrays = nullptr;
  ArrowArray** array_pointers = nullptr;
  const void** buffers = nullptr;  // [num_columns * kBuffersPerColumn]
  const void* no_buffer = nullptr;
  int64_t no_sizes = 0;
  StringBlocks* strings = nullptr;  // [num_columns], made by the first AddBlock.
  Mutex strings_mutex;
};

namespace {

void Unref(FlatFrameMemory* memory) {
  if (memory->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  delete[] memory->strings;
  const BlockPool::Block block = memory->block;
  memory->~FlatFrameMemory();
  BlockPool::Frames().Give(block);
}

void ReleaseChildSchema(ArrowSchema* schema) {
  schema->release = nullptr;
  Unref(static_cast<FlatFrameMemory*>(schema->private_data));
}

void ReleaseSchema(ArrowSchema* schema) {
  for (int64_t i = 0; i < schema->n_children; ++i) {
    ArrowSchema* child = schema->children[i];
    if (child->release != nullptr) child->release(child);
  }
  ReleaseChildSchema(schema);
}

void ReleaseChildArray(ArrowArray* array) {
  array->release = nullptr;
  Unref(static_cast<FlatFrameMemory*>(array->private_data));
}

void ReleaseArray(ArrowArray* array) {
  for (int64_t i = 0; i < array->n_children; ++i) {
    ArrowArray* child = array->children[i];
    if (child->release != nullptr) child->release(child);
  }
  ReleaseChildArray(array);
}

// Hands out consecutive pieces of an allocation; with a null base it only adds up their sizes.
class Carver {
 public:
  explicit Carver(uint8_t* base) : base_(base) {}
  template <typename T>
  T* Take(size_t count) {
    offset_ = (offset_ + alignof(T) - 1) & ~(alignof(T) - 1);
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset_);
    offset_ += count * sizeof(T);
    return piece;
  }
  uint8_t* TakeBuffer(size_t size) {
    offset_ = RoundUp(offset_);
    uint8_t* piece = base_ == nullptr ? nullptr : base_ + offset_;
    offset_ += RoundUp(size);
    return piece;
  }
  const char* TakeText(std::string_view text) {
    char* piece = Take<char>(text.size() + 1);
    if (piece == nullptr) return nullptr;
    if (!text.empty()) std::memcpy(piece, text.data(), text.size());
    piece[text.size()] = '\0';
    return piece;
  }
  size_t size() const { return RoundUp(offset_); }

 private:
  uint8_t* base_;
  size_t offset_ = 0;
};

size_t DataSize(const FlatType& type, size_t rows) {
  return type.layout == FlatLayout::kBits ? BitmapSize(rows)
                                          : rows * static_cast<size_t>(type.memory_width);
}

void LayOutColumn(Carver& carver, const FlatColumnShape& shape, size_t rows,
                  FlatFrameMemory* memory, size_t column) {
  const char* name = carver.TakeText(shape.name);
  const char* format = carver.TakeText(shape.format);
  // Arrow reads 32-bit numbers out of it without aligning.
  const char* metadata = shape.metadata.empty() ? nullptr : carver.TakeText(shape.metadata);
  uint8_t* validity = shape.may_be_null ? carver.TakeBuffer(BitmapSize(rows)) : nullptr;
  uint8_t* data = carver.TakeBuffer(std::max<size_t>(DataSize(shape.type, rows), 1));
  if (memory == nullptr) return;

  ArrowSchema& schema = memory->schemas[column];
  schema = ArrowSchema{};
  schema.format = format;
  schema.name = name;
  schema.metadata = metadata;
  schema.flags = ARROW_FLAG_NULLABLE;
  schema.release = &ReleaseChildSchema;
  schema.private_data = memory;
  const void** buffers = memory->buffers + column * kBuffersPerColumn;
  buffers[0] = validity;
  buffers[1] = data;
  buffers[2] = &memory->no_sizes;
  ArrowArray& array = memory->arrays[column];
  array = ArrowArray{};
  array.length = memory->num_rows;
  array.n_buffers = shape.type.layout == FlatLayout::kView ? 3 : 2;
  array.buffers = buffers;
  array.release = &ReleaseChildArray;
  array.private_data = memory;
}

// One walk with a null base for the size, a second one to fill the allocation: one order of pieces
// for both.
size_t LayOut(uint8_t* base, const std::vector<FlatColumnShape>& shapes, size_t rows) {
  Carver carver(base);
  const size_t columns = shapes.size();
  FlatFrameMemory* memory = carver.Take<FlatFrameMemory>(1);
  if (memory != nullptr) new (memory) FlatFrameMemory();
  ArrowSchema* schemas = carver.Take<ArrowSchema>(columns);
  ArrowSchema** schema_pointers = carver.Take<ArrowSchema*>(columns);
  ArrowArray* arrays = carver.Take<ArrowArray>(columns);
  ArrowArray** array_pointers = carver.Take<ArrowArray*>(columns);
  const void** buffers = carver.Take<const void*>(columns * kBuffersPerColumn);
  if (memory != nullptr) {
    memory->num_columns = columns;
    memory->num_rows = static_cast<int64_t>(rows);
    memory->schemas = schemas;
    memory->schema_pointers = schema_pointers;
    memory->arrays = arrays;
    memory->array_pointers = array_pointers;
    memory->buffers = buffers;
    for (size_t i = 0; i < columns; ++i) {
      schema_pointers[i] = &schemas[i];
      array_pointers[i] = &arrays[i];
    }
  }
  for (size_t i = 0; i < columns; ++i) LayOutColumn(carver, shapes[i], rows, memory, i);
  return carver.size();
}

Status OverBudget(int64_t budget_bytes) {
  return Status(ErrorCode::kOverBudget, "the decoded frame would take more than " +
                                            std::to_string(budget_bytes) +
                                            " bytes; raise the limit for decoded frames, or read "
                                            "fewer columns");
}

// An upper bound of the bytes of all buffers, saturated far below any overflow.
int64_t EstimateBytes(const std::vector<FlatColumnShape>& shapes, int64_t num_rows) {
  constexpr int64_t kSaturated = int64_t{1} << 60;
  if (num_rows > (int64_t{1} << 40)) return kSaturated;
  int64_t bytes = 0;
  for (const FlatColumnShape& shape : shapes) {
    bytes += num_rows * (shape.type.memory_width + 1);
    if (bytes > kSaturated) return kSaturated;
  }
  return bytes;
}

}  // namespace

Result<FlatFrameBuilder> FlatFrameBuilder::Make(const std::vector<FlatColumnShape>& shapes,
                                                int64_t num_rows, int64_t budget_bytes) {
  if (Mutant("no_decode_budget")) budget_bytes = INT64_MAX;
  // The exact size below cannot overflow once this estimate is sane.
  if (EstimateBytes(shapes, num_rows) >= (int64_t{1} << 50)) return OverBudget(budget_bytes);
  const size_t rows = static_cast<size_t>(num_rows);
  const size_t size = LayOut(nullptr, shapes, rows);
  if (budget_bytes < 0 || size > static_cast<size_t>(budget_bytes)) return OverBudget(budget_bytes);
  OwnedBlock block(size);
  if (block.data() == nullptr) {
    return Status(ErrorCode::kOutOfMemory, "no memory for a frame of " + std::to_string(size) +
                                               " bytes; free some and try again");
  }
  LayOut(block.data(), shapes, rows);
  auto* memory = reinterpret_cast<FlatFrameMemory*>(block.data());
  memory->block = block.Release();
  memory->size_bytes = static_cast<int64_t>(memory->block.size);
  memory->budget_left_bytes = budget_bytes - static_cast<int64_t>(size);
  return FlatFrameBuilder(memory);
}

FlatFrameBuilder::~FlatFrameBuilder() {
  if (memory_ != nullptr) Unref(memory_);
}

uint8_t* FlatFrameBuilder::validity(size_t column) {
  return static_cast<uint8_t*>(const_cast<void*>(memory_->buffers[column * kBuffersPerColumn]));
}

uint8_t* FlatFrameBuilder::data(size_t column) {
  return static_cast<uint8_t*>(const_cast<void*>(memory_->buffers[column * kBuffersPerColumn + 1]));
}

void FlatFrameBuilder::set_null_count(size_t column, int64_t null_count) {
  memory_->arrays[column].null_count = null_count;
}

uint8_t* FlatFrameBuilder::AddBlock(size_t column, size_t size, int32_t* index) {
  const size_t rounded = RoundUp(std::max<size_t>(size, 1));
  const int64_t charge = static_cast<int64_t>(rounded);
  if (memory_->budget_left_bytes.fetch_sub(charge) < charge) return nullptr;
  {
    const MutexLock lock(memory_->strings_mutex);
    if (memory_->strings == nullptr) memory_->strings = new StringBlocks[memory_->num_columns];
  }
  StringBlocks& strings = memory_->strings[column];
  OwnedBlock block(rounded);
  if (block.data() == nullptr) throw std::bad_alloc();
  memory_->size_bytes += static_cast<int64_t>(block.size());
  *index = static_cast<int32_t>(strings.blocks.size());
  strings.sizes.push_back(static_cast<int64_t>(size));
  strings.blocks.push_back(std::move(block));
  return strings.blocks.back().data();
}

Frame FlatFrameBuilder::Finish() {
  FlatFrameMemory* memory = memory_;
  auto frame = std::make_shared<FrameData>();
  for (size_t i = 0; i < memory->num_columns; ++i) {
    ArrowArray& array = memory->arrays[i];
    const void** buffers = memory->buffers + i * kBuffersPerColumn;
    if (array.null_count == 0) buffers[0] = nullptr;
    if (memory->strings == nullptr || memory->strings[i].blocks.empty()) continue;
    StringBlocks& strings = memory->strings[i];
    strings.buffers.assign(buffers, buffers + 2);
    for (const OwnedBlock& block : strings.blocks) strings.buffers.push_back(block.data());
    strings.buffers.push_back(strings.sizes.data());
    array.buffers = strings.buffers.data();
    array.n_buffers = static_cast<int64_t>(strings.buffers.size());
  }
  const int64_t columns = static_cast<int64_t>(memory->num_columns);
  // One for each struct: both parents and every child.
  memory->references.store(2 + 2 * columns, std::memory_order_relaxed);
  memory_ = nullptr;
  frame->schema.format = "+s";
  frame->schema.name = "";
  frame->schema.n_children = columns;
  frame->schema.children = memory->schema_pointers;
  frame->schema.release = &ReleaseSchema;
  frame->schema.private_data = memory;
  frame->array.length = memory->num_rows;
  frame->array.n_buffers = 1;
  frame->array.n_children = columns;
  frame->array.buffers = &memory->no_buffer;
  frame->array.children = memory->array_pointers;
  frame->array.release = &ReleaseArray;
  frame->array.private_data = memory;
  frame->size_bytes = memory->size_bytes;
  return Frame(std::shared_ptr<const FrameData>(std::move(frame)));
}

}  // namespace barcache
