// Clusters for the tests: localhost endpoints numbered from port 1.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "upstream/cluster.h"

namespace millrace::upstream {

// A cluster, and the store of its statistics for eight workers.
struct StoreOwner {
  stats::Store store{8};
};
struct TestCluster : StoreOwner, Cluster {
  explicit TestCluster(ClusterOptions options) : Cluster(std::move(options), store) {}
};

inline EndpointOptions endpoint(uint16_t port, uint32_t weight = 1, HealthStatus status = HealthStatus::kUnknown) {
  EndpointOptions e;
  e.address = net::Address::parse_ip("127.0.0.1", port).value();
  e.weight = weight;
  e.health_status = status;
  return e;
}

inline ClusterOptions cluster_options(const std::vector<uint32_t>& weights, LbPolicy policy = LbPolicy::kRoundRobin) {
  ClusterOptions options;
  options.name = "backend";
  options.lb_policy = policy;
  LocalityEndpoints& locality = options.endpoints.emplace_back();
  for (uint32_t weight : weights) {
    locality.endpoints.push_back(endpoint(static_cast<uint16_t>(locality.endpoints.size() + 1), weight));
  }
  return options;
}

}  // namespace millrace::upstream
