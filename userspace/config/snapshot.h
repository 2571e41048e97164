// What the daemon runs on: plain, immutable, made on the main thread from a configuration and shared by all workers.
// Holds no protobuf. A new configuration is a new Snapshot; what lives on the old one keeps it alive.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fastpath/options.h"
#include "fastpath/splice_rule.h"
#include "filter/filter_chain_match.h"
#include "filter/listener_filter.h"
#include "filter/network_filter.h"
#include "net/socket.h"
#include "net/transport.h"
#include "stats/stats.h"
#include "stream/access_log.h"
#include "upstream/cluster.h"

namespace millrace::config {

class ConfigDump;
class ReloadableTransport;

enum class TrafficDirection : uint8_t { kUnspecified, kInbound, kOutbound };

struct FilterChain {
  std::string name;
  std::unique_ptr<const filter::NetworkFilterConfig> filter;  // the terminal one: connection manager or TCP proxy
  std::shared_ptr<const net::TransportFactory> transport;     // null: plain
  base::milliseconds transport_connect_timeout{0};            // of its handshake; 0: none
};

struct Listener {
  std::string name;                     // given, or made from the address
  std::vector<net::Address> addresses;  // the address, then additional_addresses
  std::string network_namespace;        // path of the one that they are in; empty: the daemon's
  net::ListenOptions socket;
  std::string stat_prefix;  // empty: the address
  uint32_t per_connection_buffer_limit_bytes = 1 << 20;
  uint32_t max_connections = UINT32_MAX;  // runtime key envoy.resource_limits.listener.<name>.connection_limit
  bool ignore_global_conn_limit = false;
  TrafficDirection traffic_direction = TrafficDirection::kUnspecified;
  bool bind_to_port = true;       // false: gets connections only from listeners with use_original_dst
  bool use_original_dst = false;  // hands connections to the listener of their original destination, if there is one
  std::vector<std::unique_ptr<const filter::ListenerFilter>> listener_filters;
  base::milliseconds listener_filters_timeout{15'000};  // 0: off
  bool continue_on_listener_filters_timeout = false;
  std::vector<FilterChain> filter_chains;
  filter::FilterChainIndex matcher;           // positions in filter_chains
  std::optional<size_t> default_filter_chain;  // of what matches none; among filter_chains too
  std::vector<stream::AccessLog> access_logs;
};

// millrace.fastpath.v1.FastPath. Addresses that only binding tells, and sockets, are put in by the server.
struct FastPath {
  struct Service {
    std::string listener;  // whose bound address it is; empty: `address`
    net::Address address;
    uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP
    upstream::Cluster* cluster = nullptr;
  };
  struct ShortCircuit {
    std::vector<std::string> cgroups;
    std::vector<std::string> listeners;
    fastpath::SplicePolicy policy = fastpath::SplicePolicy::kAuto;
    uint32_t unread_bytes_max = 8 * 1024 * 1024;
    uint32_t one_way_bytes_max = 0;  // no limit
  };

  fastpath::Options steering;
  std::vector<std::string> capture_listeners;
  std::vector<Service> services;
  std::vector<std::string> inbound_listeners;  // fastpath::InboundRule::socket counts in here
  std::optional<ShortCircuit> short_circuit;
  bool worker_steering = false;
  bool fail_when_unavailable = false;
};

struct Admin {
  std::optional<net::Address> address;
  std::vector<stream::AccessLog> access_logs;
  std::vector<net::SocketOption> socket_options;
};

struct RuntimeLayer {
  std::string name;
  std::vector<std::pair<std::string, std::string>> values;  // flattened key, value as text; in the order of the keys
};

struct LocalNode {  // envoy.config.core.v3.Node of this process
  std::string id, cluster, region, zone, sub_zone;
};

struct Snapshot {
  std::vector<std::unique_ptr<const Listener>> listeners;
  std::shared_ptr<const upstream::ClusterSet> clusters;
  std::vector<std::shared_ptr<ReloadableTransport>> transports;  // TLS of filter chains and clusters; main thread
  Admin admin;
  std::optional<FastPath> fast_path;
  LocalNode node;
  base::milliseconds stats_flush_interval{5'000};
  std::shared_ptr<const ConfigDump> config_dump;  // the configuration as /config_dump shows it; main thread
  std::vector<RuntimeLayer> runtime_layers;  // of layered_runtime, lowest first
  int64_t connections_max = INT64_MAX;       // runtime key overload.global_downstream_max_connections
};

}  // namespace millrace::config
