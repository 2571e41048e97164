#include "upstream/host_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

ClusterOptions discovered(LbPolicy policy = LbPolicy::kRoundRobin) {
  ClusterOptions options = cluster_options({}, policy);
  options.type = DiscoveryType::kStrictDns;
  return options;
}

// Endpoints by port, with their weights.
std::vector<LocalityEndpoints> listed(const std::map<uint16_t, uint32_t>& weights, uint32_t priority = 0) {
  std::vector<LocalityEndpoints> localities(1);
  localities[0].priority = priority;
  for (const auto& [port, weight] : weights) localities[0].endpoints.push_back(endpoint(port, weight));
  return localities;
}

std::vector<uint16_t> ports(HostSpan hosts) {
  std::vector<uint16_t> all;
  for (const HostPtr& host : hosts) all.push_back(host->address().port());
  return all;
}

TEST(HostSet, HostsAtAddressesThatStayAreTheSameObjects) {
  TestCluster cluster(discovered());
  const HostsUpdate first = cluster.update_hosts(listed({{1, 1}, {2, 1}, {3, 1}}));
  EXPECT_THAT(ports(first.added), ElementsAre(1, 2, 3));
  const HostPtr two = cluster.hosts()[1];
  two->add_active(1);
  const HostsUpdate second = cluster.update_hosts(listed({{2, 5}, {4, 1}}));
  EXPECT_THAT(ports(second.added), ElementsAre(4));
  EXPECT_THAT(ports(second.removed), UnorderedElementsAre(1, 3));
  EXPECT_EQ(second.changed, 1u);
  EXPECT_THAT(ports(cluster.hosts()), UnorderedElementsAre(2, 4));
  EXPECT_EQ(two->weight(), 5u);
  EXPECT_TRUE(std::find(cluster.hosts().begin(), cluster.hosts().end(), two) != cluster.hosts().end());
  EXPECT_TRUE(cluster.update_hosts(listed({{4, 1}, {2, 5}})).empty());
  two->add_active(-1);
}

TEST(HostSet, OfSeveralEndpointsAtOneAddressTheFirstCounts) {
  TestCluster cluster(discovered());
  std::vector<LocalityEndpoints> twice = listed({{1, 3}});
  twice[0].endpoints.push_back(endpoint(1, 7));
  cluster.update_hosts(std::move(twice));
  ASSERT_EQ(cluster.hosts().size(), 1u);
  EXPECT_EQ(cluster.hosts()[0]->weight(), 3u);
}

TEST(HostSet, WhatDiscoverySaysOfHealthLeavesWhatWasFoundOutHere) {
  TestCluster cluster(discovered());
  cluster.update_hosts(listed({{1, 1}}));
  Host& host = *cluster.hosts()[0];
  host.set(HealthFlag::kFailedActiveHc);
  std::vector<LocalityEndpoints> draining = listed({{1, 1}});
  draining[0].endpoints[0].health_status = HealthStatus::kDraining;
  EXPECT_EQ(cluster.update_hosts(draining).changed, 1u);
  EXPECT_EQ(host.health_flags_string(), "/failed_active_hc/failed_eds_health/eds_status_draining");
  EXPECT_EQ(cluster.update_hosts(listed({{1, 1}})).changed, 1u);
  EXPECT_EQ(host.health_flags_string(), "/failed_active_hc");
}

TEST(HostSet, AnIndexComesBackWhenItsHostIsGoneForAll) {
  TestCluster cluster(discovered());
  cluster.update_hosts(listed({{1, 1}}));
  HostPtr held = cluster.hosts()[0];
  const uint32_t index = held->index();
  cluster.update_hosts(listed({{2, 1}}));
  EXPECT_NE(cluster.hosts()[0]->index(), index);
  held = nullptr;
  cluster.update_hosts(listed({{2, 1}, {3, 1}}));
  EXPECT_EQ(cluster.hosts()[1]->index(), index);
}

TEST(HostSet, TellsWhatChangedSinceAVersion) {
  TestCluster cluster(discovered());
  cluster.update_hosts(listed({{1, 1}, {2, 1}}));
  const HostPtr one = cluster.hosts()[0];
  const uint64_t seen = cluster.host_set().since(0).version;
  EXPECT_TRUE(cluster.host_set().since(seen).changes.empty());
  one->set(HealthFlag::kFailedActiveHc);
  cluster.update_hosts(listed({{1, 1}}));
  one->set(HealthFlag::kPendingActiveHc);
  HostSet::Changes news = cluster.host_set().since(seen);
  EXPECT_FALSE(news.from_scratch);
  ASSERT_EQ(news.changes.size(), 3u);
  EXPECT_EQ(news.changes[0].host, one);
  EXPECT_EQ(news.changes[1].host, nullptr);
  EXPECT_EQ(news.changes[2].host, one);
  EXPECT_EQ(news.version, cluster.host_set().version());
  cluster.update_hosts({});
  one->clear(HealthFlag::kPendingActiveHc);  // nobody is told of one that is not listed
  EXPECT_EQ(cluster.host_set().version(), news.version + 1);
}

TEST(HostSet, WhoLagsBehindTheLogStartsFromScratch) {
  TestCluster cluster(discovered());
  cluster.update_hosts(listed({{1, 1}, {2, 1}}));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  const uint64_t seen = cluster.host_set().version();
  Host& flaps = *cluster.hosts()[1];
  for (int i = 0; i < 20'000; ++i) {
    flaps.set(HealthFlag::kFailedActiveHc);
    flaps.clear(HealthFlag::kFailedActiveHc);
  }
  cluster.update_hosts(listed({{2, 1}, {3, 1}}));
  EXPECT_TRUE(cluster.host_set().since(seen).from_scratch);
  std::map<uint16_t, int> picks;
  for (int i = 0; i < 10; ++i) ++picks[lb.choose()->address().port()];
  EXPECT_EQ(picks, (std::map<uint16_t, int>{{2, 5}, {3, 5}}));
}

// Whatever happens to the hosts, the balancer's groups are those that a new balancer makes.
TEST(HostSet, ABalancerThatFollowsChoosesAsOneThatIsNew) {
  for (LbPolicy policy : {LbPolicy::kRoundRobin, LbPolicy::kLeastRequest, LbPolicy::kRandom}) {
    TestCluster cluster(discovered(policy));
    base::Prng chance(17), prng(5);
    LoadBalancer follows(cluster, 0, prng);
    for (int round = 0; round < 120; ++round) {
      std::vector<LocalityEndpoints> localities(2);
      localities[1].priority = 1;
      const bool weighted = chance.below(2) == 0;
      for (uint16_t port = 1; port <= 12; ++port) {
        if (chance.below(3) == 0) continue;
        const auto weight = static_cast<uint32_t>(weighted ? 1 + chance.below(5) : 1);
        localities[chance.below(2)].endpoints.push_back(endpoint(port, weight));
      }
      cluster.update_hosts(std::move(localities));
      for (const HostPtr& host : cluster.hosts()) {
        const HealthFlag flag = chance.below(2) == 0 ? HealthFlag::kFailedActiveHc : HealthFlag::kDegradedActiveHc;
        if (chance.below(4) == 0) host->set(flag);
        else host->clear(flag);
      }
      LoadBalancer fresh(cluster, 0, prng);
      std::map<Host*, double> by_following, by_new;
      for (int i = 0; i < 6000; ++i) {
        by_following[follows.choose()] += 1.0 / 6000;
        by_new[fresh.choose()] += 1.0 / 6000;
      }
      for (const auto& [host, share] : by_new) ASSERT_NEAR(by_following[host], share, 0.045) << "round " << round;
      ASSERT_EQ(by_following.size(), by_new.size()) << "round " << round;
    }
  }
}

TEST(HostSet, WorkersFollowWhileHostsComeAndGo) {
  TestCluster cluster(discovered());
  cluster.update_hosts(listed({{1, 1}}));
  std::atomic<bool> done = false;
  std::vector<std::thread> workers;
  for (uint16_t worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&cluster, &done, worker] {
      base::Prng prng(worker);
      LoadBalancer lb(cluster, worker, prng);
      while (!done.load()) {
        Host* host = lb.choose();
        ASSERT_NE(host, nullptr);
        const std::shared_ptr<Host> held = host->hold();
        held->counters(worker).rq_total.add();
        if (prng.below(8) == 0) held->set(HealthFlag::kDegradedActiveHc);
        else held->clear(HealthFlag::kDegradedActiveHc);
        lb.take_removed();
      }
    });
  }
  base::Prng chance(9);
  for (int i = 0; i < 3000; ++i) {
    std::map<uint16_t, uint32_t> wanted{{1, 1}};
    for (int n = 0; n < 5; ++n) wanted[static_cast<uint16_t>(1 + chance.below(20))] = 1;
    cluster.update_hosts(listed(wanted));
  }
  done = true;
  for (std::thread& worker : workers) worker.join();
  for (const HostPtr& host : cluster.hosts()) EXPECT_LT(host->index(), 64u) << "indexes are used again";
}

// A worker with a cluster whose hosts come and go.
class RemovedHostTest : public PoolTest {
 protected:
  void SetUp() override {
    begin(discovered());
    cluster->update_hosts(listed({{1, 1}}));
    local->refresh();
  }
  // A request to the first host that has been sent.
  void ask(Client& client) {
    ASSERT_EQ(client.start(), HttpPool::Start::kPending);
    network->accept_connection(0);
    turn();
  }
};

TEST_F(RemovedHostTest, LosesItsIdleConnections) {
  Client client(pool());
  ask(client);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(network->open(), 1u);
  const std::weak_ptr<Host> gone = cluster->hosts()[0];
  cluster->update_hosts(listed({{2, 1}}));
  turn();
  EXPECT_EQ(network->open(), 1u) << "it does not know yet";
  local->refresh();
  advance(base::milliseconds(1));
  EXPECT_EQ(network->open(), 0u);
  for (int i = 0; i < 4; ++i) advance(base::milliseconds(200));
  EXPECT_TRUE(gone.expired());
  EXPECT_EQ(cluster->resources(ResourcePriority::kDefault).connection_pools.used(), 0u);
}

TEST_F(RemovedHostTest, AnswersWhatItWasAsked) {
  Client client(pool());
  ask(client);
  const std::weak_ptr<Host> gone = cluster->hosts()[0];
  cluster->update_hosts(listed({{2, 1}}));
  EXPECT_EQ(local->choose()->address().port(), 2);
  for (int i = 0; i < 10; ++i) advance(base::milliseconds(200));
  EXPECT_EQ(client.log, "");
  EXPECT_FALSE(gone.expired());
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_THAT(client.log, testing::HasSubstr("headers 200"));
  for (int i = 0; i < 4; ++i) advance(base::milliseconds(200));
  EXPECT_EQ(network->open(), 0u);
  EXPECT_TRUE(gone.expired());
}

TEST_F(RemovedHostTest, ConnectsForThoseWhoWaitedAlready) {
  Client client(pool());
  ASSERT_EQ(client.start(), HttpPool::Start::kPending);
  cluster->update_hosts(listed({{2, 1}}));
  local->refresh();
  advance(base::milliseconds(1));
  network->accept_connection(0);
  turn();
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_THAT(client.log, testing::HasSubstr("headers 200"));
  for (int i = 0; i < 4; ++i) advance(base::milliseconds(200));
  EXPECT_EQ(network->open(), 0u);
}

TEST_F(RemovedHostTest, ComesBackWithPoolsOfItsOwn) {
  HttpPool* before = &pool();
  cluster->update_hosts({});
  local->refresh();
  EXPECT_EQ(local->choose(), nullptr);
  cluster->update_hosts(listed({{1, 1}}));
  Host* back = local->choose();
  ASSERT_NE(back, nullptr);
  EXPECT_NE(local->http_pool(*back, ResourcePriority::kDefault), before);
}

}  // namespace
}  // namespace millrace::upstream
