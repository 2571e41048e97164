// What filters that stop see and do, in both directions.
#include <gmock/gmock.h>

#include "unit/filter/hcm_fixture.h"
#include "unit/filter/test_filters.h"

namespace millrace::filter {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class FilterChainTest : public HcmTest {
 protected:
  void begin() {
    options.enable_trailers = true;
    options.filters.push_back(std::make_unique<MiddleConfig>(first));
    options.filters.push_back(std::make_unique<MiddleConfig>(second));
    options.filters.push_back(std::make_unique<TerminalConfig>(app));
    start();
    client = connect();
  }
  void get() { client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n"); }
  void post(std::string_view body) {
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" +
                std::string(body));
  }
  void settle() { turn(6); }
  App app;
  Middle first{"first"}, second{"second"};
  TestSocket client;
};

TEST_F(FilterChainTest, RequestsPassFirstToLastAndResponsesBack) {
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  begin();
  post("hello");
  read_until(client, "ok");
  EXPECT_EQ(first.log, "rh;rd(hello)!;sh;sd(ok)!;end;");
  EXPECT_EQ(second.log, first.log);
}

TEST_F(FilterChainTest, AFilterThatStopsAtTheHeadHoldsTheRequestAndSeesItsBodyAfterwards) {
  first.stop = {"rh"};
  app.on_whole = [](Terminal& t) { t.answer("200", "got " + t.body); };
  begin();
  post("hello");
  settle();
  EXPECT_EQ(first.log, "rh;");
  EXPECT_EQ(second.log, "");
  first.stream->continue_request();
  read_until(client, "got hello");
  EXPECT_EQ(first.log, "rh;rd(hello)!;sh;sd(got hello)!;end;");
  EXPECT_EQ(second.log, first.log);
}

TEST_F(FilterChainTest, AHeldRequestWithoutBodyGoesOnWithItsHeadAlone) {
  first.stop = {"rh"};
  second.stop = {"rh"};
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  begin();
  get();
  settle();
  first.stream->continue_request();
  settle();
  EXPECT_EQ(second.log, "rh!;");
  EXPECT_TRUE(app.requests.empty());
  second.stream->continue_request();
  read_until(client, "ok");
  EXPECT_EQ(first.log, "rh!;sh;sd(ok)!;end;");
}

TEST_F(FilterChainTest, StoppingAtTheBodyDoesNotRepeatTheHead) {
  second.stop = {"rd"};
  app.on_whole = [](Terminal& t) { t.answer("200", "got " + t.body); };
  begin();
  post("hello");
  settle();
  EXPECT_EQ(second.log, "rh;rd(hello)!;");
  EXPECT_EQ(app.live[0]->body, "");
  second.stream->continue_request();
  read_until(client, "got hello");
  EXPECT_EQ(second.log, "rh;rd(hello)!;sh;sd(got hello)!;end;");
}

TEST_F(FilterChainTest, ARequestHeldAtItsBodyIsReadNoFurther) {
  first.stop = {"rd"};
  app.on_whole = [](Terminal& t) { t.answer("200", "got " + t.body); };
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nabcd");
  settle();
  client.send("efgh");
  settle();
  EXPECT_EQ(first.log, "rh;rd(abcd);");
  first.stream->continue_request();
  read_until(client, "got abcdefgh");
  EXPECT_EQ(first.log, "rh;rd(abcd);rd(efgh)!;sh;sd(got abcdefgh)!;end;");
}

TEST_F(FilterChainTest, TrailersAreHeldToo) {
  first.stop = {"rt"};
  app.on_whole = [](Terminal& t) { t.answer("200", t.body + t.trailers); };
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n");
  settle();
  EXPECT_EQ(first.log, "rh;rd(abc);rt;");
  EXPECT_EQ(second.log, "rh;rd(abc);");
  first.stream->continue_request();
  read_until(client, "abcx-t=1;");
  EXPECT_EQ(second.log, "rh;rd(abc);rt;sh;sd(abcx-t=1;)!;end;");
}

TEST_F(FilterChainTest, AHeldRequestMayBeAnsweredByTheFilter) {
  first.stop = {"rh"};
  begin();
  get();
  settle();
  first.stream->send_local_reply(403, "no", "denied");
  read_until(client, "\r\n\r\nno");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(client.received, HasSubstr("content-type: text/plain\r\n"));
  // The connection goes on to work.
  client.received.clear();
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  get();
  read_until(client, "ok");
}

TEST_F(FilterChainTest, AHeldResponseWaitsWholeWithItsBodyAndTrailers) {
  second.stop = {"sh"};
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  Terminal& t = *app.live[0];
  t.headers("200");
  t.data("one");
  t.data("two");
  t.end_with_trailers({{"x-t", "1"}});
  settle();
  client.poll();
  EXPECT_EQ(client.received, "");
  EXPECT_EQ(second.log, "rh!;sh;");
  second.stream->continue_response();
  read_until(client, "0\r\nx-t: 1\r\n\r\n");
  EXPECT_EQ(second.log, "rh!;sh;sd(onetwo);st;end;");
  EXPECT_EQ(first.log, second.log);
}

TEST_F(FilterChainTest, AHeldHeadOnlyResponseEndsWithItsHead) {
  first.stop = {"sh"};
  app.on_whole = [](Terminal& t) { t.headers("204", {}, true); };
  begin();
  get();
  settle();
  EXPECT_EQ(first.log, "rh!;sh!;");
  first.stream->continue_response();
  read_until(client, "\r\n\r\n");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 204"));
}

TEST_F(FilterChainTest, AResponseHeldAtItsBodyGoesOnWhereItStopped) {
  second.stop = {"sd"};
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  Terminal& t = *app.live[0];
  t.headers("200");
  t.data("one");
  t.data("two", true);
  settle();
  EXPECT_EQ(second.log, "rh!;sh;sd(one);");
  EXPECT_EQ(first.log, "rh!;sh;");
  second.stream->continue_response();
  read_until(client, "0\r\n\r\n");
  EXPECT_EQ(second.log, "rh!;sh;sd(one);sd(two)!;end;");
  EXPECT_EQ(first.log, "rh!;sh;sd(one);sd(two)!;end;");
}

TEST_F(FilterChainTest, TwoFiltersMayHoldAResponseOneAfterTheOther) {
  second.stop = {"sh"};
  first.stop = {"sh"};
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->answer("200", "body");
  second.stream->continue_response();
  settle();
  EXPECT_EQ(second.log, "rh!;sh;sd(body)!;");
  EXPECT_EQ(first.log, "rh!;sh;");
  first.stream->continue_response();
  read_until(client, "\r\n\r\nbody");
  EXPECT_EQ(first.log, "rh!;sh;sd(body)!;end;");
}

TEST_F(FilterChainTest, ALocalReplyTakesThePlaceOfAResponseThatIsHeld) {
  options.stream_idle_timeout = milliseconds(20);
  first.stop = {"sh"};
  app.on_whole = [](Terminal& t) { t.answer("200", "never seen"); };
  begin();
  get();
  read_until(client, "stream timeout");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 504"));
}

TEST_F(FilterChainTest, ContinueAfterTheClientHasGoneDoesNothing) {
  first.stop = {"rh"};
  begin();
  get();
  settle();
  client.close();
  turn_until([&] { return host->active() == 0; });
  EXPECT_EQ(first.log, "rh!;end;");
  EXPECT_EQ(app.ends, 1);
}

TEST_F(FilterChainTest, AResetAfterTheAnswerBeganCutsTheConnection) {
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->headers("200", {{"content-length", "100"}});
  app.live[0]->data("part");
  app.live[0]->stream->reset_response("gone");
  read_to_end(client);
  EXPECT_THAT(client.received, EndsWith("\r\n\r\npart"));
  EXPECT_EQ(counter(hs::kDownstreamRqTxReset), 1u);
}

}  // namespace
}  // namespace millrace::filter
