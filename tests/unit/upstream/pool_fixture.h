// A worker with one cluster over a fake network, and requests that record what they are told.
#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "stats/schema_cluster.h"
#include "unit/upstream/fake_network.h"
#include "unit/upstream/fixture.h"
#include "upstream/http_pool.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

class PoolTest : public testing::Test {
 protected:
  // Call once, with one host unless the options say otherwise.
  void begin(ClusterOptions options = cluster_options({1})) {
    auto backend = std::make_unique<FakeNetwork>();
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
    cluster = std::make_unique<TestCluster>(std::move(options));
    local = std::make_unique<ThreadLocalCluster>(*cluster, *loop, 0);
  }
  void TearDown() override {
    if (local == nullptr) return;
    local->close();
    turn();
    EXPECT_EQ(network->open(), 0u) << "a socket was left open";
    EXPECT_EQ(host().cx_active(), 0u);
    EXPECT_EQ(host().load(), 0u);
    for (ResourcePriority priority : {ResourcePriority::kDefault, ResourcePriority::kHigh}) {
      const Resources& resources = cluster->resources(priority);
      EXPECT_EQ(resources.connections.used(), 0u);
      EXPECT_EQ(resources.pending_requests.used(), 0u);
      EXPECT_EQ(resources.requests.used(), 0u);
    }
    EXPECT_EQ(gauge(stat::kUpstreamCxActive), 0);
    EXPECT_EQ(gauge(stat::kUpstreamRqActive), 0);
    EXPECT_EQ(gauge(stat::kUpstreamRqPendingActive), 0);
    local.reset();
    loop.reset();
  }
  void turn(int times = 4) {
    for (int i = 0; i < times; ++i) loop->turn(base::nanoseconds(0));
  }
  void advance(base::milliseconds by) {
    network->advance(by);
    turn();
  }
  Host& host(size_t i = 0) { return *cluster->hosts()[i]; }
  HttpPool& pool(ResourcePriority priority = ResourcePriority::kDefault) {
    return *local->http_pool(host(), priority);
  }
  uint64_t counter(uint16_t index) { return cluster->stats().counter(index); }
  int64_t gauge(uint16_t index) { return cluster->stats().gauge(index); }

  FakeNetwork* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<TestCluster> cluster;
  std::unique_ptr<ThreadLocalCluster> local;
};

// A GET, unless told otherwise, that is sent as soon as there is a connection.
struct Client final : UpstreamHandler {
  explicit Client(HttpPool& p) : pool(p) {
    request_headers.add(http::Header::kMethod, "GET");
    request_headers.add(http::Header::kPath, "/");
    request_headers.add(http::Header::kAuthority, "test");
  }
  HttpPool::Start start() {
    const HttpPool::Start result = pool.start(request);
    if (result == HttpPool::Start::kReady) send();
    return result;
  }
  void send() { EXPECT_TRUE(request.send_headers(request_headers, headers_only)); }

  void on_pool_ready(UpstreamRequest&) override { pool_ready ? pool_ready() : send(); }
  void on_informational(UpstreamRequest& r) override {
    log += "info " + std::string(r.response_headers().get(http::Header::kStatus)) + ";";
  }
  void on_headers(UpstreamRequest& r, bool end) override {
    log += "headers " + std::string(r.response_headers().get(http::Header::kStatus)) + (end ? " end;" : ";");
    if (when_headers) when_headers();
    if (end && when_done) when_done();
  }
  void on_data(UpstreamRequest&, base::Buffer& data, bool end) override {
    body += data.to_string();
    log += "data " + data.to_string() + (end ? " end;" : ";");
    data.clear();
    if (end && when_done) when_done();
  }
  void on_trailers(UpstreamRequest&) override { log += "trailers;"; }
  void on_reset(UpstreamRequest&, const Reset& r) override {
    log += "reset " + std::string(name(r.reason)) + (r.stale_connection ? " stale;" : ";");
    if (when_reset) when_reset();
  }
  void on_above_high_watermark(UpstreamRequest&) override { log += "above;"; }
  void on_below_low_watermark(UpstreamRequest&) override { log += "below;"; }

  HttpPool& pool;
  http::HeaderMap request_headers, headers, trailers;
  UpstreamRequest request{*this, headers, trailers};
  bool headers_only = true;
  std::string log;   // every call
  std::string body;  // of the response
  std::function<void()> pool_ready, when_headers, when_done, when_reset;
};

inline constexpr const char* kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

}  // namespace millrace::upstream
