#include "filter/http1_connection.h"

#include "unit/filter/http1_fixture.h"

namespace millrace::filter {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Http1ConnectionTest, KeepsTheConnectionForTheNextRequest) {
  answer_all();
  begin();
  TestSocket client = connect();
  for (int i = 0; i < 3; ++i) {
    const std::string answer = exchange(client, kGet, "\r\n\r\nok");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("server: envoy\r\n"));
    EXPECT_THAT(answer, HasSubstr("date: "));
    EXPECT_THAT(answer, Not(HasSubstr("connection:")));
  }
  EXPECT_EQ(counter(hs::kDownstreamRqTotal), 3u);
  EXPECT_EQ(counter(hs::kDownstreamRq2xx), 3u);
  EXPECT_EQ(counter(hs::kDownstreamCxTotal), 1u);
  EXPECT_EQ(app.ends, 3);
  EXPECT_GT(counter(hs::kDownstreamCxRxBytesTotal), 3 * kGet.size() - 1);
}

// The parser's end of message must not be left over for the next request on the connection.
TEST_F(Http1ConnectionTest, ARequestWithABodyFollowsOneThatWasAnsweredAtOnce) {
  answer_all();
  begin();
  TestSocket client = connect();
  exchange(client, kGet, "ok");
  EXPECT_THAT(exchange(client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "hello"),
              HasSubstr("200"));
  const std::string chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  EXPECT_THAT(exchange(client, chunked, "abc"), HasSubstr("200"));
  EXPECT_THAT(exchange(client, kGet, "ok"), HasSubstr("200"));
  EXPECT_THAT(app.requests, ElementsAre("GET /", "POST / hello", "POST / abc", "GET /"));
}

TEST_F(Http1ConnectionTest, PipelinedRequestsAreAnsweredInOrderThoughAnswersTakeTurns) {
  begin();
  TestSocket client = connect();
  client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n"
              "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nxy"
              "GET /3 HTTP/1.1\r\nhost: a\r\n\r\n");
  for (int i = 1; i <= 3; ++i) {
    Terminal& t = wait_for_request();
    turn_until([&] { return t.ended; });
    EXPECT_EQ(app.live.size(), 1u) << "one at a time";
    t.answer("200", "answer" + std::to_string(i));
    read_until(client, "answer" + std::to_string(i));
  }
  EXPECT_THAT(app.requests, ElementsAre("GET /1", "POST /2 xy", "GET /3"));
}

TEST_F(Http1ConnectionTest, HundredsOfPipelinedRequestsInOneSegmentAreAllAnswered) {
  answer_all();
  begin();
  TestSocket client = connect();
  std::string many;
  for (int i = 0; i < 300; ++i) many += kGet;
  client.send(many);
  turn_until([&] { return app.requests.size() == 300; }, {&client});
  turn_until([&] {
    size_t n = 0;
    for (size_t at = 0; (at = client.received.find("\r\n\r\nok", at)) != std::string::npos; ++at) ++n;
    return n == 300;
  }, {&client});
}

TEST_F(Http1ConnectionTest, BytesOneByOneAreARequestToo) {
  answer_all();
  begin();
  TestSocket client = connect();
  const std::string chunked =
      "POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (char c : chunked) {
    client.send({&c, 1});
    turn();
  }
  read_until(client, "\r\n\r\nabc");
  EXPECT_THAT(app.requests, ElementsAre("POST /slow abc"));
}

TEST_F(Http1ConnectionTest, RequestTrailersReachTheFiltersWhenEnabled) {
  options.enable_trailers = true;
  std::string trailers;
  app.on_whole = [&](Terminal& t) {
    trailers = t.trailers;
    t.headers("200");
    t.data("body");
    t.end_with_trailers({{"checksum", "abc"}});
  };
  begin();
  TestSocket client = connect();
  const std::string answer = exchange(
      client, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n",
      "checksum: abc\r\n\r\n");
  EXPECT_EQ(trailers, "x-sum=9;");
  EXPECT_THAT(answer, HasSubstr("transfer-encoding: chunked\r\n"));
  EXPECT_THAT(answer, EndsWith("4\r\nbody\r\n0\r\nchecksum: abc\r\n\r\n"));
  EXPECT_THAT(exchange(client, kGet, "checksum: abc\r\n\r\n"), HasSubstr("200"));
}

TEST_F(Http1ConnectionTest, ResponseTrailersAreDroppedWhenNotEnabled) {
  app.on_whole = [&](Terminal& t) {
    t.headers("200");
    t.end_with_trailers({{"checksum", "abc"}});
  };
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kGet, "0\r\n\r\n"), Not(HasSubstr("checksum")));
}

// ---- framing

TEST_F(Http1ConnectionTest, AnswersWithoutLengthAreChunkedAndEmptyOnesHaveLengthZero) {
  app.on_whole = [&](Terminal& t) {
    if (t.request(":path") == "/empty") return t.headers("200", {}, true);
    t.headers("200");
    t.data("one");
    t.data("two", true);
  };
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kGet, "0\r\n\r\n"), HasSubstr("transfer-encoding: chunked\r\n"));
  EXPECT_THAT(exchange(client, "GET /empty HTTP/1.1\r\nhost: a\r\n\r\n", "\r\n\r\n"),
              HasSubstr("content-length: 0\r\n"));
}

TEST_F(Http1ConnectionTest, NoBodyAfterHead204And304) {
  app.on_whole = [&](Terminal& t) {
    const std::string path(t.request(":path"));
    if (path == "/204") return t.headers("204", {}, true);
    if (path == "/304") return t.headers("304", {{"content-length", "10"}, {"etag", "x"}}, true);
    t.answer("200", "0123456789");
  };
  begin();
  TestSocket client = connect();
  std::string answer = exchange(client, "HEAD /h HTTP/1.1\r\nhost: a\r\n\r\n", "\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("content-length: 10\r\n"));
  answer = exchange(client, "GET /204 HTTP/1.1\r\nhost: a\r\n\r\n", "\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 204 No Content"));
  EXPECT_THAT(answer, Not(HasSubstr("content-length")));
  EXPECT_THAT(answer, Not(HasSubstr("transfer-encoding")));
  answer = exchange(client, "GET /304 HTTP/1.1\r\nhost: a\r\n\r\n", "\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("content-length: 10\r\n"));
  // Whatever a body might have left behind would come before this.
  EXPECT_THAT(exchange(client, kGet, "0123456789"), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(Http1ConnectionTest, Http10IsRefusedUnlessAccepted) {
  answer_all();
  begin();
  TestSocket client = connect();
  client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
  read_to_end(client);
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 426 Upgrade Required\r\n"));
}

TEST_F(Http1ConnectionTest, Http10AnswersEndWithTheConnectionUnlessTheClientAsksToKeepIt) {
  options.accept_http_10 = true;
  options.default_host_for_http_10 = "fallback";
  std::string host_seen;
  app.on_whole = [&](Terminal& t) {
    host_seen = t.request(":authority");
    if (t.request(":path") == "/stream") {
      t.headers("200");
      t.data("streamed", true);
      return;
    }
    t.answer("200", "ok");
  };
  begin();
  TestSocket client = connect();
  client.send("GET / HTTP/1.0\r\n\r\n");
  read_to_end(client);
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
  EXPECT_THAT(client.received, EndsWith("\r\n\r\nok"));
  EXPECT_THAT(client.received, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_EQ(host_seen, "fallback");

  TestSocket keeps = connect();
  EXPECT_THAT(exchange(keeps, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", "ok"),
              HasSubstr("connection: keep-alive\r\n"));
  keeps.send("GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
  read_to_end(keeps);  // no chunks for HTTP/1.0: the end of the connection ends the body
  EXPECT_THAT(keeps.received, EndsWith("\r\n\r\nstreamed"));
  EXPECT_THAT(keeps.received, Not(HasSubstr("transfer-encoding")));
  EXPECT_THAT(keeps.received, HasSubstr("connection: close\r\n"));
}

TEST_F(Http1ConnectionTest, ConnectionCloseIsHonoured) {
  answer_all();
  begin();
  TestSocket client = connect();
  client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
  read_to_end(client);
  EXPECT_FALSE(client.reset);
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
  EXPECT_THAT(app.requests, ElementsAre("GET /"));
}

// ---- Expect, 1xx

TEST_F(Http1ConnectionTest, ExpectIsAnsweredHereAndTakenFromTheRequest) {
  bool expect_seen = true;
  app.on_headers = [&](Terminal& t) { expect_seen = t.stream->request_headers().has(http::Header::kExpect); };
  answer_all();
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
  read_until(client, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_FALSE(expect_seen);
  client.received.clear();
  client.send("abc");
  read_until(client, "\r\n\r\nabc");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(Http1ConnectionTest, Proxied100ContinueComesFromBehind) {
  options.proxy_100_continue = true;
  answer_all();
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
  Terminal& t = wait_for_request();
  turn(3);
  client.poll();
  EXPECT_EQ(client.received, "");
  EXPECT_EQ(t.request("expect"), "100-continue");
  http::HeaderMap informational;
  informational.add(":status", "100");
  t.stream->respond_informational(informational);
  read_until(client, "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("abc");
  read_until(client, "\r\n\r\nabc");
}

TEST_F(Http1ConnectionTest, InformationalAnswersGoThroughButNotToHttp10) {
  options.accept_http_10 = true;
  app.on_whole = [&](Terminal& t) {
    http::HeaderMap hints;
    hints.add(":status", "103");
    hints.add("link", "</a.css>");
    t.stream->respond_informational(hints);
    t.answer("200", "ok");
  };
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kGet, "ok"),
              StartsWith("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK"));
  TestSocket old = connect();
  EXPECT_THAT(exchange(old, "GET / HTTP/1.0\r\nhost: a\r\n\r\n", "ok"), Not(HasSubstr("103")));
}

// ---- answers before the request is whole

TEST_F(Http1ConnectionTest, AnAnswerBeforeTheRequestIsWholeSaysCloseAndReachesAClientThatStillSends) {
  app.on_headers = [](Terminal& t) { t.answer("413", "too much"); };
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n" + std::string(50'000, 'x'));
  read_until(client, "too much");
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
  client.send_some(std::string(50'000, 'y'));
  read_to_end(client);
  EXPECT_TRUE(client.ended) << "no reset that could take the answer away";
  EXPECT_EQ(counter(hs::kDownstreamRqResponseBeforeRqComplete), 1u);
}

TEST_F(Http1ConnectionTest, AnAnswerThatStreamsWhileTheRequestComesIsNotCut) {
  app.on_headers = [](Terminal& t) { t.headers("200"); };
  app.on_whole = [](Terminal& t) { t.data("got " + t.body, true); };
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc");
  read_until(client, "\r\n\r\n");
  client.send("def");
  read_until(client, "0\r\n\r\n");
  EXPECT_THAT(client.received, HasSubstr("got abcdef"));
}

// ---- errors

struct BadRequest {
  const char* name;
  std::string text;
  const char* status_line;
  const char* details;
};

TEST_F(Http1ConnectionTest, WhatIsNoHttpIsRefusedAndTheConnectionClosed) {
  const std::vector<BadRequest> cases = {
      {"both framings", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
       "HTTP/1.1 400 Bad Request", "http1.content_length_and_chunked_not_allowed"},
      {"no host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request", "missing_host_header"},
      {"garbage", "\x16\x03\x01\x02 nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request", "http1.codec_error"},
      {"bad chunk", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
       "HTTP/1.1 400 Bad Request", "http1.codec_error"},
      {"long head", "GET / HTTP/1.1\r\nhost: a\r\nx: " + std::string(70'000, 'x') + "\r\n\r\n",
       "HTTP/1.1 431 Request Header Fields Too Large", ""},
  };
  options.access_logs.push_back(access_log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  for (const BadRequest& c : cases) {
    SCOPED_TRACE(c.name);
    TestSocket client = connect();
    client.send(c.text);
    read_to_end(client);
    EXPECT_THAT(client.received, StartsWith(c.status_line));
    EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
    if (*c.details != '\0') { EXPECT_THAT(logged(), EndsWith(std::string("400 DPE ") + c.details + "\n")); }
  }
  EXPECT_EQ(counter(hs::kDownstreamCxProtocolError), cases.size());
  EXPECT_EQ(counter(hs::kDownstreamRqTooLarge), 1u);
  EXPECT_EQ(counter(hs::kDownstreamRq4xx), cases.size());
}

TEST_F(Http1ConnectionTest, AnErrorBehindAGoodRequestIsReportedAfterItsAnswer) {
  answer_all();
  begin();
  TestSocket client = connect();
  client.send(std::string(kGet) + "BAD REQUEST LINE WITH BLANKS\r\n\r\n");
  read_to_end(client);
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(client.received, HasSubstr("\r\n\r\nokHTTP/1.1 400 Bad Request\r\n"));
}

TEST_F(Http1ConnectionTest, ABrokenBodyAfterTheAnswerBeganCutsIt) {
  app.on_headers = [](Terminal& t) {
    t.headers("200");
    t.data("part");
  };
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
  read_to_end(client);
  EXPECT_THAT(client.received, EndsWith("4\r\npart\r\n"));  // no last chunk
}

// ---- clients that go

TEST_F(Http1ConnectionTest, AClientThatGoesIsLoggedAndItsRequestGivenUp) {
  options.access_logs.push_back(access_log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%"));
  begin();
  TestSocket client = connect();
  client.send(kGet);
  wait_for_request();
  client.close();
  turn_until([&] { return app.live.empty(); });
  EXPECT_EQ(logged(), "0 DC downstream_remote_disconnect 0\n");
  EXPECT_EQ(counter(hs::kDownstreamRqRxReset), 1u);
  EXPECT_EQ(counter(hs::kDownstreamCxDestroyRemoteActiveRq), 1u);
  TestSocket second = connect();
  second.send(kGet);
  Terminal& t = wait_for_request();
  t.headers("200");
  t.data("part");
  read_until(second, "part\r\n");
  second.abort();
  turn_until([&] { return app.live.empty(); });
  EXPECT_THAT(logged(), EndsWith("200 DC downstream_remote_disconnect 4\n"));
}

TEST_F(Http1ConnectionTest, AHalfHeadThatIsAbandonedIsNoRequest) {
  begin();
  TestSocket client = connect();
  client.send("GET / HTTP/1.1\r\n");
  turn(3);
  client.close();
  turn_until([&] { return host->active() == 0; });
  EXPECT_EQ(counter(hs::kDownstreamRqTotal), 0u);
}

TEST_F(Http1ConnectionTest, ClosingAllCutsRunningRequests) {
  begin();
  TestSocket client = connect();
  client.send(kGet);
  wait_for_request();
  host->close_all();
  EXPECT_EQ(host->active(), 0u);
  EXPECT_TRUE(app.live.empty());
  read_to_end(client);
  EXPECT_EQ(client.received, "");
}

// ---- back-pressure

TEST_F(Http1ConnectionTest, AClientThatDoesNotReadStopsTheAnswer) {
  facts.per_connection_buffer_limit_bytes = 64 * 1024;
  begin();
  TestSocket client = connect();
  client.send(kGet);
  Terminal& t = wait_for_request();
  t.headers("200");
  const std::string chunk(32 * 1024, 'x');
  size_t sent = 0;
  while (app.log.empty() && sent < (64u << 20)) {
    t.data(chunk);
    sent += chunk.size();
    turn();
  }
  EXPECT_EQ(app.log, "above;");
  turn_until([&] { return app.log == "above;below;"; }, {&client});
  t.data("", true);
  read_until(client, "0\r\n\r\n");
  EXPECT_GT(client.received.size(), sent);
}

TEST_F(Http1ConnectionTest, AStreamThatPausesTheRequestHoldsItsBytesBack) {
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n");
  Terminal& t = wait_for_request();
  t.stream->pause_request();
  t.stream->pause_request();
  client.send("12345678");
  turn(5);
  EXPECT_EQ(t.body, "");
  t.stream->resume_request();
  turn(3);
  EXPECT_EQ(t.body, "");  // pauses nest
  t.stream->resume_request();
  turn_until([&] { return t.ended; });
  EXPECT_EQ(t.body, "12345678");
  EXPECT_EQ(counter(hs::kDownstreamFlowControlPausedReadingTotal), 1u);
  EXPECT_EQ(counter(hs::kDownstreamFlowControlResumedReadingTotal), 1u);
}

TEST_F(Http1ConnectionTest, AClientThatPipelinesWithoutEndIsNotReadWithoutEnd) {
  begin();
  TestSocket client = connect();
  client.send(kGet);
  wait_for_request();
  std::string many;
  while (many.size() < 100'000) many += kGet;
  size_t sent = 0;
  for (int i = 0; i < 400; ++i) {
    sent += client.send_some(many);
    turn();
  }
  EXPECT_LT(counter(hs::kDownstreamCxRxBytesTotal), 2u << 20);
  EXPECT_GT(sent, 2u << 20);
}

// ---- upgrades

constexpr std::string_view kUpgrade =
    "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

TEST_F(Http1ConnectionTest, AnUpgradeThatNothingAllowsIsRefused) {
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kUpgrade, "\r\n\r\n"), StartsWith("HTTP/1.1 403 Forbidden"));
  EXPECT_EQ(counter(hs::kDownstreamRqWsOnNonWsRoute), 1u);
}

TEST_F(Http1ConnectionTest, AfterAnUpgradeBytesPassBothWaysUnparsed) {
  options.upgrades.push_back({"websocket", true});
  options.request_timeout = milliseconds(20);
  begin();
  TestSocket client = connect();
  client.send(std::string(kUpgrade) + "early");
  Terminal& t = wait_for_request();
  EXPECT_EQ(t.request("upgrade"), "websocket");
  EXPECT_EQ(t.request("connection"), "upgrade");
  EXPECT_FALSE(t.ended);
  t.headers("101", {{"upgrade", "websocket"}, {"connection", "Upgrade"}});
  read_until(client, "\r\n\r\n");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_THAT(client.received, HasSubstr("upgrade: websocket\r\n"));
  EXPECT_THAT(client.received, Not(HasSubstr("transfer-encoding")));
  turn_until([&] { return t.body == "early"; });
  client.send("GET / HTTP/1.1 is no request here");
  turn_until([&] { return t.body.size() > 20; });
  EXPECT_EQ(t.body, "earlyGET / HTTP/1.1 is no request here");
  EXPECT_EQ(options.stats->gauge(hs::kDownstreamCxUpgradesActive), 1);
  client.received.clear();
  t.data("\x01\x02raw");
  read_until(client, "\x01\x02raw");
  const base::MonotonicTime later = loop->now() + milliseconds(40);  // the request timeout is over: nothing of it
  turn_until([&] { return loop->now() > later; }, {&client});
  EXPECT_FALSE(client.ended);
  client.shutdown();
  turn_until([&] { return t.ended; });
  t.data("bye", true);
  read_to_end(client);
  EXPECT_THAT(client.received, EndsWith("bye"));
  EXPECT_EQ(counter(hs::kDownstreamCxUpgradesTotal), 1u);
}

TEST_F(Http1ConnectionTest, AnUpgradeTheUpstreamDeclinesIsAnOrdinaryAnswer) {
  options.upgrades.push_back({"websocket", true});
  app.on_headers = [](Terminal& t) {
    if (t.request(":path") == "/chat") t.answer("200", "no");
  };
  answer_all();
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kUpgrade, "\r\n\r\nno"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(exchange(client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi", "\r\n\r\nhi"),
              StartsWith("HTTP/1.1 200 OK"));
}

// A server may ignore Upgrade (RFC 9110 section 7.8); with a body the end of the request must be known.
TEST_F(Http1ConnectionTest, ARequestWithABodyIsNotUpgraded) {
  options.upgrades.push_back({"websocket", true});
  answer_all();
  begin();
  TestSocket client = connect();
  const std::string post =
      "POST / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\ncontent-length: 4\r\n\r\nbody";
  EXPECT_THAT(exchange(client, post, "\r\n\r\nbody"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(exchange(client, kGet, "ok"), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(Http1ConnectionTest, AClientThatLeavesAnUpgradedConnectionEndsIt) {
  options.upgrades.push_back({"websocket", true});
  begin();
  TestSocket client = connect();
  client.send(kUpgrade);
  Terminal& t = wait_for_request();
  t.headers("101", {{"upgrade", "websocket"}, {"connection", "Upgrade"}});
  read_until(client, "\r\n\r\n");
  client.abort();
  turn_until([&] { return app.live.empty(); });
}

}  // namespace
}  // namespace millrace::filter
