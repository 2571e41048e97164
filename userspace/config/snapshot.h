// What the daemon runs on: plain, immutable, made on the main thread from a configuration and shared by all workers. Holds no
// protobuf. A new configuration is a new Snapshot; what lives on the old one keeps it alive.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "filter/network_filter.h"
#include "net/socket.h"
#include "stats/stats.h"
#include "stream/access_log.h"
#include "upstream/cluster.h"

namespace millrace::config {

enum class TrafficDirection : uint8_t { kUnspecified, kInbound, kOutbound };

struct FilterChain {
  std::string name;
  std::unique_ptr<const filter::NetworkFilterConfig> filter;  // the terminal one: connection manager or TCP proxy
};

struct Listener {
  std::string name;                      // given, or made from the address
  std::vector<net::Address> addresses;   // the address, then additional_addresses
  net::ListenOptions socket;
  std::string stat_prefix;               // empty: the address
  uint32_t per_connection_buffer_limit_bytes = 1 << 20;
  uint32_t max_connections = UINT32_MAX;  // runtime key envoy.resource_limits.listener.<name>.connection_limit
  TrafficDirection traffic_direction = TrafficDirection::kUnspecified;
  FilterChain chain;                     // the only one, or default_filter_chain
  std::vector<stream::AccessLog> access_logs;
};

struct Admin {
  std::optional<net::Address> address;
  std::vector<stream::AccessLog> access_logs;
  std::vector<net::SocketOption> socket_options;
};

struct LocalNode {  // envoy.config.core.v3.Node of this process
  std::string id, cluster, region, zone, sub_zone;
};

struct Snapshot {
  std::vector<std::unique_ptr<const Listener>> listeners;
  std::shared_ptr<const upstream::ClusterSet> clusters;
  Admin admin;
  LocalNode node;
  base::milliseconds stats_flush_interval{5'000};
  // The bootstrap as /config_dump shows it (envoy.admin.v3.ConfigDump as JSON).
  std::string config_dump_json;
  std::vector<std::pair<std::string, std::string>> static_runtime;  // layered_runtime, for /runtime
};

}  // namespace millrace::config
