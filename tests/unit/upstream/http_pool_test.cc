#include "upstream/http_pool.h"

#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using Start = HttpPool::Start;
using HttpPoolTest = PoolTest;

TEST_F(HttpPoolTest, ConnectsOnDemandAndAnswers) {
  begin();
  Client a(pool());
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(gauge(stat::kUpstreamRqPendingActive), 1);
  EXPECT_EQ(host().load(), 1u);
  network->accept_connection(0);
  turn();
  EXPECT_EQ(network->peer(0).received, "GET / HTTP/1.1\r\nhost: test\r\n\r\n");
  EXPECT_EQ(host().rq_active(), 1u);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_EQ(a.request.state(), UpstreamRequest::State::kIdle);
  EXPECT_EQ(counter(stat::kUpstreamRqTotal), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxHttp1Total), 1u);
  EXPECT_EQ(cluster->totals(host()).rq_total, 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxRxBytesTotal), strlen(kOk));
  EXPECT_EQ(a.request.wire_bytes_received(), strlen(kOk));
  EXPECT_EQ(a.request.wire_bytes_sent(), network->peer(0).received.size());
}

TEST_F(HttpPoolTest, ReusesIdleConnectionBeforeDialling) {
  begin();
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  for (int i = 0; i < 5; ++i) {
    turn();
    network->peer(0).says.push_back(kOk);
    turn();
    if (i < 4) { ASSERT_EQ(a.start(), Start::kReady); }
  }
  EXPECT_EQ(network->opened(), 1u);
  EXPECT_EQ(counter(stat::kUpstreamRqTotal), 5u);
}

TEST_F(HttpPoolTest, TheConnectionIsFreeWhenTheLastByteIsTold) {
  begin();
  Client a(pool()), b(pool());
  Start second = Start::kOverflow;
  a.when_done = [&] { second = b.start(); };
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(second, Start::kReady);
  EXPECT_EQ(network->opened(), 1u);
}

TEST_F(HttpPoolTest, TakesTheConnectionUsedLast) {
  begin();
  Client a(pool()), b(pool());
  for (Client* c : {&a, &b}) ASSERT_EQ(c->start(), Start::kPending);
  for (size_t n : {0, 1}) network->accept_connection(n);
  turn();
  network->peer(1).says.push_back(kOk);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  const size_t before = network->peer(0).received.size();
  ASSERT_EQ(a.start(), Start::kReady);
  turn();
  EXPECT_GT(network->peer(0).received.size(), before);
}

TEST_F(HttpPoolTest, AFreedConnectionServesTheOneWhoWaits) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_connections = 1;
  begin(std::move(options));
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxOverflow), 1u);
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(b.request.state(), UpstreamRequest::State::kActive);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(b.log, "headers 200;data ok end;");
}

TEST_F(HttpPoolTest, AnEmptyPoolMayAlwaysHaveOneConnection) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_connections = 0;
  begin(std::move(options));
  Client a(pool());
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxOverflow), 1u);
}

TEST_F(HttpPoolTest, OverflowsBeyondMaxPendingRequests) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_pending_requests = 2;
  begin(std::move(options));
  Client a(pool()), b(pool()), c(pool());
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(c.start(), Start::kOverflow);
  EXPECT_EQ(counter(stat::kUpstreamRqPendingOverflow), 1u);
  cluster->publish_gauges();
  EXPECT_EQ(gauge(stat::kCircuitBreakersDefaultRqPendingOpen), 1);
  EXPECT_EQ(gauge(stat::kCircuitBreakersHighRqPendingOpen), 0);
  a.request.cancel();
  EXPECT_EQ(counter(stat::kUpstreamRqCancelled), 1u);
  EXPECT_EQ(c.start(), Start::kPending);
}

TEST_F(HttpPoolTest, OverflowsBeyondMaxRequests) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_requests = 1;
  begin(std::move(options));
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  for (size_t n : {0, 1}) network->accept_connection(n);
  turn();
  EXPECT_EQ(b.log, "reset overflow;");
  EXPECT_EQ(b.start(), Start::kOverflow);
  EXPECT_EQ(counter(stat::kUpstreamRqActiveOverflow), 2u);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(b.start(), Start::kReady);
}

TEST_F(HttpPoolTest, PrioritiesHaveTheirOwnConnectionsAndBreakers) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_pending_requests = 1;
  begin(std::move(options));
  Client a(pool()), b(pool()), high(pool(ResourcePriority::kHigh));
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(b.start(), Start::kOverflow);
  EXPECT_EQ(high.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 2u);
}

TEST_F(HttpPoolTest, AFailedConnectFailsAllWhoWait) {
  begin();
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  network->refuse_connection(0);
  turn();
  EXPECT_EQ(a.log, "reset remote connection failure;");
  EXPECT_EQ(b.log, "reset remote connection failure;");
  EXPECT_EQ(counter(stat::kUpstreamCxConnectFail), 1u);
  EXPECT_EQ(counter(stat::kUpstreamRqPendingFailureEject), 2u);
  EXPECT_EQ(cluster->totals(host()).cx_connect_fail, 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxDestroy), 0u);
}

TEST_F(HttpPoolTest, ARetryFromWithinTheResetWaitsForANewConnection) {
  begin();
  Client a(pool());
  a.when_reset = [&] {
    a.when_reset = nullptr;
    EXPECT_EQ(a.start(), Start::kPending);
  };
  ASSERT_EQ(a.start(), Start::kPending);
  network->refuse_connection(0);
  turn();
  ASSERT_EQ(network->opened(), 2u);
  network->accept_connection(1);
  turn();
  network->peer(1).says.push_back(kOk);
  turn();
  EXPECT_EQ(a.log, "reset remote connection failure;headers 200;data ok end;");
}

TEST_F(HttpPoolTest, GivesUpConnectingAfterConnectTimeout) {
  ClusterOptions options = cluster_options({1});
  options.connect_timeout = base::milliseconds(250);
  begin(std::move(options));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  advance(base::milliseconds(249));
  EXPECT_EQ(a.log, "");
  advance(base::milliseconds(10));
  EXPECT_EQ(a.log, "reset connection timeout;");
  EXPECT_EQ(counter(stat::kUpstreamCxConnectTimeout), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxConnectFail), 1u);
}

TEST_F(HttpPoolTest, ClosesAnIdleConnectionAfterItsTimeout) {
  ClusterOptions options = cluster_options({1});
  options.http.idle_timeout = base::seconds(10);
  begin(std::move(options));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  advance(base::seconds(30));  // busy, not idle
  EXPECT_EQ(network->open(), 1u);
  network->peer(0).says.push_back(kOk);
  turn();
  advance(base::seconds(9));
  EXPECT_EQ(network->open(), 1u);
  advance(base::seconds(2));
  EXPECT_EQ(network->open(), 0u);
  EXPECT_EQ(counter(stat::kUpstreamCxIdleTimeout), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyLocal), 1u);
}

TEST_F(HttpPoolTest, ClosesAfterMaxRequestsPerConnection) {
  ClusterOptions options = cluster_options({1});
  options.http.max_requests_per_connection = 2;
  begin(std::move(options));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  ASSERT_EQ(a.start(), Start::kReady);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_TRUE(network->peer(0).closed);
  EXPECT_EQ(counter(stat::kUpstreamCxMaxRequests), 1u);
  EXPECT_EQ(a.start(), Start::kPending);
}

TEST_F(HttpPoolTest, ADrainClosesIdleOnesNowAndActiveOnesAfterTheirResponse) {
  begin();
  Client a(pool()), b(pool());
  for (Client* c : {&a, &b}) ASSERT_EQ(c->start(), Start::kPending);
  for (size_t n : {0, 1}) network->accept_connection(n);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  local->drain();
  turn();
  EXPECT_TRUE(network->peer(0).closed);
  EXPECT_FALSE(network->peer(1).closed);
  network->peer(1).says.push_back(kOk);
  turn();
  EXPECT_EQ(b.log, "headers 200;data ok end;");
  EXPECT_TRUE(network->peer(1).closed);
}

TEST_F(HttpPoolTest, ClosesAConnectionPastItsMaxDuration) {
  ClusterOptions options = cluster_options({1});
  options.http.max_connection_duration = base::seconds(5);
  begin(std::move(options));
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  advance(base::seconds(6));
  EXPECT_FALSE(network->peer(0).closed);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_TRUE(network->peer(0).closed);
  EXPECT_EQ(counter(stat::kUpstreamCxMaxDurationReached), 1u);
}

TEST_F(HttpPoolTest, ClosingResetsEverybodyAndLetsNobodyIn) {
  begin();
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  ASSERT_EQ(b.start(), Start::kPending);
  Start again = Start::kReady;
  b.when_reset = [&] { again = b.start(); };
  pool().close();
  turn();
  EXPECT_EQ(a.log, "reset local reset;");
  EXPECT_EQ(b.log, "reset local reset;");
  EXPECT_EQ(again, Start::kOverflow);
  EXPECT_EQ(network->open(), 0u);
}

TEST_F(HttpPoolTest, ReplacesALostConnectionWhileOthersWait) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_connections = 1;
  begin(std::move(options));
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  network->peer(0).error = ECONNRESET;
  turn();
  EXPECT_EQ(a.log, "reset connection termination;");
  EXPECT_EQ(b.log, "");
  ASSERT_EQ(network->opened(), 2u);
}

TEST_F(HttpPoolTest, PerHostMaxConnectionsHolds) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.per_host_max_connections = 1;
  begin(std::move(options));
  Client a(pool()), b(pool());
  EXPECT_EQ(a.start(), Start::kPending);
  EXPECT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 1u);
}

TEST_F(HttpPoolTest, PoolsAreLimited) {
  ClusterOptions options = cluster_options({1, 1});
  options.circuit_breakers.thresholds[0].max_connection_pools = 1;
  begin(std::move(options));
  EXPECT_NE(local->http_pool(host(0), ResourcePriority::kDefault), nullptr);
  EXPECT_EQ(local->http_pool(host(1), ResourcePriority::kDefault), nullptr);
  EXPECT_EQ(counter(stat::kUpstreamCxPoolOverflow), 1u);
}

TEST_F(HttpPoolTest, NobodyHealthyIsCounted) {
  ClusterOptions options = cluster_options({1});
  options.common_lb.healthy_panic_threshold_percent = 0;
  begin(std::move(options));
  EXPECT_EQ(local->choose(), &host());
  host().set(HealthFlag::kFailedOutlierCheck);
  EXPECT_EQ(local->choose(), nullptr);
  EXPECT_EQ(counter(stat::kUpstreamCxNoneHealthy), 1u);
}

}  // namespace
}  // namespace millrace::upstream
