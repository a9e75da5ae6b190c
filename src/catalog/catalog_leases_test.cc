#include <gtest/gtest.h>

#include <functional>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

LeaseRow Lease(const std::string& name, const std::string& token, int64_t expires_ns) {
  LeaseRow row;
  row.name = name;
  row.token = token;
  row.holder = ProcessIdentity{"machine", 7, 8};
  row.expires_ns = expires_ns;
  return row;
}

Status Write(Catalog* catalog, const std::function<Status(CatalogWriter*)>& change) {
  auto writer = catalog->BeginWrite();
  if (!writer.ok()) return writer.status();
  BARCACHE_RETURN_IF_ERROR(change(&*writer));
  return writer->Commit();
}

TEST(CatalogLeasesTest, ALeaseComesBackAsItWasAndGoesWithItsTokenOnly) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  const std::string name = "it's; DROP TABLE barcache_leases;--";
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                return writer->AddLease(Lease(name, "t1", 100));
              }).ok());
  const auto rows = catalog->Leases(name).value();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].token, "t1");
  EXPECT_EQ(rows[0].holder, (ProcessIdentity{"machine", 7, 8}));
  EXPECT_EQ(rows[0].expires_ns, 100);
  EXPECT_FALSE(rows[0].error_type.has_value());
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                EXPECT_FALSE(writer->RenewLease(name, "t2", 300).value());
                EXPECT_FALSE(writer->EndLease(name, "t2").value());
                EXPECT_TRUE(writer->RenewLease(name, "t1", 200).value());
                return Status();
              }).ok());
  EXPECT_EQ(catalog->Leases(name).value().at(0).expires_ns, 200);
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                EXPECT_TRUE(writer->EndLease(name, "t1").value());
                return Status();
              }).ok());
  EXPECT_TRUE(catalog->Leases(name).value().empty());
}

TEST(CatalogLeasesTest, AFailedLeaseIsNoneAnyMore) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  LeaseRow row = Lease("f", "t1", 100);
  ASSERT_TRUE(
      Write(catalog.get(), [&](CatalogWriter* writer) { return writer->AddLease(row); }).ok());
  row.error_type = "ValueError";
  row.error_message = "why";
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                EXPECT_TRUE(writer->FailLease(row).value());
                EXPECT_FALSE(writer->FailLease(row).value());
                EXPECT_FALSE(writer->RenewLease("f", "t1", 900).value());
                EXPECT_FALSE(writer->EndLease("f", "t1").value());
                return writer->AddLease(Lease("f", "t2", 500));
              }).ok());
  auto rows = catalog->Leases("f").value();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].error_type, "ValueError");
  EXPECT_EQ(rows[0].error_message, "why");
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                return writer->DropLeasesBefore(101);
              }).ok());
  rows = catalog->Leases("f").value();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].token, "t2");
}

TEST(CatalogLeasesTest, TheCounterMovesWhenALeaseEndsNotWhenItIsRenewed) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  const Epoch before = catalog->EpochOfLease("f");
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                return writer->AddLease(Lease("f", "t1", 100));
              }).ok());
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                return writer->RenewLease("f", "t1", 200).status();
              }).ok());
  EXPECT_EQ(catalog->EpochOfLease("f"), before);
  EXPECT_NE(Epoch(before).bucket, 0u);
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                return writer->EndLease("f", "t1").status();
              }).ok());
  EXPECT_NE(catalog->EpochOfLease("f"), before);
}

TEST(CatalogLeasesTest, LeasesAreNoForeignWrites) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  const auto mark = [&] {
    return QueryRows(OpenPlain(folder.db()).get(), "SELECT foreign_changes FROM barcache_totals");
  };
  const auto before = mark();
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                EXPECT_TRUE(writer->FindOrAddDataset("csv", "1d", 5)->is_new);
                return writer->AddLease(Lease("f", "t1", 100));
              }).ok());
  EXPECT_EQ(mark(), before);
}

TEST(CatalogLeasesTest, ADatasetThatRustyBtMadeIsFoundTheOldestOfSeveral) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  ASSERT_TRUE(OpenPlain(folder.db())
                  ->Execute("INSERT INTO datasets VALUES (9, 'csv', '1d', 3, 1, 1);"
                            "INSERT INTO datasets VALUES (4, 'csv', '1d', 3, 1, 1)")
                  .ok());
  EXPECT_EQ(catalog->FindDataset("csv", "1d").value(), 4);
  EXPECT_FALSE(catalog->FindDataset("csv", "1h").value().has_value());
  ASSERT_TRUE(Write(catalog.get(), [&](CatalogWriter* writer) {
                const auto known = writer->FindOrAddDataset("csv", "1d", 5);
                EXPECT_EQ(known->dataset_id, 4);
                EXPECT_FALSE(known->is_new);
                const auto made = writer->FindOrAddDataset("csv", "1h", 5);
                EXPECT_EQ(made->dataset_id, 10);
                EXPECT_TRUE(made->is_new);
                return Status();
              }).ok());
  EXPECT_EQ(QueryRows(OpenPlain(folder.db()).get(), "SELECT * FROM datasets WHERE dataset_id = 10"),
            std::vector<std::string>{"10|csv|1h|1|5|5"});
}

}  // namespace
}  // namespace barcache
