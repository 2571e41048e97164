// The filter grpc_json_transcoder with its engine, over HTTP/1.
#include <gmock/gmock.h>

#include "filter/grpc_json_transcoder_filter.h"
#include "http/grpc_frame.h"
#include "transcode/engine.h"
#include "unit/filter/hcm_fixture.h"
#include "unit/filter/test_filters.h"
#include "unit/transcode/proto_set.h"

namespace millrace::filter {
namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kService = R"(
syntax = "proto3";
package t;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
message M { string a = 1; int32 n = 2; }
service S {
  rpc Get(M) returns (M) { option (google.api.http) = {
    get: "/get/{a}" additional_bindings { post: "/post" body: "*" } }; }
  rpc Send(stream M) returns (M) { option (google.api.http) = { post: "/send" body: "*" }; }
  rpc List(M) returns (stream M) { option (google.api.http) = { get: "/list" }; }
  rpc Raw(M) returns (stream google.api.HttpBody) { option (google.api.http) = { get: "/raw" }; }
}
)";

std::string frame(std::string_view message) {
  base::Buffer out;
  http::append_grpc_frame(message, out);
  return out.to_string();
}

class TranscoderFilterTest : public HcmTest {
 protected:
  TranscoderFilterTest() {
    transcode::EngineOptions engine;
    engine.descriptor_set = transcode::descriptor_set_of(kService);
    engine.services = {"t.S"};
    transcoder.transcoding = *transcode::make_engine(std::move(engine));
    transcoder.convert_grpc_status = true;
  }
  void begin() {
    options.enable_trailers = true;
    options.filters.push_back(std::make_unique<GrpcJsonTranscoderConfig>(transcoder));
    options.filters.push_back(std::make_unique<TerminalConfig>(app));
    start();
    client = connect();
  }
  void get(std::string_view path) { client.send("GET " + std::string(path) + " HTTP/1.1\r\nhost: a\r\n\r\n"); }
  void post(std::string_view path, std::string_view body) {
    client.send("POST " + std::string(path) + " HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n" +
                "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  Terminal& called() {
    turn_until([&] { return !app.live.empty() && app.live[0]->ended; });
    return *app.live[0];
  }
  // All of an answer that ends so.
  std::string answer(std::string_view end) {
    read_until(client, end);
    return std::exchange(client.received, "");
  }
  static void grpc_head(Terminal& t) { t.headers("200", {{"content-type", "application/grpc"}}); }

  GrpcJsonTranscoderOptions transcoder;
  App app;
  TestSocket client;
};

TEST_F(TranscoderFilterTest, AGetBecomesACallAndItsAnswerJson) {
  begin();
  get("/get/x?n=7");
  Terminal& t = called();
  EXPECT_EQ(t.request(":method"), "POST");
  EXPECT_EQ(t.request(":path"), "/t.S/Get");
  EXPECT_EQ(t.request("content-type"), "application/grpc");
  EXPECT_EQ(t.request("te"), "trailers");
  EXPECT_EQ(t.request("x-envoy-original-path"), "/get/x?n=7");
  EXPECT_EQ(t.request("x-envoy-original-method"), "GET");
  EXPECT_EQ(t.body, frame("\x0a\x01x\x10\x07"));
  grpc_head(t);
  t.data(frame("\x0a\x02hi").substr(0, 6));
  t.data(frame("\x0a\x02hi").substr(6));
  t.end_with_trailers({{"grpc-status", "0"}});
  const std::string got = answer(R"({"a":"hi"})");
  EXPECT_THAT(got, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(got, HasSubstr("content-type: application/json\r\n"));
  EXPECT_THAT(got, HasSubstr("content-length: 10\r\n"));
  EXPECT_THAT(got, HasSubstr("grpc-status: 0\r\n"));
}

TEST_F(TranscoderFilterTest, ABodyIsTranscodedWhenItIsWhole) {
  begin();
  client.send("POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n{\"a\":");
  turn(6);
  EXPECT_TRUE(app.live.empty() || app.live[0]->body.empty());
  client.send("\"you\"}");
  EXPECT_EQ(called().body, frame("\x0a\x03you"));
  EXPECT_EQ(called().request("content-length"), "");
}

TEST_F(TranscoderFilterTest, IllFormedBodiesAreRefusedInHttp) {
  begin();
  post("/post", "{\"a\":");
  turn_until([&] { return client.received.find("\r\n\r\n") != std::string::npos; }, {&client});
  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(client.received, Not(HasSubstr("grpc-status")));
  EXPECT_TRUE(app.requests.empty());
}

TEST_F(TranscoderFilterTest, LargeBodiesAreRefused) {
  transcoder.request_body_bytes_max = 4;
  begin();
  post("/post", "{\"a\":\"long\"}");
  EXPECT_THAT(answer("Payload Too Large"), StartsWith("HTTP/1.1 413 "));
}

TEST_F(TranscoderFilterTest, LargeAnswersAreErrors) {
  transcoder.response_body_bytes_max = 4;
  begin();
  get("/get/x");
  grpc_head(called());
  app.live[0]->data(frame("\x0a\x02hi"));
  EXPECT_THAT(answer("Internal Server Error"), StartsWith("HTTP/1.1 500 "));
}

TEST_F(TranscoderFilterTest, StatusesBecomeHttpAndJson) {
  begin();
  get("/get/x");
  grpc_head(called());
  app.live[0]->end_with_trailers({{"grpc-status", "5"}, {"grpc-message", "not%20here"}});
  const std::string late = answer(R"({"code":5,"message":"not here"})");
  EXPECT_THAT(late, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(late, Not(HasSubstr("grpc-status")));
  get("/get/x");
  called().headers("200", {{"content-type", "application/grpc"}, {"grpc-status", "7"},
                           {"grpc-status-details-bin", "CAcSAmhp"}}, true);
  const std::string early = answer(R"({"code":7,"message":"hi"})");
  EXPECT_THAT(early, StartsWith("HTTP/1.1 403 "));
  EXPECT_THAT(early, Not(HasSubstr("details-bin")));
}

TEST_F(TranscoderFilterTest, StatusesStayInTheHeadUnlessAskedFor) {
  transcoder.convert_grpc_status = false;
  begin();
  get("/get/x");
  grpc_head(called());
  app.live[0]->end_with_trailers({{"grpc-status", "8"}, {"grpc-message", "slow down"}});
  const std::string got = answer("\r\n\r\n");
  EXPECT_THAT(got, StartsWith("HTTP/1.1 429 "));
  EXPECT_THAT(got, HasSubstr("grpc-status: 8\r\n"));
  EXPECT_THAT(got, HasSubstr("grpc-message: slow down\r\n"));
}

TEST_F(TranscoderFilterTest, LocalRepliesBehindItBecomeHttpToo) {
  begin();
  get("/get/x");
  called().stream->send_local_reply(503, "nobody there", "why");
  EXPECT_THAT(answer(R"({"code":14,"message":"nobody there"})"), StartsWith("HTTP/1.1 503 "));
}

TEST_F(TranscoderFilterTest, ClientStreamsGoOnMessageByMessage) {
  begin();
  client.send("POST /send HTTP/1.1\r\nhost: a\r\ncontent-length: 19\r\n\r\n[{\"a\":\"x\"},");
  turn_until([&] { return !app.live.empty() && !app.live[0]->body.empty(); });
  EXPECT_EQ(app.live[0]->body, frame("\x0a\x01x"));
  client.send("{\"n\":1}]");
  EXPECT_EQ(called().body, frame("\x0a\x01x") + frame("\x10\x01"));
}

TEST_F(TranscoderFilterTest, ServerStreamsComeElementByElement) {
  begin();
  get("/list");
  Terminal& t = called();
  grpc_head(t);
  t.data(frame("\x10\x01"));
  EXPECT_THAT(answer("[{\"n\":1}\r\n"), StartsWith("HTTP/1.1 200 "));
  t.data(frame("\x10\x02"));
  t.end_with_trailers({{"grpc-status", "0"}});
  EXPECT_THAT(answer("0\r\n\r\n"), HasSubstr(",{\"n\":2}"));
}

TEST_F(TranscoderFilterTest, RawStreamsTellTheirType) {
  begin();
  get("/raw");
  Terminal& t = called();
  grpc_head(t);
  t.data(frame("\x0a\x03" "a/b\x12\x02" "hi"));
  EXPECT_THAT(answer("hi\r\n"), HasSubstr("content-type: a/b\r\n"));
  t.data(frame("\x12\x02" "ho"));
  t.end_with_trailers({{"grpc-status", "0"}});
  EXPECT_THAT(answer("0\r\n\r\n"), HasSubstr("ho"));
}

TEST_F(TranscoderFilterTest, WhatIsNotBoundPassesUnlessItIsToBeRefused) {
  begin();
  get("/elsewhere");
  EXPECT_EQ(called().request(":path"), "/elsewhere");
  called().answer("200", "plain");
  EXPECT_THAT(answer("plain"), StartsWith("HTTP/1.1 200 "));
  get("/get/x?nope=1");
  EXPECT_EQ(called().request(":path"), "/get/x?nope=1");
}

TEST_F(TranscoderFilterTest, WhatIsNotBoundMayBeRefused) {
  transcoder.reject_unknown_method = transcoder.reject_unknown_query_parameters = true;
  begin();
  get("/elsewhere");
  EXPECT_THAT(answer("to a method."), StartsWith("HTTP/1.1 404 "));
  get("/get/x?nope=1");
  EXPECT_THAT(answer("\"t.M\"."), StartsWith("HTTP/1.1 400 "));
}

TEST_F(TranscoderFilterTest, GrpcAndForeignAnswersPass) {
  begin();
  client.send("POST /t.S/Get HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 5\r\n\r\n" +
              "\0\0\0\0\0"s);
  EXPECT_EQ(called().body, "\0\0\0\0\0"s);
  called().answer("200", "done");
  answer("done");
  get("/get/x");
  called().answer("502", "<html>");
  EXPECT_THAT(answer("<html>"), StartsWith("HTTP/1.1 502 "));
}

TEST_F(TranscoderFilterTest, TheRouteIsThatOfTheCallUnlessItIsToStay) {
  options.routes = route::compiled(
      route::table_of({route::prefix("/get", "as_it_came"), route::prefix("/t.S", "as_the_call")}));
  begin();
  get("/get/x");
  EXPECT_EQ(called().stream->route()->name(), "as_the_call");
}

TEST_F(TranscoderFilterTest, TheRouteMayStay) {
  options.routes = route::compiled(
      route::table_of({route::prefix("/get", "as_it_came"), route::prefix("/t.S", "as_the_call")}));
  transcoder.match_incoming_request_route = true;
  begin();
  get("/get/x");
  EXPECT_EQ(called().stream->route()->name(), "as_it_came");
}

TEST_F(TranscoderFilterTest, ARouteMayHaveATranscoderOfItsOwn) {
  route::RouteTableOptions table = route::table_of({route::prefix("/", "backend")});
  table.filters = {"t", "app"};
  table.virtual_hosts[0].filter_overrides = {
      {"t", std::make_shared<GrpcJsonTranscoderRoute>(GrpcJsonTranscoderOptions()), false}};
  options.routes = route::compiled(std::move(table));
  begin();
  get("/get/x");
  EXPECT_EQ(called().request(":path"), "/get/x");
}

}  // namespace
}  // namespace millrace::filter
