// The ledger over a catalog that others change too.
#include "bars/ledger.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "catalog/catalog.h"
#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

const SeriesName kName{"vendor", "1d", "", "AAPL"};

class LedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto catalog = OpenCatalog(folder_.db());
    ASSERT_TRUE(catalog.ok()) << catalog.status().ToString();
    catalog_ = std::move(*catalog);
    ledger_ = std::make_unique<Ledger>(catalog_.get());
  }

  std::string Segment(int number) { return SeriesKeyOf(kName) + ":" + std::to_string(number); }
  void PutSegment(int number) { PutOrDie(catalog_.get(), Entry(Segment(number), 100, 1)); }
  Coverage Data(int64_t begin, int64_t end, int number) {
    return {{begin, end}, CoverageState::kData, Segment(number), 10, std::nullopt};
  }
  void Record(std::vector<Coverage> coverage, bool forget_others = false) {
    auto recorded = ledger_->Record({{kName, "schema", std::move(coverage), forget_others, {}}});
    ASSERT_TRUE(recorded.ok()) << recorded.status().ToString();
    ASSERT_EQ(*recorded, 1);
  }
  SeriesPointer Look() {
    auto series = ledger_->Look({kName});
    EXPECT_TRUE(series.ok()) << series.status().ToString();
    return series->at(0);
  }
  CoverageState StateAt(size_t index) { return Look()->coverage.at(index).state; }

  TestFolder folder_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(LedgerTest, WhatWasRecordedIsReadByAnother) {
  PutSegment(1);
  EXPECT_FALSE(Look()->known);
  Record({Data(0, 10, 1), {{10, 12}, CoverageState::kNone, "", 10, 99}});
  Ledger other(catalog_.get());
  const auto read = other.Look({kName});
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->at(0)->coverage, Look()->coverage);
  EXPECT_EQ(read->at(0)->schema_text, "schema");
  EXPECT_EQ(read->at(0)->coverage.at(1).expires_at_s, 99);
  const auto all = ledger_->All();
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->at(0)->name, kName);
}

TEST_F(LedgerTest, AnUnchangedSeriesIsServedFromMemory) {
  PutSegment(1);
  Record({Data(0, 10, 1)});
  const SeriesPointer first = Look();
  EXPECT_EQ(Look(), first);
  EXPECT_TRUE(ledger_->Unchanged({first}));
  PutSegment(2);
  Record({Data(10, 20, 2)});
  EXPECT_FALSE(ledger_->Unchanged({first}));
  EXPECT_EQ(Look()->coverage.size(), 2U);
}

TEST_F(LedgerTest, AnErasedSegmentIsMissingAtOnce) {
  PutSegment(1);
  PutSegment(2);
  Record({Data(0, 10, 1), Data(10, 20, 2)});
  const SeriesPointer before = Look();
  {
    auto writer = catalog_->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Erase(Segment(1)).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  EXPECT_FALSE(ledger_->Unchanged({before})) << "its change counter moved with the segment's";
  EXPECT_EQ(StateAt(0), CoverageState::kEvicted);
  EXPECT_EQ(StateAt(1), CoverageState::kData);
}

TEST_F(LedgerTest, ASegmentWithWrongBytesIsCalledCorrupt) {
  PutSegment(1);
  Record({Data(0, 10, 1)});
  const NewEntry entry = Entry(Segment(1), 100, 1);
  auto writer = catalog_->BeginWrite();
  ASSERT_TRUE(writer.ok());
  const auto erased = writer->EraseIf(entry.cache_key, entry.parquet_path, entry.checksum);
  ASSERT_TRUE(erased.ok() && *erased);
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(StateAt(0), CoverageState::kCorrupt);
}

TEST_F(LedgerTest, AnotherProgramsDeleteCounts) {
  for (const char* sql :
       {"DELETE FROM cache_entries", "UPDATE cache_entries SET cache_key = 'renamed'",
        "UPDATE cache_entries SET checksum = 'other'",
        "INSERT OR REPLACE INTO cache_entries SELECT cache_key, dataset_id,"
        " parquet_path, 'other', created_at, last_accessed, access_count,"
        " size_bytes FROM cache_entries"}) {
    PutSegment(1);
    Record({Data(0, 10, 1)}, true);
    ASSERT_EQ(StateAt(0), CoverageState::kData);
    {
      auto plain = OpenPlain(folder_.db());
      ASSERT_TRUE(plain->Execute(sql).ok()) << sql;
    }
    Ledger fresh(catalog_.get());
    const auto series = fresh.Look({kName});
    ASSERT_TRUE(series.ok());
    EXPECT_EQ(series->at(0)->coverage.at(0).state, CoverageState::kEvicted) << sql;
    {
      auto plain = OpenPlain(folder_.db());
      ASSERT_TRUE(plain->Execute("DELETE FROM cache_entries").ok());
    }
  }
}

TEST_F(LedgerTest, ClearingEverythingForgetsTheLedger) {
  PutSegment(1);
  Record({Data(0, 10, 1), {{10, 12}, CoverageState::kNone, "", 10, std::nullopt}});
  auto writer = catalog_->BeginWrite();
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->EraseAll().ok());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_FALSE(Look()->known);
}

TEST_F(LedgerTest, DataWhoseSegmentIsGoneIsLostAtOnce) {
  Record({Data(0, 10, 7)});
  EXPECT_EQ(StateAt(0), CoverageState::kEvicted);
}

TEST_F(LedgerTest, AnAnswerInPlaceOfWhatNoLongerStandsIsLeftOut) {
  PutSegment(1);
  PutSegment(2);
  PutSegment(3);
  Record({Data(0, 10, 1), Data(10, 20, 2)});
  const std::vector<Coverage> merged_from = Look()->coverage;
  const Answer merged{kName, "", {Data(0, 20, 3)}, false, merged_from};
  Record({{{10, 20}, CoverageState::kNone, "", 11, std::nullopt}});
  auto recorded = ledger_->Record({merged});
  ASSERT_TRUE(recorded.ok());
  EXPECT_EQ(*recorded, 0);
  EXPECT_EQ(Look()->coverage.size(), 2U);

  Record({Data(10, 20, 2)});
  recorded = ledger_->Record({merged});
  ASSERT_TRUE(recorded.ok());
  EXPECT_EQ(*recorded, 1);
  EXPECT_EQ(Look()->coverage, (std::vector<Coverage>{Data(0, 20, 3)}));
}

TEST_F(LedgerTest, CoverageThatOverlapsIsRefusedAndNothingRecorded) {
  PutSegment(1);
  const SeriesName other{"vendor", "1d", "", "MSFT"};
  const auto recorded = ledger_->Record({{other, "", {Data(0, 1, 1)}, false, {}},
                                         {kName, "", {Data(0, 10, 1), Data(9, 12, 1)}, false, {}}});
  EXPECT_EQ(recorded.status().code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(ledger_->Look({other})->at(0)->known);
}

TEST_F(LedgerTest, RowsThatMakeNoSenseAreReplaced) {
  PutSegment(1);
  Record({Data(0, 10, 1)});
  {
    auto plain = OpenPlain(folder_.db());
    ASSERT_TRUE(plain->Execute("UPDATE barcache_coverage SET end_ns = -1").ok());
  }
  Ledger fresh(catalog_.get());
  Record({Data(0, 10, 1)});
  const auto series = fresh.Look({kName});
  ASSERT_TRUE(series.ok());
  EXPECT_EQ(series->at(0)->coverage, (std::vector<Coverage>{Data(0, 10, 1)}));
}

}  // namespace
}  // namespace barcache
