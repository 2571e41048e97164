// When a connection is offered as a hop.
#include "fastpath/hop.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace::fastpath {
namespace {

using base::ErrorCode;

constexpr uint64_t kMax = 4'000'000;

bool asks_at(HopRule& rule, uint64_t bytes) { return rule.begin(bytes, kMax) && rule.due(); }

TEST(HopRule, AsksAtTheSecondRequest) {
  HopRule rule;
  EXPECT_FALSE(asks_at(rule, 0));
  EXPECT_TRUE(asks_at(rule, 500));
}

TEST(HopRule, WaitsForASmallExchange) {
  HopRule rule;
  EXPECT_FALSE(asks_at(rule, 0));
  EXPECT_FALSE(asks_at(rule, 5'000'000));
  EXPECT_FALSE(asks_at(rule, 10'000'000));
  EXPECT_TRUE(asks_at(rule, 10'000'500));
}

TEST(HopRule, AsksLaterAfterAHopThatDidNotPayAndNotForEver) {
  HopRule rule;
  EXPECT_FALSE(asks_at(rule, 0));
  EXPECT_TRUE(asks_at(rule, 500));
  EXPECT_FALSE(rule.begin(5'000'000, kMax)) << "a large exchange";
  EXPECT_TRUE(rule.left());
  EXPECT_FALSE(asks_at(rule, 5'000'500)) << "twice as many requests first";
  EXPECT_FALSE(asks_at(rule, 5'001'000));
  EXPECT_TRUE(asks_at(rule, 5'001'500));
  int times = 1;
  while (rule.left()) ++times;
  EXPECT_EQ(times, 5);
}

// The requests at which it asks if that is always refused so.
std::vector<int> asks(ErrorCode refusal) {
  HopRule rule;
  std::vector<int> at;
  for (int request = 1; request < 1000; ++request) {
    if (!asks_at(rule, 0)) continue;
    at.push_back(request);
    if (!rule.refused(refusal)) break;
  }
  return at;
}

TEST(HopRule, AsksAgainAfterTwiceAsManyRequestsIfThatMayHelp) {
  const std::vector<int> some{2, 4, 8, 16, 32, 64};
  EXPECT_EQ(asks(ErrorCode::kUnreachable), some);
  EXPECT_EQ(asks(ErrorCode::kUnsupported), some);
}

TEST(HopRule, GivesUpAfterALastingRefusal) {
  EXPECT_EQ(asks(ErrorCode::kNotFound), std::vector<int>{2});
  EXPECT_EQ(asks(ErrorCode::kClosed), std::vector<int>{2});
}

}  // namespace
}  // namespace millrace::fastpath
