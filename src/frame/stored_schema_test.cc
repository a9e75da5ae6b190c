// The stored schema, its text, and what fits it.
#include "frame/stored_schema.h"

#include <gtest/gtest.h>

#include <string>

#include "frame/canonical_schema.h"
#include "frame/dictionary_builder.h"

namespace barcache {
namespace {

SchemaNode Leaf(const std::string& format, const std::string& name) {
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

SchemaNode Enum(const std::string& name, const std::string& categories) {
  SchemaNode node = Leaf("C", name);
  node.flags |= ARROW_FLAG_DICTIONARY_ORDERED;
  node.metadata = EncodeMetadata({{"_PL_ENUM_VALUES2", categories}});
  node.dictionary = std::make_unique<SchemaNode>(Leaf("vu", ""));
  return node;
}

SchemaNode Table(SchemaNode column) {
  SchemaNode table = Parent("+s", "", std::move(column));
  table.flags = 0;
  return table;
}

TEST(Text, ComesBackAsItWas) {
  SchemaNode table = Table(Leaf("tsu:Europe/Berlin", "time: 1;2"));
  table.children.push_back(Parent("+w:3", "\xC3\xA4", Parent("+L", "item", Leaf("tDn", "item"))));
  table.children.push_back(Enum("e", "1;a0;3;b;c"));
  const std::string text = SerializeSchema(table);
  auto parsed = ParseStoredSchema(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_TRUE(parsed->SameTypeAs(table));
  EXPECT_EQ(parsed->children[2].metadata, table.children[2].metadata);
  EXPECT_EQ(parsed->children[2].flags, table.children[2].flags);
  EXPECT_EQ(SerializeSchema(*parsed), text);
}

TEST(Text, CutOrChangedIsCorruptionOrCanonical) {
  SchemaNode table = Table(Parent("+w:3", "a", Leaf("tDn", "item")));
  table.children.push_back(Enum("e", "1;a"));
  const std::string text = SerializeSchema(table);
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(ParseStoredSchema(text.substr(0, size)).status().code(), ErrorCode::kCorruption);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      auto parsed = ParseStoredSchema(changed);
      if (parsed.ok()) continue;
      EXPECT_EQ(parsed.status().code(), ErrorCode::kCorruption);
    }
  }
}

TEST(Text, WhatIsNotCanonicalIsRefused) {
  auto refused = [](SchemaNode column) {
    return ParseStoredSchema(SerializeSchema(Table(std::move(column)))).status().code() ==
           ErrorCode::kCorruption;
  };
  EXPECT_FALSE(refused(Leaf("l", "x")));
  EXPECT_TRUE(refused(Leaf("u", "x")));
  EXPECT_TRUE(refused(Leaf("w:8", "x")));
  EXPECT_TRUE(refused(Leaf("_pli128", "x")));
  EXPECT_TRUE(refused(Parent("+w:0", "x", Leaf("l", "item"))));
  EXPECT_TRUE(refused(Leaf("+s", "x")));
  EXPECT_TRUE(refused(Leaf("l", "\xFF")));
  EXPECT_TRUE(refused(Leaf("tsu:\xFF", "x")));
  EXPECT_TRUE(refused(Enum("x", "9;short")));
  EXPECT_TRUE(refused(Enum("x", "1;\xFF")));
  SchemaNode extension = Leaf("l", "x");
  extension.metadata = EncodeMetadata({{"ARROW:extension:name", "evil"}});
  EXPECT_TRUE(refused(std::move(extension)));
  SchemaNode twice = Parent("+s", "x", Leaf("l", "y"));
  twice.children.push_back(Leaf("l", "y"));
  EXPECT_TRUE(refused(std::move(twice)));
  std::string deep = "1;";
  for (int i = 0; i < 100'000; ++i) deep += "2:+L4:item2;0;1;";
  EXPECT_FALSE(ParseStoredSchema(deep).ok());
}

TEST(Need, OnlyOfWhatParquetCannotSay) {
  for (const char* plain : {"l", "g", "vu", "tdD", "ttn", "tsu:", "tsn:UTC", "d:10,2", "e"}) {
    EXPECT_FALSE(NeedsStoredSchema(Table(Leaf(plain, "x")))) << plain;
  }
  EXPECT_FALSE(NeedsStoredSchema(Table(Parent("+L", "x", Leaf("l", "item")))));
  for (const char* special : {"n", "tDu", "tsu:Europe/Berlin", "tsu:Etc/UTC"}) {
    EXPECT_TRUE(NeedsStoredSchema(Table(Leaf(special, "x")))) << special;
    EXPECT_TRUE(NeedsStoredSchema(Table(Parent("+L", "x", Leaf(special, "item")))));
  }
  EXPECT_TRUE(NeedsStoredSchema(Table(Parent("+w:2", "x", Leaf("l", "item")))));
  EXPECT_TRUE(NeedsStoredSchema(Table(Enum("x", "1;a"))));
}

TEST(Restoring, OnlyWhatCanBe) {
  EXPECT_TRUE(CanRestore(Leaf("l", "x"), Leaf("tDu", "x")));
  EXPECT_TRUE(CanRestore(Leaf("tsu:UTC", "x"), Leaf("tsu:Asia/Tokyo", "x")));
  EXPECT_FALSE(CanRestore(Leaf("tsu:UTC", "x"), Leaf("tsn:Asia/Tokyo", "x")));
  EXPECT_FALSE(CanRestore(Leaf("l", "x"), Leaf("g", "x")));
  EXPECT_FALSE(CanRestore(Leaf("i", "x"), Leaf("tDu", "x")));
  EXPECT_TRUE(CanRestore(Leaf("vu", "x"), Enum("x", "1;a")));
  EXPECT_FALSE(CanRestore(Leaf("l", "x"), Enum("x", "1;a")));
  EXPECT_TRUE(
      CanRestore(Parent("+L", "x", Leaf("l", "item")), Parent("+w:2", "x", Leaf("tDu", "item"))));
  EXPECT_FALSE(CanRestore(Parent("+s", "x", Leaf("l", "a")), Parent("+s", "x", Leaf("l", "b"))));
}

}  // namespace
}  // namespace barcache
