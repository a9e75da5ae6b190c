// What the tests of this room share: a folder that goes away, entries, puts that must succeed.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "catalog/sqlite.h"

namespace barcache {

class TestFolder {
 public:
  TestFolder() {
    char name[] = "/tmp/barcache-catalog-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string db() const { return file("metadata.db"); }

 private:
  std::string path_;
};

inline const Clock* TestClock() {
  static const SystemClock clock;
  return &clock;
}

inline Result<std::unique_ptr<Catalog>> OpenCatalog(const std::string& db_path,
                                                    bool read_only = false) {
  CatalogOptions options;
  options.db_path = db_path;
  options.read_only = read_only;
  options.busy_timeout_ms = 5000;
  return Catalog::Open(options, TestClock());
}

inline std::unique_ptr<Catalog> OpenOrDie(const std::string& db_path, bool read_only = false) {
  auto catalog = OpenCatalog(db_path, read_only);
  EXPECT_TRUE(catalog.ok()) << catalog.status().ToString();
  return catalog.ok() ? std::move(catalog).value() : nullptr;
}

inline NewEntry Entry(const std::string& key, int64_t size_bytes, uint64_t generation,
                      int64_t now_s = 1'700'000'000) {
  NewEntry entry;
  entry.cache_key = key;
  entry.dataset_id = 1;
  entry.parquet_path = key + "~" + std::to_string(generation) + ".parquet";
  entry.checksum = "sum-" + key + "-" + std::to_string(generation);
  entry.size_bytes = size_bytes;
  entry.generation = generation;
  entry.request_json = "{\"" + key + "\"}";
  entry.now_s = now_s;
  return entry;
}

inline void PutOrDie(Catalog* catalog, const NewEntry& entry, const std::string& backtest_id = "") {
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  auto stored = writer->Upsert(entry);
  ASSERT_TRUE(stored.ok()) << stored.status().ToString();
  if (!backtest_id.empty()) {
    auto linked = writer->Link(backtest_id, entry.cache_key, entry.now_s);
    ASSERT_TRUE(linked.ok()) << linked.status().ToString();
  }
  const Status committed = writer->Commit();
  ASSERT_TRUE(committed.ok()) << committed.ToString();
}

// A connection as another program has it: nothing of barcache but what is in the file.
inline std::unique_ptr<SqliteConnection> OpenPlain(const std::string& path) {
  SqliteOpenOptions options;
  options.target = path;
  options.hardened = false;
  auto connection = SqliteConnection::Open(options);
  EXPECT_TRUE(connection.ok()) << connection.status().ToString();
  return std::move(connection).value();
}

// All rows of a query, columns joined by '|'.
inline std::vector<std::string> QueryRows(SqliteConnection* connection, const std::string& sql) {
  std::vector<std::string> rows;
  auto statement = connection->Prepare(sql);
  EXPECT_TRUE(statement.ok()) << statement.status().ToString();
  if (!statement.ok()) return rows;
  while (true) {
    auto row = statement->Step();
    EXPECT_TRUE(row.ok()) << row.status().ToString();
    if (!row.ok() || !*row) return rows;
    std::string text;
    for (int column = 0; column < statement->column_count(); ++column) {
      text.append(column == 0 ? "" : "|").append(statement->Text(column));
    }
    rows.push_back(text);
  }
}

}  // namespace barcache
