// Keys and canonical JSON against Python's own bytes; legal keys; entry file names and back.
#include "barcache/cache_key.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "base/sha256.h"

namespace barcache {
namespace {

DataRequest RequestOf(std::vector<std::string> symbols, std::string resolution = "1d",
                      std::string data_source = "yfinance") {
  return {std::move(symbols), "2023-01-01", "2023-12-31", std::move(resolution),
          std::move(data_source)};
}

std::string KeyOf(const DataRequest& request) {
  const Result<std::string> key = GenerateCacheKey(request);
  return key.ok() ? *key : key.status().ToString();
}

// The JSON string that Python writes for `text`, quotes included.
std::string JsonOf(const std::string& text) {
  const Result<std::string> json = CanonicalJson(RequestOf({text}));
  if (!json.ok()) return json.status().ToString();
  const size_t start = json->find('[') + 1;
  return json->substr(start, json->size() - start - 2);
}

TEST(CacheKeyTest, VectorsOfTheContract) {
  EXPECT_EQ(KeyOf(RequestOf({"AAPL", "MSFT"})), "8a3c9ff46519d39e");
  EXPECT_EQ(KeyOf(RequestOf({"MSFT", "AAPL"})), "8a3c9ff46519d39e");
  EXPECT_EQ(KeyOf(RequestOf({"AAPL"})), "4ff5fe09fae53c37");
  EXPECT_EQ(KeyOf(RequestOf({"é", "BTC/USDT"}, "1m", "ccxt:binance")), "5f8abf793745c56e");
  EXPECT_EQ(KeyOf({}), "9475445033baab9f");
  EXPECT_EQ(KeyOf({{"A", "A", "P", "L"}, "1", "2", "1d", "y"}), "22bb40867bb39b15");
}

TEST(CacheKeyTest, DuplicateSymbolsAreKept) {
  EXPECT_NE(KeyOf(RequestOf({"AAPL", "AAPL"})), KeyOf(RequestOf({"AAPL"})));
}

TEST(CanonicalJsonTest, FieldsInOrderSymbolsSorted) {
  EXPECT_EQ(*CanonicalJson(RequestOf({"b", "a"})),
            "{\"data_source\": \"yfinance\", \"end_date\": \"2023-12-31\", "
            "\"resolution\": \"1d\", \"start_date\": \"2023-01-01\", \"symbols\": [\"a\", \"b\"]}");
  EXPECT_EQ(*CanonicalJson({}),
            "{\"data_source\": \"\", \"end_date\": \"\", \"resolution\": \"\", "
            "\"start_date\": \"\", \"symbols\": []}");
  EXPECT_EQ(KeyOf(RequestOf({"a"})), KeyOfCanonicalJson(*CanonicalJson(RequestOf({"a"}))));
}

TEST(CanonicalJsonTest, EscapesAsPythonDoes) {
  EXPECT_EQ(JsonOf("\"\\/"), R"("\"\\/")");
  EXPECT_EQ(JsonOf("\n\r\t\b\f"), R"("\n\r\t\b\f")");
  EXPECT_EQ(JsonOf(std::string("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(JsonOf("~\x7f"), R"("~\u007f")");
  EXPECT_EQ(JsonOf("\u0080é€"), R"("\u0080\u00e9\u20ac")");
  EXPECT_EQ(JsonOf("😀\U0010FFFF"), R"("\ud83d\ude00\udbff\udfff")");
  EXPECT_EQ(JsonOf("\xed\xa0\x80"), R"("\ud800")");                    // A lone surrogate.
  EXPECT_EQ(JsonOf("\xed\xa0\xbd\xed\xb8\x80"), R"("\ud83d\ude00")");  // Two of them.
}

// hashlib.sha256(json.dumps("".join(map(chr, range(0x110000)))).encode()).hexdigest()
TEST(CanonicalJsonTest, EveryCodePointIsWrittenAsPythonDoes) {
  std::string text;
  const auto append = [&text](uint32_t bits) { text.push_back(static_cast<char>(bits)); };
  for (uint32_t point = 0; point < 0x110000; ++point) {
    if (point < 0x80) {
      append(point);
      continue;
    }
    if (point < 0x800) {
      append(0xC0 | point >> 6);
    } else {
      if (point < 0x10000) {
        append(0xE0 | point >> 12);
      } else {
        append(0xF0 | point >> 18);
        append(0x80 | (point >> 12 & 0x3F));
      }
      append(0x80 | (point >> 6 & 0x3F));
    }
    append(0x80 | (point & 0x3F));
  }
  EXPECT_EQ(Sha256Hex(JsonOf(text)),
            "7a12e7fbcb38887f94979b257537384a7581f39b402037f3a597a8f7e9c7d67c");
}

TEST(CanonicalJsonTest, SortsByCodePoint) {
  // U+FF21 < U+1F600, though its first UTF-16 unit is the larger one.
  const std::string json = *CanonicalJson(RequestOf({"😀", "\uFF21", "Z", "a", "\xed\xa0\x80"}));
  EXPECT_NE(json.find(R"(["Z", "a", "\ud800", "\uff21", "\ud83d\ude00"])"), std::string::npos);
}

TEST(CanonicalJsonTest, RefusesWhatIsNotUtf8) {
  for (const char* bad : {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xe2\x82"}) {
    const Result<std::string> json = CanonicalJson(RequestOf({bad}));
    ASSERT_FALSE(json.ok());
    EXPECT_EQ(json.status().code(), ErrorCode::kInvalidArgument);
    DataRequest request = RequestOf({});
    request.end_date = bad;
    EXPECT_NE(CanonicalJson(request).status().message().find("end_date"), std::string::npos);
    EXPECT_FALSE(ValidateCacheKey(bad).ok());
  }
}

TEST(ValidateCacheKeyTest, AcceptsAnyTextButEmptyNulAndSurrogates) {
  for (const char* good : {"key1", "abc123def456", "../evil", "/", " ", "é", "😀", "a\nb", "~"}) {
    EXPECT_TRUE(ValidateCacheKey(good).ok()) << good;
  }
  EXPECT_TRUE(ValidateCacheKey(std::string(100'000, 'k')).ok());
  EXPECT_NE(ValidateCacheKey("").message().find("empty"), std::string::npos);
  EXPECT_NE(ValidateCacheKey(std::string("a\0b", 3)).message().find("NUL"), std::string::npos);
  EXPECT_NE(ValidateCacheKey("a\xed\xa0\x80").message().find("surrogate"), std::string::npos);
  EXPECT_NE(ValidateCacheKey("a\xff").message().find("UTF-8"), std::string::npos);
}

TEST(EntryFileNameTest, PlainKeysStandForThemselves) {
  EXPECT_EQ(FileStemOfKey("8a3c9ff46519d39e"), "8a3c9ff46519d39e");
  EXPECT_EQ(FileStemOfKey("A_b-9"), "A_b-9");
  EXPECT_EQ(FileStemOfKey(std::string(64, 'x')), std::string(64, 'x'));
}

// B19 of the reference: put("../evil") wrote outside the cache directory.
TEST(EntryFileNameTest, B19OtherKeysAreHashed) {
  for (const std::string& key : {std::string("../evil"), std::string("a b"), std::string("a~1"),
                                 std::string("é"), std::string("."), std::string(65, 'x')}) {
    EXPECT_EQ(FileStemOfKey(key), Sha256Hex(key).substr(0, 32));
  }
}

TEST(EntryFileNameTest, IsWrittenAsDocumented) {
  const std::string checksum = Sha256Hex("abc");
  EXPECT_EQ(EntryFileName("key1", 42, checksum),
            "key1~42~ba7816bf8f01cfea414140de5dae2223.parquet");
}

TEST(EntryFileNameTest, ParsesBackExactly) {
  const std::string checksum = Sha256Hex("abc");
  for (const std::string& key : {std::string("key1"), std::string("a/b"), std::string(64, '-')}) {
    for (uint64_t generation : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
      const std::string name = EntryFileName(key, generation, checksum);
      EntryFileNameParts parts;
      ASSERT_TRUE(ParseEntryFileName(name, &parts)) << name;
      EXPECT_EQ(parts.stem, FileStemOfKey(key));
      EXPECT_EQ(parts.generation, generation);
      EXPECT_EQ(parts.checksum_prefix, checksum.substr(0, 32));
      EXPECT_EQ(EntryFileName(parts.stem, parts.generation, parts.checksum_prefix), name);
    }
  }
}

TEST(EntryFileNameTest, RefusesEveryOtherName) {
  const std::string hex(32, 'a');
  const std::string stem65(65, 'x');
  for (const std::string& name :
       {std::string(), std::string("key1.parquet"), "key1~1~" + hex, "~1~" + hex + ".parquet",
        "key1~~" + hex + ".parquet", "key1~01~" + hex + ".parquet", "key1~+1~" + hex + ".parquet",
        "key1~-1~" + hex + ".parquet", "key1~18446744073709551616~" + hex + ".parquet",
        "key1~1~" + hex.substr(1) + ".parquet", "key1~1~" + hex + "a.parquet",
        "key1~1~" + std::string(32, 'A') + ".parquet", "key1~1~" + hex + "~x.parquet",
        "ke.y1~1~" + hex + ".parquet", "a/b~1~" + hex + ".parquet",
        stem65 + "~1~" + hex + ".parquet", "key1~1 ~" + hex + ".parquet",
        "key1~1~" + hex + ".parquet.tmp", ".tmp-" + hex}) {
    EntryFileNameParts parts;
    EXPECT_FALSE(ParseEntryFileName(name, &parts)) << name;
  }
}

// Whatever a mutated name parses to must make that very name again.
TEST(EntryFileNameTest, MutatedNamesNeverParseToAnotherName) {
  std::mt19937 random(7);
  const std::string original = EntryFileName("key1", 1234, Sha256Hex("abc"));
  int parsed_count = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string name = original;
    name[random() % name.size()] = static_cast<char>(random() % 256);
    EntryFileNameParts parts;
    if (!ParseEntryFileName(name, &parts)) continue;
    ++parsed_count;
    ASSERT_EQ(EntryFileName(parts.stem, parts.generation, parts.checksum_prefix), name);
  }
  EXPECT_GT(parsed_count, 100);
}

}  // namespace
}  // namespace barcache
