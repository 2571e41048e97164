// grpc_stats, grpc_web and the two bridges, each alone before a last filter that the test answers for.
#include <gmock/gmock.h>

#include "filter/grpc_http1_bridge_filter.h"
#include "filter/grpc_reverse_bridge_filter.h"
#include "filter/grpc_stats_filter.h"
#include "filter/grpc_web_filter.h"
#include "http/base64.h"
#include "http/grpc_frame.h"
#include "unit/filter/hcm_fixture.h"
#include "unit/filter/test_filters.h"

namespace millrace::filter {
namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
namespace gs = stats::grpc;

std::string frame(std::string_view message, uint8_t flags = 0) {
  base::Buffer out;
  http::append_grpc_frame(message, out, flags);
  return out.to_string();
}
std::string base64(std::string_view text) {
  base::Buffer in, out;
  in.append(text);
  http::append_base64(in, out);
  return out.to_string();
}

class GrpcFilterTest : public HcmTest {
 protected:
  void begin(std::unique_ptr<HttpFilterConfig> filter) {
    options.enable_trailers = true;
    options.filters.push_back(std::move(filter));
    options.filters.push_back(std::make_unique<TerminalConfig>(app));
    start();
    client = connect();
  }
  void post(std::string_view type, std::string_view body, std::string_view more = "",
            std::string_view path = "/p.S/M") {
    client.send("POST " + std::string(path) + " HTTP/1.1\r\nhost: a\r\ncontent-type: " + std::string(type) + "\r\n" +
                std::string(more) + "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  Terminal& called() {
    turn_until([&] { return !app.live.empty() && app.live[0]->ended; });
    return *app.live[0];
  }
  // Head and body as the client got them; the body without its chunks.
  std::string answer() {
    turn_until([&] { return app.live.empty() && client.received.find("\r\n\r\n") != std::string::npos; }, {&client});
    const size_t head = client.received.find("\r\n\r\n") + 4;
    const bool chunked = client.received.find("transfer-encoding: chunked") < head;
    const size_t length_at = client.received.find("content-length: ");
    const size_t length = chunked ? 0 : std::stoul(client.received.substr(length_at + 16));
    turn_until([&] {
      return chunked ? client.received.find("\r\n0\r\n", head - 2) != std::string::npos &&
                           client.received.ends_with("\r\n\r\n")
                     : client.received.size() >= head + length;
    }, {&client});
    body.clear();
    std::string_view rest = std::string_view(client.received).substr(head);
    while (chunked) {
      const size_t size = std::stoul(std::string(rest.substr(0, rest.find("\r\n"))), nullptr, 16);
      rest.remove_prefix(rest.find("\r\n") + 2);
      if (size == 0) break;
      body += rest.substr(0, size);
      rest.remove_prefix(size + 2);
    }
    if (!chunked) body = rest;
    trailers = chunked ? std::string(rest) : "";
    std::string got = client.received.substr(0, head);
    client.received.clear();
    return got;
  }
  static void respond_grpc(Terminal& t, std::string_view body, Fields trailers = {{"grpc-status", "0"}}) {
    t.headers("200", {{"content-type", "application/grpc"}});
    if (!body.empty()) t.data(body);
    t.end_with_trailers(trailers);
  }
  uint64_t grpc_counter(uint16_t index, std::string_view service = "", std::string_view method = "",
                        std::string_view protocol = "grpc") {
    return store.add_block(gs::kSchema, stats::grpc_name("backend", protocol, service, method))->counter(index);
  }

  App app;
  TestSocket client;
  std::string body, trailers;
};

// ---- grpc_stats

TEST_F(GrpcFilterTest, StatsCountCallsAndMessages) {
  begin(std::make_unique<GrpcStatsConfig>(GrpcStatsOptions{}, store));
  post("application/grpc", frame("a") + frame("bb"));
  respond_grpc(called(), frame("c") + frame("") + frame("d"));
  answer();
  EXPECT_EQ(grpc_counter(gs::kRequestMessageCount), 2u);
  EXPECT_EQ(grpc_counter(gs::kResponseMessageCount), 3u);
  EXPECT_EQ(grpc_counter(gs::kTotal), 1u);
  EXPECT_EQ(grpc_counter(gs::kSuccess), 1u);
  EXPECT_EQ(grpc_counter(gs::kStatus0), 1u);
  post("application/grpc", frame("a"));
  called().headers("200", {{"content-type", "application/grpc"}, {"grpc-status", "14"}}, true);
  answer();
  EXPECT_EQ(grpc_counter(gs::kTotal), 2u);
  EXPECT_EQ(grpc_counter(gs::kFailure), 1u);
  EXPECT_EQ(grpc_counter(gs::kStatus14), 1u);
}

TEST_F(GrpcFilterTest, StatsOfListedMethodsHaveTheirNames) {
  GrpcStatsOptions o;
  o.allowlist = {{"p.S", {"M"}}};
  o.enable_upstream_stats = true;
  begin(std::make_unique<GrpcStatsConfig>(o, store));
  post("application/grpc", frame("a"));
  respond_grpc(called(), frame("b"));
  answer();
  post("application/grpc", frame("a"), "", "/p.S/Other");
  respond_grpc(called(), frame("b"));
  answer();
  EXPECT_EQ(grpc_counter(gs::kTotal, "p.S", "M"), 1u);
  EXPECT_EQ(grpc_counter(gs::kTotal), 1u);
}

TEST_F(GrpcFilterTest, StatsOfAllMethodsMayHaveTheirDotsReplaced) {
  GrpcStatsOptions o;
  o.all_methods = o.replace_dots_in_service = true;
  begin(std::make_unique<GrpcStatsConfig>(o, store));
  post("application/grpc", frame("a"));
  respond_grpc(called(), "", {{"grpc-status", "nonsense"}});
  answer();
  EXPECT_EQ(grpc_counter(gs::kFailure, "p_S", "M"), 1u);
  EXPECT_EQ(grpc_counter(gs::kTotal, "p_S", "M"), 1u);
}

TEST_F(GrpcFilterTest, StatsIgnoreWhatIsNotGrpc) {
  begin(std::make_unique<GrpcStatsConfig>(GrpcStatsOptions{}, store));
  post("application/json", "{}");
  called().headers("200", {{"grpc-status", "0"}}, true);
  answer();
  EXPECT_EQ(grpc_counter(gs::kTotal), 0u);
}

TEST(GrpcMethod, IsServiceAndMethodOfThePath) {
  EXPECT_EQ(grpc_method("/p.S/M").service, "p.S");
  EXPECT_EQ(grpc_method("/p.S/M?x").method, "M");
  for (const char* path : {"", "/", "/a", "//b", "/a/", "a/b", "/a/b/c"}) EXPECT_FALSE(grpc_method(path)) << path;
}

// ---- grpc_web

TEST_F(GrpcFilterTest, WebTurnsTrailersIntoTheLastFrame) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc-web+proto", frame("question"));
  Terminal& t = called();
  EXPECT_EQ(t.request("content-type"), "application/grpc");
  EXPECT_EQ(t.request("te"), "trailers");
  EXPECT_EQ(t.request("content-length"), "");
  EXPECT_EQ(t.body, frame("question"));
  respond_grpc(t, frame("answer"), {{"grpc-status", "0"}, {"grpc-message", "fine"}});
  EXPECT_THAT(answer(), HasSubstr("content-type: application/grpc-web+proto\r\n"));
  EXPECT_EQ(body, frame("answer") + frame("grpc-status:0\r\ngrpc-message:fine\r\n", 0x80));
  EXPECT_EQ(trailers, "\r\n");
  EXPECT_EQ(grpc_counter(gs::kSuccess, "p.S", "M", "grpc-web"), 1u);
}

TEST_F(GrpcFilterTest, WebTextIsBase64BothWaysMessageByMessage) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc-web-text", base64(frame("one")) + base64(frame("two!")),
       "accept: application/grpc-web-text\r\n");
  Terminal& t = called();
  EXPECT_EQ(t.body, frame("one") + frame("two!"));
  t.headers("200", {{"content-type", "application/grpc"}});
  t.data(frame("answer").substr(0, 7));
  t.data(frame("answer").substr(7) + frame("more"));
  t.end_with_trailers({{"grpc-status", "3"}});
  EXPECT_THAT(answer(), HasSubstr("content-type: application/grpc-web-text+proto\r\n"));
  EXPECT_EQ(body, base64(frame("answer")) + base64(frame("more")) + base64(frame("grpc-status:3\r\n", 0x80)));
}

TEST_F(GrpcFilterTest, WebTextThatIsNotBase64IsRefused) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc-web-text", "AAA*");
  const std::string head = answer();
  EXPECT_THAT(head, HasSubstr("grpc-status: 13\r\n"));
  EXPECT_THAT(head, HasSubstr("grpc-message: Bad gRPC-web request, invalid base64 data.\r\n"));
}

TEST_F(GrpcFilterTest, WebKeepsTrailersOnlyResponsesInTheHead) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc-web", frame("q"));
  called().headers("200", {{"content-type", "application/grpc"}, {"grpc-status", "5"}}, true);
  const std::string head = answer();
  EXPECT_THAT(head, HasSubstr("grpc-status: 5\r\n"));
  EXPECT_THAT(head, HasSubstr("content-type: application/grpc-web+proto\r\n"));
  EXPECT_EQ(body, "");
}

TEST_F(GrpcFilterTest, WebExplainsResponsesThatAreNotGrpc) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc-web", frame("q"));
  Terminal& t = called();
  t.headers("503", {{"content-type", "text/html"}, {"content-length", "9"}});
  t.data("over");
  t.data("load\n", true);
  const std::string head = answer();
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(head, HasSubstr("grpc-status: 14\r\n"));
  EXPECT_THAT(head, HasSubstr("grpc-message: overload%0A\r\n"));
  EXPECT_THAT(head, HasSubstr("content-length: 0\r\n"));
}

TEST_F(GrpcFilterTest, WebLeavesOtherRequestsAlone) {
  begin(std::make_unique<GrpcWebConfig>(store));
  post("application/grpc", frame("q"));
  respond_grpc(called(), frame("a"));
  EXPECT_THAT(answer(), HasSubstr("content-type: application/grpc\r\n"));
  EXPECT_EQ(trailers, "grpc-status: 0\r\n\r\n");
}

// ---- grpc_http1_bridge

TEST_F(GrpcFilterTest, TheBridgePutsTrailersIntoTheHead) {
  begin(std::make_unique<GrpcHttp1BridgeConfig>(GrpcHttp1BridgeOptions{}));
  post("application/grpc", frame("q"));
  respond_grpc(called(), frame("answer"));
  const std::string head = answer();
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(head, HasSubstr("grpc-status: 0\r\n"));
  EXPECT_THAT(head, HasSubstr("content-length: 11\r\n"));
  EXPECT_EQ(body, frame("answer"));
  post("application/grpc", frame("q"));
  respond_grpc(called(), "", {{"grpc-status", "7"}, {"grpc-message", "no"}});
  const std::string refused = answer();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(refused, HasSubstr("grpc-message: no\r\n"));
  post("application/grpc", frame("q"));
  called().headers("200", {{"content-type", "application/grpc"}, {"grpc-status", "4"}}, true);
  EXPECT_THAT(answer(), StartsWith("HTTP/1.1 503 "));
}

TEST_F(GrpcFilterTest, TheBridgeFramesProtobufWhenAsked) {
  begin(std::make_unique<GrpcHttp1BridgeConfig>(GrpcHttp1BridgeOptions{true, true}));
  post("application/x-protobuf", "question", "", "/p.S/M?a=b");
  Terminal& t = called();
  EXPECT_EQ(t.request("content-type"), "application/grpc");
  EXPECT_EQ(t.request("content-length"), "13");
  EXPECT_EQ(t.request(":path"), "/p.S/M");
  EXPECT_EQ(t.body, frame("question"));
  respond_grpc(t, frame("answer"));
  EXPECT_THAT(answer(), HasSubstr("content-type: application/x-protobuf\r\n"));
  EXPECT_EQ(body, "answer");
}

TEST_F(GrpcFilterTest, TheBridgeFramesAnEmptyMessageToo) {
  begin(std::make_unique<GrpcHttp1BridgeConfig>(GrpcHttp1BridgeOptions{true, false}));
  post("application/x-protobuf", "");
  EXPECT_EQ(called().body, "\0\0\0\0\0"s);
}

TEST_F(GrpcFilterTest, TheBridgeLeavesOtherRequestsAlone) {
  begin(std::make_unique<GrpcHttp1BridgeConfig>(GrpcHttp1BridgeOptions{}));
  post("application/x-protobuf", "raw", "", "/p?a=b");
  EXPECT_EQ(called().body, "raw");
  EXPECT_EQ(called().request(":path"), "/p?a=b");
  respond_grpc(called(), frame("a"));
  EXPECT_THAT(answer(), Not(HasSubstr("grpc-status")));
  EXPECT_EQ(trailers, "grpc-status: 0\r\n\r\n");
}

// ---- grpc_http1_reverse_bridge

GrpcReverseBridgeOptions reverse(bool withhold, std::string size_header = "") {
  return {"application/x-thing", withhold, std::move(size_header)};
}

TEST_F(GrpcFilterTest, TheReverseBridgeHidesGrpcFromTheUpstream) {
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(true)));
  post("application/grpc+proto", frame("question"));
  Terminal& t = called();
  EXPECT_EQ(t.request("content-type"), "application/x-thing");
  EXPECT_EQ(t.request("accept"), "application/x-thing");
  EXPECT_EQ(t.request("content-length"), "8");
  EXPECT_EQ(t.body, "question");
  t.headers("200", {{"content-type", "application/x-thing"}, {"content-length", "6"}});
  t.data("ans");
  t.data("wer", true);
  EXPECT_THAT(answer(), HasSubstr("content-type: application/grpc+proto\r\n"));
  EXPECT_EQ(body, frame("answer"));
  EXPECT_EQ(trailers, "grpc-status: 0\r\n\r\n");
}

TEST_F(GrpcFilterTest, TheReverseBridgeMayKeepFrames) {
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(false)));
  post("application/grpc", frame("question"));
  Terminal& t = called();
  EXPECT_EQ(t.body, frame("question"));
  t.headers("404", {{"content-type", "application/x-thing"}});
  t.data(frame("answer"), true);
  EXPECT_THAT(answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(body, frame("answer"));
  EXPECT_EQ(trailers, "grpc-status: 12\r\n\r\n");
}

TEST_F(GrpcFilterTest, TheReverseBridgeStreamsWhenToldTheSize) {
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(true, "x-size")));
  post("application/grpc", frame("q"));
  Terminal& t = called();
  t.headers("200", {{"content-type", "application/x-thing"}, {"x-size", "6"}});
  t.data("ans");
  turn_until([&] { return client.received.find("ans") != std::string::npos; }, {&client});
  t.data("wer", true);
  answer();
  EXPECT_EQ(body, frame("answer"));
  post("application/grpc", frame("q"));
  called().headers("200", {{"content-type", "application/x-thing"}}, false);
  EXPECT_THAT(answer(), HasSubstr("grpc-status: 13\r\n"));
  post("application/grpc", frame("q"));
  Terminal& wrong = called();
  wrong.headers("200", {{"content-type", "application/x-thing"}, {"x-size", "6"}});
  wrong.data("short", true);
  read_to_end(client);
  EXPECT_THAT(client.received, Not(HasSubstr("grpc-status")));
}

TEST_F(GrpcFilterTest, TheReverseBridgeWantsItsContentTypeBack) {
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(true)));
  post("application/grpc", frame("q"));
  called().answer("500", "oops");
  const std::string head = answer();
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(head, HasSubstr("grpc-status: 2\r\n"));
  EXPECT_THAT(head, HasSubstr("unsupported content-type , status code 500"));
}

TEST_F(GrpcFilterTest, TheReverseBridgeRefusesABodyWithoutAFrame) {
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(true)));
  post("application/grpc", "abc");
  EXPECT_THAT(answer(), HasSubstr("grpc-message: invalid request body\r\n"));
}

TEST_F(GrpcFilterTest, TheReverseBridgeIsOffWhereTheRouteSaysSo) {
  route::RouteTableOptions table = route::table_of({route::prefix("/", "backend")});
  table.filters = {"bridge", "app"};
  table.virtual_hosts[0].filter_overrides = {{"bridge", std::make_shared<GrpcReverseBridgeRoute>(true), false}};
  options.routes = route::compiled(std::move(table));
  begin(std::make_unique<GrpcReverseBridgeConfig>(reverse(true)));
  post("application/grpc", frame("q"));
  EXPECT_EQ(called().body, frame("q"));
}

}  // namespace
}  // namespace millrace::filter
