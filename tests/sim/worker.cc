#include "sim/worker.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "stats/schema_cluster.h"

namespace millrace::sim {

namespace {

stream::AccessLogFiles& no_log_files() {
  static stream::AccessLogFiles files;
  return files;
}

}  // namespace

net::Address host_address(uint8_t cluster, uint8_t host) {
  return net::Address::parse_ip(fmt::format("10.1.{}.{}", cluster, host), 80).value();
}

Worker::Worker(uint64_t seed, const Faults& faults)
    : alive_before_(net::Connection::alive()), address_(net::Address::parse_ip("10.2.0.1", 80).value()) {
  base::Prng prng(seed);
  auto network = std::make_unique<Network>(prng.next(), faults);
  network_ = network.get();
  loop_ = std::make_unique<io::Loop>(std::move(network));
  loop_->seed(prng.next());
  context_ = std::make_unique<filter::WorkerContext>(*loop_, 0, no_log_files());
}

Worker::~Worker() {
  if (host_ != nullptr) shut_down();
}

upstream::ClusterOptions Worker::cluster(std::string name, uint8_t number, uint8_t hosts) {
  upstream::ClusterOptions options;
  options.name = std::move(name);
  upstream::LocalityEndpoints& locality = options.endpoints.emplace_back();
  for (uint8_t i = 1; i <= hosts; ++i) {
    upstream::EndpointOptions endpoint;
    endpoint.address = host_address(number, i);
    locality.endpoints.push_back(std::move(endpoint));
  }
  return options;
}

void Worker::set_clusters(std::vector<upstream::ClusterOptions> clusters) {
  std::vector<std::shared_ptr<upstream::Cluster>> made;
  for (upstream::ClusterOptions& options : clusters) {
    made.push_back(std::make_shared<upstream::Cluster>(std::move(options), store_));
  }
  set_ = std::make_shared<upstream::ClusterSet>(std::move(made));
  local_ = std::make_unique<upstream::ThreadLocalClusters>(set_, *loop_, 0);
  context_->clusters = local_.get();
}

void Worker::listen(const filter::NetworkFilterConfig& config, uint32_t buffer_limit_bytes) {
  facts_.name = "sim";
  facts_.stat_address = "sim";
  facts_.per_connection_buffer_limit_bytes = buffer_limit_bytes;
  host_ = config.instantiate(*context_, facts_);
  acceptor_ = std::make_unique<net::Acceptor>(*loop_, network_->listen(address_), [this](int fd) {
    ++connections_;
    host_->accept(net::Connection::accepted(*loop_, fd), *this);
  });
  acceptor_->start();
}

void Worker::on_connection_end(const stream::StreamInfo&) {
  EXPECT_GT(connections_, 0u);
  --connections_;
}

void Worker::drain() {
  context_->draining = true;
  host_->drain();
}

void Worker::check_limits() const {
  EXPECT_EQ(host_->active(), connections_);
  for (const auto& cluster : set_->clusters()) {
    for (auto priority : {upstream::ResourcePriority::kDefault, upstream::ResourcePriority::kHigh}) {
      const upstream::Resources& resources = cluster->resources(priority);
      // A pool that has no connection is given one beyond the limit.
      EXPECT_LE(resources.connections.used(), resources.connections.max() + cluster->hosts().size());
      EXPECT_LE(resources.requests.used(), resources.requests.max());
      EXPECT_LE(resources.pending_requests.used(), resources.pending_requests.max());
    }
  }
}

void Worker::shut_down() {
  net::Acceptor::stop(std::move(acceptor_));
  host_->close_all();
  local_->close();
  for (int i = 0; i < 2'000 && (net::Connection::alive() > alive_before_ || network_->open_sockets() > 0); ++i) {
    loop_->turn(base::milliseconds(10));
    host_->close_all();  // accepted while the listener was closing
  }
  EXPECT_EQ(net::Connection::alive(), alive_before_);
  EXPECT_EQ(network_->open_sockets(), 0u);
  EXPECT_EQ(host_->active(), 0u);
  EXPECT_EQ(connections_, 0u);
  for (const auto& cluster : set_->clusters()) {
    for (auto priority : {upstream::ResourcePriority::kDefault, upstream::ResourcePriority::kHigh}) {
      const upstream::Resources& resources = cluster->resources(priority);
      EXPECT_EQ(resources.connections.used(), 0u);
      EXPECT_EQ(resources.pending_requests.used(), 0u);
      EXPECT_EQ(resources.requests.used(), 0u);
      EXPECT_EQ(resources.retries.used(), 0u);
    }
    for (const auto& host : cluster->hosts()) {
      EXPECT_EQ(host->cx_active(), 0u);
      EXPECT_EQ(host->load(), 0u);
    }
    EXPECT_EQ(cluster->stats().gauge(stats::cluster::kUpstreamCxActive), 0);
    EXPECT_EQ(cluster->stats().gauge(stats::cluster::kUpstreamRqActive), 0);
    EXPECT_EQ(cluster->stats().gauge(stats::cluster::kUpstreamRqPendingActive), 0);
  }
  host_.reset();
  local_.reset();
  context_.reset();
  loop_->turn(base::milliseconds(0));
  EXPECT_EQ(network_->held_bytes(), 0u);
}

}  // namespace millrace::sim
