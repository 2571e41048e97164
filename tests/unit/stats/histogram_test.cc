#include "stats/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace millrace::stats {
namespace {

TEST(Histogram, PutsEveryValueIntoTheBinThatHoldsIt) {
  for (uint64_t value : {0ull, 1ull, 9ull, 10ull, 99ull, 100ull, 109ull, 110ull, 999ull, 1000ull, 123456789ull,
                         18446744073709551615ull}) {
    const uint16_t bin = bin_of(value);
    EXPECT_LE(bin_lower(bin), static_cast<double>(value)) << value;
    EXPECT_GE(bin_lower(bin) + bin_width(bin), static_cast<double>(value)) << value;
  }
  EXPECT_EQ(bin_of(100), bin_of(109));
  EXPECT_NE(bin_of(109), bin_of(110));
  EXPECT_LT(bin_of(UINT64_MAX), 2000);
}

TEST(Histogram, KeepsBinsWithinTenPercent) {
  for (uint64_t value = 10; value < 10'000'000; value = value * 11 / 10 + 1)
    EXPECT_LE(bin_width(bin_of(value)) / bin_lower(bin_of(value)), 0.1);
}

TEST(Histogram, InterpolatesQuantilesInsideABin) {
  Histogram one;
  one.record(1);
  const std::vector<double> q = one.quantiles(kQuantiles);
  EXPECT_DOUBLE_EQ(q[0], 1.0);
  EXPECT_DOUBLE_EQ(q[1], 1.025);
  EXPECT_DOUBLE_EQ(q[2], 1.05);
  EXPECT_DOUBLE_EQ(q[9], 1.1);
}

TEST(Histogram, FindsTheQuantilesOfAHundredValues) {
  Histogram h;
  for (uint64_t v = 1; v <= 100; ++v) h.record(v);
  const std::vector<double> q = h.quantiles(kQuantiles);
  EXPECT_DOUBLE_EQ(q[0], 1);
  EXPECT_DOUBLE_EQ(q[1], 26);
  EXPECT_DOUBLE_EQ(q[2], 51);
  EXPECT_DOUBLE_EQ(q[6], 100);
  EXPECT_DOUBLE_EQ(q[9], 110);
  EXPECT_EQ(h.count(), 100u);
  EXPECT_EQ(h.sum(), 5050u);
}

TEST(Histogram, HasNoQuantilesWhenEmpty) {
  for (double q : Histogram{}.quantiles(kQuantiles)) EXPECT_TRUE(std::isnan(q));
}

TEST(Histogram, CountsABoundItselfAsBelowTheBound) {
  Histogram h;
  for (uint64_t v : {0, 1, 5, 6, 25, 7'200'000}) h.record(v);
  const std::vector<uint64_t> below = h.counts_below(kBuckets);
  EXPECT_EQ(below[0], 1u);  // 0.5
  EXPECT_EQ(below[1], 2u);  // 1
  EXPECT_EQ(below[2], 3u);  // 5
  EXPECT_EQ(below[3], 4u);  // 10
  EXPECT_EQ(below[4], 5u);  // 25
  EXPECT_EQ(below.back(), 5u);
}

TEST(Histogram, SinceAnEarlierStateHoldsOnlyWhatIsNew) {
  Histogram before;
  before.record(3);
  before.record(40);
  Histogram now = before;
  now.record(40);
  now.record(500);
  const Histogram interval = now.since(before);
  EXPECT_EQ(interval.count(), 2u);
  EXPECT_EQ(interval.sum(), 540u);
  ASSERT_EQ(interval.bins().size(), 2u);
  EXPECT_EQ(interval.bins()[0], (Histogram::Bin{bin_of(40), 1}));
}

}  // namespace
}  // namespace millrace::stats
