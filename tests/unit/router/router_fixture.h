// Clusters of scripted upstreams behind a worker: what the HTTP router and the TCP proxy are tested with.
#pragma once
#include <deque>

#include "filter/hcm_worker.h"
#include "router/http_router.h"
#include "stats/schema_cluster.h"
#include "unit/filter/hcm_fixture.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::router {

namespace cs = stats::cluster;
namespace hs = stats::http;
using base::milliseconds;
using filter::TestListener;
using filter::TestSocket;

// A server of the test. It does what the test says and nothing else.
struct Upstream {
  explicit Upstream(int receive_buffer = 0) : listener(receive_buffer) {}
  void poll() {
    for (int fd; listener_open && (fd = listener.accept()) >= 0;) connections.emplace_back(fd);
    for (TestSocket& c : connections) if (reads) c.poll();
  }
  void stop_listening() {
    listener_open = false;
    listener.close();
  }
  TestListener listener;
  bool listener_open = true, reads = true;
  std::deque<TestSocket> connections;
};

inline upstream::ClusterOptions cluster_of(std::string name, const std::vector<Upstream*>& upstreams) {
  upstream::ClusterOptions options;
  options.name = std::move(name);
  upstream::LocalityEndpoints& locality = options.endpoints.emplace_back();
  for (Upstream* u : upstreams) locality.endpoints.emplace_back().address = u->listener.address();
  return options;
}

// Mixed into a WorkerTest.
class Clusters {
 public:
  void add(upstream::ClusterOptions options, stats::Store& store) {
    list_.push_back(std::make_shared<upstream::Cluster>(std::move(options), store));
  }
  void open(filter::WorkerContext& worker) {
    set_ = std::make_shared<upstream::ClusterSet>(list_);
    local_ = std::make_unique<upstream::ThreadLocalClusters>(set_, worker.loop, worker.index);
    worker.clusters = local_.get();
  }
  void close() { if (local_ != nullptr) local_->close(); }
  void check_and_destroy() {
    for (const auto& cluster : list_) {
      for (uint16_t gauge : {cs::kUpstreamCxActive, cs::kUpstreamRqActive, cs::kUpstreamRqPendingActive}) {
        EXPECT_EQ(cluster->stats().gauge(gauge), 0) << cs::kStats[gauge].name;
      }
      for (upstream::ResourcePriority p : {upstream::ResourcePriority::kDefault, upstream::ResourcePriority::kHigh}) {
        const upstream::Resources& r = cluster->resources(p);
        EXPECT_EQ(r.connections.used(), 0u);
        EXPECT_EQ(r.pending_requests.used(), 0u);
        EXPECT_EQ(r.requests.used(), 0u);
        EXPECT_EQ(r.retries.used(), 0u);
      }
    }
    local_.reset();
  }
  upstream::Cluster* find(std::string_view name) const { return set_->find(name); }

 private:
  std::vector<std::shared_ptr<upstream::Cluster>> list_;
  std::shared_ptr<const upstream::ClusterSet> set_;
  std::unique_ptr<upstream::ThreadLocalClusters> local_;
};

class RouterTest : public filter::HcmTest {
 protected:
  static constexpr std::string_view kGet = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

  RouterTest() {
    route::RouteOptions all = route::prefix("/", "backend");
    table = route::table_of({all});
  }
  route::VirtualHostOptions& vhost() { return table.virtual_hosts[0]; }
  route::RouteOptions& route() { return vhost().routes[0]; }
  void retry_on(uint32_t bits, uint32_t retries = 1) {
    route::RetryPolicy policy;
    policy.retry_on = bits;
    policy.num_retries = retries;
    policy.base_interval = milliseconds(1);
    policy.max_interval = milliseconds(1);
    route().route.retry_policy = policy;
  }
  void log(std::string format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%") {
    options.access_logs.push_back(access_log(std::move(format)));
  }
  // One cluster "backend" of `upstream`, unless others were added.
  void begin() {
    if (!has_clusters) clusters.add(cluster_of("backend", {&upstream}), store);
    clusters.open(*worker);
    options.routes = route::compiled(table);
    for (const std::string& name : options.routes->clusters()) router.clusters.push_back(clusters.find(name));
    options.filters.push_back(std::make_unique<HttpRouterConfig>(router));
    start();
    client = connect();
  }
  void add_cluster(upstream::ClusterOptions o) {
    has_clusters = true;
    clusters.add(std::move(o), store);
  }
  void TearDown() override {
    if (loop == nullptr) return;
    client.close();
    host.reset();
    clusters.close();
    HcmTest::end_host();
    clusters.check_and_destroy();
    HcmTest::TearDown();
  }
  void run_until(const std::function<bool()>& done) {
    turn_until([&] {
      for (Upstream* u : polled) u->poll();
      return done();
    }, {&client});
  }
  // The n-th connection to the upstream (from 0), once it has received something that ends so.
  TestSocket& request_at(size_t n, std::string_view end = "\r\n\r\n", Upstream* of = nullptr) {
    Upstream& u = of != nullptr ? *of : upstream;
    run_until([&] { return u.connections.size() > n && u.connections[n].received.ends_with(end); });
    return u.connections[n];
  }
  void answer(TestSocket& connection, std::string_view status, std::string_view body, std::string_view more = "") {
    connection.received.clear();
    connection.send("HTTP/1.1 " + std::string(status) + "\r\n" + std::string(more) + "content-length: " +
                    std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  std::string client_got(std::string_view end) {
    run_until([&] { return client.received.ends_with(end); });
    return std::exchange(client.received, "");
  }
  uint64_t stat(uint16_t index, std::string_view cluster = "backend") const {
    return clusters.find(cluster)->stats().counter(index);
  }

  Upstream upstream, other;
  std::vector<Upstream*> polled{&upstream, &other};
  Clusters clusters;
  bool has_clusters = false;
  route::RouteTableOptions table;
  HttpRouterOptions router;
  TestSocket client;
};

}  // namespace millrace::router
