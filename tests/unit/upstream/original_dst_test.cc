// ORIGINAL_DST clusters: hosts that come into being by use.
#include "unit/upstream/pool_fixture.h"
#include "upstream/tcp_upstream.h"

namespace millrace::upstream {
namespace {

net::Address at(std::string_view text) { return net::Address::parse_ip_port(text).value(); }

class OriginalDstTest : public PoolTest {
 protected:
  void begin(OriginalDstOptions original_dst = {}) {
    ClusterOptions options;
    options.name = "original";
    options.type = DiscoveryType::kOriginalDst;
    options.lb_policy = LbPolicy::kClusterProvided;
    options.original_dst = std::move(original_dst);
    options.original_dst.cleanup_interval = base::milliseconds(100);
    PoolTest::begin(std::move(options));
  }
  void TearDown() override {
    local->close();
    turn();
    EXPECT_EQ(network->open(), 0u);
    local.reset();
    EXPECT_TRUE(cluster->all_hosts().empty()) << "a host is held by no worker";
    loop.reset();
  }
  Host* choose(std::string_view destination, const http::HeaderMap* headers = nullptr) {
    const net::Address address = destination.empty() ? net::Address() : at(destination);
    LbContext context;
    context.original_destination = destination.empty() ? nullptr : &address;
    context.request_headers = headers;
    return local->choose(context);
  }
  std::string chosen(std::string_view destination, const http::HeaderMap* headers = nullptr) {
    Host* host = choose(destination, headers);
    return host == nullptr ? "none" : host->address().to_string();
  }
  size_t hosts() const { return cluster->all_hosts().size(); }
};

TEST_F(OriginalDstTest, MakesAHostPerAddress) {
  begin();
  Host* first = choose("10.0.0.1:80");
  ASSERT_NE(first, nullptr);
  EXPECT_FALSE(first->listed());
  EXPECT_EQ(choose("10.0.0.1:80"), first);
  EXPECT_NE(choose("10.0.0.1:81"), first);
  EXPECT_EQ(chosen("[2001:db8::1]:80"), "[2001:db8::1]:80");
  EXPECT_EQ(hosts(), 3u);
  EXPECT_EQ(counter(stat::kMembershipChange), 3u);
  cluster->publish_gauges();
  EXPECT_EQ(gauge(stat::kMembershipTotal), 3);
  EXPECT_EQ(gauge(stat::kMembershipHealthy), 3);
}

TEST_F(OriginalDstTest, HasNoHostWithoutAnOriginalDestination) {
  begin();
  EXPECT_EQ(chosen(""), "none");
  EXPECT_EQ(counter(stat::kUpstreamCxNoneHealthy), 1u);
  const net::Address pipe = net::Address::pipe("/run/x.sock").value();
  LbContext context;
  context.original_destination = &pipe;
  EXPECT_EQ(local->choose(context), nullptr);
}

TEST_F(OriginalDstTest, LetsAHeaderBeatTheDestination) {
  begin({.header_name = "x-to", .port_override = {}});
  http::HeaderMap headers;
  EXPECT_EQ(chosen("10.0.0.1:80", &headers), "10.0.0.1:80");
  headers.add("x-to", "10.0.0.2:8080");
  headers.add("x-to", "10.0.0.3:8080");
  EXPECT_EQ(chosen("10.0.0.1:80", &headers), "10.0.0.2:8080") << "the first value counts";
  EXPECT_EQ(chosen("", &headers), "10.0.0.2:8080");
  EXPECT_EQ(counter(stat::kOriginalDstHostInvalid), 0u);
  for (const char* bad : {"", "10.0.0.2", "10.0.0.2:", "10.0.0.2:99999", "::1:80", "[10.0.0.2]:80", "a.example:80"}) {
    headers.set("x-to", bad);
    EXPECT_EQ(chosen("10.0.0.1:80", &headers), "10.0.0.1:80") << bad;
  }
  EXPECT_EQ(counter(stat::kOriginalDstHostInvalid), 7u);
  headers.set("x-to", "[::1]:80");
  EXPECT_EQ(chosen("10.0.0.1:80", &headers), "[::1]:80");
}

TEST_F(OriginalDstTest, DoesNotReadAHeaderThatItWasNotToldToRead) {
  begin();
  http::HeaderMap headers;
  headers.add("x-envoy-original-dst-host", "10.0.0.2:8080");
  EXPECT_EQ(chosen("10.0.0.1:80", &headers), "10.0.0.1:80");
}

TEST_F(OriginalDstTest, OverridesThePort) {
  begin({.header_name = "x-to", .port_override = 15});
  EXPECT_EQ(chosen("10.0.0.1:80"), "10.0.0.1:15");
  http::HeaderMap headers;
  headers.add("x-to", "10.0.0.2:8080");
  EXPECT_EQ(chosen("10.0.0.1:80", &headers), "10.0.0.2:15");
  EXPECT_EQ(chosen(""), "none");
}

TEST_F(OriginalDstTest, ForgetsAHostThatNobodyUsesAfterTheInterval) {
  begin();
  choose("10.0.0.1:80");
  advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 1u) << "it was used within the interval";
  choose("10.0.0.1:80");
  advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 1u);
  advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 0u);
  EXPECT_EQ(counter(stat::kMembershipChange), 2u);
  EXPECT_EQ(chosen("10.0.0.1:80"), "10.0.0.1:80");
}

TEST_F(OriginalDstTest, KeepsAHostWhileSomethingIsConnectedToIt) {
  begin();
  Host* host = choose("10.0.0.1:80");
  Client client(*local->http_pool(*host, ResourcePriority::kDefault));
  EXPECT_EQ(client.start(), HttpPool::Start::kPending);
  for (int i = 0; i < 5; ++i) advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 1u) << "connecting";
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  for (int i = 0; i < 5; ++i) advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 1u) << "idle in the pool";
  EXPECT_EQ(cluster->totals(*host).rq_total, 1u);
  EXPECT_EQ(cluster->totals(*host).cx_total, 1u);
  network->peer(0).ends = true;
  turn();
  for (int i = 0; i < 3; ++i) advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 0u);
}

TEST_F(OriginalDstTest, KeepsPoolsOfHostsAndPrioritiesApart) {
  begin();
  Host* a = choose("10.0.0.1:80");
  Host* b = choose("10.0.0.2:80");
  HttpPool* pool = local->http_pool(*a, ResourcePriority::kDefault);
  EXPECT_EQ(local->http_pool(*a, ResourcePriority::kDefault), pool);
  EXPECT_NE(local->http_pool(*a, ResourcePriority::kHigh), pool);
  EXPECT_NE(local->http_pool(*b, ResourcePriority::kDefault), pool);
  EXPECT_EQ(&pool->host(), a);
}

TEST_F(OriginalDstTest, LetsAHostLiveAsLongAsSomebodyHoldsIt) {
  begin();
  std::shared_ptr<Host> held = choose("10.0.0.1:80")->hold();
  for (int i = 0; i < 3; ++i) advance(base::milliseconds(101));
  EXPECT_EQ(hosts(), 0u);
  EXPECT_EQ(held->address().to_string(), "10.0.0.1:80");
  local->counters(*held).rq_error.add();
  EXPECT_EQ(cluster->totals(*held).rq_error, 1u);
}

TEST_F(OriginalDstTest, SharesAHostBetweenWorkers) {
  begin();
  ThreadLocalCluster other(*cluster, *loop, 1);
  Host* host = choose("10.0.0.1:80");
  const net::Address address = at("10.0.0.1:80");
  LbContext context;
  context.original_destination = &address;
  EXPECT_EQ(other.choose(context), host);
  EXPECT_EQ(hosts(), 1u);
  other.counters(*host).rq_total.add();
  local->counters(*host).rq_total.add(2);
  EXPECT_EQ(cluster->totals(*host).rq_total, 3u);
  for (int i = 0; i < 3; ++i) {
    other.choose(context);
    advance(base::milliseconds(101));
  }
  EXPECT_EQ(hosts(), 1u) << "the other worker uses it still";
  EXPECT_EQ(choose("10.0.0.1:80"), host);
}

TEST_F(OriginalDstTest, MakesNoMoreHostsThanItsLimit) {
  begin();
  OriginalDstHosts& shared = *cluster->original_dst_hosts();
  net::Address address = at("10.0.0.1:1");
  std::vector<net::Address> taken;
  for (size_t i = 0; i < OriginalDstHosts::kHostsMax; ++i) {
    address.set_port(static_cast<uint16_t>(i));
    ASSERT_NE(shared.acquire(address).host, nullptr);
    taken.push_back(address);
  }
  EXPECT_EQ(chosen("10.0.0.2:80"), "none");
  EXPECT_EQ(chosen("10.0.0.1:80"), "10.0.0.1:80") << "one that is there";
  for (const net::Address& one : taken) shared.release(one);
  EXPECT_EQ(chosen("10.0.0.2:80"), "10.0.0.2:80");
}

}  // namespace
}  // namespace millrace::upstream
