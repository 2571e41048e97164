// Pools of connections that are made for one server name or one client.
#include "net/proxy_transport.h"
#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using Start = HttpPool::Start;

// Writes down what it is asked for, and sends a PROXY header.
struct Recorder final : net::TransportFactory {
  std::unique_ptr<net::Transport> create(const Ask& ask) const override {
    asked += std::string(ask.server_name) + "," + std::string(ask.verify_name) + ";";
    return proxy.create(ask);
  }
  bool tells_source() const override { return true; }
  mutable std::string asked;
  net::ProxyTransportFactory proxy{net::ProxyVersion::kV1, nullptr};
};

class IdentifiedPoolsTest : public PoolTest {
 protected:
  void SetUp() override {
    ClusterOptions options = cluster_options({1});
    options.transport = recorder;
    begin(std::move(options));
  }
  HttpPool& pool_of(const ConnectionIdentity& identity) {
    return *local->http_pool(host(), ResourcePriority::kDefault, stream::Protocol::kNone, &identity);
  }
  uint32_t pools() const { return cluster->resources(ResourcePriority::kDefault).connection_pools.used(); }
  static ConnectionIdentity named(std::string name) { return {std::move(name), {}, {}, {}}; }

  const std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
};

TEST_F(IdentifiedPoolsTest, EachIdentityHasItsOwn) {
  HttpPool& a = pool_of(named("a.test"));
  EXPECT_EQ(&pool_of(named("a.test")), &a);
  EXPECT_NE(&pool_of(named("b.test")), &a);
  EXPECT_NE(&pool_of({"a.test", "a.test", {}, {}}), &a);
  EXPECT_NE(&pool_of({"a.test", {}, net::Address::parse_ip("1.2.3.4", 5).value(), {}}), &a);
  EXPECT_NE(&pool_of({"a.test", {}, {}, net::Address::parse_ip("1.2.3.4", 5).value()}), &a);
  EXPECT_NE(&pool(), &a);
  EXPECT_NE(local->http_pool(host(), ResourcePriority::kHigh, stream::Protocol::kNone, a.identity()), &a);
}

TEST_F(IdentifiedPoolsTest, TheTransportIsToldWhatItIsFor) {
  const ConnectionIdentity identity{"sni.test", "name.test", net::Address::parse_ip("1.2.3.4", 5).value(),
                                    net::Address::parse_ip("6.7.8.9", 10).value()};
  Client a(pool_of(identity));
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  EXPECT_EQ(recorder->asked, "sni.test,name.test;");
  EXPECT_TRUE(network->peer(0).received.starts_with("PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\nGET / ")) <<
      network->peer(0).received;
  network->peer(0).says.push_back(kOk);
  turn();
  Client b(pool_of(identity));
  EXPECT_EQ(b.start(), Start::kReady) << "it lies idle";
}

TEST_F(IdentifiedPoolsTest, OneThatNobodyUsesIsForgotten) {
  Client a(pool_of(named("a.test")));
  ASSERT_EQ(a.start(), Start::kPending);
  pool_of(named("never-used.test"));
  EXPECT_EQ(pools(), 2u);
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(pools(), 1u) << "a connection lies idle in it";
  network->peer(0).error = ECONNRESET;
  turn();
  EXPECT_EQ(pools(), 0u);
  Client again(pool_of(named("a.test")));
  EXPECT_EQ(again.start(), Start::kPending);
}

TEST_F(IdentifiedPoolsTest, ARequestThatFailsToConnectMayStartAgainInItsPool) {
  Client a(pool_of(named("a.test")));
  a.when_reset = [&] {
    if (network->opened() == 1) { EXPECT_EQ(a.start(), Start::kPending); }
  };
  ASSERT_EQ(a.start(), Start::kPending);
  network->refuse_connection(0);
  turn();
  EXPECT_EQ(network->opened(), 2u);
  EXPECT_EQ(pools(), 1u);
  a.request.cancel();
  turn();
  EXPECT_EQ(pools(), 1u) << "its connection is under way";
}

}  // namespace
}  // namespace millrace::upstream
