// When a connection is offered as a hop.
#include "fastpath/hop.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace::fastpath {
namespace {

using base::ErrorCode;

TEST(HopRule, AsksAtTheSecondRequest) {
  HopRule rule;
  EXPECT_FALSE(rule.due(0));
  EXPECT_TRUE(rule.due(500));
}

TEST(HopRule, WaitsForASmallExchange) {
  HopRule rule;
  EXPECT_FALSE(rule.due(0));
  EXPECT_FALSE(rule.due(5'000'000));
  EXPECT_FALSE(rule.due(10'000'000));
  EXPECT_TRUE(rule.due(10'000'500));
}

// The requests at which it asks if that is always refused so.
std::vector<int> asks(ErrorCode refusal) {
  HopRule rule;
  std::vector<int> at;
  for (int request = 1; request < 1000; ++request) {
    if (!rule.due(0)) continue;
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
