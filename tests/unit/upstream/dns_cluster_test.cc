#include "upstream/dns_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

net::Address ip(const std::string& text) { return net::Address::parse_ip(text, 0).value(); }

// Keeps questions until the test answers them.
class FakeResolver final : public DnsResolver {
 public:
  struct Asked {
    std::string name;
    DnsFamily family;
    std::function<void(DnsAnswer)> answer;
    std::function<void(DnsServices)> services;
  };
  std::unique_ptr<Query> resolve(const std::string& name, DnsFamily family,
                                 std::function<void(DnsAnswer)> done) override {
    asked.push_back({name, family, std::move(done), nullptr});
    return std::make_unique<Query>();
  }
  std::unique_ptr<Query> resolve_services(const std::string& name, std::function<void(DnsServices)> done) override {
    asked.push_back({name, DnsFamily::kAll, nullptr, std::move(done)});
    return std::make_unique<Query>();
  }
  Asked next() {
    Asked first = std::move(asked.front());
    asked.pop_front();
    return first;
  }
  void answer(const std::vector<std::string>& addresses, base::seconds ttl = base::seconds(0)) {
    DnsAnswer answer;
    answer.status = DnsStatus::kAnswered;
    answer.ttl = ttl;
    for (const std::string& address : addresses) answer.addresses.push_back(ip(address));
    next().answer(std::move(answer));
  }
  void fail() { next().answer({DnsStatus::kFailed, {}, base::seconds(0), "no server"}); }

  std::deque<Asked> asked;
};

class DnsClusterTest : public testing::Test {
 protected:
  void begin(DnsOptions dns, DiscoveryType type = DiscoveryType::kStrictDns) {
    auto backend = std::make_unique<FakeNetwork>();
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
    ClusterOptions options = cluster_options({});
    options.type = type;
    options.dns = std::make_shared<DnsOptions>(std::move(dns));
    cluster = std::make_unique<TestCluster>(std::move(options));
    subject = std::make_unique<DnsCluster>(*cluster, resolver, *loop, [this](Cluster&) { ++changes; });
    subject->start([this] { ++firsts; });
  }
  static DnsTarget target(const std::string& name, uint16_t port = 80, uint32_t priority = 0) {
    DnsTarget target;
    target.name = name;
    target.priority = priority;
    target.endpoint.address.set_port(port);
    return target;
  }
  void advance(base::milliseconds by) {
    network->advance(by);
    for (int i = 0; i < 3; ++i) loop->turn(base::nanoseconds(0));
  }
  std::vector<std::string> hosts() {
    std::vector<std::string> all;
    for (const HostPtr& host : cluster->hosts()) all.push_back(host->address().to_string());
    return all;
  }
  uint64_t counter(uint16_t index) { return cluster->stats().counter(index); }

  FakeNetwork* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<TestCluster> cluster;
  FakeResolver resolver;
  std::unique_ptr<DnsCluster> subject;
  int changes = 0, firsts = 0;
};

TEST_F(DnsClusterTest, HostsAreTheAnswersOfAllTargetsTogether) {
  DnsOptions dns;
  dns.targets = {target("a", 80), target("b", 81, 1)};
  dns.family = DnsFamily::kV4Only;
  begin(dns);
  ASSERT_EQ(resolver.asked.size(), 2u);
  EXPECT_EQ(resolver.asked[0].family, DnsFamily::kV4Only);
  resolver.answer({"10.0.0.2", "10.0.0.1"});
  EXPECT_EQ(firsts, 0);
  resolver.answer({"10.0.0.1"});
  EXPECT_EQ(firsts, 1);
  EXPECT_THAT(hosts(), UnorderedElementsAre("10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:81"));
  EXPECT_EQ(cluster->hosts()[2]->priority(), 1u);
  EXPECT_EQ(cluster->hosts()[0]->hostname(), "a");
  EXPECT_EQ(changes, 2);
}

TEST_F(DnsClusterTest, AnotherOrderChangesNothing) {
  DnsOptions dns;
  dns.targets = {target("a")};
  begin(dns);
  resolver.answer({"10.0.0.1", "10.0.0.2"});
  advance(base::milliseconds(4'999));
  EXPECT_TRUE(resolver.asked.empty());
  advance(base::milliseconds(2));
  resolver.answer({"10.0.0.2", "10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(counter(stat::kUpdateNoRebuild), 1u);
  EXPECT_EQ(counter(stat::kUpdateSuccess), 2u);
  EXPECT_EQ(firsts, 1);
}

TEST_F(DnsClusterTest, NoRecordsMeanNoHostsAFailureKeepsThem) {
  DnsOptions dns;
  dns.targets = {target("a")};
  begin(dns);
  resolver.answer({"10.0.0.1"});
  advance(base::milliseconds(5'001));
  resolver.fail();
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1:80"));
  EXPECT_EQ(counter(stat::kUpdateFailure), 1u);
  advance(base::milliseconds(5'001));
  resolver.answer({});
  EXPECT_THAT(hosts(), IsEmpty());
  EXPECT_EQ(counter(stat::kUpdateEmpty), 1u);
  EXPECT_EQ(changes, 2);
}

TEST_F(DnsClusterTest, AFailureIsAnAnswerForTheStart) {
  DnsOptions dns;
  dns.targets = {target("a")};
  begin(dns);
  resolver.fail();
  EXPECT_EQ(firsts, 1);
}

TEST_F(DnsClusterTest, FollowsTheTimeToLiveIfToldTo) {
  DnsOptions dns;
  dns.targets = {target("a")};
  dns.respect_ttl = true;
  dns.min_refresh_rate = base::seconds(2);
  begin(dns);
  resolver.answer({"10.0.0.1"}, base::seconds(30));
  advance(base::milliseconds(29'999));
  EXPECT_TRUE(resolver.asked.empty());
  advance(base::milliseconds(2));
  resolver.answer({"10.0.0.1"}, base::seconds(1));
  advance(base::milliseconds(1'999));
  EXPECT_TRUE(resolver.asked.empty());
  advance(base::milliseconds(2));
  resolver.answer({"10.0.0.1"});  // says none: the refresh rate
  advance(base::milliseconds(4'999));
  EXPECT_TRUE(resolver.asked.empty());
}

TEST_F(DnsClusterTest, FailuresAreFollowedByBackOff) {
  DnsOptions dns;
  dns.targets = {target("a")};
  dns.refresh_rate = std::chrono::hours(1);
  dns.failure_refresh_base = base::milliseconds(100);
  dns.failure_refresh_max = base::milliseconds(400);
  begin(dns);
  for (int i = 0; i < 20; ++i) {
    resolver.fail();
    advance(base::milliseconds(401));
    ASSERT_EQ(resolver.asked.size(), 1u);
  }
}

TEST_F(DnsClusterTest, JitterComesOnTop) {
  DnsOptions dns;
  dns.targets = {target("a")};
  dns.jitter = base::milliseconds(1'000);
  begin(dns);
  std::set<int> waits;
  for (int i = 0; i < 20; ++i) {
    resolver.answer({"10.0.0.1"});
    int waited = 0;
    for (; resolver.asked.empty(); waited += 50) advance(base::milliseconds(50));
    EXPECT_GE(waited, 5'000);
    EXPECT_LE(waited, 6'050);
    waits.insert(waited);
  }
  EXPECT_GT(waits.size(), 5u);
}

TEST_F(DnsClusterTest, ALogicalClusterMovesItsOneHost) {
  DnsOptions dns;
  dns.targets = {target("a")};
  begin(dns, DiscoveryType::kLogicalDns);
  resolver.answer({"10.0.0.2", "10.0.0.1"});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.2:80"));
  const HostPtr host = cluster->hosts()[0];
  const net::Address& before = host->address();
  for (const char* first : {"10.0.0.1", "10.0.0.3", "10.0.0.1", "10.0.0.2"}) {
    const uint64_t version = cluster->host_set().version();
    advance(base::milliseconds(5'001));
    resolver.answer({first, "10.0.0.9"});
    EXPECT_EQ(host->address(), net::Address::parse_ip(first, 80).value());
    EXPECT_GT(cluster->host_set().version(), version);
  }
  EXPECT_EQ(before.to_string(), "10.0.0.2:80") << "what was given out stays";
  EXPECT_EQ(cluster->hosts()[0], host);
  EXPECT_EQ(changes, 5);
  advance(base::milliseconds(5'001));
  resolver.answer({});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.2:80"));
}

TEST_F(DnsClusterTest, ServicesSayPortsWeightsAndPriorities) {
  DnsOptions dns;
  dns.targets = {target("_http._tcp.web", 0)};
  dns.targets[0].services = true;
  begin(dns);
  DnsServices services;
  services.status = DnsStatus::kAnswered;
  services.ttl = base::seconds(9);
  services.services = {{20, 0, 8002, "two"}, {10, 5, 8001, "one"}};
  resolver.next().services(services);
  ASSERT_EQ(resolver.asked.size(), 2u);
  EXPECT_EQ(resolver.asked[0].name, "one");
  resolver.answer({"10.0.0.1"});
  EXPECT_EQ(firsts, 0);
  resolver.answer({"10.0.0.2"});
  ASSERT_THAT(hosts(), ElementsAre("10.0.0.1:8001", "10.0.0.2:8002"));
  EXPECT_EQ(cluster->hosts()[0]->weight(), 5u);
  EXPECT_EQ(cluster->hosts()[0]->hostname(), "one");
  EXPECT_EQ(cluster->hosts()[1]->priority(), 1u);
  // One name of a round fails: what was known stays.
  advance(base::milliseconds(5'001));
  resolver.next().services(services);
  resolver.fail();
  resolver.answer({"10.0.0.7"});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1:8001", "10.0.0.2:8002"));
}

}  // namespace
}  // namespace millrace::upstream
