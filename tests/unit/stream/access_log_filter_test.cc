#include "stream/access_log_filter.h"

#include <gtest/gtest.h>

namespace millrace::stream {
namespace {

using namespace log_filter;

class AccessLogFilterTest : public testing::Test {
 protected:
  bool passes(AccessLogFilterOptions options, AccessLogType type = AccessLogType::kDownstreamEnd) {
    const AccessLogFilter filter = AccessLogFilter::compile(options).value();
    return filter.evaluate({.info = &info_, .request_headers = &request_, .response_headers = &response_,
                            .response_trailers = &trailers_, .log_type = type});
  }
  static std::string error(AccessLogFilterOptions options) {
    const base::Result<AccessLogFilter> filter = AccessLogFilter::compile(options);
    return filter.ok() ? "" : filter.error().what;
  }
  StreamInfo info_;
  http::HeaderMap request_, response_, trailers_;
};

TEST_F(AccessLogFilterTest, ComparesTheStatusCode) {
  info_.response_code = 404;
  EXPECT_TRUE(passes({StatusCode{{Op::kGreaterOrEqual, 400}}}));
  EXPECT_TRUE(passes({StatusCode{{Op::kGreaterOrEqual, 404}}}));
  EXPECT_FALSE(passes({StatusCode{{Op::kGreaterOrEqual, 405}}}));
  EXPECT_TRUE(passes({StatusCode{{Op::kEqual, 404}}}));
  EXPECT_FALSE(passes({StatusCode{{Op::kEqual, 200}}}));
  EXPECT_TRUE(passes({StatusCode{{Op::kLessOrEqual, 404}}}));
  EXPECT_FALSE(passes({StatusCode{{Op::kLessOrEqual, 403}}}));
  EXPECT_TRUE(passes({StatusCode{{Op::kNotEqual, 200}}}));
  EXPECT_FALSE(passes({StatusCode{{Op::kNotEqual, 404}}}));
}

TEST_F(AccessLogFilterTest, NoResponseIsStatusZero) { EXPECT_TRUE(passes({StatusCode{{Op::kEqual, 0}}})); }

TEST_F(AccessLogFilterTest, ComparesTheDurationInMilliseconds) {
  info_.start = base::MonotonicTime(base::milliseconds(1000));
  info_.end = info_.start + base::microseconds(99'999);
  EXPECT_FALSE(passes({DurationMs{{Op::kGreaterOrEqual, 100}}}));
  EXPECT_TRUE(passes({DurationMs{{Op::kGreaterOrEqual, 99}}}));
}

TEST_F(AccessLogFilterTest, LeavesHealthChecksOut) {
  EXPECT_TRUE(passes({NotHealthCheck{}}));
  info_.is_health_check = true;
  EXPECT_FALSE(passes({NotHealthCheck{}}));
}

TEST_F(AccessLogFilterTest, LogsWhatIsTraced) {
  EXPECT_FALSE(passes({Traceable{}}));
  info_.is_traceable = true;
  EXPECT_TRUE(passes({Traceable{}}));
}

TEST_F(AccessLogFilterTest, MatchesAnyOfTheFlags) {
  EXPECT_FALSE(passes({Flags{}}));
  info_.flags.set(ResponseFlag::kUpstreamOverflow);
  EXPECT_TRUE(passes({Flags{}})) << "an empty list means any flag";
  EXPECT_TRUE(passes({Flags{{"UF", "UO"}}}));
  EXPECT_FALSE(passes({Flags{{"UF", "UH"}}}));
  EXPECT_EQ(error({Flags{{"UF", "XX"}}}), "there is no response flag \"XX\"");
}

TEST_F(AccessLogFilterTest, MatchesGrpcStatus) {
  trailers_.set(http::Header::kGrpcStatus, "5");
  EXPECT_TRUE(passes({GrpcStatus{{5, 7}, false}}));
  EXPECT_FALSE(passes({GrpcStatus{{5, 7}, true}}));
  EXPECT_FALSE(passes({GrpcStatus{{0}, false}}));
  trailers_.clear();
  EXPECT_TRUE(passes({GrpcStatus{{2}, false}})) << "no status is UNKNOWN";
  EXPECT_NE(error({GrpcStatus{{-1}, false}}), "");
}

TEST_F(AccessLogFilterTest, MatchesTheTypeOfTheLog) {
  EXPECT_TRUE(passes({LogType{{AccessLogType::kDownstreamEnd}, false}}));
  EXPECT_FALSE(passes({LogType{{AccessLogType::kDownstreamEnd}, true}}));
  EXPECT_FALSE(passes({LogType{{AccessLogType::kDownstreamEnd}, false}}, AccessLogType::kTcpPeriodic));
}

TEST_F(AccessLogFilterTest, AsksTheHeaderMatcher) {
  const RequestHeaders has_debug{[](const http::HeaderMap& headers) { return headers.has("x-debug"); }};
  EXPECT_FALSE(passes({has_debug}));
  request_.add("x-debug", "1");
  EXPECT_TRUE(passes({has_debug}));
  EXPECT_NE(error({RequestHeaders{}}), "");
  const AccessLogFilter filter = AccessLogFilter::compile({has_debug}).value();
  EXPECT_FALSE(filter.evaluate({.info = &info_})) << "a TCP connection has no headers";
}

TEST_F(AccessLogFilterTest, CombinesFilters) {
  info_.response_code = 500;
  const AccessLogFilterOptions yes{StatusCode{{Op::kEqual, 500}}};
  const AccessLogFilterOptions no{Traceable{}};
  EXPECT_TRUE(passes({And{{yes, yes}}}));
  EXPECT_FALSE(passes({And{{yes, no}}}));
  EXPECT_TRUE(passes({Or{{no, yes}}}));
  EXPECT_FALSE(passes({Or{{no, no}}}));
  EXPECT_TRUE(passes({And{{yes, {Or{{no, yes}}}}}}));
  EXPECT_NE(error({And{{yes, {Flags{{"XX"}}}}}}), "");
}

TEST_F(AccessLogFilterTest, RefusesBottomlessNesting) {
  AccessLogFilterOptions options{NotHealthCheck{}};
  for (int i = 0; i < 100; ++i) options = {And{{options}}};
  EXPECT_EQ(error(options), "filters are nested more than 32 deep");
}

TEST_F(AccessLogFilterTest, TheRequestIdDecidesOnTheFraction) {
  request_.set(http::Header::kRequestId, "00000031-0000-4000-8000-000000000000");  // 0x31 = 49
  EXPECT_TRUE(passes({Fraction{50, 100, false}}));
  EXPECT_FALSE(passes({Fraction{49, 100, false}}));
  EXPECT_NE(error({Fraction{1, 0, false}}), "");
}

TEST_F(AccessLogFilterTest, WithoutARequestIdTheFractionIsRandom) {
  EXPECT_TRUE(passes({Fraction{100, 100, false}}));
  EXPECT_FALSE(passes({Fraction{0, 100, false}}));
  request_.set(http::Header::kRequestId, "00000031-0000-4000-8000-000000000000");
  const AccessLogFilter filter = AccessLogFilter::compile({Fraction{50, 100, true}}).value();
  int passed = 0;
  for (int i = 0; i < 2000; ++i) passed += filter.evaluate({.info = &info_, .request_headers = &request_}) ? 1 : 0;
  EXPECT_GT(passed, 800);
  EXPECT_LT(passed, 1200);
}

}  // namespace
}  // namespace millrace::stream
