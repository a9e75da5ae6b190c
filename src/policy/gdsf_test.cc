// The arithmetic of GDSF alone.
#include "policy/gdsf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace barcache {
namespace {

TEST(GdsfPriorityTest, IsUsesTimesCostOverSizeAboveTheInflation) {
  EXPECT_DOUBLE_EQ(GdsfPriority(0.0, {1, 1.0, 100}), 0.01);
  EXPECT_DOUBLE_EQ(GdsfPriority(0.5, {3, 2.0, 100}), 0.56);
}

TEST(GdsfPriorityTest, FiguresWithoutSenseCountAsOne) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  for (const double cost : {nan, infinite, 0.0, -3.0}) {
    EXPECT_DOUBLE_EQ(GdsfPriority(0.0, {1, cost, 100}), 0.01) << cost;
  }
  EXPECT_DOUBLE_EQ(GdsfPriority(0.0, {0, 1.0, 0}), 1.0);
  EXPECT_DOUBLE_EQ(GdsfPriority(0.0, {-5, 1.0, -5}), 1.0);
  EXPECT_DOUBLE_EQ(GdsfPriority(nan, {1, 1.0, 100}), 0.01);
  EXPECT_DOUBLE_EQ(GdsfPriority(infinite, {1, 1.0, 100}), 0.01);
  EXPECT_TRUE(std::isfinite(GdsfPriority(1.0, {INT64_MAX, 1e300, 1})));
}

TEST(GdsfPriorityTest, AnOldFavouriteIsOvertakenOnceEnoughHasLeft) {
  const GdsfEntry favourite{100, 1.0, 1000};
  const GdsfEntry young{1, 1.0, 1000};
  double inflation = 0.0;
  const double of_favourite = GdsfPriority(inflation, favourite);
  int left = 0;
  while (GdsfPriority(inflation, young) <= of_favourite) {
    inflation = GdsfInflationAfter(inflation, GdsfPriority(inflation, young));
    ++left;
  }
  EXPECT_NEAR(left, 100, 1);
}

TEST(GdsfInflationTest, NeverFalls) {
  EXPECT_EQ(GdsfInflationAfter(2.0, 3.0), 3.0);
  EXPECT_EQ(GdsfInflationAfter(2.0, 1.0), 2.0);
  EXPECT_EQ(GdsfInflationAfter(2.0, std::numeric_limits<double>::quiet_NaN()), 2.0);
}

}  // namespace
}  // namespace barcache
