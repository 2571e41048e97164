#include "upstream/tcp_upstream.h"

#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

struct Session final : TcpUpstreamHandler, net::ConnectionHandler {
  void on_tcp_connected(TcpUpstream& u) override {
    u.connection().set_handler(*this);
    log += "connected;";
  }
  void on_tcp_failed(TcpUpstream&, ResetReason reason, const base::Error*) override {
    log += std::string(name(reason)) + ";";
    if (again) again();
  }
  void on_data(net::Connection&, base::Buffer& data, bool end) override {
    log += data.to_string() + (end ? " end;" : ";");
    data.clear();
  }
  void on_error(net::Connection&, const base::Error&) override { log += "error;"; }

  std::string log;
  std::function<void()> again;
  TcpUpstream upstream{*this};
};

class TcpUpstreamTest : public PoolTest {
 protected:
  bool start(Session& s) { return s.upstream.start(*local, host(), ResourcePriority::kDefault); }
};

TEST_F(TcpUpstreamTest, HandsOverAConnection) {
  begin();
  Session s;
  ASSERT_TRUE(start(s));
  EXPECT_EQ(gauge(stat::kUpstreamRqPendingActive), 1);
  network->accept_connection(0);
  network->peer(0).says.push_back("hello");
  turn();
  EXPECT_EQ(s.log, "connected;hello;");
  EXPECT_EQ(gauge(stat::kUpstreamCxActive), 1);
  s.upstream.connection().write("bye");
  s.upstream.close(net::CloseMode::kFlush, ConnectionAccount::EndedBy::kLocal);
  turn();
  EXPECT_EQ(network->peer(0).received, "bye");
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyLocal), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxRxBytesTotal), 5u);
}

TEST_F(TcpUpstreamTest, RefusesBeyondMaxConnections) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_connections = 1;
  begin(std::move(options));
  Session a, b;
  EXPECT_TRUE(start(a));
  EXPECT_FALSE(start(b));
  EXPECT_EQ(counter(stat::kUpstreamCxOverflow), 1u);
  a.upstream.close(net::CloseMode::kNow, ConnectionAccount::EndedBy::kLocal);
  EXPECT_TRUE(start(b));
}

TEST_F(TcpUpstreamTest, MayTryAgainFromWithinTheFailure) {
  begin();
  Session s;
  s.again = [&] {
    s.again = nullptr;
    EXPECT_TRUE(start(s));
  };
  ASSERT_TRUE(start(s));
  network->refuse_connection(0);
  turn();
  ASSERT_EQ(network->opened(), 2u);
  network->accept_connection(1);
  turn();
  EXPECT_EQ(s.log, "remote connection failure;connected;");
  EXPECT_EQ(counter(stat::kUpstreamCxConnectFail), 1u);
}

TEST_F(TcpUpstreamTest, TimesOutAndOverflows) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[0].max_requests = 1;
  begin(std::move(options));
  Session a, b, c;
  ASSERT_TRUE(start(a));
  advance(base::seconds(6));
  EXPECT_EQ(a.log, "connection timeout;");
  ASSERT_TRUE(start(b));
  ASSERT_TRUE(start(c));
  for (size_t n : {1, 2}) network->accept_connection(n);
  turn();
  EXPECT_EQ(b.log, "connected;");
  EXPECT_EQ(c.log, "overflow;");
}

}  // namespace
}  // namespace millrace::upstream
