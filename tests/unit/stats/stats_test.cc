#include "stats/stats.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "stats/response_counters.h"
#include "stats/schema_cluster.h"

namespace millrace::stats {
namespace {

#define MILLRACE_TEST_STATS(X)                         \
  X(kTotal, "total", kCounter, kNone)                  \
  X(kActive, "active", kGauge, kNone)                  \
  X(kLength, "length_ms", kHistogram, kMilliseconds)   \
  X(kStatus, "upstream_rq_{code}", kCodes, kNone)      \
  X(kVersion, "version", kTextReadout, kNone)
namespace sample {
MILLRACE_STAT_SCHEMA("sample", MILLRACE_TEST_STATS)
}

BlockName cluster_name(const std::string& name) {
  return {"cluster." + name + ".", "cluster.", {{"envoy.cluster_name", name}}};
}

TEST(Stats, SumsTheShardsOfEveryKind) {
  Store store(2);
  const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name("foo"));
  block->main_shard().inc(sample::kTotal);
  block->worker(0).inc(sample::kTotal, 5);
  block->worker(1).inc(sample::kTotal, 7);
  EXPECT_EQ(block->counter(sample::kTotal), 13u);
  block->worker(0).gauge_add(sample::kActive, 3);
  block->worker(1).gauge_sub(sample::kActive, 1);
  EXPECT_EQ(block->gauge(sample::kActive), 2);
  block->worker(0).inc_code(sample::kStatus, 200);
  block->worker(1).inc_code(sample::kStatus, 200);
  block->worker(1).inc_code(sample::kStatus, 404);
  EXPECT_EQ(block->code(sample::kStatus, 200), 2u);
  EXPECT_EQ(block->codes(sample::kStatus), (std::vector<StatBlock::CodeCount>{{200, 2}, {404, 1}}));
  block->set_text(sample::kVersion, "v1");
  EXPECT_EQ(block->text(sample::kVersion), "v1");
}

TEST(Stats, AGaugeSetToZeroIsUsed) {
  Store store(1);
  const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name("foo"));
  EXPECT_FALSE(block->used(sample::kActive));
  block->main_shard().gauge_set(sample::kActive, -4);
  EXPECT_EQ(block->gauge(sample::kActive), -4);
  block->main_shard().gauge_set(sample::kActive, 0);
  EXPECT_TRUE(block->used(sample::kActive));
  EXPECT_FALSE(block->used(sample::kTotal));
  EXPECT_FALSE(block->used(sample::kLength));
}

TEST(Stats, ResponsesCountByClassAndByStatus) {
  constexpr ResponseCounters kCounters = MILLRACE_RESPONSE_COUNTERS(cluster::kUpstreamRq);
  Store store(1);
  const StatBlockPtr block = store.add_block(cluster::kSchema, cluster_name("foo"));
  StatShard shard = block->main_shard();
  for (unsigned status : {100u, 204u, 301u, 404u, 599u}) count_response(shard, kCounters, status);
  for (uint16_t index : kCounters.by_class) EXPECT_EQ(block->counter(index), 1u) << cluster::kStats[index].name;
  for (unsigned status : {0u, 99u, 600u}) count_response(shard, kCounters, cluster::kUpstreamRqCodes, status);
  EXPECT_EQ(block->counter(cluster::kUpstreamRqCompleted), 8u);
  for (uint16_t index : kCounters.by_class) EXPECT_EQ(block->counter(index), 1u) << cluster::kStats[index].name;
  count_response(shard, kCounters, cluster::kUpstreamRqCodes, 404);
  EXPECT_EQ(block->code(cluster::kUpstreamRqCodes, 404), 1u);
}

TEST(Stats, ADefaultShardSwallowsWhatItIsGiven) {
  StatShard shard;
  shard.inc(sample::kTotal);
  shard.gauge_set(sample::kActive, 1);
  shard.record(sample::kLength, 3);
  shard.inc_code(sample::kStatus, 200);
  Store store(1);
  EXPECT_EQ(store.add_block(sample::kSchema, cluster_name("foo"))->counter(sample::kTotal), 0u);
}

TEST(Stats, TheSameNameIsTheSameBlockWhileOneOwnerLives) {
  Store store(1);
  StatBlockPtr first = store.add_block(sample::kSchema, cluster_name("foo"));
  first->main_shard().inc(sample::kTotal);
  StatBlockPtr second = store.add_block(sample::kSchema, cluster_name("foo"));
  EXPECT_EQ(first.get(), second.get());
  first.reset();
  EXPECT_EQ(second->counter(sample::kTotal), 1u);
  EXPECT_EQ(store.block_count(), 1u);
  second.reset();
  EXPECT_EQ(store.block_count(), 0u);
  EXPECT_EQ(store.add_block(sample::kSchema, cluster_name("foo"))->counter(sample::kTotal), 0u);
}

TEST(Stats, KeepsNamesAndTags) {
  Store store(1);
  const StatBlockPtr block = store.add_block(sample::kSchema, {"a.b.", "a.", {{"n", "b"}, {"empty", ""}}});
  EXPECT_EQ(block->prefix(), "a.b.");
  EXPECT_EQ(block->tag_extracted_prefix(), "a.");
  EXPECT_EQ(block->tags(), (std::vector<Tag>{{"n", "b"}, {"empty", ""}}));
}

TEST(Stats, ABlockMayOutliveItsStore) {
  StatBlockPtr block;
  {
    Store store(1);
    block = store.add_block(sample::kSchema, cluster_name("foo"));
  }
  block->main_shard().inc(sample::kTotal);
  EXPECT_EQ(block->counter(sample::kTotal), 1u);
}

TEST(Stats, ResetsCountersAndCodesButNotGaugesOrHistograms) {
  Store store(1);
  const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name("foo"));
  StatShard shard = block->worker(0);
  shard.inc(sample::kTotal, 4);
  shard.gauge_set(sample::kActive, 4);
  shard.record(sample::kLength, 4);
  shard.inc_code(sample::kStatus, 503, 4);
  store.reset_counters();
  EXPECT_EQ(block->counter(sample::kTotal), 0u);
  EXPECT_EQ(block->code(sample::kStatus, 503), 0u);
  EXPECT_EQ(block->gauge(sample::kActive), 4);
  EXPECT_EQ(block->histogram(sample::kLength).count(), 1u);
  EXPECT_TRUE(block->used(sample::kTotal));
  shard.inc(sample::kTotal);
  shard.inc_code(sample::kStatus, 503);
  EXPECT_EQ(block->counter(sample::kTotal), 1u);
  EXPECT_EQ(block->code(sample::kStatus, 503), 1u);
}

TEST(Stats, AnIntervalHoldsWhatWasRecordedBetweenTwoFlushes) {
  Store store(1);
  const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name("foo"));
  const StatBlockPtr other = store.add_block(sample::kSchema, cluster_name("bar"));
  block->worker(0).record(sample::kLength, 10);
  EXPECT_TRUE(block->histogram_interval(sample::kLength).empty());
  EXPECT_TRUE(store.flush_step(1));
  EXPECT_FALSE(store.flush_step(1));
  EXPECT_EQ(block->histogram_interval(sample::kLength).count(), 1u);
  block->worker(0).record(sample::kLength, 20);
  block->main_shard().record(sample::kLength, 20);
  store.flush();
  EXPECT_EQ(block->histogram_interval(sample::kLength).count(), 2u);
  EXPECT_EQ(block->histogram_interval(sample::kLength).sum(), 40u);
  EXPECT_EQ(block->histogram(sample::kLength).count(), 3u);
  store.flush();
  EXPECT_TRUE(block->histogram_interval(sample::kLength).empty());
}

TEST(Stats, LosesNothingWhileWorkersWriteAndOthersScrape) {
  constexpr uint16_t kWorkers = 3;
  constexpr uint64_t kRounds = 20'000;
  Store store(kWorkers);
  const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name("foo"));
  std::atomic<bool> done = false;
  std::thread scraper([&] {
    uint64_t last = 0;
    while (!done.load()) {
      for (const StatBlockPtr& b : store.blocks()) {
        const uint64_t now = b->counter(sample::kTotal);
        EXPECT_GE(now, last);
        last = now;
        EXPECT_LE(b->histogram(sample::kLength).count(), kWorkers * kRounds);
        EXPECT_GE(b->codes(sample::kStatus).size(), 0u);
        EXPECT_GT(b->memory_bytes(), 0u);
      }
      store.flush();
    }
  });
  std::vector<std::thread> workers;
  for (uint16_t w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&, w] {
      const StatBlockPtr mine = store.add_block(sample::kSchema, cluster_name("foo"));
      StatShard shard = mine->worker(w);
      for (uint64_t i = 0; i < kRounds; ++i) {
        shard.inc(sample::kTotal);
        shard.gauge_add(sample::kActive);
        shard.record(sample::kLength, i);
        shard.inc_code(sample::kStatus, static_cast<uint16_t>(100 + i % 500));
        shard.gauge_sub(sample::kActive);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  done = true;
  scraper.join();
  EXPECT_EQ(block->counter(sample::kTotal), kWorkers * kRounds);
  EXPECT_EQ(block->gauge(sample::kActive), 0);
  EXPECT_EQ(block->histogram(sample::kLength).count(), kWorkers * kRounds);
  EXPECT_EQ(block->histogram(sample::kLength).sum(), kWorkers * (kRounds * (kRounds - 1) / 2));
  EXPECT_EQ(block->codes(sample::kStatus).size(), 500u);
  EXPECT_EQ(block->code(sample::kStatus, 404), kWorkers * kRounds / 500);
}

TEST(Stats, BlocksMayComeAndGoOnManyThreadsUnderAScrape) {
  constexpr uint16_t kWorkers = 3;
  Store store(kWorkers);
  std::atomic<bool> done = false;
  std::thread scraper([&] {
    while (!done.load()) {
      for (const StatBlockPtr& block : store.blocks()) EXPECT_EQ(block->tag_extracted_prefix(), "cluster.");
      store.flush();
      store.reset_counters();
    }
  });
  std::vector<std::thread> workers;
  for (uint16_t w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&store, w] {
      for (int i = 0; i < 2000; ++i) {
        const StatBlockPtr block = store.add_block(sample::kSchema, cluster_name(std::to_string(i % 3)));
        block->worker(w).inc(sample::kTotal);
        block->worker(w).record(sample::kLength, 1);
        block->worker(w).inc_code(sample::kStatus, 200);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  done = true;
  scraper.join();
  EXPECT_EQ(store.block_count(), 0u);
}

}  // namespace
}  // namespace millrace::stats
