// Upstreams that fail, retries, timeouts.
#include <gmock/gmock.h>

#include "unit/router/router_fixture.h"

namespace millrace::router {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class HttpRouterFailuresTest : public RouterTest {};

// ---- failures without retries

TEST_F(HttpRouterFailuresTest, AnUpstreamThatRefusesIsAConnectionFailure) {
  upstream.stop_listening();
  log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%");
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("Connection refused"),
              AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"),
                    EndsWith("\r\n\r\nupstream connect error or disconnect/reset before headers. reset reason: "
                             "remote connection failure, transport failure reason: delayed connect error: Connection "
                             "refused")));
  EXPECT_EQ(logged(),
            "503 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_"
            "refused} delayed_connect_error:_Connection_refused\n");
  EXPECT_EQ(stat(cs::kUpstreamCxConnectFail), 1u);
}

TEST_F(HttpRouterFailuresTest, AnUpstreamThatHangsUpIsAConnectionTermination) {
  log();
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
  request_at(0, "x").close();
  EXPECT_THAT(client_got("connection termination"),
              AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"),
                    EndsWith("\r\n\r\nupstream connect error or disconnect/reset before headers. reset reason: "
                             "connection termination")));
  EXPECT_EQ(logged(), "503 UC upstream_reset_before_response_started{connection_termination}\n");
}

TEST_F(HttpRouterFailuresTest, WhatIsNoHttpFromAnUpstreamIsAProtocolError) {
  log();
  begin();
  client.send(kGet);
  request_at(0).send("220 smtp ready\r\n\r\n");
  EXPECT_THAT(client_got("protocol error"), StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
  EXPECT_THAT(logged(), StartsWith("502 UPE upstream_reset_before_response_started{protocol_error"));
}

TEST_F(HttpRouterFailuresTest, AnUpstreamThatHangsUpWithinItsBodyCutsTheAnswer) {
  log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%");
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  server.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
  client_got("half");
  server.close();
  run_until([&] { return client.ended; });
  EXPECT_EQ(logged(), "200 UC upstream_reset_after_response_started{connection_termination} 4\n");
}

TEST_F(HttpRouterFailuresTest, AnOpenBreakerIsAnOverflow) {
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.circuit_breakers.thresholds[0].max_pending_requests = 0;
  add_cluster(std::move(o));
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("reset reason: overflow"),
              AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"), HasSubstr("x-envoy-overloaded: true\r\n")));
  EXPECT_EQ(logged(), "503 UO upstream_reset_before_response_started{overflow}\n");
  EXPECT_EQ(stat(cs::kUpstreamRqPendingOverflow), 1u);
}

TEST_F(HttpRouterFailuresTest, AnAnswerBeforeTheRequestIsWholeEndsBothConnections) {
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\npart");
  TestSocket& server = request_at(0, "part");
  answer(server, "413 Payload Too Large", "too large");
  EXPECT_THAT(client_got("too large"), HasSubstr("connection: close\r\n"));
  run_until([&] { return client.ended && server.ended; });
}

TEST_F(HttpRouterFailuresTest, AClientThatLeavesTakesItsUpstreamRequestAlong) {
  log();
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  client.close();
  turn_until([&] { return server.ended || server.reset; }, {&server});
  EXPECT_EQ(logged(), "0 DC downstream_remote_disconnect\n");
}

// ---- what the access log says of the upstream's wire

constexpr std::string_view kWireBytes = "%UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED%";

TEST_F(HttpRouterFailuresTest, LogsTheUpstreamsWireBytesHoweverTheStreamEnds) {
  route::RouteOptions brief = route::prefix("/brief", "backend");
  brief.route.timeout = milliseconds(20);
  vhost().routes.insert(vhost().routes.begin(), brief);
  log(std::string(kWireBytes));
  begin();
  constexpr std::string_view kHalf = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
  std::string want;
  const auto expect_line = [&](size_t sent, size_t received) {
    want += std::to_string(sent) + " " + std::to_string(received) + "\n";
    EXPECT_EQ(logged(), want);
  };
  // The client goes within the answer.
  client.send(kGet);
  size_t sent = request_at(0).received.size();
  upstream.connections[0].send(kHalf);
  client_got("half");
  client.close();
  turn_until([&] { return host->active() == 0; });
  expect_line(sent, kHalf.size());
  // The upstream resets within it.
  client = connect();
  client.send(kGet);
  sent = request_at(1).received.size();
  upstream.connections[1].send(kHalf);
  client_got("half");
  upstream.connections[1].abort();
  run_until([&] { return client.ended; });
  expect_line(sent, kHalf.size());
  // The upstream goes before it has said anything.
  client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
  sent = request_at(2, "x").received.size();
  upstream.connections[2].close();
  client_got("connection termination");
  expect_line(sent, 0);
  // No answer comes in time.
  client.send("GET /brief HTTP/1.1\r\nhost: a\r\n\r\n");
  sent = request_at(3).received.size();
  client_got("upstream request timeout");
  expect_line(sent, 0);
}

TEST_F(HttpRouterFailuresTest, TheWireBytesOfOneStreamAreNotThoseOfTheNext) {
  route::RouteOptions direct = route::prefix("/direct", "");
  direct.action = route::ActionKind::kDirectResponse;
  direct.direct_response = {.status = 200, .body = "direct"};
  vhost().routes.insert(vhost().routes.begin(), direct);
  log(std::string(kWireBytes));
  begin();
  client.send(kGet);
  const size_t sent = request_at(0).received.size();
  answer(upstream.connections[0], "200 OK", "ok");
  client_got("ok");
  client.send("GET /direct HTTP/1.1\r\nhost: a\r\n\r\n");
  client_got("direct");
  const size_t received = std::string_view("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").size();
  EXPECT_EQ(logged(), std::to_string(sent) + " " + std::to_string(received) + "\n0 0\n");
}

// ---- stale connections

TEST_F(HttpRouterFailuresTest, ARequestThatMeetsAConnectionJustClosedIsSentAgainOnAFreshOne) {
  log();
  begin();
  // Two connections lie idle in the pool, and both are stale.
  TestSocket second = connect();
  client.send(kGet);
  second.send(kGet);
  answer(request_at(0), "200 OK", "one");
  answer(request_at(1), "200 OK", "two");
  client_got("one");
  turn_until([&] { return second.received.ends_with("two"); }, {&second});
  client.send(kGet);
  TestSocket* met = nullptr;
  run_until([&] {
    for (TestSocket& c : upstream.connections) if (!c.received.empty()) met = &c;
    return met != nullptr;
  });
  met->close();
  answer(request_at(2), "200 OK", "fresh");
  EXPECT_THAT(client_got("fresh"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_EQ(stat(cs::kUpstreamRqRetry), 0u);  // costs no retry of the policy
  EXPECT_THAT(logged(), EndsWith("200 - via_upstream\n"));
}

TEST_F(HttpRouterFailuresTest, ARequestThatMayHaveHadEffectsIsNotSentAgainUnasked) {
  begin();
  client.send(kGet);
  answer(request_at(0), "200 OK", "one");
  client_got("one");
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
  request_at(0, "x").close();
  EXPECT_THAT(client_got("connection termination"), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(upstream.connections.size(), 1u);
}

// ---- retries

TEST_F(HttpRouterFailuresTest, RetriesWhatThePolicyNamesWithTheSameBody) {
  retry_on(route::retry_on::k5xx, 2);
  vhost().include_request_attempt_count = true;
  vhost().include_attempt_count_in_response = true;
  log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%");
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
  TestSocket& server = request_at(0, "hello");
  EXPECT_THAT(server.received, HasSubstr("x-envoy-attempt-count: 1\r\n"));
  answer(server, "503 Service Unavailable", "");
  request_at(0, "hello");
  EXPECT_THAT(server.received, HasSubstr("x-envoy-attempt-count: 2\r\n"));
  EXPECT_THAT(server.received, HasSubstr("content-length: 5\r\n"));
  answer(server, "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), HasSubstr("x-envoy-attempt-count: 2\r\n"));
  EXPECT_EQ(stat(cs::kUpstreamRqRetry), 1u);
  EXPECT_EQ(stat(cs::kUpstreamRqRetrySuccess), 1u);
  EXPECT_EQ(stat(cs::kUpstreamRq5xx), 1u);
  EXPECT_EQ(logged(), "200 - via_upstream 2\n");
}

TEST_F(HttpRouterFailuresTest, WhenNoTryIsLeftTheLastAnswerPasses) {
  retry_on(route::retry_on::k5xx, 1);
  log();
  begin();
  client.send(kGet);
  answer(request_at(0), "500 Internal Server Error", "first");
  answer(request_at(1), "502 Bad Gateway", "second");  // the answer given up took its connection along
  EXPECT_THAT(client_got("second"), AllOf(StartsWith("HTTP/1.1 502"), Not(HasSubstr("first"))));
  EXPECT_EQ(logged(), "502 URX via_upstream\n");
  EXPECT_EQ(stat(cs::kUpstreamRqRetryLimitExceeded), 1u);
}

TEST_F(HttpRouterFailuresTest, RetriesConnectFailuresOnAnotherHost) {
  retry_on(route::retry_on::kConnectFailure, 3);
  route().route.retry_policy->previous_hosts = true;
  route().route.retry_policy->host_selection_retry_max_attempts = 5;
  add_cluster(cluster_of("backend", {&upstream, &other}));
  upstream.stop_listening();
  begin();
  for (int i = 0; i < 4; ++i) {
    client.send(kGet);
    answer(request_at(0, "\r\n\r\n", &other), "200 OK", "ok");
    client_got("ok");
  }
  EXPECT_GT(stat(cs::kUpstreamRqRetry), 0u);
  EXPECT_EQ(stat(cs::kUpstreamRqRetry), stat(cs::kUpstreamRqRetrySuccess));
}

TEST_F(HttpRouterFailuresTest, SaysThatItRetriedWhenTheLatestTryFailedToo) {
  retry_on(route::retry_on::kConnectFailure, 1);
  upstream.stop_listening();
  log("%RESPONSE_CODE% %RESPONSE_FLAGS%");
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("Connection refused"),
              HasSubstr("retried and the latest reset reason: remote connection failure"));
  EXPECT_EQ(logged(), "503 UF,URX\n");
}

TEST_F(HttpRouterFailuresTest, RetriesAResetBeforeTheAnswer) {
  retry_on(route::retry_on::kReset);
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
  request_at(0, "hello").abort();
  answer(request_at(1, "hello"), "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpRouterFailuresTest, ARetryBeyondTheBreakerIsNotMade) {
  retry_on(route::retry_on::k5xx);
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.circuit_breakers.thresholds[0].max_retries = 0;
  add_cluster(std::move(o));
  log();
  begin();
  client.send(kGet);
  answer(request_at(0), "503 Service Unavailable", "busy");
  EXPECT_THAT(client_got("busy"), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(logged(), "503 UO via_upstream\n");
  EXPECT_EQ(stat(cs::kUpstreamRqRetryOverflow), 1u);
}

TEST_F(HttpRouterFailuresTest, ABodyLargerThanTheBufferIsNotSentAgain) {
  retry_on(route::retry_on::k5xx);
  route().per_request_buffer_limit_bytes = 4;
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
  answer(request_at(0, "hello"), "503 Service Unavailable", "busy");
  EXPECT_THAT(client_got("busy"), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(stat(cs::kRetryOrShadowAbandoned), 1u);
  EXPECT_EQ(stat(cs::kUpstreamRqRetry), 0u);
}

TEST_F(HttpRouterFailuresTest, ABodyThatStillComesWhileATryIsRepeatedArrivesWhole) {
  retry_on(route::retry_on::k5xx);
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
  answer(request_at(0, "hello"), "503 Service Unavailable", "");
  TestSocket& second = request_at(1, "hello");
  client.send("world");
  request_at(1, "helloworld");
  answer(second, "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpRouterFailuresTest, AClientThatLeavesDuringTheBackOffEndsIt) {
  retry_on(route::retry_on::k5xx);
  route().route.retry_policy->base_interval = milliseconds(10'000);
  route().route.retry_policy->max_interval = milliseconds(10'000);
  begin();
  client.send(kGet);
  answer(request_at(0), "503 Service Unavailable", "");
  run_until([&] { return stat(cs::kUpstreamRqRetry) == 1; });
  client.close();
  turn_until([&] { return host->active() == 0; });
}

// ---- timeouts

TEST_F(HttpRouterFailuresTest, TheRoutesTimeoutAnswers504) {
  route().route.timeout = milliseconds(20);
  log();
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  EXPECT_THAT(client_got("upstream request timeout"), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  run_until([&] { return server.ended || server.reset; });
  EXPECT_EQ(logged(), "504 UT response_timeout\n");
  EXPECT_EQ(stat(cs::kUpstreamRqTimeout), 1u);
}

TEST_F(HttpRouterFailuresTest, TheTimeoutCutsAnAnswerThatDoesNotEnd) {
  route().route.timeout = milliseconds(20);
  log();
  begin();
  client.send(kGet);
  request_at(0).send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
  run_until([&] { return client.ended; });
  EXPECT_THAT(client.received, EndsWith("half"));
  EXPECT_EQ(logged(), "200 UT response_timeout\n");
}

TEST_F(HttpRouterFailuresTest, TheTimeoutCountsFromTheEndOfTheRequest) {
  route().route.timeout = milliseconds(15);
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na");
  TestSocket& server = request_at(0, "a");
  const base::MonotonicTime later = loop->now() + milliseconds(40);
  turn_until([&] { return loop->now() > later; });
  client.send("b");
  request_at(0, "ab");
  answer(server, "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpRouterFailuresTest, ATryThatTakesTooLongIsMadeAgain) {
  retry_on(route::retry_on::k5xx);
  route().route.retry_policy->per_try_timeout = milliseconds(20);
  begin();
  client.send(kGet);
  request_at(0);
  answer(request_at(1), "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(stat(cs::kUpstreamRqPerTryTimeout), 1u);
}

TEST_F(HttpRouterFailuresTest, RetriesSayWhetherATimeoutWasTheReason) {
  retry_on(route::retry_on::k5xx, 2);
  route().route.retry_policy->per_try_timeout = milliseconds(20);
  vhost().include_is_timeout_retry_header = true;
  begin();
  client.send(kGet);
  EXPECT_THAT(request_at(0).received, Not(HasSubstr("x-envoy-is-timeout-retry")));
  EXPECT_THAT(request_at(1).received, HasSubstr("x-envoy-is-timeout-retry: true\r\n"));
  answer(upstream.connections[1], "503 Service Unavailable", "");
  EXPECT_THAT(request_at(1).received, HasSubstr("x-envoy-is-timeout-retry: false\r\n"));
  answer(upstream.connections[1], "200 OK", "ok");
  client_got("ok");
}

TEST_F(HttpRouterFailuresTest, TheRoutesStreamDurationReplacesTheManagers) {
  options.max_stream_duration = milliseconds(20);
  route().route.max_stream_duration = milliseconds(0);
  route::RouteOptions brief = route::prefix("/brief", "backend");
  brief.route.max_stream_duration = milliseconds(10);
  vhost().routes.insert(vhost().routes.begin(), brief);
  log();
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  const base::MonotonicTime later = loop->now() + milliseconds(40);
  turn_until([&] { return loop->now() > later; });
  answer(server, "200 OK", "ok");
  client_got("ok");
  client.send("GET /brief HTTP/1.1\r\nhost: a\r\n\r\n");
  EXPECT_THAT(client_got("downstream duration timeout"), StartsWith("HTTP/1.1 504"));
  EXPECT_EQ(logged(), "200 - via_upstream\n504 DT max_duration_timeout\n");
}

TEST_F(HttpRouterFailuresTest, TheClustersStreamDurationEndsATry) {
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.http.max_stream_duration = milliseconds(20);
  add_cluster(std::move(o));
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("upstream max stream duration reached"), StartsWith("HTTP/1.1 504"));
  client.send(kGet);
  request_at(1).send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
  run_until([&] { return client.ended; });
  EXPECT_EQ(logged(),
            "504 UMSDR upstream_max_stream_duration_reached\n200 UMSDR upstream_max_stream_duration_reached\n");
  EXPECT_EQ(stat(cs::kUpstreamRqMaxDurationReached), 2u);
}

TEST_F(HttpRouterFailuresTest, WhatAnEarlierEnvoyExpectsIsTheTimeoutWhenRespected) {
  router.respect_expected_rq_timeout = true;
  options.internal_ranges.push_back({*net::Address::parse_ip("10.0.0.0", 0), 8});
  begin();
  client.send("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\n"
              "x-envoy-expected-rq-timeout-ms: 25\r\n\r\n");
  EXPECT_THAT(request_at(0).received, HasSubstr("x-envoy-expected-rq-timeout-ms: 25\r\n"));
  EXPECT_THAT(client_got("upstream request timeout"), StartsWith("HTTP/1.1 504"));
}

TEST_F(HttpRouterFailuresTest, TheLastTryThatTakesTooLongIsA504) {
  retry_on(route::retry_on::k5xx, 0);
  route().route.retry_policy->per_try_timeout = milliseconds(15);
  log();
  begin();
  client.send(kGet);
  request_at(0);
  EXPECT_THAT(client_got("upstream request timeout"), StartsWith("HTTP/1.1 504"));
  EXPECT_THAT(logged(), AllOf(StartsWith("504 UT"), HasSubstr("upstream_per_try_timeout")));
}

TEST_F(HttpRouterFailuresTest, AConnectThatTakesTooLongFails) {
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.connect_timeout = milliseconds(20);
  // A queue without room does not answer.
  TestListener full;
  full.shrink_queue();
  std::vector<int> fill;
  for (int i = 0; i < 4; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_storage address;
    const socklen_t length = full.address().to_sockaddr(address);
    (void)::connect(fd, reinterpret_cast<sockaddr*>(&address), length);
    fill.push_back(fd);
  }
  o.endpoints[0].endpoints[0].address = full.address();
  add_cluster(std::move(o));
  log("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%");
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("reset reason: connection timeout"), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(logged(), "UF upstream_reset_before_response_started{connection_timeout}\n");
  for (int fd : fill) ::close(fd);
}

}  // namespace
}  // namespace millrace::router
