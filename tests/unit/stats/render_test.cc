#include "stats/render.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "stats/names.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"
#include "stats/schema_server.h"

namespace millrace::stats {
namespace {

std::string all_of(std::unique_ptr<Renderer> renderer, size_t budget = 1 << 20) {
  base::Buffer out;
  while (renderer->next(out, budget)) {
  }
  return out.to_string();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

void expect_begins(const std::string& text, const std::string& expected) {
  EXPECT_EQ(text.substr(0, expected.size()), expected);
}

#define MILLRACE_SMALL_STATS(X)                       \
  X(kZebra, "zebra", kCounter, kNone)                 \
  X(kCodes, "upstream_rq_{code}", kCodes, kNone)      \
  X(kRq2xx, "upstream_rq_2xx", kCounter, kNone)       \
  X(kActive, "active", kGauge, kNone)                 \
  X(kTime, "time_ms", kHistogram, kMilliseconds)      \
  X(kRare, "rare", kCounter, kNone, kOnceUsed)        \
  X(kVersion, "version_text", kTextReadout, kNone)
namespace small {
MILLRACE_STAT_SCHEMA("small", MILLRACE_SMALL_STATS)
}

struct Fixture : ::testing::Test {
  Fixture() {
    StatShard shard = foo->worker(0);
    shard.inc(small::kZebra, 3);
    shard.inc(small::kRq2xx, 2);
    shard.inc_code(small::kCodes, 200);
    shard.inc_code(small::kCodes, 404);
    shard.record(small::kTime, 1);
    foo->main_shard().gauge_set(small::kActive, 7);
    foo->set_text(small::kVersion, "a\"b");
  }
  Store store{1};
  StatBlockPtr foo = store.add_block(small::kSchema, cluster_name("foo"));
  StatBlockPtr bar = store.add_block(small::kSchema, cluster_name("bar"));
};
using Render = Fixture;

TEST_F(Render, TextComesInEnvoysOrder) {
  store.flush();
  foo->worker(0).record(small::kTime, 1);
  EXPECT_EQ(all_of(render_text(store, {})),
            "cluster.bar.version_text: \"\"\n"
            "cluster.foo.version_text: \"a\"b\"\n"
            "cluster.bar.active: 0\n"
            "cluster.bar.upstream_rq_2xx: 0\n"
            "cluster.bar.zebra: 0\n"
            "cluster.foo.active: 7\n"
            "cluster.foo.upstream_rq_200: 1\n"
            "cluster.foo.upstream_rq_2xx: 2\n"
            "cluster.foo.upstream_rq_404: 1\n"
            "cluster.foo.zebra: 3\n"
            "cluster.bar.time_ms: No recorded values\n"
            "cluster.foo.time_ms: P0(1,1) P25(1.025,1.025) P50(1.05,1.05) P75(1.075,1.075) P90(1.09,1.09) "
            "P95(1.095,1.095) P99(1.099,1.099) P99.5(1.0995,1.0995) P99.9(1.0999,1.0999) P100(1.1,1.1)\n");
}

TEST_F(Render, AnIntervalWithoutValuesIsNan) {
  RenderOptions options;
  options.type = RenderOptions::Type::kHistograms;
  options.used_only = true;
  expect_begins(all_of(render_text(store, options)), "cluster.foo.time_ms: P0(nan,1) P25(nan,1.025) P50");
}

TEST_F(Render, UsedOnlyLeavesOutWhatWasNeverWritten) {
  RenderOptions options;
  options.used_only = true;
  options.type = RenderOptions::Type::kCounters;
  EXPECT_EQ(all_of(render_text(store, options)),
            "cluster.foo.upstream_rq_200: 1\ncluster.foo.upstream_rq_2xx: 2\ncluster.foo.upstream_rq_404: 1\n"
            "cluster.foo.zebra: 3\n");
  foo->worker(0).inc(small::kRare);
  EXPECT_NE(all_of(render_text(store, {})).find("cluster.foo.rare: 1\n"), std::string::npos);
}

TEST_F(Render, FilterSeesWholeNames) {
  RenderOptions options;
  options.filter = [](std::string_view name) { return name == "cluster.foo.upstream_rq_404"; };
  EXPECT_EQ(all_of(render_text(store, options)), "cluster.foo.upstream_rq_404: 1\n");
  EXPECT_EQ(all_of(render_prometheus(store, options)),
            "# TYPE envoy_cluster_upstream_rq counter\n"
            "envoy_cluster_upstream_rq{envoy_response_code=\"404\",envoy_cluster_name=\"foo\"} 1\n\n");
}

TEST_F(Render, ShowsBucketsOnDemand) {
  RenderOptions options;
  options.type = RenderOptions::Type::kHistograms;
  options.used_only = true;
  foo->worker(0).record(small::kTime, 4);
  options.buckets = RenderOptions::Buckets::kCumulative;
  expect_begins(all_of(render_text(store, options)),
                "cluster.foo.time_ms: B0.5(0,0) B1(0,1) B5(0,2) B10(0,2) B25(0");
  options.buckets = RenderOptions::Buckets::kDisjoint;
  expect_begins(all_of(render_text(store, options)),
                "cluster.foo.time_ms: B0.5(0,0) B1(0,1) B5(0,1) B10(0,0) B25(0");
  options.buckets = RenderOptions::Buckets::kDetailed;
  expect_begins(all_of(render_text(store, options)),
                "cluster.foo.time_ms:\n  totals=1,0.1:1, 4,0.1:1\n  intervals=\n  summar");
}

TEST_F(Render, JsonHasStatsAndHistograms) {
  store.flush();
  RenderOptions options;
  options.filter = [](std::string_view name) { return name.starts_with("cluster.foo."); };
  const std::string json = all_of(render_json(store, options));
  EXPECT_TRUE(json.starts_with(R"({"stats":[{"name":"cluster.foo.version_text","value":"a\"b"},)"
                               R"({"name":"cluster.foo.active","value":7},)"))
      << json;
  const std::string histograms = json.substr(std::min(json.find(R"({"histograms")"), json.size()));
  expect_begins(histograms, R"({"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],)"
                            R"("computed_quantiles":[{"name":"cluster.foo.time_ms",)"
                            R"("values":[{"cumulative":1,"interval":1},)");
  EXPECT_TRUE(json.ends_with(R"({"cumulative":1.1,"interval":1.1}]}]}}]})")) << json;
}

TEST_F(Render, JsonOfNothingIsAnEmptyList) {
  RenderOptions options;
  options.filter = [](std::string_view) { return false; };
  EXPECT_EQ(all_of(render_json(store, options)), R"({"stats":[]})");
}

TEST_F(Render, PrometheusExtractsTags) {
  RenderOptions options;
  options.text_readouts = true;
  const std::string text = all_of(render_prometheus(store, options));
  for (const char* expected :
       {"# TYPE envoy_cluster_upstream_rq_xx counter\n"
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"bar\"} 0\n"
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"foo\"} 2\n\n",
        "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"foo\"} 1\n",
        "# TYPE envoy_cluster_active gauge\n", "envoy_cluster_active{envoy_cluster_name=\"foo\"} 7\n",
        "envoy_cluster_version_text{envoy_cluster_name=\"foo\",text_value=\"a\\\"b\"} 0\n",
        "# TYPE envoy_cluster_time_ms histogram\n",
        "envoy_cluster_time_ms_bucket{envoy_cluster_name=\"foo\",le=\"0.5\"} 0\n",
        "envoy_cluster_time_ms_bucket{envoy_cluster_name=\"foo\",le=\"1\"} 1\n",
        "envoy_cluster_time_ms_bucket{envoy_cluster_name=\"foo\",le=\"3600000\"} 1\n",
        "envoy_cluster_time_ms_bucket{envoy_cluster_name=\"foo\",le=\"+Inf\"} 1\n",
        "envoy_cluster_time_ms_sum{envoy_cluster_name=\"foo\"} 1\n",
        "envoy_cluster_time_ms_count{envoy_cluster_name=\"foo\"} 1\n"})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << "in\n" << text;
}

TEST_F(Render, PrometheusSummariesAreOfTheLastInterval) {
  store.flush();
  RenderOptions options;
  options.type = RenderOptions::Type::kHistograms;
  options.used_only = options.summaries = true;
  const std::string metric = "envoy_cluster_time_ms";
  const std::string labels = "{envoy_cluster_name=\"foo\"";
  std::string text = all_of(render_prometheus(store, options));
  expect_begins(text, "# TYPE " + metric + " summary\n" + metric + labels + ",quantile=\"0\"} 1\n" + metric + labels +
                          ",quantile=\"0.25\"} 1.02");
  EXPECT_NE(text.find(metric + labels + ",quantile=\"0.995\"} 1.09"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(metric + "_sum" + labels + "} 1\n" + metric + "_count" + labels + "} 1\n\n")) << text;
  store.flush();
  text = all_of(render_prometheus(store, options));
  EXPECT_NE(text.find(metric + labels + ",quantile=\"0.5\"} nan\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(metric + "_count" + labels + "} 0\n\n")) << text;
}

TEST(RenderPrometheus, WritesEmptyBracesAndFixedTags) {
  Store store(1);
  const StatBlockPtr block = store.add_block(server::kSchema, plain_name("server."));
  block->main_shard().gauge_set(server::kLive, 1);
  RenderOptions options;
  options.used_only = true;
  EXPECT_EQ(all_of(render_prometheus(store, options)), "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n\n");
  options.fixed_tags = {{"pod.name", "a\\b\n"}};
  EXPECT_EQ(all_of(render_prometheus(store, options)),
            "# TYPE envoy_server_live gauge\nenvoy_server_live{pod_name=\"a\\\\b\\n\"} 1\n\n");
}

// A checker of the exposition format: every sample follows the TYPE line of its metric, no metric and no sample comes
// twice, histograms' buckets never fall and end in their count.
void check_exposition(const std::string& text) {
  std::set<std::string> metrics;
  std::set<std::string> samples;
  std::map<std::string, uint64_t> infinite;  // labels without le
  std::string metric;
  std::string type;
  uint64_t last_bucket = 0;
  for (const std::string& line : lines_of(text)) {
    if (line.empty()) continue;
    if (line.starts_with("# TYPE ")) {
      std::istringstream words(line.substr(7));
      words >> metric >> type;
      ASSERT_TRUE(metrics.insert(metric).second) << line;
      infinite.clear();
      last_bucket = 0;
      continue;
    }
    const size_t brace = line.find('{');
    const size_t close = line.rfind("} ");
    ASSERT_NE(brace, std::string::npos) << line;
    ASSERT_NE(close, std::string::npos) << line;
    ASSERT_TRUE(samples.insert(line.substr(0, close)).second) << line;
    const std::string name = line.substr(0, brace);
    const uint64_t value = std::stoull(line.substr(close + 2));
    ASSERT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
              std::string::npos);
    if (type != "histogram") {
      ASSERT_EQ(name, metric);
    } else if (name == metric + "_bucket") {
      const size_t le = line.find("le=\"");
      const bool first = line.compare(le, 8, "le=\"0.5\"") == 0;
      ASSERT_TRUE(first || value >= last_bucket) << line;
      last_bucket = value;
      if (line.find("le=\"+Inf\"") != std::string::npos) infinite[line.substr(brace + 1, le - brace - 2)] = value;
    } else if (name == metric + "_count") {
      ASSERT_EQ(value, infinite.at(line.substr(brace + 1, close - brace - 1))) << line;
    } else {
      ASSERT_EQ(name, metric + "_sum");
    }
  }
}

TEST(RenderPrometheus, OutputOfManyBlocksParses) {
  Store store(1);
  std::vector<StatBlockPtr> blocks;
  for (int i = 0; i < 20; ++i) {
    const std::string name = "c" + std::to_string(i);
    blocks.push_back(store.add_block(cluster::kSchema, cluster_name(name)));
    blocks.back()->worker(0).inc_code(cluster::kUpstreamRqCodes, 200);
    blocks.back()->worker(0).inc_code(cluster::kRetryUpstreamRqCodes, 503);
    blocks.back()->worker(0).inc(cluster::kRetryUpstreamRq);
    for (uint64_t v = 0; v < 300; ++v) blocks.back()->worker(0).record(cluster::kUpstreamRqTime, v * v);
    blocks.push_back(store.add_block(http::kSchema, http_name(name)));
    blocks.push_back(store.add_block(listener_http::kSchema, listener_http_name("1.2.3.4:80" + name, "x")));
    blocks.push_back(store.add_block(http1_codec::kSchema, cluster_name(name, "http1")));
  }
  blocks.push_back(store.add_block(http1_codec::kSchema, plain_name("http1.")));
  check_exposition(all_of(render_prometheus(store, {})));
}

TEST(RenderSlices, AreBoundedAndAddUpToTheWhole) {
  Store store(1);
  std::vector<StatBlockPtr> blocks;
  for (int i = 0; i < 200; ++i) {
    blocks.push_back(store.add_block(cluster::kSchema, cluster_name("c" + std::to_string(i))));
    blocks.back()->worker(0).record(cluster::kUpstreamRqTime, 5);
  }
  const auto make = [&store](int kind) {
    return kind == 0 ? render_text(store, {}) : kind == 1 ? render_json(store, {}) : render_prometheus(store, {});
  };
  for (int kind = 0; kind < 3; ++kind) {
    const std::string whole = all_of(make(kind));
    const auto renderer = make(kind);
    base::Buffer out;
    size_t last = 0;
    for (bool more = true; more;) {
      more = renderer->next(out, 4096);
      EXPECT_LT(out.size() - last, 4096u + 16'384u);
      last = out.size();
    }
    EXPECT_EQ(out.to_string(), whole);
    EXPECT_GT(whole.size(), 500'000u);
  }
}

TEST(RenderSlices, AFilterThatMatchesNothingStillYields) {
  Store store(1);
  std::vector<StatBlockPtr> blocks;
  for (int i = 0; i < 1000; ++i)
    blocks.push_back(store.add_block(cluster::kSchema, cluster_name("c" + std::to_string(i))));
  RenderOptions options;
  options.filter = [](std::string_view) { return false; };
  base::Buffer out;
  EXPECT_TRUE(render_text(store, options)->next(out, 1 << 20));
  EXPECT_TRUE(render_prometheus(store, options)->next(out, 1 << 20));
}

TEST(RenderSlices, AScrapeKeepsItsBlocksAlive) {
  Store store(1);
  StatBlockPtr block = store.add_block(small::kSchema, cluster_name("gone"));
  block->main_shard().inc(small::kZebra);
  const auto renderer = render_text(store, {});
  block.reset();
  EXPECT_EQ(store.block_count(), 1u);
  base::Buffer out;
  while (renderer->next(out, 1)) {
  }
  EXPECT_NE(out.to_string().find("cluster.gone.zebra: 1\n"), std::string::npos);
}

}  // namespace
}  // namespace millrace::stats
