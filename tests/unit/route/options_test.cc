#include "route/options.h"

#include <gtest/gtest.h>

namespace millrace::route {
namespace {

TEST(ParseRetryOn, KnowsEveryConditionOfEnvoy) {
  const auto bits = parse_retry_on(
      "5xx,gateway-error,reset,reset-before-request,connect-failure,envoy-ratelimited,retriable-4xx,refused-stream,"
      "retriable-status-codes,retriable-headers,http3-post-connect-failure,cancelled,deadline-exceeded,internal,"
      "resource-exhausted,unavailable");
  ASSERT_TRUE(bits);
  EXPECT_EQ(*bits, 0xffffu);
}

TEST(ParseRetryOn, SkipsSpaceAndEmptyElements) {
  const auto bits = parse_retry_on(" 5xx , , gateway-error,");
  ASSERT_TRUE(bits);
  EXPECT_EQ(*bits, retry_on::k5xx | retry_on::kGatewayError);
  EXPECT_EQ(*parse_retry_on(""), 0u);
}

TEST(ParseRetryOn, SuggestsTheNearestWord) {
  const auto bits = parse_retry_on("5xx,gateway-errors");
  ASSERT_FALSE(bits);
  EXPECT_EQ(bits.error().what, "unknown retry condition \"gateway-errors\", did you mean \"gateway-error\"?");
  EXPECT_NE(parse_retry_on("conect-failure").error().what.find("\"connect-failure\""), std::string::npos);
}

TEST(ParseRetryOn, SkipsUnknownWordsOfARequest) {
  EXPECT_EQ(parse_retry_on_leniently("5xx,no-such-thing, reset"), retry_on::k5xx | retry_on::kReset);
}

}  // namespace
}  // namespace millrace::route
