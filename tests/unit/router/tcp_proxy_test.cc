#include "router/tcp_proxy.h"

#include <gmock/gmock.h>

#include "stats/schema_tcp.h"
#include "unit/router/router_fixture.h"

namespace millrace::router {
namespace {

namespace ts = stats::tcp;
using testing::StartsWith;

class TcpProxyTest : public filter::WorkerTest {
 protected:
  void add_cluster(upstream::ClusterOptions o) {
    names.push_back(o.name);
    clusters.add(std::move(o), store);
  }
  // Of one cluster "backend" with one host, unless others were added.
  void begin() {
    if (names.empty()) add_cluster(cluster_of("backend", {&upstream}));
    clusters.open(*worker);
    if (options.clusters.empty()) {
      for (const std::string& name : names) options.clusters.push_back({clusters.find(name), name, 1});
    }
    options.stat_prefix = "tcp";
    options.stats = store.add_block(ts::kSchema, stats::tcp_name("tcp"));
    config = std::make_unique<TcpProxyConfig>(std::move(options));
    host = config->instantiate(*worker, facts);
    client = connect();
  }
  void TearDown() override {
    if (loop == nullptr) return;
    client.close();
    host.reset();
    clusters.close();
    end_host();
    clusters.check_and_destroy();
    EXPECT_EQ(ended_connections, accepted);
    EXPECT_EQ(counter(ts::kDownstreamCxTotal), static_cast<uint64_t>(accepted));
    end_loop();
  }
  void log(std::string format) { options.access_logs.push_back(access_log(std::move(format))); }
  uint64_t counter(uint16_t index) const { return config->options().stats->counter(index); }
  uint64_t stat(uint16_t index) const { return clusters.find("backend")->stats().counter(index); }
  void run_until(const std::function<bool()>& done) {
    turn_until([&] {
      for (Upstream* u : polled) u->poll();
      return done();
    }, {&client});
  }
  TestSocket& server(size_t n = 0) {
    run_until([&] { return upstream.connections.size() > n; });
    return upstream.connections[n];
  }

  Upstream upstream, other;
  std::vector<Upstream*> polled{&upstream, &other};
  std::vector<std::string> names;
  Clusters clusters;
  TcpProxyOptions options;
  std::unique_ptr<TcpProxyConfig> config;
  TestSocket client;
};

TEST_F(TcpProxyTest, CarriesBytesBothWaysAndCountsThem) {
  log("%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %UPSTREAM_HOST%");
  begin();
  client.send("hello");
  run_until([&] { return server().received == "hello"; });
  server().send("worlds");
  run_until([&] { return client.received == "worlds"; });
  client.shutdown();
  run_until([&] { return server().ended; });
  server().close();
  run_until([&] { return client.ended; });
  EXPECT_EQ(logged(), "- 5 6 backend " + upstream.listener.address().to_string() + "\n");
  EXPECT_EQ(counter(ts::kDownstreamCxRxBytesTotal), 5u);
  EXPECT_EQ(counter(ts::kDownstreamCxTxBytesTotal), 6u);
  EXPECT_EQ(stat(cs::kUpstreamCxTxBytesTotal), 5u);
  EXPECT_EQ(stat(cs::kUpstreamCxRxBytesTotal), 6u);
}

TEST_F(TcpProxyTest, TheClientMayEndItsSideAndStillRead) {
  begin();
  client.send("question");
  client.shutdown();  // before the upstream is connected even
  run_until([&] { return server().ended; });
  EXPECT_EQ(server().received, "question");
  turn(5);
  server().send(std::string(300'000, 'a'));
  server().shutdown();
  run_until([&] { return client.ended; });
  EXPECT_EQ(client.received.size(), 300'000u);
  EXPECT_FALSE(client.reset);
}

TEST_F(TcpProxyTest, TheUpstreamMayEndItsSideAndStillRead) {
  begin();
  server().send("greeting");
  server().shutdown();
  run_until([&] { return client.ended; });
  EXPECT_EQ(client.received, "greeting");
  client.send("late");
  run_until([&] { return server().received == "late"; });
  client.shutdown();
  run_until([&] { return server().ended && host->active() == 0; });
}

TEST_F(TcpProxyTest, AResetOnOneSideResetsTheOther) {
  log("%RESPONSE_FLAGS%");
  begin();
  server().send("last words");
  run_until([&] { return !client.received.empty(); });
  server().abort();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(client.received, "last words");
  EXPECT_EQ(logged(), "UC\n");
  client = connect();
  TestSocket& second = server(1);
  client.send("hello");
  run_until([&] { return second.received == "hello"; });
  client.abort();
  run_until([&] { return second.ended || second.reset; });
  EXPECT_TRUE(second.reset);
  EXPECT_EQ(logged(), "UC\nDC\n");
}

TEST_F(TcpProxyTest, AResetAfterAHalfCloseIsAResetToo) {
  begin();
  client.send("question");
  client.shutdown();
  run_until([&] { return server().ended; });
  server().abort();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_TRUE(client.reset);
}

TEST_F(TcpProxyTest, AnOrderlyEndIsNoReset) {
  begin();
  server().send("answer");
  run_until([&] { return client.received == "answer"; });
  server().close();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_FALSE(client.reset);
  run_until([&] {  // nobody reads what the client still says: the upstream answers it with a reset
    client.send_some("x");
    return host->active() == 0;
  });
}

TEST_F(TcpProxyTest, LogsTheBytesOnEachWireThoughTheUpstreamBroke) {
  log("%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_SENT% "
      "%UPSTREAM_WIRE_BYTES_RECEIVED%");
  begin();
  client.send("hello");
  run_until([&] { return server().received == "hello"; });
  server().send("worlds");
  run_until([&] { return client.received == "worlds"; });
  server().abort();
  run_until([&] { return host->active() == 0; });
  EXPECT_EQ(logged(), "5 6 5 6\n");
}

TEST_F(TcpProxyTest, AnIdlePairEndsAndBytesEitherWayKeepItAlive) {
  options.idle_timeout = milliseconds(40);
  log("%RESPONSE_FLAGS%");
  begin();
  server();
  const base::MonotonicTime start = loop->now();
  for (int i = 0; i < 4; ++i) {
    const base::MonotonicTime later = loop->now() + milliseconds(20);
    turn_until([&] { return loop->now() > later; });
    if (i % 2 == 0) client.send("c");
    else server().send("s");
    run_until([&] { return server().received.size() + client.received.size() == static_cast<size_t>(i + 1); });
  }
  EXPECT_EQ(host->active(), 1u);
  run_until([&] { return client.ended || client.reset; });
  EXPECT_GE(loop->now() - start, milliseconds(100));
  EXPECT_EQ(counter(ts::kIdleTimeout), 1u);
}

TEST_F(TcpProxyTest, AConnectionThatLastsTooLongEnds) {
  options.max_downstream_connection_duration = milliseconds(20);
  begin();
  server();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_EQ(counter(ts::kMaxDownstreamConnectionDuration), 1u);
}

TEST_F(TcpProxyTest, TriesAsOftenAsItMayAndSaysWhyItGaveUp) {
  options.max_connect_attempts = 3;
  upstream.stop_listening();
  log("%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_TRANSPORT_FAILURE_REASON%");
  begin();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_EQ(stat(cs::kUpstreamCxConnectFail), 3u);
  EXPECT_EQ(stat(cs::kUpstreamCxConnectAttemptsExceeded), 1u);
  EXPECT_EQ(logged(), "UF,URX 3 delayed_connect_error:_Connection_refused\n");
}

TEST_F(TcpProxyTest, TheNextAttemptMayFindAHostThatAnswers) {
  options.max_connect_attempts = 3;
  options.backoff_base = milliseconds(2);
  options.backoff_max = milliseconds(4);
  add_cluster(cluster_of("backend", {&upstream, &other}));
  upstream.stop_listening();
  begin();
  client.send("early");
  run_until([&] { return !other.connections.empty() && other.connections[0].received == "early"; });
  other.connections[0].send("ok");
  run_until([&] { return client.received == "ok"; });
}

TEST_F(TcpProxyTest, AClientThatLeavesBetweenAttemptsEndsThem) {
  options.max_connect_attempts = 3;
  options.backoff_base = milliseconds(10'000);
  upstream.stop_listening();
  begin();
  run_until([&] { return stat(cs::kUpstreamCxConnectFail) == 1; });
  client.abort();
  turn_until([&] { return host->active() == 0; });
}

TEST_F(TcpProxyTest, WithoutAHostOrClusterTheConnectionEnds) {
  add_cluster(cluster_of("backend", {}));
  log("%RESPONSE_FLAGS%");
  begin();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_EQ(logged(), "UH\n");
}

TEST_F(TcpProxyTest, AClusterThatIsUnknownIsNoRoute) {
  log("%RESPONSE_FLAGS%");
  options.clusters.push_back({nullptr, "nobody", 1});
  begin();
  run_until([&] { return client.ended || client.reset; });
  EXPECT_EQ(logged(), "NC\n");
  EXPECT_EQ(counter(ts::kDownstreamCxNoRoute), 1u);
}

TEST_F(TcpProxyTest, AFullClusterIsAnOverflow) {
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.circuit_breakers.thresholds[0].max_connections = 1;
  add_cluster(std::move(o));
  log("%RESPONSE_FLAGS%");
  begin();
  server();
  TestSocket second = connect();
  turn_until([&] { return second.ended || second.reset; }, {&second});
  EXPECT_THAT(logged(), StartsWith("UO"));
  EXPECT_EQ(stat(cs::kUpstreamCxOverflow), 1u);
  client.send("still here");
  run_until([&] { return server().received == "still here"; });
}

TEST_F(TcpProxyTest, WeightedClustersShareTheConnections) {
  add_cluster(cluster_of("backend", {&upstream}));
  add_cluster(cluster_of("two", {&other}));
  begin();
  std::vector<TestSocket> clients;
  for (int i = 0; i < 39; ++i) clients.push_back(connect());
  run_until([&] { return upstream.connections.size() + other.connections.size() == 40; });
  EXPECT_GT(upstream.connections.size(), 8u);
  EXPECT_GT(other.connections.size(), 8u);
}

TEST_F(TcpProxyTest, ASlowReaderStopsTheOtherSideEachWay) {
  facts.per_connection_buffer_limit_bytes = 64 * 1024;
  upstream::ClusterOptions o = cluster_of("backend", {&upstream});
  o.per_connection_buffer_limit_bytes = 64 * 1024;
  add_cluster(std::move(o));
  begin();
  TestSocket& there = server();
  const std::string chunk(256 * 1024, 'x');
  for (bool down : {true, false}) {
    SCOPED_TRACE(down ? "to the client" : "to the upstream");
    TestSocket& from = down ? there : client;
    TestSocket& to = down ? client : there;
    const size_t total = 48u << 20;
    size_t sent = 0, got = 0;
    for (int idle = 0; idle < 30 && sent < total;) {
      const size_t n = from.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
      sent += n;
      idle = n == 0 ? idle + 1 : 0;
      turn();
    }
    EXPECT_LT(sent, total);
    turn_until([&] {
      sent += from.send_some(std::string_view(chunk).substr(0, std::min(chunk.size(), total - sent)));
      got += std::exchange(to.received, "").size();
      return got == total;
    }, {&to});
  }
  EXPECT_GT(counter(ts::kDownstreamFlowControlPausedReadingTotal), 0u);
  EXPECT_EQ(counter(ts::kDownstreamFlowControlPausedReadingTotal),
            counter(ts::kDownstreamFlowControlResumedReadingTotal));
}

TEST_F(TcpProxyTest, LogsWhenConnectedAndNowAndThenIfAsked) {
  options.flush_access_log_on_connected = true;
  options.access_log_flush_interval = milliseconds(15);
  log("%ACCESS_LOG_TYPE%");
  begin();
  server();
  const base::MonotonicTime later = loop->now() + milliseconds(25);
  turn_until([&] { return loop->now() > later; });
  client.close();
  run_until([&] { return server().ended; });
  server().close();
  turn_until([&] { return host->active() == 0; });
  const std::string text = logged();
  EXPECT_THAT(text, StartsWith("TcpUpstreamConnected\nTcpPeriodic\n"));
  EXPECT_THAT(text, testing::EndsWith("TcpConnectionEnd\n"));
}

TEST_F(TcpProxyTest, ClosingAllEndsEveryPair) {
  begin();
  TestSocket& there = server();
  host->close_all();
  EXPECT_EQ(host->active(), 0u);
  run_until([&] { return (client.ended || client.reset) && (there.ended || there.reset); });
}

}  // namespace
}  // namespace millrace::router
