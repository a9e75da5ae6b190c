// Frames that are refused, and producers that break their contract.
#include <arrow/c/abi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "barcache/frame.h"
#include "frame/frame_sample.h"
#include "frame/schema_node.h"

namespace barcache {
namespace {

using frame_sample::Json;
using frame_sample::Must;
using frame_sample::OneColumn;

SchemaNode Leaf(const std::string& format, const std::string& name = "item") {
  SchemaNode node;
  node.format = format;
  node.name = name;
  return node;
}

SchemaNode Parent(const std::string& format, const std::string& name, SchemaNode child) {
  SchemaNode node = Leaf(format, name);
  node.children.push_back(std::move(child));
  return node;
}

// A stream that says its schema and must not be asked for rows.
struct SchemaOnly {
  SchemaNode table;
  int next_calls = 0;
  int releases = 0;
};

ArrowArrayStream StreamOf(SchemaOnly* state) {
  ArrowArrayStream stream{};
  stream.private_data = state;
  stream.get_schema = [](ArrowArrayStream* self, ArrowSchema* out) {
    ToArrowSchema(static_cast<SchemaOnly*>(self->private_data)->table, out);
    return 0;
  };
  stream.get_next = [](ArrowArrayStream* self, ArrowArray*) {
    ++static_cast<SchemaOnly*>(self->private_data)->next_calls;
    return EIO;
  };
  stream.get_last_error = [](ArrowArrayStream*) { return "disk on fire"; };
  stream.release = [](ArrowArrayStream* self) {
    ++static_cast<SchemaOnly*>(self->private_data)->releases;
    self->release = nullptr;
  };
  return stream;
}

std::string RefusalOf(SchemaNode column) {
  SchemaOnly state{Parent("+s", "", std::move(column))};
  ArrowArrayStream stream = StreamOf(&state);
  Status status = Frame::FromStream(&stream, ImportMode::kShare).status();
  EXPECT_EQ(status.code(), ErrorCode::kUnsupportedFrame) << status.ToString();
  EXPECT_EQ(state.next_calls, 0);
  EXPECT_EQ(state.releases, 1);
  return status.message();
}

TEST(Refuses, ByTypeNamingColumnAndType) {
  EXPECT_NE(RefusalOf(Leaf("w:8", "obj")).find("column 'obj' is of type Object"),
            std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("_pli128", "n")).find("Int128"), std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("_plu128", "n")).find("UInt128"), std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("d:40,2,256", "n")).find("Decimal"), std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("tiM", "n")).find("interval"), std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("what", "n")).find("unknown Arrow format 'what'"), std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+w:0", "n", Leaf("c"))).find("Array(width 0)"), std::string::npos);
  EXPECT_NE(RefusalOf(Leaf("+s", "n")).find("Struct without fields"), std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+ud:0", "n", Leaf("c"))).find("union"), std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+r", "n", Leaf("c"))).find("run-end"), std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+vl", "n", Leaf("c"))).find("list view"), std::string::npos);
}

TEST(Refuses, Recursively) {
  EXPECT_NE(RefusalOf(Parent("+L", "a", Leaf("w:8"))).find("column 'a[]'"), std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+s", "a", Parent("+L", "b", Leaf("_pli128")))).find("'a.b[]'"),
            std::string::npos);
  EXPECT_NE(RefusalOf(Parent("+w:2", "a", Parent("+w:0", "", Leaf("c")))).find("'a[]'"),
            std::string::npos);
  SchemaNode map = Parent("+m", "a", Leaf("+s", "entries"));
  map.children[0].children.push_back(Leaf("vu", "key"));
  map.children[0].children.push_back(Leaf("w:8", "value"));
  EXPECT_NE(RefusalOf(std::move(map)).find("'a.value'"), std::string::npos);
  SchemaNode deep = Leaf("c");
  for (int i = 0; i < 100; ++i) deep = Parent("+L", "item", std::move(deep));
  EXPECT_NE(RefusalOf(std::move(deep)).find("levels"), std::string::npos);
}

TEST(Refuses, ExtensionTypesByName) {
  SchemaNode node = Leaf("l", "id");
  node.metadata = EncodeMetadata({{"ARROW:extension:name", "my.type"}});
  EXPECT_NE(RefusalOf(std::move(node)).find("Extension('my.type')"), std::string::npos);
}

TEST(Refuses, DuplicateNamesAtEveryLevel) {
  SchemaNode pair = Parent("+s", "p", Leaf("c", "x"));
  pair.children.push_back(Leaf("c", "x"));
  EXPECT_NE(RefusalOf(std::move(pair)).find("struct column 'p' has two columns named 'x'"),
            std::string::npos);
  SchemaOnly state{Parent("+s", "", Leaf("c", "x"))};
  state.table.children.push_back(Leaf("l", "x"));
  ArrowArrayStream stream = StreamOf(&state);
  Status status = Frame::FromStream(&stream, ImportMode::kCopy).status();
  EXPECT_EQ(status.code(), ErrorCode::kUnsupportedFrame);
  EXPECT_NE(status.message().find("two columns named 'x'"), std::string::npos);
}

TEST(Refuses, RowsWithoutColumns) {
  auto batch = arrow::RecordBatch::Make(arrow::schema(arrow::FieldVector{}), 3,
                                        std::vector<std::shared_ptr<arrow::Array>>{});
  EXPECT_EQ(frame_sample::Import(*batch).status().code(), ErrorCode::kUnsupportedFrame);
}

TEST(Refuses, AStructArrayWithNullRows) {
  auto type = arrow::struct_({arrow::field("x", arrow::int8())});
  ArrowSchema schema{};
  ArrowArray array{};
  ASSERT_TRUE(arrow::ExportArray(*Json(type, "[[1], null]"), &array, &schema).ok());
  EXPECT_EQ(Frame::FromArray(&schema, &array, ImportMode::kCopy).status().code(),
            ErrorCode::kInvalidArgument);
}

TEST(Refuses, WhatIsNoTable) {
  ArrowSchema schema{};
  ArrowArray array{};
  ASSERT_TRUE(arrow::ExportArray(*Json(arrow::int8(), "[1]"), &array, &schema).ok());
  EXPECT_EQ(Frame::FromArray(&schema, &array, ImportMode::kCopy).status().code(),
            ErrorCode::kInvalidArgument);
}

TEST(BrokenProducers, AStreamThatFails) {
  SchemaOnly state{Parent("+s", "", Leaf("c", "x"))};
  ArrowArrayStream stream = StreamOf(&state);
  Status status = Frame::FromStream(&stream, ImportMode::kShare).status();
  EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(status.message().find("disk on fire"), std::string::npos);
  EXPECT_EQ(state.releases, 1);
  EXPECT_EQ(Frame::FromStream(&stream, ImportMode::kShare).status().code(),
            ErrorCode::kInvalidArgument)
      << "consumed before";
}

// Imports one column after `spoil` had its way with the C structs.
template <typename Spoil>
Status ImportSpoiled(const std::shared_ptr<arrow::Array>& column, Spoil spoil) {
  ArrowSchema schema{};
  ArrowArray array{};
  EXPECT_TRUE(arrow::ExportRecordBatch(*OneColumn(column), &array, &schema).ok());
  spoil(array.children[0], schema.children[0]);
  return Frame::FromArray(&schema, &array, ImportMode::kCopy).status();
}

TEST(BrokenProducers, ArraysThatBreakTheContract) {
  auto numbers = Json(arrow::int8(), "[1, 2]");
  auto lists = Json(arrow::list(arrow::int8()), "[[1], [2, 3]]");
  auto texts = Json(arrow::utf8(), R"(["abc", "de"])");
  auto views = Json(arrow::utf8_view(), R"(["abc", "more than twelve bytes"])");
  auto refused = [](const Status& status) {
    EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument) << status.ToString();
  };
  refused(ImportSpoiled(numbers, [](ArrowArray* array, ArrowSchema*) { array->length = 1; }));
  refused(ImportSpoiled(lists,
                        [](ArrowArray* array, ArrowSchema*) { array->children[0]->length = 2; }));
  auto with_offsets = [](int32_t second) {
    return [second](ArrowArray* array, ArrowSchema*) {
      const_cast<int32_t*>(static_cast<const int32_t*>(array->buffers[1]))[1] = second;
    };
  };
  refused(ImportSpoiled(lists, with_offsets(-1)));
  refused(ImportSpoiled(texts, with_offsets(-1)));
  refused(ImportSpoiled(views, [](ArrowArray* array, ArrowSchema*) {
    const_cast<int32_t*>(static_cast<const int32_t*>(array->buffers[1]))[6] = 7;  // buffer index
  }));
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  auto dictionary = frame_sample::Dictionary(type, "[0, 1]", R"(["a", "b"])");
  refused(ImportSpoiled(dictionary,
                        [](ArrowArray* array, ArrowSchema*) { array->dictionary->length = 1; }));
}

TEST(Copying, IsDeep) {
  auto numbers = Json(arrow::int64(), "[1, 2, 3]");
  Frame frame = Must(frame_sample::Import(*OneColumn(numbers), ImportMode::kCopy));
  const_cast<uint8_t*>(numbers->data()->buffers[1]->data())[0] = 99;
  frame_sample::ExpectEqual(*Json(arrow::int64(), "[1, 2, 3]"), *frame_sample::Column(frame));
}

}  // namespace
}  // namespace barcache
