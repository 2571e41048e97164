#include "route/retry.h"

#include "unit/route/support.h"

namespace millrace::route {
namespace {

using http::Header;
using std::chrono::seconds;

constexpr base::SystemTime kNow{seconds(1'000'000)};

CompiledRetryPolicy policy_of(RetryPolicy options) {
  auto policy = CompiledRetryPolicy::compile(options);
  EXPECT_TRUE(policy);
  return *std::move(policy);
}

// What a state made of these headers answers to one response or reset.
RetryAnswer answer(uint32_t bits, Fields response, Fields request = {}, RetryPolicy options = {}) {
  options.retry_on = bits;
  const CompiledRetryPolicy policy = policy_of(options);
  http::HeaderMap request_headers, response_headers;
  fill_request(request_headers, "h", "/", request);
  fill(response_headers, response);
  RetryState state(policy, request_headers);
  base::Prng prng(1);
  return state.on_response(response_headers, kNow, prng).answer;
}
RetryAnswer answer_reset(uint32_t bits, ResetReason reason, bool started = true) {
  RetryPolicy options;
  options.retry_on = bits;
  const CompiledRetryPolicy policy = policy_of(options);
  http::HeaderMap request;
  RetryState state(policy, request);
  base::Prng prng(1);
  return state.on_reset(reason, started, prng).answer;
}

TEST(RetryState, RetriesTheStatusesOfItsConditions) {
  EXPECT_EQ(answer(0, {{":status", "503"}}), RetryAnswer::kNo);
  EXPECT_EQ(answer(retry_on::k5xx, {{":status", "500"}}), RetryAnswer::kYes);
  EXPECT_EQ(answer(retry_on::k5xx, {{":status", "499"}}), RetryAnswer::kNo);
  EXPECT_EQ(answer(retry_on::kGatewayError, {{":status", "504"}}), RetryAnswer::kYes);
  EXPECT_EQ(answer(retry_on::kGatewayError, {{":status", "500"}}), RetryAnswer::kNo);
  EXPECT_EQ(answer(retry_on::kRetriable4xx, {{":status", "409"}}), RetryAnswer::kYes);
  EXPECT_EQ(answer(retry_on::kRetriable4xx, {{":status", "404"}}), RetryAnswer::kNo);
}

TEST(RetryState, RetriesListedStatusesAndHeaders) {
  RetryPolicy options;
  options.retriable_status_codes = {404};
  HeaderMatch header;
  header.name = "x-again";
  options.retriable_headers = {header};
  const uint32_t codes = retry_on::kRetriableStatusCodes;
  EXPECT_EQ(answer(codes, {{":status", "404"}}, {}, options), RetryAnswer::kYes);
  EXPECT_EQ(answer(codes, {{":status", "403"}}, {}, options), RetryAnswer::kNo);
  EXPECT_EQ(answer(codes, {{":status", "403"}}, {{"x-envoy-retriable-status-codes", "401, 403"}}, options),
            RetryAnswer::kYes);
  const uint32_t headers = retry_on::kRetriableHeaders;
  EXPECT_EQ(answer(headers, {{":status", "200"}, {"x-again", "1"}}, {}, options), RetryAnswer::kYes);
  EXPECT_EQ(answer(headers, {{":status", "200"}}, {}, options), RetryAnswer::kNo);
  EXPECT_EQ(
      answer(headers, {{":status", "200"}, {"x-more", "1"}}, {{"x-envoy-retriable-header-names", "a,X-More"}}, options),
      RetryAnswer::kYes);
}

TEST(RetryState, RetriesGrpcStatuses) {
  const auto with = [](uint32_t bits, std::string_view status) {
    return answer(bits, {{":status", "200"}, {"grpc-status", status}});
  };
  EXPECT_EQ(with(retry_on::kGrpcCancelled, "1"), RetryAnswer::kYes);
  EXPECT_EQ(with(retry_on::kGrpcDeadlineExceeded, "4"), RetryAnswer::kYes);
  EXPECT_EQ(with(retry_on::kGrpcResourceExhausted, "8"), RetryAnswer::kYes);
  EXPECT_EQ(with(retry_on::kGrpcInternal, "13"), RetryAnswer::kYes);
  EXPECT_EQ(with(retry_on::kGrpcUnavailable, "14"), RetryAnswer::kYes);
  EXPECT_EQ(with(retry_on::kGrpcUnavailable, "0"), RetryAnswer::kNo);
  EXPECT_EQ(with(retry_on::kGrpcUnavailable, "13"), RetryAnswer::kNo);
}

TEST(RetryState, ARateLimitedResponseIsRetriedOnlyByName) {
  const Fields limited = {{":status", "503"}, {"x-envoy-ratelimited", "true"}};
  EXPECT_EQ(answer(retry_on::k5xx, limited), RetryAnswer::kNo);
  EXPECT_EQ(answer(retry_on::k5xx | retry_on::kEnvoyRateLimited, limited), RetryAnswer::kYes);
}

TEST(RetryState, RetriesResetsByReason) {
  for (const uint32_t any : {retry_on::kReset, retry_on::k5xx, retry_on::kGatewayError}) {
    EXPECT_EQ(answer_reset(any, ResetReason::kConnectionTermination), RetryAnswer::kYes);
    EXPECT_EQ(answer_reset(any, ResetReason::kOverflow), RetryAnswer::kNo);
  }
  EXPECT_EQ(answer_reset(retry_on::kConnectFailure, ResetReason::kConnectionFailure), RetryAnswer::kYes);
  EXPECT_EQ(answer_reset(retry_on::kConnectFailure, ResetReason::kConnectionTermination), RetryAnswer::kNo);
  EXPECT_EQ(answer_reset(retry_on::kRefusedStream, ResetReason::kRemoteRefusedStream), RetryAnswer::kYes);
  EXPECT_EQ(answer_reset(retry_on::kRefusedStream, ResetReason::kRemoteReset), RetryAnswer::kNo);
  EXPECT_EQ(answer_reset(retry_on::kResetBeforeRequest, ResetReason::kRemoteReset, false), RetryAnswer::kYes);
  EXPECT_EQ(answer_reset(retry_on::kResetBeforeRequest, ResetReason::kRemoteReset, true), RetryAnswer::kNo);
}

TEST(RetryState, CountsItsTries) {
  RetryPolicy options;
  options.retry_on = retry_on::kReset;
  options.num_retries = 2;
  const CompiledRetryPolicy policy = policy_of(options);
  http::HeaderMap request;
  RetryState state(policy, request);
  base::Prng prng(1);
  EXPECT_EQ(state.on_reset(ResetReason::kRemoteReset, true, prng).answer, RetryAnswer::kYes);
  EXPECT_EQ(state.on_reset(ResetReason::kRemoteReset, true, prng).answer, RetryAnswer::kYes);
  EXPECT_EQ(state.on_reset(ResetReason::kRemoteReset, true, prng).answer, RetryAnswer::kLimitExceeded);
  EXPECT_EQ(state.retries_remaining(), 0u);
}

TEST(RetryState, HeadersOfTheRequestAddConditionsAndReplaceTheCount) {
  const CompiledRetryPolicy policy = policy_of({});
  http::HeaderMap request;
  fill_request(request, "h", "/",
               {{"x-envoy-retry-on", "connect-failure,what"}, {"x-envoy-retry-grpc-on", "unavailable"},
                {"x-envoy-max-retries", "7"}, {"x-envoy-hedge-on-per-try-timeout", "true"}});
  RetryState state(policy, request);
  EXPECT_TRUE(state.enabled());
  EXPECT_EQ(state.retries_remaining(), 7u);
  EXPECT_EQ(request.size(), 4u);
  base::Prng prng(1);
  EXPECT_EQ(state.on_reset(ResetReason::kConnectionFailure, false, prng).answer, RetryAnswer::kYes);
  EXPECT_EQ(state.on_reset(ResetReason::kRemoteReset, false, prng).answer, RetryAnswer::kNo);
  EXPECT_FALSE(RetryState().enabled());
}

TEST(RetryState, RequestsThatDoNotQualifyAreNotRetried) {
  RetryPolicy options;
  options.retry_on = retry_on::k5xx;
  HeaderMatch get;
  get.name = ":method";
  get.kind = HeaderMatch::Kind::kString;
  get.string.value = "GET";
  options.retriable_request_headers = {get};
  const CompiledRetryPolicy policy = policy_of(options);
  http::HeaderMap request;
  fill_request(request, "h", "/");
  EXPECT_TRUE(RetryState(policy, request).enabled());
  request.set(Header::kMethod, "POST");
  EXPECT_FALSE(RetryState(policy, request).enabled());
}

TEST(RetryState, BacksOffExponentiallyWithFullJitterUpToTenTimesTheBase) {
  RetryPolicy options;
  options.retry_on = retry_on::kReset;
  options.num_retries = 8;
  const CompiledRetryPolicy policy = policy_of(options);
  const int64_t bounds[] = {25, 50, 100, 200, 250, 250, 250, 250};
  int64_t longest[8] = {};
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    http::HeaderMap request;
    RetryState state(policy, request);
    base::Prng prng(seed);
    for (int i = 0; i < 8; ++i) {
      const int64_t back_off = state.on_reset(ResetReason::kRemoteReset, true, prng).back_off.count();
      ASSERT_LT(back_off, bounds[i]);
      longest[i] = std::max(longest[i], back_off);
    }
  }
  for (int i = 0; i < 8; ++i) EXPECT_GT(longest[i], bounds[i] * 9 / 10) << i;
}

TEST(RetryState, WaitsAsLongAsTheUpstreamAsks) {
  RetryPolicy options;
  options.retry_on = retry_on::k5xx;
  options.num_retries = 10;
  options.rate_limited_retry_back_off = RateLimitedRetryBackOff{
      {{"Retry-After", ResetHeader::Format::kSeconds}, {"x-reset", ResetHeader::Format::kUnixTimestamp}}, seconds(300)};
  const CompiledRetryPolicy policy = policy_of(options);
  http::HeaderMap request;
  RetryState state(policy, request);
  base::Prng prng(3);
  const auto back_off = [&](Fields fields) {
    http::HeaderMap response;
    fill(response, {{":status", "503"}});
    fill(response, fields);
    return state.on_response(response, kNow, prng).back_off;
  };
  const auto by_seconds = back_off({{"retry-after", "10"}});
  EXPECT_GE(by_seconds, seconds(10));
  EXPECT_LE(by_seconds, seconds(15));
  const auto by_time = back_off({{"retry-after", "1000"}, {"x-reset", "1000020"}});
  EXPECT_GE(by_time, seconds(20));
  EXPECT_LE(by_time, seconds(30));
  EXPECT_LT(back_off({{"retry-after", "soon"}, {"x-reset", "999999"}}), milliseconds(250));
}

TEST(CompiledRetryPolicy, RefusesWhatCannotBe) {
  const auto error = [](RetryPolicy options) {
    auto policy = CompiledRetryPolicy::compile(options);
    return policy ? "compiled" : policy.error().what;
  };
  EXPECT_EQ(error({.base_interval = milliseconds(0)}), "retry_back_off.base_interval: must be at least 1 ms");
  EXPECT_EQ(error({.base_interval = milliseconds(30), .max_interval = milliseconds(20)}),
            "retry_back_off.max_interval: 20 ms is less than base_interval, 30 ms");
  EXPECT_EQ(error({.retriable_status_codes = {503, 42}}), "retriable_status_codes[1]: 42 is not a status");
}

struct Request {
  Request(RouteOptions options, Fields fields) : table(compiled(table_of({std::move(options)}))) {
    fill_request(headers, "h", "/", fields);
    route = table->match({headers});
  }
  std::shared_ptr<const RouteTable> table;
  http::HeaderMap headers;
  const Route* route = nullptr;
};

TEST(RequestTimeouts, AreFifteenSecondsUnlessSaidOtherwise) {
  Request plain(prefix("/", "c"), {});
  EXPECT_EQ(request_timeouts(*plain.route, plain.headers).global, seconds(15));
  EXPECT_EQ(plain.headers.get(Header::kEnvoyExpectedRequestTimeout), "15000");
  RouteOptions off = prefix("/", "c");
  off.route.timeout = milliseconds(0);
  Request none(off, {});
  EXPECT_EQ(request_timeouts(*none.route, none.headers).global, milliseconds(0));
  EXPECT_FALSE(none.headers.has(Header::kEnvoyExpectedRequestTimeout));
}

TEST(RequestTimeouts, ComeFromTheRequestFirst) {
  RouteOptions options = prefix("/", "c");
  options.route.timeout = milliseconds(1000);
  options.route.retry_policy = RetryPolicy{};
  options.route.retry_policy->per_try_timeout = milliseconds(400);
  Request plain(options, {});
  const Timeouts by_route = request_timeouts(*plain.route, plain.headers);
  EXPECT_EQ(by_route.global, milliseconds(1000));
  EXPECT_EQ(by_route.per_try, milliseconds(400));
  EXPECT_EQ(plain.headers.get(Header::kEnvoyExpectedRequestTimeout), "400");
  Request asking(options,
                 {{"x-envoy-upstream-rq-timeout-ms", "500"}, {"x-envoy-upstream-rq-per-try-timeout-ms", "50"}});
  const Timeouts asked = request_timeouts(*asking.route, asking.headers, false);
  EXPECT_EQ(asked.global, milliseconds(500));
  EXPECT_EQ(asked.per_try, milliseconds(50));
  EXPECT_EQ(asking.headers.size(), 4u);
  Request silly(options,
                {{"x-envoy-upstream-rq-timeout-ms", "5x"}, {"x-envoy-upstream-rq-per-try-timeout-ms", "2000"}});
  const Timeouts ignored = request_timeouts(*silly.route, silly.headers);
  EXPECT_EQ(ignored.global, milliseconds(1000));
  EXPECT_EQ(ignored.per_try, milliseconds(0));
}

TEST(RequestTimeouts, TheVirtualHostsRetryPolicyServesRoutesWithoutOne) {
  RouteTableOptions options = table_of({prefix("/", "c")});
  options.virtual_hosts[0].retry_policy = RetryPolicy{.retry_on = retry_on::k5xx, .num_retries = 4};
  const auto table = compiled(options);
  http::HeaderMap headers;
  fill_request(headers, "h", "/");
  RetryState state(*table->match({headers})->retry_policy, headers);
  EXPECT_TRUE(state.enabled());
  EXPECT_EQ(state.retries_remaining(), 4u);
}

TEST(StreamDuration, FollowsTheGrpcTimeoutWithinItsBounds) {
  RouteOptions options = prefix("/", "c");
  options.route.max_stream_duration = seconds(60);
  options.route.grpc_timeout_header_max = seconds(10);
  options.route.grpc_timeout_header_offset = milliseconds(100);
  const auto limit = [&](Fields fields) {
    Request request(options, fields);
    EXPECT_EQ(request_timeouts(*request.route, request.headers).global, milliseconds(0));
    return stream_duration_limit(*request.route, request.headers);
  };
  EXPECT_EQ(limit({}), seconds(60));
  EXPECT_EQ(limit({{"grpc-timeout", "2S"}}), milliseconds(1900));
  EXPECT_EQ(limit({{"grpc-timeout", "1H"}}), milliseconds(9900));
  EXPECT_EQ(limit({{"grpc-timeout", "1500u"}}), milliseconds(2));
  EXPECT_EQ(limit({{"grpc-timeout", "123456789S"}}), seconds(60));
  EXPECT_EQ(limit({{"grpc-timeout", "5x"}}), seconds(60));
}

TEST(RequestTimeouts, TheOldFieldCapsWhatGrpcClientsAskFor) {
  RouteOptions options = prefix("/", "c");
  options.route.timeout = seconds(3);
  options.route.max_grpc_timeout = seconds(10);
  options.route.grpc_timeout_offset = milliseconds(100);
  std::string forwarded;
  const auto timeout = [&](Fields fields) {
    Request request(options, fields);
    const milliseconds global = request_timeouts(*request.route, request.headers).global;
    forwarded = std::string(request.headers.get(Header::kGrpcTimeout));
    return global;
  };
  constexpr std::pair<std::string_view, std::string_view> kGrpc{"content-type", "application/grpc"};
  EXPECT_EQ(timeout({kGrpc, {"grpc-timeout", "2S"}}), milliseconds(1900));
  EXPECT_EQ(forwarded, "1900m");
  EXPECT_EQ(timeout({kGrpc, {"grpc-timeout", "1H"}}), seconds(10));
  EXPECT_EQ(timeout({kGrpc}), seconds(10));  // no deadline is the longest one
  EXPECT_EQ(timeout({kGrpc, {"grpc-timeout", "50m"}}), milliseconds(50));  // shorter than the offset
  EXPECT_EQ(timeout({{"grpc-timeout", "2S"}}), seconds(3));
  EXPECT_EQ(forwarded, "2S");
  options.route.max_grpc_timeout = milliseconds(0);  // any
  EXPECT_EQ(timeout({kGrpc, {"grpc-timeout", "99999999S"}}), seconds(99'999'999) - milliseconds(100));
  EXPECT_EQ(forwarded, "99999998S");
  EXPECT_EQ(timeout({kGrpc, {"grpc-timeout", "99999999H"}}), std::chrono::hours(99'999'999) - milliseconds(100));
  EXPECT_EQ(forwarded, "99999998H");
  EXPECT_EQ(timeout({kGrpc}), milliseconds(0));
}

}  // namespace
}  // namespace millrace::route
