#include "upstream/cluster.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <thread>

#include "unit/upstream/fixture.h"

namespace millrace::upstream {
namespace {

TEST(Resource, RefusesBeyondItsLimitAndOpensAgain) {
  Resource resource(2);
  EXPECT_EQ(resource.remaining(), 2u);
  EXPECT_TRUE(resource.try_acquire());
  EXPECT_FALSE(resource.open());
  EXPECT_TRUE(resource.try_acquire());
  EXPECT_TRUE(resource.open());
  EXPECT_FALSE(resource.try_acquire());
  EXPECT_EQ(resource.remaining(), 0u);
  resource.release();
  EXPECT_TRUE(resource.try_acquire());
}

TEST(Resource, UncheckedUseKeepsItOpenUntilReleased) {
  Resource resource(1);
  ASSERT_TRUE(resource.try_acquire());
  resource.acquire_unchecked();
  EXPECT_EQ(resource.remaining(), 0u);
  resource.release();
  EXPECT_FALSE(resource.try_acquire());
  resource.release();
  EXPECT_TRUE(resource.try_acquire());
}

TEST(Resource, HoldsItsLimitUnderThreads) {
  Resource resource(5);
  std::atomic<uint32_t> holders{0}, holders_max{0}, acquired{0}, refused{0};
  const auto work = [&] {
    for (int i = 0; i < 50000; ++i) {
      if (!resource.try_acquire()) { ++refused; continue; }
      const uint32_t now = ++holders;
      for (uint32_t seen = holders_max; seen < now && !holders_max.compare_exchange_weak(seen, now);) {
      }
      ++acquired;
      if (i % 64 == 0) std::this_thread::yield();
      --holders;
      resource.release();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(holders_max, 5u);
  EXPECT_EQ(resource.used(), 0u);
  EXPECT_EQ(acquired + refused, 400000u);
}

TEST(Resources, ARetryBudgetFollowsLiveRequests) {
  Thresholds thresholds;
  thresholds.retry_budget = RetryBudget{.budget_percent = 20, .min_retry_concurrency = 3};
  Resources resources(thresholds);
  EXPECT_EQ(resources.max_retries(), 3u);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(resources.requests.try_acquire());
  EXPECT_EQ(resources.max_retries(), 10u);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(resources.try_acquire_retry());
  EXPECT_FALSE(resources.try_acquire_retry());
  EXPECT_TRUE(resources.retries_open());
}

TEST(Cluster, DefaultsToEnvoysBreakers) {
  TestCluster cluster(cluster_options({1}));
  for (ResourcePriority priority : {ResourcePriority::kDefault, ResourcePriority::kHigh}) {
    EXPECT_EQ(cluster.resources(priority).connections.max(), 1024u);
    EXPECT_EQ(cluster.resources(priority).pending_requests.max(), 1024u);
    EXPECT_EQ(cluster.resources(priority).requests.max(), 1024u);
    EXPECT_EQ(cluster.resources(priority).retries.max(), 3u);
  }
}

TEST(Cluster, KeepsPrioritiesApart) {
  ClusterOptions options = cluster_options({1});
  options.circuit_breakers.thresholds[1].max_requests = 1;
  TestCluster cluster(std::move(options));
  EXPECT_TRUE(cluster.resources(ResourcePriority::kHigh).requests.try_acquire());
  EXPECT_FALSE(cluster.resources(ResourcePriority::kHigh).requests.try_acquire());
  EXPECT_TRUE(cluster.resources(ResourcePriority::kDefault).requests.try_acquire());
}

TEST(Cluster, OrdersHostsByPriority) {
  ClusterOptions options;
  options.name = "c";
  for (uint32_t priority : {1u, 0u, 1u}) {
    LocalityEndpoints& l = options.endpoints.emplace_back();
    l.priority = priority;
    l.locality.zone = priority == 0 ? "a" : "b";
    l.endpoints.push_back(endpoint(static_cast<uint16_t>(options.endpoints.size())));
  }
  TestCluster cluster(std::move(options));
  ASSERT_EQ(cluster.hosts().size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster.hosts()[i]->priority(), i == 0 ? 0u : 1u);
  EXPECT_EQ(cluster.hosts()[0]->address().port(), 2);
  EXPECT_EQ(cluster.hosts()[1]->address().port(), 1);
  EXPECT_EQ(&cluster.hosts()[1]->locality(), &cluster.hosts()[2]->locality());
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(cluster.hosts()[i]->index(), i);
}

TEST(Host, TellsHealthFromItsFlags) {
  TestCluster cluster(cluster_options({1}));
  Host& host = *cluster.hosts()[0];
  EXPECT_EQ(host.health_flags_string(), "healthy");
  const uint64_t version = cluster.host_set().version();
  host.set(HealthFlag::kDegradedActiveHc);
  EXPECT_EQ(host.health(), Health::kDegraded);
  host.set(HealthFlag::kFailedOutlierCheck);
  EXPECT_EQ(host.health(), Health::kUnhealthy);
  EXPECT_EQ(host.health_flags_string(), "/failed_outlier_check/degraded_active_hc");
  EXPECT_EQ(cluster.host_set().version(), version + 2);
  host.set(HealthFlag::kFailedOutlierCheck);
  EXPECT_EQ(cluster.host_set().version(), version + 2);
}

TEST(Cluster, SumsHostCountersOverTheWorkers) {
  TestCluster cluster(cluster_options({1, 1}));
  std::vector<std::thread> workers;
  for (uint16_t worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&cluster, worker] {
      for (int i = 0; i < 1000; ++i) cluster.hosts()[1]->counters(worker).rq_total.add();
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(Cluster::totals(*cluster.hosts()[1]).rq_total, 4000u);
  EXPECT_EQ(Cluster::totals(*cluster.hosts()[0]).rq_total, 0u);
}

// Sanitizers bring an allocator of their own, which mallinfo2() does not see.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ClusterSet, CostsAtMostTwoKilobytesForAClusterWithOneEndpoint) {
  constexpr size_t kClusters = 1000;
  const size_t before = mallinfo2().uordblks;
  stats::Store store(2);
  std::vector<std::shared_ptr<Cluster>> clusters;
  for (size_t i = 0; i < kClusters; ++i) {
    ClusterOptions options = cluster_options({1});
    options.name = "a-cluster-with-a-rather-long-name-" + std::to_string(i);
    options.endpoints[0].endpoints[0].hostname = "host.of.the.only.endpoint.example";
    clusters.push_back(std::make_shared<Cluster>(std::move(options), store));
    clusters.back()->publish_gauges();
  }
  const ClusterSet set(std::move(clusters));
  const size_t after = mallinfo2().uordblks;
  ASSERT_GT(after, before);
  EXPECT_LE((after - before) / kClusters, 2048u);
  EXPECT_LE(set.at(0).memory_bytes(), (after - before) / kClusters);
  RecordProperty("bytes", static_cast<int>((after - before) / kClusters));
}
#endif

TEST(ClusterSet, FindsEveryClusterByNameAndIndex) {
  stats::Store store(2);
  std::vector<std::shared_ptr<Cluster>> clusters;
  for (int i = 0; i < 10000; ++i) {
    ClusterOptions options = cluster_options({1});
    options.name = "cluster-" + std::to_string(i);
    clusters.push_back(std::make_shared<Cluster>(std::move(options), store));
  }
  const ClusterSet set(std::move(clusters));
  for (int i = 0; i < 10000; ++i) {
    Cluster* cluster = set.find("cluster-" + std::to_string(i));
    ASSERT_NE(cluster, nullptr);
    ASSERT_EQ(&set.at(cluster->index()), cluster);
  }
  EXPECT_EQ(set.find("cluster-10000"), nullptr);
  EXPECT_EQ(ClusterSet({}).find("x"), nullptr);
}

}  // namespace
}  // namespace millrace::upstream
