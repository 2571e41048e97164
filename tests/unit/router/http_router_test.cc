#include "router/http_router.h"

#include <gmock/gmock.h>

#include "unit/router/router_fixture.h"

namespace millrace::router {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class HttpRouterTest : public RouterTest {};

TEST_F(HttpRouterTest, TakesARequestThereAndTheResponseBackAndKeepsTheConnection) {
  log("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %BYTES_RECEIVED% "
      "%BYTES_SENT%");
  begin();
  for (int i = 0; i < 3; ++i) {
    client.send("POST /p?q HTTP/1.1\r\nhost: example.com\r\ncontent-length: 5\r\nx-a: 1\r\n\r\nhello");
    TestSocket& server = request_at(0, "hello");
    EXPECT_THAT(server.received, StartsWith("POST /p?q HTTP/1.1\r\nhost: example.com\r\n"));
    EXPECT_THAT(server.received, AllOf(HasSubstr("x-a: 1\r\n"), HasSubstr("x-forwarded-proto: http\r\n"),
                                       HasSubstr("x-envoy-expected-rq-timeout-ms: 15000\r\n"),
                                       HasSubstr("content-length: 5\r\n")));
    answer(server, "200 OK", "world", "x-b: 2\r\n");
    const std::string got = client_got("\r\n\r\nworld");
    EXPECT_THAT(got, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("x-b: 2\r\n"),
                           HasSubstr("x-envoy-upstream-service-time: ")));
  }
  EXPECT_EQ(upstream.connections.size(), 1u);
  const std::string line = "200 - via_upstream " + upstream.listener.address().to_string() + " backend 5 5\n";
  EXPECT_EQ(logged(), line + line + line);
  EXPECT_EQ(stat(cs::kUpstreamRqTotal), 3u);
  EXPECT_EQ(stat(cs::kUpstreamRq2xx), 3u);
  EXPECT_EQ(upstream::Cluster::totals(*clusters.find("backend")->hosts()[0]).rq_success, 3u);
}

TEST_F(HttpRouterTest, EnvoysHeadersCanBeSuppressed) {
  router.suppress_envoy_headers = true;
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  EXPECT_THAT(server.received, Not(HasSubstr("x-envoy-expected")));
  answer(server, "200 OK", "ok");
  EXPECT_THAT(client_got("ok"), Not(HasSubstr("x-envoy-upstream-service-time")));
}

TEST_F(HttpRouterTest, BodiesAndTrailersStreamBothWays) {
  options.enable_trailers = true;
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.http.enable_trailers = true;
  add_cluster(std::move(o));
  begin();
  client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
  TestSocket& server = request_at(0, "3\r\nabc\r\n");
  client.send("2\r\nde\r\n0\r\nx-t: 1\r\n\r\n");
  request_at(0, "2\r\nde\r\n0\r\nx-t: 1\r\n\r\n");
  server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nAB\r\n");
  client_got("2\r\nAB\r\n");
  server.send("0\r\nx-u: 2\r\n\r\n");
  client_got("0\r\nx-u: 2\r\n\r\n");
}

TEST_F(HttpRouterTest, TheTargetIsAWholeUrlWhereTheClusterAsksForIt) {
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.http.send_fully_qualified_url = true;
  add_cluster(std::move(o));
  begin();
  client.send("GET /p?q HTTP/1.1\r\nhost: example.com:81\r\n\r\n");
  EXPECT_THAT(request_at(0).received, StartsWith("GET http://example.com:81/p?q HTTP/1.1\r\nhost: example.com:81\r\n"));
  answer(upstream.connections[0], "200 OK", "ok");
  client_got("ok");
}

TEST_F(HttpRouterTest, HeadHasNoBody) {
  begin();
  client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
  request_at(0).send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
  EXPECT_THAT(client_got("\r\n\r\n"), HasSubstr("content-length: 100\r\n"));
}

// ---- no upstream to ask

TEST_F(HttpRouterTest, NoRouteIsA404) {
  route().match.path.value = "/only";
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 404 Not Found\r\n"), HasSubstr("content-length: 0\r\n")));
  EXPECT_EQ(logged(), "404 NR route_not_found\n");
  EXPECT_EQ(counter(hs::kNoRoute), 1u);
}

TEST_F(HttpRouterTest, AnUnknownClusterIsA503OrWhatTheRouteSays) {
  route().route.cluster = "nobody";
  vhost().routes.insert(vhost().routes.begin(), route::prefix("/404", "nobody"));
  vhost().routes[0].route.cluster_not_found_response_code = 404;
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("\r\n\r\n"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  client.send("GET /404 HTTP/1.1\r\nhost: a\r\n\r\n");
  EXPECT_THAT(client_got("\r\n\r\n"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_EQ(logged(), "503 NC cluster_not_found\n404 NC cluster_not_found\n");
}

TEST_F(HttpRouterTest, AClusterWithoutHostsHasNoHealthyUpstream) {
  add_cluster(cluster_of("backend", {}));
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("\r\n\r\nno healthy upstream"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_EQ(logged(), "503 UH no_healthy_upstream\n");
}

TEST_F(HttpRouterTest, DirectResponsesAndRedirectsTakeTheRoutesHeaderEdits) {
  route().action = route::ActionKind::kDirectResponse;
  route().direct_response = {.status = 418, .body = "teapot"};
  route().mutations.response_headers_to_add.push_back({.name = "x-route", .value = "%RESPONSE_CODE%"});
  vhost().mutations.response_headers_to_add.push_back({.name = "x-vhost", .value = "v"});
  route::RouteOptions redirect = route::prefix("/old", "");
  redirect.action = route::ActionKind::kRedirect;
  redirect.redirect.https_redirect = true;
  redirect.redirect.response_code = 308;
  redirect.mutations.response_headers_to_add.push_back({.name = "x-route", .value = "moved"});
  vhost().routes.insert(vhost().routes.begin(), redirect);
  log();
  begin();
  client.send(kGet);
  EXPECT_THAT(client_got("\r\n\r\nteapot"),
              AllOf(StartsWith("HTTP/1.1 418 "), HasSubstr("x-route: 418\r\n"), HasSubstr("x-vhost: v\r\n"),
                    HasSubstr("content-type: text/plain\r\n")));
  client.send("GET /old?x=1 HTTP/1.1\r\nhost: example.com\r\n\r\n");
  EXPECT_THAT(client_got("\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 308 Permanent Redirect\r\n"),
                                            HasSubstr("location: https://example.com/old?x=1\r\n"),
                                            HasSubstr("x-route: moved\r\n")));
  EXPECT_EQ(logged(), "418 - direct_response\n308 - direct_response\n");
  EXPECT_EQ(counter(hs::kRqDirectResponse), 1u);
  EXPECT_EQ(counter(hs::kRqRedirect), 1u);
}

TEST_F(HttpRouterTest, WeightedClustersShareTheRequestsAndEditTheirHeaders) {
  add_cluster(cluster_of("one", {&upstream}));
  add_cluster(cluster_of("two", {&other}));
  route().route.cluster_kind = route::RouteAction::ClusterKind::kWeightedClusters;
  for (const char* name : {"one", "two"}) {
    route::WeightedCluster w;
    w.name = name;
    w.weight = 50;
    w.mutations.request_headers_to_add.push_back({.name = "x-to", .value = name});
    w.mutations.response_headers_to_add.push_back({.name = "x-from", .value = name});
    route().route.weighted_clusters.push_back(w);
  }
  begin();
  int to_one = 0, to_two = 0;
  for (int i = 0; i < 40; ++i) {
    client.send(kGet);
    TestSocket* server = nullptr;
    run_until([&] {
      for (Upstream* u : polled) {
        if (!u->connections.empty() && u->connections[0].received.ends_with("\r\n\r\n")) server = &u->connections[0];
      }
      return server != nullptr;
    });
    const bool one = server == (upstream.connections.empty() ? nullptr : &upstream.connections[0]);
    ++(one ? to_one : to_two);
    EXPECT_THAT(server->received, HasSubstr(one ? "x-to: one\r\n" : "x-to: two\r\n"));
    answer(*server, "200 OK", "ok");
    EXPECT_THAT(client_got("ok"), HasSubstr(one ? "x-from: one\r\n" : "x-from: two\r\n"));
  }
  EXPECT_GT(to_one, 5);
  EXPECT_GT(to_two, 5);
}

// ---- back-pressure

TEST_F(HttpRouterTest, ASlowUpstreamStopsTheClient) {
  Upstream slow(16 * 1024);
  polled = {&slow};
  upstream::ClusterOptions o = cluster_of("backend", {&slow});
  o.per_connection_buffer_limit_bytes = 64 * 1024;
  add_cluster(std::move(o));
  begin();
  slow.reads = false;
  const size_t total = 64u << 20;
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + std::to_string(total) + "\r\n\r\n");
  const std::string chunk(256 * 1024, 'u');
  size_t sent = 0;
  for (int idle = 0; idle < 30 && sent < total;) {
    const size_t n = client.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
    sent += n;
    idle = n == 0 ? idle + 1 : 0;
    slow.poll();
    turn();
  }
  EXPECT_LT(sent, total);
  EXPECT_LT(counter(hs::kDownstreamCxRxBytesTotal), 16u << 20);
  EXPECT_GT(stat(cs::kUpstreamFlowControlBackedUpTotal), 0u);
  slow.reads = true;
  size_t got = 0;
  run_until([&] {
    sent += client.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
    for (TestSocket& c : slow.connections) got += std::exchange(c.received, "").size();
    return got > total;
  });
  answer(slow.connections[0], "200 OK", "ok");
  client_got("ok");
}

TEST_F(HttpRouterTest, ASlowClientStopsTheUpstream) {
  facts.per_connection_buffer_limit_bytes = 64 * 1024;
  begin();
  client.send(kGet);
  TestSocket& server = request_at(0);
  const size_t total = 64u << 20;
  server.send("HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(total) + "\r\n\r\n");
  const std::string chunk(256 * 1024, 'd');
  size_t sent = 0;
  for (int idle = 0; idle < 30 && sent < total;) {
    const size_t n = server.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
    sent += n;
    idle = n == 0 ? idle + 1 : 0;
    turn();
  }
  EXPECT_LT(sent, total);
  EXPECT_GT(stat(cs::kUpstreamFlowControlPausedReadingTotal), 0u);
  size_t got = 0;
  run_until([&] {
    sent += server.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
    got += std::exchange(client.received, "").size();
    return got > total;
  });
}

// ---- upgrades

TEST_F(HttpRouterTest, AWebSocketPassesBothWays) {
  options.upgrades.push_back({"websocket", true});
  route().route.timeout = milliseconds(20);
  begin();
  client.send("GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
  TestSocket& server = request_at(0);
  EXPECT_THAT(server.received, AllOf(HasSubstr("connection: upgrade\r\n"), HasSubstr("upgrade: websocket\r\n"),
                                     Not(HasSubstr("transfer-encoding"))));
  server.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhi");
  EXPECT_THAT(client_got("\r\n\r\nhi"), StartsWith("HTTP/1.1 101"));
  client.send("there");
  request_at(0, "there");
  const base::MonotonicTime later = loop->now() + milliseconds(40);  // the route's timeout is not for tunnels
  turn_until([&] { return loop->now() > later; }, {&client});
  EXPECT_FALSE(client.ended);
  server.send("bye");
  server.shutdown();
  run_until([&] { return client.ended; });
  EXPECT_THAT(client.received, EndsWith("bye"));
}

}  // namespace
}  // namespace millrace::router
