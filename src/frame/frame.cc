// Frame: the doors of import and export.
#include "barcache/frame.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "frame/array_node.h"
#include "frame/canonical_schema.h"
#include "frame/frame_data.h"
#include "frame/frame_import.h"
#include "frame/frame_slices.h"

namespace barcache {
namespace {

// Moves a C struct here and releases it at the end.
template <typename CStruct>
class Owned {
 public:
  explicit Owned(CStruct* source) : value_(*source) { source->release = nullptr; }
  Owned() : value_{} {}
  Owned(Owned&& other) noexcept : value_(other.value_) { other.value_.release = nullptr; }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (value_.release != nullptr) value_.release(&value_);
  }
  CStruct* get() { return &value_; }
  CStruct* operator->() { return &value_; }
  CStruct& operator*() { return value_; }

 private:
  CStruct value_;
};

// Arrays that were handed over; whatever was not moved out is released at the end.
struct OwnedArrays {
  std::vector<ArrowArray> arrays;
  ~OwnedArrays() {
    for (ArrowArray& array : arrays) {
      if (array.release != nullptr) array.release(&array);
    }
  }
};

Status NoMemory() {
  return Status(ErrorCode::kOutOfMemory,
                "not enough memory to take over the frame; free some and try again");
}

// Runs `import` and turns what it throws into a Status.
template <typename Import>
Result<Frame> Guarded(Import import) {
  try {
    return import();
  } catch (const std::bad_alloc&) {
    return NoMemory();
  } catch (const std::exception& error) {
    return Status(ErrorCode::kInternal,
                  std::string("taking over the frame failed: ") + error.what());
  }
}

Status StreamFailed(ArrowArrayStream* stream, int error) {
  const char* message = stream->get_last_error(stream);
  if (error == ENOMEM)
    return Status(ErrorCode::kOutOfMemory,
                  "the Arrow stream ran out of memory; free some and try again");
  return Status(ErrorCode::kInvalidArgument, std::string("the Arrow stream failed: ") +
                                                 (message == nullptr ? "no message" : message));
}

// Columns that are large are shared at first, and then copied side by side into recycled memory.
Result<Frame> Take(const ArrowSchema& schema, const SchemaNode& table,
                   std::vector<ArrowArray>& batches, ImportMode mode) {
  BARCACHE_ASSIGN_OR_RETURN(Frame frame, ImportBatches(schema, table, batches, ImportMode::kShare));
  if (mode == ImportMode::kShare || !frame.data()->is_shared) return frame;
  Result<Frame> copied = JoinSlices({FrameSlice{frame, 0, frame.num_rows()}});
  return copied.status().code() == ErrorCode::kOutOfMemory ? NoMemory() : std::move(copied);
}

Result<Frame> ReadStream(ArrowArrayStream* stream, ImportMode mode) {
  Owned<ArrowSchema> schema;
  if (int error = stream->get_schema(stream, schema.get()); error != 0) {
    return StreamFailed(stream, error);
  }
  // Refused before the rows are fetched.
  BARCACHE_ASSIGN_OR_RETURN(SchemaNode table, CanonicalTable(*schema, SchemaSource::kProducer));
  OwnedArrays batches;
  while (true) {
    ArrowArray batch{};
    if (int error = stream->get_next(stream, &batch); error != 0) {
      return StreamFailed(stream, error);
    }
    if (batch.release == nullptr) break;
    try {
      batches.arrays.push_back(batch);
    } catch (...) {
      batch.release(&batch);
      throw;
    }
  }
  return Take(*schema, table, batches.arrays, mode);
}

// What a stream of one chunk has left to say.
struct StreamState {
  std::shared_ptr<const FrameData> data;
  bool done = false;
};

int StreamGetSchema(ArrowArrayStream* stream, ArrowSchema* out) {
  const auto* state = static_cast<StreamState*>(stream->private_data);
  try {
    ShareSchema(state->data->schema, state->data, out);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  return 0;
}

int StreamGetNext(ArrowArrayStream* stream, ArrowArray* out) {
  auto* state = static_cast<StreamState*>(stream->private_data);
  *out = ArrowArray{};
  if (state->done) return 0;
  try {
    ShareArray(state->data->array, state->data, out);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  state->done = true;
  return 0;
}

const char* StreamGetLastError(ArrowArrayStream*) { return "not enough memory"; }

void StreamRelease(ArrowArrayStream* stream) {
  delete static_cast<StreamState*>(stream->private_data);
  stream->release = nullptr;
}

}  // namespace

Result<Frame> Frame::FromStream(ArrowArrayStream* stream, ImportMode mode) {
  Owned<ArrowArrayStream> owned(stream);
  if (owned->release == nullptr) {
    return Status(ErrorCode::kInvalidArgument,
                  "the Arrow stream was consumed before: ask its producer for a new one");
  }
  return Guarded([&] { return ReadStream(owned.get(), mode); });
}

Result<Frame> Frame::FromArray(ArrowSchema* schema, ArrowArray* array, ImportMode mode) {
  Owned<ArrowSchema> owned_schema(schema);
  OwnedArrays batches;
  return Guarded([&]() -> Result<Frame> {
    Owned<ArrowArray> owned_array(array);
    if (owned_schema->release == nullptr || owned_array->release == nullptr) {
      return Status(ErrorCode::kInvalidArgument,
                    "the Arrow array was consumed before: ask its producer for a new one");
    }
    batches.arrays.push_back(*owned_array);
    owned_array->release = nullptr;
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode table,
                              CanonicalTable(*owned_schema, SchemaSource::kProducer));
    return Take(*owned_schema, table, batches.arrays, mode);
  });
}

Result<Frame> Frame::FromColumns(std::vector<ArrowSchema*> schemas, std::vector<ArrowArray*> arrays,
                                 ImportMode mode) {
  std::vector<Owned<ArrowSchema>> owned_schemas;
  std::vector<Owned<ArrowArray>> owned_arrays;
  owned_schemas.reserve(schemas.size());
  owned_arrays.reserve(arrays.size());
  for (ArrowSchema* schema : schemas) owned_schemas.emplace_back(schema);
  for (ArrowArray* array : arrays) owned_arrays.emplace_back(array);
  if (schemas.size() != arrays.size()) {
    return Status(ErrorCode::kInternal, "columns and schemas differ in number");
  }
  return Guarded([&]() -> Result<Frame> {
    SchemaNode table;
    table.format = "+s";
    table.flags = 0;
    std::vector<ColumnPieces> columns;
    int64_t num_rows = 0;
    for (size_t i = 0; i < owned_arrays.size(); ++i) {
      ArrowArray* array = owned_arrays[i].get();
      BARCACHE_ASSIGN_OR_RETURN(SchemaNode column,
                                CanonicalColumn(*owned_schemas[i], SchemaSource::kProducer));
      if (array->release == nullptr) {
        return Status(ErrorCode::kInvalidArgument,
                      "column '" + column.name + "' was consumed before");
      }
      table.children.push_back(std::move(column));
      if (i == 0) num_rows = array->length;
      if (array->length != num_rows) {
        return Status(ErrorCode::kInvalidArgument, "column '" + table.children.back().name +
                                                       "' has " + std::to_string(array->length) +
                                                       " rows, the first one " +
                                                       std::to_string(num_rows));
      }
      columns.push_back({owned_schemas[i].get(), {{array, array->offset, array->length}}});
    }
    BARCACHE_RETURN_IF_ERROR(CheckDistinctNames(table, ""));
    return BuildFrame(table, columns, num_rows, mode);
  });
}

Result<Frame> Frame::Select(const std::vector<std::string>& columns) const {
  const std::vector<std::string> known = column_names();
  std::vector<Owned<ArrowSchema>> schemas(columns.size());
  std::vector<Owned<ArrowArray>> arrays(columns.size());
  std::vector<ArrowSchema*> schema_pointers;
  std::vector<ArrowArray*> array_pointers;
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto found = std::find(known.begin(), known.end(), columns[i]);
    if (found == known.end()) {
      std::string names;
      for (const std::string& name : known) names += (names.empty() ? "'" : ", '") + name + "'";
      return Status(ErrorCode::kColumnNotFound, "the frame has no column '" + columns[i] +
                                                    "'; choose among its columns: " + names);
    }
    const auto position = found - known.begin();
    ShareSchema(*data_->schema.children[position], data_, schemas[i].get());
    ShareArray(*data_->array.children[position], data_, arrays[i].get());
    schema_pointers.push_back(schemas[i].get());
    array_pointers.push_back(arrays[i].get());
  }
  BARCACHE_ASSIGN_OR_RETURN(
      const Frame selected,
      FromColumns(std::move(schema_pointers), std::move(array_pointers), ImportMode::kShare));
  return origin().empty() ? selected : selected.WithOrigin(origin());
}

void Frame::ExportArray(ArrowSchema* schema, ArrowArray* array) const {
  ShareSchema(data_->schema, data_, schema);
  try {
    ShareArray(data_->array, data_, array);
  } catch (...) {
    schema->release(schema);
    throw;
  }
}

void Frame::ExportStream(ArrowArrayStream* stream) const {
  auto state = std::make_unique<StreamState>();
  state->data = data_;
  *stream = ArrowArrayStream{};
  stream->get_schema = &StreamGetSchema;
  stream->get_next = &StreamGetNext;
  stream->get_last_error = &StreamGetLastError;
  stream->release = &StreamRelease;
  stream->private_data = state.release();
}

int64_t Frame::num_rows() const { return data_ ? data_->array.length : 0; }

int64_t Frame::num_columns() const { return data_ ? data_->array.n_children : 0; }

std::vector<std::string> Frame::column_names() const {
  std::vector<std::string> names;
  if (!data_) return names;
  names.reserve(static_cast<size_t>(data_->schema.n_children));
  for (int64_t i = 0; i < data_->schema.n_children; ++i) {
    names.emplace_back(data_->schema.children[i]->name);
  }
  return names;
}

int64_t Frame::size_bytes() const { return data_ ? data_->size_bytes : 0; }

const std::string& Frame::origin() const {
  static const std::string kNone;
  return data_ ? data_->origin : kNone;
}

Frame Frame::WithOrigin(std::string origin) const {
  if (!data_) return Frame();
  auto copy = std::make_shared<FrameData>();
  copy->size_bytes = data_->size_bytes;
  copy->origin = std::move(origin);
  ShareSchema(data_->schema, data_, &copy->schema);
  ShareArray(data_->array, data_, &copy->array);
  return Frame(std::move(copy));
}

}  // namespace barcache
