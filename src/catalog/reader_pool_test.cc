// Lending connections where connecting fails.
#include "catalog/reader_pool.h"

#include <gtest/gtest.h>

#include <new>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

TEST(ReaderPoolTest, WhoCouldNotConnectHoldsNobodyUp) {
  TestFolder folder;
  int turn = 0;
  ReaderPool pool([&]() -> Result<std::unique_ptr<SqliteConnection>> {
    if (++turn == 1) throw std::bad_alloc();
    if (turn == 2) return Status(ErrorCode::kIo, "no descriptor");
    SqliteOpenOptions open;
    open.target = folder.db();
    return SqliteConnection::Open(open);
  });
  EXPECT_THROW((void)pool.Take(), std::bad_alloc);
  EXPECT_EQ(pool.Take().status().code(), ErrorCode::kIo);
  EXPECT_TRUE(pool.Take().ok());
  pool.LockIdle();  // Returns once nothing is lent.
  pool.CloseLocked();
  pool.Unlock();
  EXPECT_TRUE(pool.Take().ok());
  EXPECT_EQ(turn, 4);
}

}  // namespace
}  // namespace barcache
