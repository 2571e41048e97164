#include <gtest/gtest.h>
#include <malloc.h>

#include <set>
#include <string>

#include "stats/names.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"
#include "stats/schema_listener.h"
#include "stats/schema_server.h"
#include "stats/schema_tcp.h"
#include "stats/schema_tls.h"
#include "stats/stats.h"

namespace millrace::stats {
namespace {

constexpr const Schema* kSchemas[] = {
    &cluster::kSchema,        &health_check::kSchema,    &outlier::kSchema,     &cluster_manager::kSchema,
    &http::kSchema,           &listener_http::kSchema,   &http1_codec::kSchema, &http2_codec::kSchema,
    &grpc::kSchema,           &virtual_cluster::kSchema,
    &listener::kSchema,       &listener_worker::kSchema, &listener_manager::kSchema,
    &server::kSchema,         &filesystem::kSchema,      &grpc_access_log::kSchema, &tcp::kSchema,
    &tls::kSchema};

TEST(Schemas, NameEachStatisticOnce) {
  for (const Schema* schema : kSchemas) {
    std::set<std::string_view> names;
    for (const StatDescriptor& stat : schema->stats) {
      EXPECT_TRUE(names.insert(stat.name).second) << schema->name << ": " << stat.name;
      EXPECT_EQ(stat.kind == Kind::kCodes, stat.name.ends_with("{code}")) << stat.name;
      // Ciphers, versions, curves and signature algorithms are named as TLS names them.
      if (schema == &tls::kSchema && stat.name.find('.') != std::string_view::npos) continue;
      EXPECT_EQ(stat.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.{}"), std::string_view::npos);
    }
  }
}

TEST(Schemas, IndexTheirDescriptors) {
  EXPECT_EQ(cluster::kSchema.stats[cluster::kUpstreamCxConnectTimeout].name, "upstream_cx_connect_timeout");
  EXPECT_EQ(cluster::kSchema.stats[cluster::kUpstreamRqTime].kind, Kind::kHistogram);
  EXPECT_EQ(cluster::kSchema.stats[cluster::kUpstreamRqTime].unit, Unit::kMilliseconds);
  EXPECT_EQ(cluster::kSchema.stats[cluster::kMembershipTotal].kind, Kind::kGaugeNeverImport);
  EXPECT_EQ(http::kSchema.stats[http::kDownstreamRq2xx].name, "downstream_rq_2xx");
  EXPECT_EQ(server::kSchema.stats[server::kLive].name, "live");
}

TEST(Schemas, KeepWhatARequestTouchesInTheFirstTwoChunks) {
  for (uint16_t hot : {cluster::kUpstreamRqTotal, cluster::kUpstreamRqCodes, cluster::kUpstreamRqTime,
                       cluster::kUpstreamCxTxBytesTotal, cluster::kUpstreamCxDestroy, cluster::kUpstreamRq5xx})
    EXPECT_LT(hot, 2 * kCellsPerChunk);
  EXPECT_EQ(cluster::kMembershipTotal / kCellsPerChunk, cluster::kVersion / kCellsPerChunk);
}

// What a request, a connection and a membership update write.
void use(StatBlock& block, uint16_t workers) {
  for (uint16_t w = 0; w < workers; ++w) {
    StatShard s = block.worker(w);
    for (uint16_t i : {cluster::kUpstreamRqTotal, cluster::kUpstreamRqCompleted, cluster::kUpstreamRq2xx,
                       cluster::kUpstreamCxTotal, cluster::kUpstreamCxHttp1Total, cluster::kUpstreamCxRxBytesTotal,
                       cluster::kUpstreamCxTxBytesTotal, cluster::kUpstreamRqPendingTotal, cluster::kUpstreamCxDestroy})
      s.inc(i);
    s.gauge_add(cluster::kUpstreamCxActive);
    s.gauge_add(cluster::kUpstreamRqActive);
    s.inc_code(cluster::kUpstreamRqCodes, 200);
    s.inc_code(cluster::kUpstreamRqCodes, 503);
    for (uint64_t ms : {1, 2, 3}) s.record(cluster::kUpstreamRqTime, ms);
    s.record(cluster::kUpstreamCxConnectMs, 1);
  }
  block.main_shard().gauge_set(cluster::kMembershipTotal, 3);
  block.main_shard().gauge_set(cluster::kMembershipHealthy, 3);
  block.main_shard().inc(cluster::kUpdateSuccess);
}

TEST(Memory, OfAClusterUsedByTwoWorkersStaysBelowTwoAndAHalfKibibytes) {
  constexpr size_t kClusters = 10'000;
  constexpr size_t kLimit = 2560;
  const size_t heap_before = mallinfo2().uordblks;
  Store store(2);
  std::vector<StatBlockPtr> blocks;
  blocks.reserve(kClusters);
  for (size_t i = 0; i < kClusters; ++i) {
    blocks.push_back(store.add_block(cluster::kSchema, cluster_name("outbound|8080||service-" + std::to_string(i))));
    use(*blocks.back(), 2);
  }
  store.flush();
  const size_t heap_after = mallinfo2().uordblks;
  const size_t each = store.memory_bytes() / kClusters;
  RecordProperty("bytes_per_cluster", static_cast<int>(each));
  EXPECT_LT(each, kLimit);
  EXPECT_GT(each, sizeof(StatBlock));
  if (heap_before != 0) {  // sanitizers bring an allocator that does not count
    const size_t heap_each = (heap_after - heap_before) / kClusters;
    RecordProperty("heap_bytes_per_cluster", static_cast<int>(heap_each));
    EXPECT_LT(heap_each, kLimit);
  }
}

TEST(Memory, OfAnUnusedClusterIsItsNameAndLittleElse) {
  Store store(64);
  const StatBlockPtr block = store.add_block(cluster::kSchema, cluster_name("foo"));
  for (uint16_t w = 0; w < 64; ++w) static_cast<void>(block->worker(w));
  EXPECT_LT(block->memory_bytes(), 1024u);
}

TEST(Names, FollowEnvoysTagExtraction) {
  const BlockName cluster = cluster_name("outbound:80");
  EXPECT_EQ(cluster.prefix, "cluster.outbound_80.");
  EXPECT_EQ(cluster.tag_extracted_prefix, "cluster.");
  EXPECT_EQ(cluster.tags, (std::vector<Tag>{{"envoy.cluster_name", "outbound_80"}}));

  const BlockName worker = listener_worker_name("127.0.0.1:10000", 3);
  EXPECT_EQ(worker.prefix, "listener.127.0.0.1_10000.worker_3.");
  EXPECT_EQ(worker.tag_extracted_prefix, "listener.worker_");
  EXPECT_EQ(worker.tags, (std::vector<Tag>{{"envoy.worker_id", "3"}, {"envoy.listener_address", "127.0.0.1_10000"}}));

  const BlockName http = listener_http_name("[::1]:80", "ingress_http");
  EXPECT_EQ(http.prefix, "listener.[__1]_80.http.ingress_http.");
  EXPECT_EQ(http.tag_extracted_prefix, "listener.http.");
  EXPECT_EQ(http.tags.front(), (Tag{"envoy.http_conn_manager_prefix", "ingress_http"}));

  EXPECT_EQ(listener_name("[::1]:80", "ssl").prefix, "listener.[__1]_80.ssl.");
  EXPECT_EQ(listener_name("[::1]:80", "ssl").tag_extracted_prefix, "listener.ssl.");
  EXPECT_EQ(listener_name("admin").prefix, "listener.admin.");
  EXPECT_TRUE(listener_name("admin").tags.empty());
  EXPECT_EQ(cluster_name("foo", "health_check").tag_extracted_prefix, "cluster.health_check.");
  EXPECT_EQ(virtual_cluster_name("h", "c").prefix, "vhost.h.vcluster.c.");
  EXPECT_EQ(rds_name("ingress", "local").prefix, "http.ingress.rds.local.");
  EXPECT_EQ(sanitized("http://a:/b::c."), "http_a_b__c");
}

}  // namespace
}  // namespace millrace::stats
