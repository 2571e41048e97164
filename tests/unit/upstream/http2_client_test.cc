#include "upstream/http2_client.h"

#include "unit/upstream/http2_peer.h"
#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using Start = HttpPool::Start;
using http::Header;
using http::Http2Code;

ClusterOptions http2_cluster(http::Http2Options http2 = {}) {
  ClusterOptions options = cluster_options({1});
  options.http.protocol = HttpProtocol::kHttp2;
  options.http.http2 = std::move(http2);
  return options;
}

class Http2ClientTest : public PoolTest {
 protected:
  // The connection is there and both sides have said their SETTINGS.
  Http2Peer& connect(http::Http2Options peer_options = {}) {
    const size_t n = network->opened() - 1;
    network->accept_connection(n);
    Http2Peer& peer = *peers.emplace_back(std::make_unique<Http2Peer>(*network, n, std::move(peer_options)));
    exchange(peer);
    return peer;
  }
  void exchange(Http2Peer& peer, int times = 3) {
    for (int i = 0; i < times; ++i) {
      turn();
      peer.pump();
    }
    turn();
  }
  static http::Http2Options streams(uint32_t most) {
    http::Http2Options options;
    options.max_concurrent_streams = most;
    return options;
  }
  uint64_t codec_counter(uint16_t index) { return cluster->http2_stats().counter(index); }
  std::vector<std::unique_ptr<Http2Peer>> peers;
};

void send(Client& client, std::string_view bytes, bool end) {
  base::Buffer data;
  data.append(bytes);
  client.request.send_data(data, end);
}

TEST_F(Http2ClientTest, ManyRequestsShareAConnection) {
  begin(http2_cluster());
  Client a(pool()), b(pool()), c(pool());
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(b.start(), Start::kPending);
  Http2Peer& peer = connect();
  EXPECT_EQ(c.start(), Start::kReady);
  exchange(peer);
  EXPECT_EQ(network->opened(), 1u);
  ASSERT_EQ(peer.requests(), 3u);
  EXPECT_EQ(peer.request(0).get(Header::kPath), "/");
  EXPECT_EQ(peer.request(0).get(Header::kScheme), "http");
  EXPECT_EQ(gauge(stat::kUpstreamRqActive), 3);
  for (size_t n : {2, 0, 1}) peer.answer(n);
  exchange(peer);
  for (Client* client : {&a, &b, &c}) {
    EXPECT_EQ(client->log, "headers 200;data ok end;");
    EXPECT_EQ(client->request.state(), UpstreamRequest::State::kIdle);
    EXPECT_GT(client->request.wire_bytes_received(), 2u);
    EXPECT_GT(client->request.header_bytes_sent(), 9u);
  }
  EXPECT_EQ(counter(stat::kUpstreamCxHttp2Total), 1u);
  EXPECT_EQ(counter(stat::kUpstreamRqTotal), 3u);
  EXPECT_EQ(host().rq_active(), 0u);
}

TEST_F(Http2ClientTest, BodiesAndTrailersGoBothWays) {
  begin(http2_cluster());
  Client a(pool());
  a.headers_only = false;
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  send(a, "hello ", false);
  send(a, "world", false);
  http::HeaderMap trailers;
  trailers.add("checksum", "7");
  a.request.send_trailers(trailers);
  exchange(peer);
  EXPECT_EQ(peer.request(0).body, "hello world");
  EXPECT_EQ(peer.request(0).ended, "trailers");
  EXPECT_EQ(peer.request(0).trailer_map.get("checksum"), "7");
  peer.answer(0, "200", "fine", false);
  http::HeaderMap status;
  status.add("grpc-status", "0");
  peer.session().send_trailers(peer.request(0), status);
  exchange(peer);
  EXPECT_EQ(a.log, "headers 200;data fine;trailers;");
  EXPECT_EQ(a.trailers.get(Header::kGrpcStatus), "0");
}

TEST_F(Http2ClientTest, WaitsWhenThePeerTakesNoMoreStreams) {
  ClusterOptions options = http2_cluster();
  options.circuit_breakers.thresholds[0].max_connections = 1;
  begin(std::move(options));
  Client a(pool()), b(pool()), c(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect(streams(2));
  EXPECT_EQ(b.start(), Start::kReady);
  EXPECT_EQ(c.start(), Start::kPending);
  exchange(peer);
  EXPECT_EQ(peer.requests(), 2u);
  peer.answer(0);
  exchange(peer);
  EXPECT_EQ(c.request.state(), UpstreamRequest::State::kActive);
  ASSERT_EQ(peer.requests(), 3u);
  peer.answer(1);
  peer.answer(2);
  exchange(peer);
  EXPECT_EQ(c.log, "headers 200;data ok end;");
}

TEST_F(Http2ClientTest, DialsAnotherConnectionWhenAllAreFull) {
  begin(http2_cluster(streams(1)));
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 2u);
}

TEST_F(Http2ClientTest, OneConnectionIsEnoughForAllWhoWaitForIt) {
  begin(http2_cluster());
  std::deque<Client> clients;
  for (int i = 0; i < 150; ++i) ASSERT_EQ(clients.emplace_back(pool()).start(), Start::kPending);
  EXPECT_EQ(network->opened(), 1u);
  network->accept_connection(0);
  turn();
  EXPECT_EQ(pool().pending(), 50u) << "nobody knows yet that the peer takes more than 100";
  EXPECT_EQ(network->opened(), 1u);
  Http2Peer& peer = *peers.emplace_back(std::make_unique<Http2Peer>(*network, 0));
  exchange(peer);
  EXPECT_EQ(pool().pending(), 0u);
  EXPECT_EQ(peer.requests(), 150u);
  EXPECT_EQ(network->opened(), 1u);
}

TEST_F(Http2ClientTest, ACancelledRequestLeavesTheOthersAlone) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  Http2Peer& peer = connect();
  a.request.cancel();
  peer.answer(1);
  exchange(peer);
  EXPECT_EQ(peer.request(0).ended, "8");
  EXPECT_EQ(a.log, "");
  EXPECT_EQ(b.log, "headers 200;data ok end;");
  EXPECT_EQ(network->open(), 1u);
}

TEST_F(Http2ClientTest, ARequestMayStartAgainFromWithinTheEndOfItsResponse) {
  begin(http2_cluster());
  Client a(pool());
  int left = 3;
  a.when_done = [&] {
    if (left-- > 0) { ASSERT_EQ(a.start(), Start::kReady); }
  };
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  for (size_t n = 0; n < 4; ++n) {
    ASSERT_EQ(peer.requests(), n + 1);
    peer.answer(n, "200", "");
    exchange(peer);
  }
  EXPECT_EQ(a.log, "headers 200 end;headers 200 end;headers 200 end;headers 200 end;");
}

TEST_F(Http2ClientTest, ResetsAreToldApart) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  Http2Peer& peer = connect();
  peer.session().reset(peer.request(0), Http2Code::kInternalError);
  peer.session().reset(peer.request(1), Http2Code::kRefusedStream);
  exchange(peer);
  EXPECT_EQ(a.log, "reset remote reset;");
  EXPECT_EQ(b.log, "reset remote refused stream reset;");
  EXPECT_EQ(counter(stat::kUpstreamRqRxReset), 2u);
  EXPECT_EQ(codec_counter(stats::http2_codec::kRxReset), 2u);
  EXPECT_EQ(network->open(), 1u);
}

TEST_F(Http2ClientTest, AfterGoawayTheSeenAreFinishedAndTheOthersRefused) {
  begin(http2_cluster());
  Client a(pool()), b(pool()), c(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  peer.session().goaway();  // before it sees the second
  peer.write();
  ASSERT_EQ(b.start(), Start::kReady);
  turn();
  EXPECT_EQ(b.log, "reset remote refused stream reset stale;");
  EXPECT_EQ(counter(stat::kUpstreamCxCloseNotify), 1u);
  EXPECT_EQ(c.start(), Start::kPending) << "the connection takes no more";
  EXPECT_EQ(network->opened(), 2u);
  peer.answer(0);
  exchange(peer);
  EXPECT_EQ(peer.error, "");
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_TRUE(network->peer(0).closed) << "and closes when it is done";
}

TEST_F(Http2ClientTest, ALostConnectionResetsEverybody) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  Http2Peer& peer = connect();
  peer.answer(0, "200", "so far", false);
  exchange(peer);
  a.when_reset = [&] { b.request.cancel(); };
  network->peer(0).ends = true;
  turn();
  EXPECT_EQ(a.log, "headers 200;data so far;reset connection termination;");
  EXPECT_EQ(b.log, "");
  EXPECT_EQ(network->open(), 0u);
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyRemoteWithActiveRq), 1u);
}

TEST_F(Http2ClientTest, AConnectionThatWasDeadBeforeIsStale) {
  begin(http2_cluster());
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  peer.answer(0);
  exchange(peer);
  ASSERT_EQ(a.start(), Start::kReady);
  network->peer(0).ends = true;
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;reset connection termination stale;");
  EXPECT_EQ(pool().start(a.request, true), Start::kPending);
}

TEST_F(Http2ClientTest, BytesThatAreNoHttp2EndTheConnection) {
  begin(http2_cluster());
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back("HTTP/1.1 400 Bad Request\r\n\r\n");
  turn();
  EXPECT_EQ(a.log, "reset protocol error;");
  EXPECT_EQ(counter(stat::kUpstreamCxProtocolError), 1u);
  EXPECT_EQ(network->open(), 0u);
}

TEST_F(Http2ClientTest, AnEarlyAnswerEndsTheRequest) {
  begin(http2_cluster());
  Client a(pool());
  a.headers_only = false;
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  peer.answer(0, "413", "");
  exchange(peer);
  EXPECT_EQ(a.log, "headers 413 end;");
  EXPECT_EQ(a.request.state(), UpstreamRequest::State::kIdle);
  EXPECT_TRUE(peer.request(0).closed);
  EXPECT_EQ(network->open(), 1u);
}

TEST_F(Http2ClientTest, APausedReaderKeepsItsWindowAndNoOther) {
  http::Http2Options small;
  small.initial_stream_window_bytes = 65'535;
  begin(http2_cluster(small));
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  Http2Peer& peer = connect();
  a.request.pause_reading();
  const std::string large(200'000, 'x');
  peer.answer(0, "200", large);
  peer.answer(1, "200", large);
  exchange(peer, 10);
  EXPECT_EQ(a.body.size(), 65'535u);
  EXPECT_EQ(b.body.size(), large.size());
  a.request.resume_reading();
  exchange(peer, 10);
  EXPECT_EQ(a.body.size(), large.size());
  EXPECT_EQ(counter(stat::kUpstreamFlowControlPausedReadingTotal), 1u);
}

TEST_F(Http2ClientTest, TellsWhenThePeerReadsTooSlowly) {
  ClusterOptions options = http2_cluster();
  options.per_connection_buffer_limit_bytes = 10'000;
  begin(std::move(options));
  Client a(pool());
  a.headers_only = false;
  ASSERT_EQ(a.start(), Start::kPending);
  http::Http2Options small;
  small.initial_stream_window_bytes = 65'535;
  Http2Peer& peer = connect(small);
  peer.reads = false;
  send(a, std::string(65'535, 'x'), false);
  exchange(peer);
  a.log.clear();
  send(a, std::string(10'001, 'x'), false);
  EXPECT_EQ(a.log, "above;");
  exchange(peer);
  EXPECT_EQ(a.log, "above;");
  peer.session().consume(peer.request(0), 65'535);
  exchange(peer);
  EXPECT_EQ(a.log, "above;below;");
  EXPECT_EQ(peer.request(0).body.size(), 75'536u);
}

TEST_F(Http2ClientTest, AnUpgradeIsAnExtendedConnect) {
  begin(http2_cluster());
  Client a(pool());
  a.headers_only = false;
  a.request_headers.add(Header::kUpgrade, "websocket");
  a.request_headers.add(Header::kConnection, "upgrade");
  ASSERT_EQ(a.start(), Start::kPending);
  http::Http2Options allowing;
  allowing.allow_connect = true;
  Http2Peer& peer = connect(allowing);
  ASSERT_EQ(peer.error, "");
  ASSERT_EQ(peer.requests(), 1u);
  EXPECT_EQ(peer.request(0).get(Header::kMethod), "CONNECT");
  EXPECT_EQ(peer.request(0).get(Header::kProtocol), "websocket");
  EXPECT_FALSE(peer.request(0).head_map.has(Header::kUpgrade));
  send(a, "ping", false);
  peer.answer(0, "200", "pong", false);
  exchange(peer);
  EXPECT_EQ(a.log, "headers 101;data pong;");
  EXPECT_EQ(a.headers.get(Header::kUpgrade), "websocket");
  EXPECT_EQ(peer.request(0).body, "ping");
}

TEST_F(Http2ClientTest, ConnectNamesTheAuthorityOnly) {
  begin(http2_cluster());
  Client a(pool());
  a.headers_only = false;
  a.request_headers.set(Header::kMethod, "CONNECT");
  a.request_headers.add(Header::kScheme, "http");
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  ASSERT_EQ(peer.error, "");
  ASSERT_EQ(peer.requests(), 1u);
  EXPECT_EQ(peer.request(0).get(Header::kAuthority), "test");
  EXPECT_FALSE(peer.request(0).head_map.has(Header::kPath));
}

TEST_F(Http2ClientTest, DeliversInformationalHeads) {
  begin(http2_cluster());
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  http::HeaderMap hints;
  hints.add(Header::kStatus, "103");
  peer.session().send_informational(peer.request(0), hints);
  peer.answer(0);
  exchange(peer);
  EXPECT_EQ(a.log, "info 103;headers 200;data ok end;");
}

TEST_F(Http2ClientTest, RefusesAHeadThatHttp2CannotCarry) {
  begin(http2_cluster());
  Client a(pool());
  a.request_headers.remove(Header::kPath);
  ASSERT_EQ(pool().start(a.request), Start::kPending);
  a.pool_ready = [&] { EXPECT_FALSE(a.request.send_headers(a.request_headers, true)); };
  connect();
  a.request.cancel();
  EXPECT_EQ(a.request.state(), UpstreamRequest::State::kIdle);
}

TEST_F(Http2ClientTest, ClosesAfterMaxRequestsPerConnection) {
  ClusterOptions options = http2_cluster();
  options.http.max_requests_per_connection = 2;
  begin(std::move(options));
  Client a(pool()), b(pool()), c(pool());
  for (Client* client : {&a, &b, &c}) ASSERT_EQ(client->start(), Start::kPending);
  EXPECT_EQ(network->opened(), 2u);
  network->accept_connection(1);
  Http2Peer second(*network, 1);
  network->accept_connection(0);
  Http2Peer first(*network, 0);
  exchange(first);
  exchange(second);
  ASSERT_EQ(second.requests(), 2u);
  second.answer(0);
  exchange(second);
  EXPECT_FALSE(network->peer(1).closed);
  second.answer(1);
  exchange(second);
  EXPECT_TRUE(network->peer(1).closed);
  EXPECT_EQ(counter(stat::kUpstreamCxMaxRequests), 1u);
  EXPECT_EQ(first.requests(), 1u);
}

TEST_F(Http2ClientTest, AnIdleConnectionSaysGoodByeAndCloses) {
  ClusterOptions options = http2_cluster();
  options.http.idle_timeout = base::seconds(10);
  begin(std::move(options));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  advance(base::seconds(20));
  EXPECT_EQ(network->open(), 1u) << "it is not idle";
  peer.answer(0);
  exchange(peer);
  advance(base::seconds(11));
  EXPECT_EQ(network->open(), 0u);
  EXPECT_EQ(counter(stat::kUpstreamCxIdleTimeout), 1u);
  EXPECT_EQ(codec_counter(stats::http2_codec::kGoawaySent), 1u);
}

TEST_F(Http2ClientTest, ADrainFinishesWhatIsUnderWay) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  local->drain();
  local->drain();
  EXPECT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 2u);
  peer.answer(0);
  exchange(peer);
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_TRUE(network->peer(0).closed);
}

TEST_F(Http2ClientTest, APeerThatAnswersNoPingIsGone) {
  http::Http2Options http2;
  http2.keepalive_interval = base::seconds(10);
  http2.keepalive_interval_jitter_percent = 0;
  http2.keepalive_timeout = base::seconds(2);
  begin(http2_cluster(http2));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  for (int i = 0; i < 3; ++i) {
    advance(base::milliseconds(10'001));
    exchange(peer);
    advance(base::milliseconds(1'500));
  }
  EXPECT_EQ(a.log, "") << "every ping was answered";
  advance(base::milliseconds(10'001));
  advance(base::milliseconds(2'001));
  EXPECT_EQ(a.log, "reset connection termination;");
  EXPECT_EQ(codec_counter(stats::http2_codec::kKeepaliveTimeout), 1u);
}

TEST_F(Http2ClientTest, AFailedConnectFailsAllWhoWait) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  network->refuse_connection(0);
  turn();
  EXPECT_EQ(a.log, "reset remote connection failure;");
  EXPECT_EQ(b.log, "reset remote connection failure;");
}

TEST_F(Http2ClientTest, ClosingResetsEverybody) {
  begin(http2_cluster());
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  a.when_reset = [&] { EXPECT_EQ(b.start(), Start::kOverflow); };
  local->close();
  turn();
  EXPECT_EQ(a.log, "reset local reset;");
  EXPECT_EQ(peer.requests(), 1u);
}

TEST_F(Http2ClientTest, AStreamHasNoBodyBeyondItsLength) {
  begin(http2_cluster());
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  Http2Peer& peer = connect();
  http::HeaderMap headers;
  headers.add(Header::kStatus, "200");
  headers.add(Header::kContentLength, "2");
  peer.session().send_headers(peer.request(0), headers, false);
  peer.say(0, "too long", true);
  exchange(peer);
  EXPECT_TRUE(a.log.ends_with("reset protocol error;")) << a.log;
}

}  // namespace
}  // namespace millrace::upstream
