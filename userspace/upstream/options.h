// What the configuration says about clusters (Envoy: config.cluster.v3.Cluster and the HttpProtocolOptions extension),
// as plain structs free of protobuf; defaults are Envoy's. Built on the main thread, moved into an upstream::Cluster,
// never changed after that. A duration of zero means "off" where a comment says so.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/http2_options.h"
#include "net/address.h"
#include "net/socket.h"
#include "net/transport.h"
#include "stats/stats.h"

namespace millrace::upstream {

enum class DiscoveryType : uint8_t { kStatic, kStrictDns, kLogicalDns, kOriginalDst };

// kClusterProvided: by the original destination, the only one of an ORIGINAL_DST cluster.
enum class LbPolicy : uint8_t { kRoundRobin, kLeastRequest, kRandom, kClusterProvided };

// core.v3.HealthStatus, as set on an endpoint.
enum class HealthStatus : uint8_t { kUnknown, kHealthy, kUnhealthy, kDraining, kTimeout, kDegraded };

// core.v3.RoutingPriority; indexes the circuit breakers and the pools.
enum class ResourcePriority : uint8_t { kDefault, kHigh };
inline constexpr size_t kResourcePriorities = 2;

struct Locality {
  std::string region;
  std::string zone;
  std::string sub_zone;
  bool operator==(const Locality&) const = default;
};

struct EndpointOptions {
  net::Address address;
  std::string hostname;
  uint32_t weight = 1;  // 1..128 in practice; the sum over a cluster fits 32 bits
  HealthStatus health_status = HealthStatus::kUnknown;
  bool canary = false;
  // Of transport_socket_matches, null for plain; unset: the cluster's.
  std::optional<std::shared_ptr<const net::TransportFactory>> transport;
};

struct LocalityEndpoints {
  Locality locality;
  uint32_t priority = 0;  // 0 is tried first; a cluster's priorities are 0..n without a gap
  std::vector<EndpointOptions> endpoints;
};

// How least_request picks when all weights are equal; else it is an earliest-deadline schedule.
struct LeastRequestOptions {
  uint32_t choice_count = 2;
  double active_request_bias = 1.0;  // 0: as round robin
  bool full_scan = false;            // selection_method FULL_SCAN
};

// How an ORIGINAL_DST cluster knows where a request goes.
struct OriginalDstOptions {
  std::string header_name;  // of a request header that beats the connection's original destination; empty: none
  std::optional<uint16_t> port_override;
  base::milliseconds cleanup_interval{5'000};  // a host that was not used for so long, and has no connection, goes
};

// cluster.v3.Cluster.DnsLookupFamily. kAuto: IPv6 addresses, IPv4 ones if there are none; kV4Preferred the other way
// round; kAll: both, in one answer.
enum class DnsFamily : uint8_t { kAuto, kV4Only, kV6Only, kV4Preferred, kAll };

// Envoy: network.dns_resolver.cares.v3.CaresDnsResolverConfig, core.v3.DnsResolverOptions.
struct CaresOptions {
  std::vector<net::Address> servers;   // empty: those of resolv.conf
  bool servers_as_fallback = false;    // they are asked when resolv.conf names none
  bool use_tcp = false;
  bool no_search_domain = false;       // a name is asked for as it is
  bool rotate_servers = false;
  base::milliseconds query_timeout{5'000};  // of the first try; later ones wait for longer
  uint32_t query_tries = 4;
  bool operator==(const CaresOptions&) const = default;
};

// One address of an endpoint that is a name.
struct DnsTarget {
  std::string name;
  bool services = false;  // SRV records (RFC 2782) say which names and ports
  uint32_t priority = 0;
  Locality locality;
  EndpointOptions endpoint;  // what its hosts have in common; the port is that of its address
};

// Of STRICT_DNS and LOGICAL_DNS clusters. A LOGICAL_DNS cluster has one target, and one host that moves to the first
// address of each answer.
struct DnsOptions {
  std::vector<DnsTarget> targets;
  DnsFamily family = DnsFamily::kAuto;
  base::milliseconds refresh_rate{5'000};
  base::milliseconds jitter{0};  // up to so much is added
  base::milliseconds min_refresh_rate{0};  // however short a time to live is
  bool respect_ttl = false;      // an answer is asked for again when its time to live is over
  // After failures; unset: as after answers.
  std::optional<base::milliseconds> failure_refresh_base, failure_refresh_max;
  CaresOptions resolver;
};

struct CommonLbOptions {
  double healthy_panic_threshold_percent = 50.0;  // 0: never
  bool fail_traffic_on_panic = false;
  uint32_t overprovisioning_factor_percent = 140;  // of load_assignment.policy
};

struct RetryBudget {
  double budget_percent = 20.0;
  uint32_t min_retry_concurrency = 3;
};

struct Thresholds {
  uint32_t max_connections = 1024;
  uint32_t max_pending_requests = 1024;
  uint32_t max_requests = 1024;
  uint32_t max_retries = 3;
  uint32_t max_connection_pools = UINT32_MAX;
  bool track_remaining = false;
  std::optional<RetryBudget> retry_budget;  // replaces max_retries
};

struct CircuitBreakerOptions {
  std::array<Thresholds, kResourcePriorities> thresholds;
  std::optional<uint32_t> per_host_max_connections;
};

// What is spoken to the hosts. kDownstream: what the client spoke to us; kAuto: what the host says by ALPN.
enum class HttpProtocol : uint8_t { kHttp1, kHttp2, kDownstream, kAuto };

// HttpProtocolOptions: common_http_protocol_options, http_protocol_options, http2_protocol_options.
struct HttpOptions {
  HttpProtocol protocol = HttpProtocol::kHttp1;
  base::milliseconds idle_timeout = std::chrono::hours(1);  // of a pooled connection; 0: off
  base::milliseconds max_connection_duration{0};            // 0: off
  base::milliseconds max_stream_duration{0};                // 0: off
  uint32_t max_headers_count = 100;
  uint32_t max_response_headers_kb = 60;
  uint32_t max_requests_per_connection = 0;  // 0: no limit
  bool proper_case_header_keys = false;      // header_key_format
  bool enable_trailers = false;
  bool send_fully_qualified_url = false;
  // upstream_http_protocol_options: the host a request is for, or what this header says in its place, is the server
  // name that its connection sends, and has to be named by the certificate.
  bool auto_sni = false;
  bool auto_san_validation = false;
  std::string override_auto_sni_header;
  http::Http2Options http2;
};

struct ClusterOptions {
  std::string name;
  std::string alt_stat_name;  // empty: name
  DiscoveryType type = DiscoveryType::kStatic;
  LbPolicy lb_policy = LbPolicy::kRoundRobin;
  LeastRequestOptions least_request;
  OriginalDstOptions original_dst;
  std::shared_ptr<const DnsOptions> dns;  // of STRICT_DNS and LOGICAL_DNS, else null
  CommonLbOptions common_lb;
  std::vector<LocalityEndpoints> endpoints;
  base::milliseconds connect_timeout = base::seconds(5);
  uint32_t per_connection_buffer_limit_bytes = 1024 * 1024;
  CircuitBreakerOptions circuit_breakers;
  HttpOptions http;
  base::milliseconds tcp_idle_timeout = std::chrono::minutes(10);  // of a pooled TCP connection; 0: off
  std::optional<net::TcpKeepalive> tcp_keepalive;
  net::Address bind_address;                      // upstream_bind_config.source_address; empty: the kernel's choice
  std::vector<net::SocketOption> socket_options;  // of upstream_bind_config, freebind among them
  // Of hosts that have none of their own; null: plain.
  std::shared_ptr<const net::TransportFactory> transport;
  // How many endpoints each of transport_socket_matches, and none of them, was right for: here to be kept.
  std::vector<stats::StatBlockPtr> transport_match_stats;
};

}  // namespace millrace::upstream
