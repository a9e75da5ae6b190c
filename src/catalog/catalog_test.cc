// The catalog as its callers see it: rows, links, totals, orders, transactions.
#include "catalog/catalog.h"

#include <gtest/gtest.h>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

TEST(CatalogTest, StoresAndFinds) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("k1", 100, 7), "bt-1");
  auto found = catalog->Find("k1");
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->cache_key, "k1");
  EXPECT_EQ((*found)->size_bytes, 100);
  EXPECT_EQ((*found)->generation, 7u);
  EXPECT_EQ((*found)->access_count, 1);
  EXPECT_EQ((*found)->request_json, "{\"k1\"}");
  EXPECT_EQ(catalog->BacktestsOf("k1").value(), std::vector<std::string>{"bt-1"});
  EXPECT_EQ(catalog->KeysOf("bt-1").value(), std::vector<std::string>{"k1"});
  EXPECT_FALSE(catalog->Find("other").value().has_value());
}

}  // namespace
}  // namespace barcache
