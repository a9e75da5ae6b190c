#include "python/polars_bridge.h"

#include <nanobind/stl/string.h>

#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fork.h"
#include "python/arrow_c_data.h"
#include "python/errors.h"
#include "python/gil.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

// Names of Polars that the hot path needs, looked up once. The references are never given back:
// nothing of ours may run while the interpreter is going down.
struct Polars {
  nb::handle data_frame_type;
  nb::handle native_clone;     // PyDataFrame.clone
  nb::handle native_slice;     // PyDataFrame.slice
  nb::handle series_of_array;  // PySeries.from_arrow_c_array
  nb::object df_name;          // "_df"
  nb::object unnest_name;      // "struct_unnest"
};

const Polars* the_polars = nullptr;

const Polars& ThePolars() { return *the_polars; }

// A C stream whose chunks are arrays of any type, seen as struct arrays with that one column:
// what a single Series exports.
struct OneColumnStream {
  ArrowArrayStream inner;
  std::string name;

  static OneColumnStream* Of(ArrowArrayStream* stream) {
    return static_cast<OneColumnStream*>(stream->private_data);
  }
};

// Owns the single child of a struct schema or array made here.
template <typename Node>
struct Wrapping {
  Node child;
  Node* children[1];
  const void* buffers[1] = {nullptr};
  std::string name;

  static void Release(Node* node) {
    auto* wrapping = static_cast<Wrapping*>(node->private_data);
    if (wrapping->child.release != nullptr) wrapping->child.release(&wrapping->child);
    delete wrapping;
    node->release = nullptr;
  }
};

int WrapSchema(ArrowArrayStream* stream, ArrowSchema* out) {
  OneColumnStream* self = OneColumnStream::Of(stream);
  auto wrapping = std::make_unique<Wrapping<ArrowSchema>>();
  wrapping->child = ArrowSchema{};
  const int error = self->inner.get_schema(&self->inner, &wrapping->child);
  if (error != 0) return error;
  wrapping->name = self->name;
  wrapping->child.name = wrapping->name.c_str();
  wrapping->children[0] = &wrapping->child;
  *out = ArrowSchema{};
  out->format = "+s";
  out->name = "";
  out->n_children = 1;
  out->children = wrapping->children;
  out->release = &Wrapping<ArrowSchema>::Release;
  out->private_data = wrapping.release();
  return 0;
}

int WrapNext(ArrowArrayStream* stream, ArrowArray* out) {
  OneColumnStream* self = OneColumnStream::Of(stream);
  auto wrapping = std::make_unique<Wrapping<ArrowArray>>();
  wrapping->child = ArrowArray{};
  const int error = self->inner.get_next(&self->inner, &wrapping->child);
  if (error != 0) return error;
  *out = ArrowArray{};
  if (wrapping->child.release == nullptr) return 0;  // The end of the stream.
  wrapping->children[0] = &wrapping->child;
  out->length = wrapping->child.length;
  out->n_buffers = 1;
  out->buffers = wrapping->buffers;
  out->n_children = 1;
  out->children = wrapping->children;
  out->release = &Wrapping<ArrowArray>::Release;
  out->private_data = wrapping.release();
  return 0;
}

const char* InnerError(ArrowArrayStream* stream) {
  OneColumnStream* self = OneColumnStream::Of(stream);
  return self->inner.get_last_error(&self->inner);
}

void ReleaseStream(ArrowArrayStream* stream) {
  OneColumnStream* self = OneColumnStream::Of(stream);
  if (self->inner.release != nullptr) self->inner.release(&self->inner);
  delete self;
  stream->release = nullptr;
}

template <typename Struct>
Struct* FromCapsule(nb::handle capsule, const char* name) {
  void* pointer = PyCapsule_GetPointer(capsule.ptr(), name);
  if (pointer == nullptr) throw nb::python_error();
  return static_cast<Struct*>(pointer);
}

Frame ImportStreamObject(nb::handle object, ImportMode mode) {
  const nb::object capsule = object.attr("__arrow_c_stream__")();
  auto* stream = FromCapsule<ArrowArrayStream>(capsule, "arrow_array_stream");
  auto result = [&] {
    const GilRelease unlocked;
    return Frame::FromStream(stream, mode);
  }();
  return Unwrap(std::move(result));
}

// In a forked child the threads of Polars are gone, and the stream of a whole DataFrame may wait
// for them. Single Series need none.
Frame ImportSeriesBySeries(nb::handle data_frame) {
  struct Column {
    ArrowSchema struct_schema{};
    ArrowArray struct_array{};
  };
  std::vector<Frame> columns;
  for (nb::handle series : data_frame.attr("get_columns")()) {
    const nb::object capsule = series.attr("__arrow_c_stream__")();
    auto* source = FromCapsule<ArrowArrayStream>(capsule, "arrow_array_stream");
    ArrowArrayStream stream{};
    stream.get_schema = &WrapSchema;
    stream.get_next = &WrapNext;
    stream.get_last_error = &InnerError;
    stream.release = &ReleaseStream;
    stream.private_data = new OneColumnStream{*source, nb::cast<std::string>(series.attr("name"))};
    source->release = nullptr;  // Moved.
    columns.push_back(Unwrap(Frame::FromStream(&stream, ImportMode::kShare)));
  }
  std::vector<std::unique_ptr<Column>> exported;
  std::vector<ArrowSchema*> schemas;
  std::vector<ArrowArray*> arrays;
  for (const Frame& column : columns) {
    auto item = std::make_unique<Column>();
    column.ExportArray(&item->struct_schema, &item->struct_array);
    schemas.push_back(item->struct_schema.children[0]);
    arrays.push_back(item->struct_array.children[0]);
    exported.push_back(std::move(item));
  }
  auto result = Frame::FromColumns(std::move(schemas), std::move(arrays), ImportMode::kCopy);
  for (const auto& item : exported) {
    if (item->struct_schema.release != nullptr) item->struct_schema.release(&item->struct_schema);
    if (item->struct_array.release != nullptr) item->struct_array.release(&item->struct_array);
  }
  return Unwrap(std::move(result));
}

template <typename Struct>
void DeleteCapsule(PyObject* capsule) {
  const char* name = PyCapsule_GetName(capsule);
  auto* item = static_cast<Struct*>(PyCapsule_GetPointer(capsule, name));
  if (item == nullptr) return;
  if (item->release != nullptr) item->release(item);
  delete item;
}

template <typename Struct>
nb::object MakeCapsule(std::unique_ptr<Struct> item, const char* name) {
  PyObject* capsule = PyCapsule_New(item.get(), name, &DeleteCapsule<Struct>);
  if (capsule == nullptr) {
    if (item->release != nullptr) item->release(item.get());
    throw nb::python_error();
  }
  (void)item.release();
  return nb::steal(capsule);
}

// A place that has had the offset for decades: Polars has zones of whole hours, and named ones.
constexpr std::pair<const char*, const char*> kPlaces[] = {
    {"+04:30", "Asia/Kabul"},        {"+05:30", "Asia/Kolkata"},    {"+05:45", "Asia/Kathmandu"},
    {"+06:30", "Asia/Yangon"},       {"+08:45", "Australia/Eucla"}, {"+09:30", "Australia/Darwin"},
    {"-09:30", "Pacific/Marquesas"},
};

// "tsu:+05:30" as "tsu:Asia/Kolkata", which Polars knows; any other offset with minutes as UTC. The
// moments are the same. Every other format as it is. What is returned lives for ever.
const char* FormatForPolars(const char* format) {
  static const auto* const known = [] {
    auto formats = std::make_unique<std::map<std::string, std::string>>();
    for (const char* unit : {"tsm:", "tsu:", "tsn:"}) {
      (*formats)[unit] = std::string(unit) + "UTC";
      for (const auto& [offset, place] : kPlaces) {
        (*formats)[std::string(unit) + offset] = std::string(unit) + place;
      }
    }
    return formats.release();
  }();
  const std::string_view text(format);
  constexpr size_t kUnitSize = 4;
  const bool is_offset = text.size() == kUnitSize + 6 && text.starts_with("ts") &&
                         (text[kUnitSize] == '+' || text[kUnitSize] == '-');
  if (!is_offset || text.ends_with(":00")) return format;
  auto found = known->find(format);
  if (found == known->end()) found = known->find(std::string(text.substr(0, kUnitSize)));
  return found == known->end() ? format : found->second.c_str();
}

void NameZonesForPolars(ArrowSchema* schema) {
  schema->format = FormatForPolars(schema->format);
  for (int64_t i = 0; i < schema->n_children; ++i) NameZonesForPolars(schema->children[i]);
  if (schema->dictionary != nullptr) NameZonesForPolars(schema->dictionary);
}

struct ArrowExport {
  Frame frame;
  bool is_for_polars = false;

  nb::tuple Array() const {
    auto schema = std::make_unique<ArrowSchema>();
    auto array = std::make_unique<ArrowArray>();
    frame.ExportArray(schema.get(), array.get());
    if (is_for_polars) NameZonesForPolars(schema.get());
    nb::object schema_capsule = MakeCapsule(std::move(schema), "arrow_schema");
    nb::object array_capsule = MakeCapsule(std::move(array), "arrow_array");
    return nb::make_tuple(schema_capsule, array_capsule);
  }

  nb::object Stream() const {
    auto stream = std::make_unique<ArrowArrayStream>();
    frame.ExportStream(stream.get());
    return MakeCapsule(std::move(stream), "arrow_array_stream");
  }
};

// DataFrame._from_pydf without the interpreter: a bare object with its one attribute set. Takes the
// reference; null: a Python exception is set.
nb::object Wrapped(PyObject* native) {
  if (native == nullptr) throw nb::python_error();
  const nb::object owned = nb::steal(native);
  const Polars& polars = ThePolars();
  PyObject* data_frame =
      PyType_GenericAlloc(reinterpret_cast<PyTypeObject*>(polars.data_frame_type.ptr()), 0);
  if (data_frame == nullptr) throw nb::python_error();
  nb::object result = nb::steal(data_frame);
  if (PyObject_GenericSetAttr(data_frame, polars.df_name.ptr(), native) != 0) {
    throw nb::python_error();
  }
  return result;
}

}  // namespace

void PreparePolars() {
  if (the_polars != nullptr) return;
  auto names = std::make_unique<Polars>();
  const nb::module_ module = nb::module_::import_("polars");
  names->data_frame_type = module.attr("DataFrame").inc_ref();
  const nb::object empty = names->data_frame_type();
  names->native_clone = empty.attr("_df").type().attr("clone").inc_ref();
  names->native_slice = empty.attr("_df").type().attr("slice").inc_ref();
  const nb::object series = module.attr("Series")();
  names->series_of_array = series.attr("_s").type().attr("from_arrow_c_array").inc_ref();
  names->df_name = nb::str("_df");
  names->unnest_name = nb::str("struct_unnest");
  the_polars = names.release();
}

Frame FrameOfPolars(nb::handle data_frame) {
  if (InForkedChild()) return ImportSeriesBySeries(data_frame);
  return ImportStreamObject(data_frame, ImportMode::kCopy);
}

Frame FrameOfArrow(nb::handle object) {
  if (nb::hasattr(object, "__arrow_c_stream__")) {
    return ImportStreamObject(object, ImportMode::kCopy);
  }
  const nb::tuple capsules = nb::cast<nb::tuple>(object.attr("__arrow_c_array__")());
  auto* schema = FromCapsule<ArrowSchema>(capsules[0], "arrow_schema");
  auto* array = FromCapsule<ArrowArray>(capsules[1], "arrow_array");
  return Unwrap(Frame::FromArray(schema, array, ImportMode::kCopy));
}

nb::object NativeDataFrame(const Frame& frame) {
  const Polars& polars = ThePolars();
  if (frame.num_columns() == 0) return polars.data_frame_type().attr("_df");
  const nb::object series = polars.series_of_array(nb::cast(ArrowExport{frame, true}));
  return series.attr(polars.unnest_name)();
}

nb::object WrapClone(PyObject* native) {
  return Wrapped(PyObject_Vectorcall(ThePolars().native_clone.ptr(), &native, 1, nullptr));
}

nb::object WrapSlice(PyObject* native, int64_t offset, int64_t length) {
  const nb::int_ begin(offset);
  const nb::int_ count(length);
  PyObject* arguments[3] = {native, begin.ptr(), count.ptr()};
  return Wrapped(PyObject_Vectorcall(ThePolars().native_slice.ptr(), arguments, 3, nullptr));
}

std::shared_ptr<void> MakeCompanion(nb::handle object) {
  return std::shared_ptr<void>(object.inc_ref().ptr(), [](void* pointer) {
    if (!nb::is_alive()) return;  // The process is ending: the kernel takes it all.
    const GilAcquire gil;
    Py_DECREF(static_cast<PyObject*>(pointer));
  });
}

nb::object ArrowExportOf(const Frame& frame) { return nb::cast(ArrowExport{frame}); }

void BindArrowExport(nb::module_& module) {
  nb::class_<ArrowExport>(module, "ArrowExport", "A frame as an Arrow producer; copies nothing.")
      .def(
          "__arrow_c_array__", [](const ArrowExport& self, nb::handle) { return self.Array(); },
          nb::arg("requested_schema") = nb::none(),
          nb::sig("def __arrow_c_array__(self, requested_schema: object | None = None) "
                  "-> tuple[object, object]"))
      .def(
          "__arrow_c_stream__", [](const ArrowExport& self, nb::handle) { return self.Stream(); },
          nb::arg("requested_schema") = nb::none());
}

}  // namespace barcache::python
