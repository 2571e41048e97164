#include "upstream/load_balancer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "unit/upstream/fixture.h"

namespace millrace::upstream {
namespace {

// Requests per host over two workers, each with its own balancer.
std::vector<double> shares(const Cluster& cluster, int picks_per_worker) {
  std::vector<double> counts(cluster.hosts().size());
  for (uint16_t worker = 0; worker < 2; ++worker) {
    base::Prng prng(100u + worker);
    LoadBalancer lb(cluster, worker, prng);
    for (int i = 0; i < picks_per_worker; ++i) ++counts[lb.choose()->index()];
  }
  for (double& count : counts) count /= 2.0 * picks_per_worker;
  return counts;
}

void expect_split(const Cluster& cluster, const std::vector<uint32_t>& weights, int picks_per_worker) {
  double sum = 0;
  for (uint32_t w : weights) sum += w;
  const std::vector<double> got = shares(cluster, picks_per_worker);
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(got[i], weights[i] / sum, 0.01) << "host " << i;
}

TEST(LoadBalancer, SplitsWithinOnePercentOfTheWeights) {
  for (const std::vector<uint32_t>& weights :
       {std::vector<uint32_t>{1, 1, 1}, {1, 2, 3}, {1, 1, 98}, {50, 30, 20}, {128, 1, 64}}) {
    for (LbPolicy policy : {LbPolicy::kRoundRobin, LbPolicy::kLeastRequest}) {
      TestCluster cluster(cluster_options(weights, policy));
      expect_split(cluster, weights, policy == LbPolicy::kRoundRobin ? 300 : 20000);
    }
    TestCluster cluster(cluster_options(weights, LbPolicy::kRandom));
    expect_split(cluster, weights, 50000);
  }
}

TEST(LoadBalancer, RoundRobinStartsElsewhereOnEveryWorker) {
  TestCluster cluster(cluster_options({1, 1, 1}));
  base::Prng prng(1);
  std::vector<bool> started(3);
  for (uint16_t worker = 0; worker < 3; ++worker) {
    LoadBalancer lb(cluster, worker, prng);
    started[lb.choose()->index()] = true;
  }
  EXPECT_EQ(started, std::vector<bool>(3, true));
}

TEST(LoadBalancer, WeightedRoundRobinInterleaves) {
  TestCluster cluster(cluster_options({3, 1}));
  base::Prng prng(5);
  LoadBalancer lb(cluster, 0, prng);
  int run = 0;
  for (int i = 0; i < 400; ++i) {
    run = lb.choose()->index() == 0 ? run + 1 : 0;
    ASSERT_LE(run, 3) << "pick " << i;
  }
}

TEST(LoadBalancer, LeastRequestAvoidsTheLoadedHostOfTwo) {
  TestCluster cluster(cluster_options({1, 1}, LbPolicy::kLeastRequest));
  cluster.hosts()[0]->add_active(5);
  base::Prng prng(5);
  LoadBalancer lb(cluster, 0, prng);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(lb.choose()->index(), 1u);
  cluster.hosts()[1]->add_pending(6);  // a queue is load, too
  for (int i = 0; i < 100; ++i) ASSERT_EQ(lb.choose()->index(), 0u);
}

TEST(LoadBalancer, LeastRequestNeverPicksTheBusiestOfMany) {
  for (bool full_scan : {false, true}) {
    ClusterOptions options = cluster_options(std::vector<uint32_t>(8, 1), LbPolicy::kLeastRequest);
    options.least_request.full_scan = full_scan;
    TestCluster cluster(std::move(options));
    cluster.hosts()[3]->add_active(1);
    base::Prng prng(9);
    LoadBalancer lb(cluster, 0, prng);
    std::vector<int> counts(8);
    for (int i = 0; i < 14000; ++i) ++counts[lb.choose()->index()];
    EXPECT_EQ(counts[3], 0);
    for (int i : {0, 1, 2, 4, 5, 6, 7}) EXPECT_NEAR(counts[i], 2000, 250) << i;
  }
}

TEST(LoadBalancer, LeastRequestWeighsLoadAgainstWeight) {
  ClusterOptions options = cluster_options({2, 1}, LbPolicy::kLeastRequest);
  TestCluster cluster(std::move(options));
  cluster.hosts()[0]->add_active(3);  // 2 / 4 against 1 / 1
  base::Prng prng(11);
  LoadBalancer lb(cluster, 0, prng);
  int first = 0;
  for (int i = 0; i < 3000; ++i) first += lb.choose()->index() == 0;
  EXPECT_NEAR(first, 1000, 10);
}

TEST(LoadBalancer, LeastRequestBalancesRequestsInFlight) {
  TestCluster cluster(cluster_options({1, 1, 1, 1}, LbPolicy::kLeastRequest));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  for (int i = 0; i < 4000; ++i) lb.choose()->add_active(1);
  for (const HostPtr& host : cluster.hosts()) EXPECT_NEAR(host->rq_active(), 1000, 5);
}

TEST(LoadBalancer, SkipsUnhealthyHostsAndSeesThemComeBack) {
  ClusterOptions options = cluster_options({1, 1, 1});
  options.endpoints[0].endpoints[1].health_status = HealthStatus::kUnhealthy;
  TestCluster cluster(std::move(options));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  for (int i = 0; i < 20; ++i) ASSERT_NE(lb.choose()->index(), 1u);
  cluster.hosts()[1]->clear(HealthFlag::kFailedEdsHealth);
  std::vector<int> counts(3);
  for (int i = 0; i < 30; ++i) ++counts[lb.choose()->index()];
  EXPECT_EQ(counts, (std::vector<int>{10, 10, 10}));
}

TEST(LoadBalancer, PanicsOverAllHostsUnlessTrafficIsToFail) {
  for (bool fail : {false, true}) {
    ClusterOptions options = cluster_options({1, 1, 1});
    options.common_lb.fail_traffic_on_panic = fail;
    for (int i : {0, 1}) options.endpoints[0].endpoints[i].health_status = HealthStatus::kUnhealthy;
    TestCluster cluster(std::move(options));
    base::Prng prng(3);
    LoadBalancer lb(cluster, 0, prng);
    bool panic = false;
    std::vector<int> counts(3);
    for (int i = 0; i < 30; ++i) {
      Host* host = lb.choose({}, &panic);
      ASSERT_EQ(host == nullptr, fail);
      EXPECT_TRUE(panic);
      if (host != nullptr) ++counts[host->index()];
    }
    if (!fail) { EXPECT_EQ(counts, (std::vector<int>{10, 10, 10})); }
  }
}

TEST(LoadBalancer, ChoosesNobodyWithoutHostsOrWithAllUnhealthyAndPanicOff) {
  base::Prng prng(3);
  TestCluster empty(cluster_options({}));
  EXPECT_EQ(LoadBalancer(empty, 0, prng).choose(), nullptr);
  ClusterOptions options = cluster_options({1});
  options.common_lb.healthy_panic_threshold_percent = 0;
  options.endpoints[0].endpoints[0].health_status = HealthStatus::kDraining;
  TestCluster down(std::move(options));
  EXPECT_EQ(LoadBalancer(down, 0, prng).choose(), nullptr);
}

TEST(LoadBalancer, SpillsToTheSecondPriority) {
  ClusterOptions options = cluster_options({1, 1, 1, 1});
  for (int i : {0, 1}) options.endpoints[0].endpoints[i].health_status = HealthStatus::kUnhealthy;
  LocalityEndpoints& second = options.endpoints.emplace_back();
  second.priority = 1;
  second.endpoints.push_back(endpoint(9));
  TestCluster cluster(std::move(options));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  int spilled = 0;
  for (int i = 0; i < 20000; ++i) spilled += lb.choose()->priority() == 1;
  EXPECT_NEAR(spilled, 6000, 250);  // half of P0 is healthy: it takes 70 %
}

TEST(LoadBalancer, ARetryAvoidsThePreviousHostWhileAttemptsLast) {
  TestCluster cluster(cluster_options({1, 1}));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  for (int i = 0; i < 50; ++i) {
    const Host* first = lb.choose();
    const Host* const previous[] = {first};
    lb.choose();  // somebody else's request: the turn comes to the first host again
    ASSERT_NE(lb.choose({.previous_hosts = previous}), first);
  }
  // Nobody else is left: the last choice stands.
  const Host* const all[] = {cluster.hosts()[0].get(), cluster.hosts()[1].get()};
  EXPECT_NE(lb.choose({.previous_hosts = all, .omit_canary_hosts = false, .host_selection_attempts = 5}), nullptr);
}

TEST(LoadBalancer, ARetryMayAvoidCanaries) {
  ClusterOptions options = cluster_options({1, 1});
  options.endpoints[0].endpoints[0].canary = true;
  TestCluster cluster(std::move(options));
  base::Prng prng(3);
  LoadBalancer lb(cluster, 0, prng);
  for (int i = 0; i < 50; ++i) ASSERT_FALSE(lb.choose({.previous_hosts = {}, .omit_canary_hosts = true})->canary());
}

}  // namespace
}  // namespace millrace::upstream
