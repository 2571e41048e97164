// Timeouts, limits in time, and draining of HTTP/1 connections.
#include "unit/filter/http1_fixture.h"

namespace millrace::filter {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Http1ConnectionTest, HeadersThatTakeTooLongGetA408) {
  options.request_headers_timeout = milliseconds(20);
  options.access_logs.push_back(access_log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  TestSocket client = connect();
  client.send("GET / HTTP/1.1\r\nhos");
  read_to_end(client);
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  EXPECT_THAT(client.received, EndsWith("\r\n\r\nrequest header timeout"));
  EXPECT_EQ(counter(hs::kDownstreamRqHeaderTimeout), 1u);
  EXPECT_EQ(logged(), "408 - request_header_timeout\n");
}

TEST_F(Http1ConnectionTest, ARequestThatTakesTooLongGetsA408) {
  options.request_timeout = milliseconds(20);
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab");
  read_to_end(client);
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  EXPECT_THAT(client.received, EndsWith("\r\n\r\nrequest timeout"));
  EXPECT_EQ(counter(hs::kDownstreamRqTimeout), 1u);
}

TEST_F(Http1ConnectionTest, TheRequestTimeoutEndsWhenTheAnswerBegins) {
  options.request_timeout = milliseconds(15);
  app.on_headers = [](Terminal& t) { t.headers("200"); };
  app.on_whole = [](Terminal& t) { t.data(t.body, true); };
  begin();
  TestSocket client = connect();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
  read_until(client, "\r\n\r\n");
  const base::MonotonicTime later = loop->now() + milliseconds(40);
  turn_until([&] { return loop->now() > later; });
  client.send("cd");
  read_until(client, "0\r\n\r\n");
  EXPECT_EQ(counter(hs::kDownstreamRqTimeout), 0u);
}

TEST_F(Http1ConnectionTest, AStreamWithoutBytesTimesOut) {
  options.stream_idle_timeout = milliseconds(20);
  options.access_logs.push_back(access_log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  TestSocket incomplete = connect();
  incomplete.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab");
  read_to_end(incomplete);
  EXPECT_THAT(incomplete.received, StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  EXPECT_THAT(incomplete.received, EndsWith("stream timeout"));
  TestSocket complete = connect();
  complete.send(kGet);
  read_until(complete, "stream timeout");
  EXPECT_THAT(complete.received, StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_EQ(counter(hs::kDownstreamRqIdleTimeout), 2u);
  EXPECT_EQ(logged(), "408 SI stream_idle_timeout\n504 SI stream_idle_timeout\n");
}

TEST_F(Http1ConnectionTest, AStreamThatLastsTooLongIsCutThoughBytesFlow) {
  options.max_stream_duration = milliseconds(25);
  app.on_whole = [](Terminal& t) { t.headers("200"); };
  begin();
  TestSocket client = connect();
  client.send(kGet);
  turn_until([&] {
    if (!app.live.empty()) app.live[0]->data("tick");
    client.poll();
    return client.ended;
  });
  EXPECT_THAT(client.received, Not(EndsWith("0\r\n\r\n")));
  EXPECT_EQ(counter(hs::kDownstreamRqMaxDurationReached), 1u);
}

TEST_F(Http1ConnectionTest, AnIdleConnectionEnds) {
  options.idle_timeout = milliseconds(20);
  answer_all();
  begin();
  TestSocket silent = connect();
  read_to_end(silent);
  EXPECT_EQ(silent.received, "");
  TestSocket used = connect();
  exchange(used, kGet, "ok");
  read_to_end(used);
  EXPECT_EQ(used.received, "");
  EXPECT_EQ(counter(hs::kDownstreamCxIdleTimeout), 2u);
}

TEST_F(Http1ConnectionTest, AConnectionIsNotIdleWhileARequestRuns) {
  options.idle_timeout = milliseconds(10);
  begin();
  TestSocket client = connect();
  client.send(kGet);
  Terminal& t = wait_for_request();
  const base::MonotonicTime later = loop->now() + milliseconds(30);
  turn_until([&] { return loop->now() > later; });
  t.answer("200", "ok");
  read_until(client, "ok");
}

TEST_F(Http1ConnectionTest, EmptyLinesAreNoRequest) {
  options.idle_timeout = milliseconds(30);
  options.request_headers_timeout = milliseconds(5);
  answer_all();
  begin();
  TestSocket client = connect();
  client.send("\r\n");
  read_to_end(client);  // by the idle timeout, not with a 408
  EXPECT_EQ(client.received, "");
  EXPECT_EQ(counter(hs::kDownstreamCxIdleTimeout), 1u);
  EXPECT_EQ(counter(hs::kDownstreamRqTotal), 0u);
}

TEST_F(Http1ConnectionTest, AfterItsLastRequestTheConnectionCloses) {
  options.max_requests_per_connection = 2;
  answer_all();
  begin();
  TestSocket client = connect();
  EXPECT_THAT(exchange(client, kGet, "ok"), Not(HasSubstr("connection: close")));
  client.send(std::string(kGet) + std::string(kGet));
  read_to_end(client);
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
  EXPECT_EQ(app.requests.size(), 2u);
  EXPECT_EQ(counter(hs::kDownstreamCxMaxRequestsReached), 1u);
}

TEST_F(Http1ConnectionTest, AConnectionThatLastsTooLongEndsAfterItsAnswer) {
  options.max_connection_duration = milliseconds(20);
  begin();
  TestSocket idle = connect(), busy = connect();
  busy.send(kGet);
  Terminal& t = wait_for_request();
  read_to_end(idle);
  turn_until([&] { return counter(hs::kDownstreamCxMaxDurationReached) == 2; });
  t.answer("200", "ok");
  read_to_end(busy);
  EXPECT_THAT(busy.received, HasSubstr("connection: close\r\n"));
  EXPECT_THAT(busy.received, EndsWith("ok"));
}

TEST_F(Http1ConnectionTest, AClientThatDoesNotEndAfterItsLastAnswerIsCutAndCounted) {
  options.delayed_close_timeout = milliseconds(10);
  answer_all();
  begin();
  TestSocket stays = connect();
  const std::string_view last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
  stays.send(last);
  read_to_end(stays);
  turn_until([&] { return counter(hs::kDownstreamCxDelayedCloseTimeout) == 1; });
  options.delayed_close_timeout = milliseconds(10'000);
  TestSocket goes = connect();
  goes.send(last);
  read_to_end(goes);
  goes.close();
  turn_until([&] { return net::Connection::alive() == 0; });
  EXPECT_EQ(counter(hs::kDownstreamCxDelayedCloseTimeout), 1u);
}

// ---- draining

TEST_F(Http1ConnectionTest, DrainingSaysCloseToTheRequestThatRuns) {
  begin();
  TestSocket client = connect();
  client.send(kGet);
  Terminal& t = wait_for_request();
  host->drain();
  t.answer("200", "ok");
  read_to_end(client);
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
  EXPECT_EQ(counter(hs::kDownstreamCxDrainClose), 1u);
}

TEST_F(Http1ConnectionTest, ADrainingWorkerTellsNewRequestsToClose) {
  answer_all();
  begin();
  TestSocket client = connect();
  exchange(client, kGet, "ok");
  worker->draining = true;
  client.send(kGet);
  read_to_end(client);
  EXPECT_THAT(client.received, HasSubstr("connection: close\r\n"));
}

// What was not told to close gets a little time to ask once more, and be told.
TEST_F(Http1ConnectionTest, ConnectionsThatWereNotToldToCloseEndSoonWhenDrained) {
  options.idle_timeout = milliseconds(0);
  app.on_whole = [](Terminal& t) {
    if (t.request(":path") == "/slow") return t.headers("200");  // its head is out before the drain begins
    t.answer("200", "ok");
  };
  begin();
  TestSocket idle = connect(), busy = connect(), empty_line = connect();
  exchange(idle, kGet, "ok");
  exchange(busy, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n", "\r\n\r\n");
  empty_line.send("\r\n");
  turn(3);
  host->drain();
  app.live[0]->data("ok", true);
  turn_until([&] { return idle.ended && busy.ended && empty_line.ended; }, {&idle, &busy, &empty_line});
  EXPECT_THAT(busy.received, EndsWith("2\r\nok\r\n0\r\n\r\n"));
  EXPECT_EQ(counter(hs::kDownstreamCxIdleTimeout), 0u);
}


}  // namespace
}  // namespace millrace::filter
