// What filters that stop see and do, in both directions.
#include <gmock/gmock.h>

#include "stream/grpc_status.h"
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
  first.continue_request();
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
  first.continue_request();
  settle();
  EXPECT_EQ(second.log, "rh!;");
  EXPECT_TRUE(app.requests.empty());
  second.continue_request();
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
  second.continue_request();
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
  first.continue_request();
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
  first.continue_request();
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
  second.continue_response();
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
  first.continue_response();
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
  second.continue_response();
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
  second.continue_response();
  settle();
  EXPECT_EQ(second.log, "rh!;sh;sd(body)!;");
  EXPECT_EQ(first.log, "rh!;sh;");
  first.continue_response();
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

// ---- collecting

TEST_F(FilterChainTest, AFilterThatCollectsSeesEveryPartAndReleasesAllOfThem) {
  first.collect = {"rh", "rd"};
  app.on_whole = [](Terminal& t) { t.answer("200", "got " + t.body); };
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nabcd");
  settle();
  EXPECT_EQ(first.log, "rh;rd(abcd);");
  EXPECT_EQ(second.log, "");
  client.send("efgh");
  read_until(client, "got abcdefgh");
  EXPECT_EQ(first.log, "rh;rd(abcd);rd(efgh)!;sh;sd(got abcdefgh)!;end;");
  EXPECT_EQ(second.log, "rh;rd(abcdefgh)!;sh;sd(got abcdefgh)!;end;");
}

TEST_F(FilterChainTest, ACollectedBodyGoesOnBeforeItsTrailers) {
  second.collect = {"sh", "sd", "sd"};
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  Terminal& t = *app.live[0];
  t.headers("200");
  t.data("one");
  t.data("two");
  settle();
  client.poll();
  EXPECT_EQ(client.received, "");
  t.end_with_trailers({{"x-t", "1"}});
  read_until(client, "0\r\nx-t: 1\r\n\r\n");
  EXPECT_EQ(second.log, "rh!;sh;sd(one);sd(two);st;end;");
  EXPECT_EQ(first.log, "rh!;sh;sd(onetwo);st;end;");
}

TEST_F(FilterChainTest, ACollectedRequestBeyondTheLimitIsTooLarge) {
  facts.per_connection_buffer_limit_bytes = 6;
  first.collect = {"rh", "rd", "rd"};
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nabcd");
  settle();
  client.send("efgh");
  read_until(client, "Payload Too Large");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(counter(hs::kDownstreamRqTooLarge), 1u);
  EXPECT_EQ(second.log, "sh;sd(Payload Too Large)!;end;");
}

TEST_F(FilterChainTest, ACollectedResponseBeyondTheLimitIsAnErrorOfOurs) {
  facts.per_connection_buffer_limit_bytes = 6;
  second.collect = {"sh", "sd", "sh", "sd"};  // also the answer about it, which is too large as well
  app.on_whole = [](Terminal& t) { t.answer("200", "too much"); };
  begin();
  get();
  read_until(client, "Internal Server Error");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 500 "));
  EXPECT_EQ(counter(hs::kRsTooLarge), 2u);
}

TEST_F(FilterChainTest, AResponseThatAFilterStopsPausesItsSourceAtTheLimit) {
  facts.per_connection_buffer_limit_bytes = 6;
  second.stop = {"sh"};
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  Terminal& t = *app.live[0];
  t.headers("200");
  t.data("abcd");
  EXPECT_EQ(app.log, "");
  t.data("efgh");
  EXPECT_EQ(app.log, "above;");
  second.continue_response();
  settle();
  EXPECT_EQ(app.log, "above;below;");
  t.data("ij", true);
  read_until(client, "0\r\n\r\n");
  EXPECT_THAT(client.received, HasSubstr("abcdefgh"));
}

TEST_F(FilterChainTest, AnEarlierFilterMayHoldBodyWhileALaterOneHoldsTheHead) {
  second.collect = {"rh"};
  first.collect = {"rd"};
  app.on_whole = [](Terminal& t) { t.answer("200", "got " + t.body); };
  begin();
  post("hello");
  settle();
  EXPECT_EQ(first.log, "rh;rd(hello)!;");
  EXPECT_EQ(second.log, "rh;");
  second.continue_request();
  settle();
  EXPECT_EQ(app.live[0]->body, "");
  first.continue_request();
  read_until(client, "got hello");
  EXPECT_EQ(second.log, "rh;rd(hello)!;sh;sd(got hello)!;end;");
}

// ---- what filters add

void add_body(HttpStream& stream, bool response, std::string_view text) {
  base::Buffer body;
  body.append(text);
  response ? stream.add_response_body(body) : stream.add_request_body(body);
}

TEST_F(FilterChainTest, AFilterMayGiveAHeadOnlyMessageABody) {
  first.act = [](const std::string& event, HttpStream& stream) {
    if (event == "rh") add_body(stream, false, "question");
  };
  second.act = [](const std::string& event, HttpStream& stream) {
    if (event == "sh") add_body(stream, true, "answer");
  };
  app.on_whole = [](Terminal& t) { t.headers("200", {}, true); };
  begin();
  get();
  read_until(client, "0\r\n\r\n");
  EXPECT_EQ(app.requests, std::vector<std::string>{"GET / question"});
  EXPECT_EQ(second.log, "rh;rd(question)!;sh!;end;");
  EXPECT_EQ(first.log, "rh!;sh;sd(answer)!;end;");
  EXPECT_THAT(client.received, HasSubstr("answer"));
}

TEST_F(FilterChainTest, AFilterMayTurnTrailersIntoBody) {
  second.act = [](const std::string& event, HttpStream& stream) {
    if (event != "st") return;
    stream.response_trailers().clear();
    add_body(stream, true, "last");
  };
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->headers("200");
  app.live[0]->data("one");
  app.live[0]->end_with_trailers({{"x-t", "1"}});
  read_until(client, "4\r\nlast\r\n0\r\n\r\n");
  EXPECT_EQ(first.log, "rh!;sh;sd(one);sd(last);st;end;");
}

TEST_F(FilterChainTest, AFilterMayAddTrailersToABodyOrAHead) {
  second.act = [](const std::string& event, HttpStream& stream) {
    if (event == "rh" || stream.response_headers().has("x-with-body") != (event == "sd")) return;
    stream.response_trailers().set("x-t", event);
    stream.add_response_trailers();
  };
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->headers("200", {{"x-with-body", ""}});
  app.live[0]->data("one", true);
  read_until(client, "0\r\nx-t: sd\r\n\r\n");
  EXPECT_EQ(first.log, "rh!;sh;sd(one);st;end;");
  first.log.clear();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->headers("200", {}, true);
  read_until(client, "0\r\nx-t: sh\r\n\r\n");
  EXPECT_EQ(first.log, "rh!;sh;st;end;");
}

TEST_F(FilterChainTest, AFilterMaySwallowAPartOfABody) {
  second.act = [&](const std::string& event, HttpStream& stream) {
    if (event == "sd" && second.log.ends_with("sd(one);")) stream.info().custom_flags = "seen";
  };
  begin();
  get();
  turn_until([&] { return !app.live.empty(); });
  app.live[0]->headers("200");
  app.live[0]->data("", false);
  EXPECT_EQ(second.log, "rh!;sh;sd();");
  EXPECT_EQ(first.log, "rh!;sh;");
  app.live[0]->data("one", true);
  read_until(client, "0\r\n\r\n");
}

TEST_F(FilterChainTest, ALocalReplyFromWithinAResponseGoesPastTheFilters) {
  second.act = [](const std::string& event, HttpStream& stream) {
    if (event == "sh") stream.send_local_reply(502, "bad answer", "filter_said_so");
  };
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  begin();
  get();
  read_until(client, "bad answer");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(first.log, "rh!;end;");
}

// ---- filters that a route switches

TEST_F(FilterChainTest, AFilterThatTheRouteDisablesSeesNothing) {
  struct Config : route::PerFilterConfig {};
  const auto config = std::make_shared<Config>();
  route::RouteTableOptions table = route::table_of({route::prefix("/off", "backend"), route::prefix("/", "backend")});
  table.filters = {"one", "two", "app"};
  table.virtual_hosts[0].filter_overrides = {{"two", config, false}};
  table.virtual_hosts[0].routes[0].filter_overrides = {{"one", nullptr, true}};
  options.routes = route::compiled(std::move(table));
  options.disabled_filters = 2;  // "two", which the virtual host enables
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  const route::PerFilterConfig* seen = nullptr;
  second.act = [&](const std::string& event, HttpStream& stream) {
    if (event == "rh") seen = stream.route_config(*second.filter);
  };
  begin();
  client.send("GET /off HTTP/1.1\r\nhost: a\r\n\r\n");
  read_until(client, "ok");
  EXPECT_EQ(first.log, "");
  EXPECT_EQ(second.log, "rh!;sh;sd(ok)!;end;");
  EXPECT_EQ(seen, config.get());
  client.received.clear();
  get();
  read_until(client, "ok");
  EXPECT_EQ(first.log, "rh!;sh;sd(ok)!;end;");
}

TEST_F(FilterChainTest, AFilterThatIsDisabledStaysOutWithoutAWordOfTheRoute) {
  options.disabled_filters = 1;
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  begin();
  get();
  read_until(client, "ok");
  EXPECT_EQ(first.log, "");
  EXPECT_EQ(second.log, "rh!;sh;sd(ok)!;end;");
}

// ---- gRPC

TEST_F(FilterChainTest, ALocalReplyToGrpcIsTrailersOnly) {
  first.stop = {"rh"};
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc+proto\r\ncontent-length: 0\r\n\r\n");
  settle();
  const std::pair<std::string_view, std::string_view> extra{"x-more", "1"};
  first.stream->send_local_reply(403, "no: 100% \n", "denied", {&extra, 1});
  read_until(client, "\r\n\r\n");
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(client.received, HasSubstr("\r\ncontent-type: application/grpc\r\n"));
  EXPECT_THAT(client.received, HasSubstr("\r\ngrpc-status: 7\r\n"));
  EXPECT_THAT(client.received, HasSubstr("\r\ngrpc-message: no: 100%25 %0A\r\n"));
  EXPECT_THAT(client.received, HasSubstr("\r\nx-more: 1\r\n"));
}

TEST_F(FilterChainTest, ARequestThatAFilterMadeGrpcIsAnsweredSo) {
  first.act = [](const std::string& event, HttpStream& stream) {
    if (event == "rh") stream.request_headers().set("content-type", "application/grpc");
  };
  app.on_whole = [](Terminal& t) {
    t.stream->send_local_reply(503, "", "why", {}, false, stream::kGrpcResourceExhausted);
  };
  begin();
  get();
  read_until(client, "\r\n\r\n");
  EXPECT_THAT(client.received, HasSubstr("\r\ngrpc-status: 8\r\n"));
}

}  // namespace
}  // namespace millrace::filter
