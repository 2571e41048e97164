#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>

#include "config/translator.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb.h"
#include "stats/schema_ssl.h"

namespace millrace::config {

namespace round_robin_v3 = envoy::extensions::load_balancing_policies::round_robin::v3;
namespace least_request_v3 = envoy::extensions::load_balancing_policies::least_request::v3;

namespace {

upstream::HealthStatus health(core_v3::HealthStatus from) {
  switch (from) {
    case core_v3::HEALTHY:
      return upstream::HealthStatus::kHealthy;
    case core_v3::UNHEALTHY:
      return upstream::HealthStatus::kUnhealthy;
    case core_v3::DRAINING:
      return upstream::HealthStatus::kDraining;
    case core_v3::TIMEOUT:
      return upstream::HealthStatus::kTimeout;
    case core_v3::DEGRADED:
      return upstream::HealthStatus::kDegraded;
    default:
      return upstream::HealthStatus::kUnknown;
  }
}

bool is_canary(const core_v3::Metadata& metadata) {
  const auto lb = metadata.filter_metadata().find("envoy.lb");
  if (lb == metadata.filter_metadata().end()) return false;
  const auto canary = lb->second.fields().find("canary");
  return canary != lb->second.fields().end() && canary->second.bool_value();
}

const std::string& stat_name(const upstream::ClusterOptions& cluster) {
  return cluster.alt_stat_name.empty() ? cluster.name : cluster.alt_stat_name;
}

}  // namespace

std::optional<upstream::ClusterOptions> Translator::cluster(const cluster_v3::Cluster& from, Path path) {
  const size_t errors_before = diagnostics_.errors();
  upstream::ClusterOptions to;
  to.name = from.name();
  to.alt_stat_name = from.alt_stat_name();
  if (from.has_connect_timeout()) to.connect_timeout = duration(from.connect_timeout());
  if (from.has_per_connection_buffer_limit_bytes()) {
    to.per_connection_buffer_limit_bytes = from.per_connection_buffer_limit_bytes().value();
  }
  // The others are refused as a whole, whatever their endpoints are.
  if (from.cluster_discovery_type_case() != cluster_v3::Cluster::kClusterType &&
      from.type() == cluster_v3::Cluster::STATIC) {
    endpoints(from, to, path);
  }
  lb_policy(from, to, path);
  original_dst(from, to, path);
  dns(from, to, path);
  if (from.has_common_lb_config()) {
    const auto& common = from.common_lb_config();
    if (common.has_healthy_panic_threshold()) {
      to.common_lb.healthy_panic_threshold_percent = common.healthy_panic_threshold().value();
    }
    to.common_lb.fail_traffic_on_panic = common.zone_aware_lb_config().fail_traffic_on_panic();
    if (common.has_locality_weighted_lb_config()) {
      one_locality_per_priority(to, path + ".common_lb_config.locality_weighted_lb_config");
    }
  }
  if (const auto percent = runtime_integer("upstream.healthy_panic_threshold")) {
    to.common_lb.healthy_panic_threshold_percent = std::min(*percent, 100u);
  }
  if (from.load_assignment().policy().has_overprovisioning_factor()) {
    to.common_lb.overprovisioning_factor_percent = from.load_assignment().policy().overprovisioning_factor().value();
  }
  if (from.has_circuit_breakers()) circuit_breakers(from.circuit_breakers(), to, path + ".circuit_breakers");
  if (!runtime_.empty()) circuit_breaker_keys(to);
  http_options(from, to, path);
  if (from.has_transport_socket()) {
    to.transport = upstream_transport(from.transport_socket(), stat_name(to), path + ".transport_socket");
  }
  if (to.http.protocol == upstream::HttpProtocol::kAuto && to.transport == nullptr &&
      from.transport_socket_matches().empty()) {
    error_if_first(path, "auto_config asks the hosts by ALPN, which needs TLS",
                   "add a transport_socket, or say explicit_http_config");
  }
  if (from.upstream_connection_options().has_tcp_keepalive()) {
    to.tcp_keepalive = keepalive(from.upstream_connection_options().tcp_keepalive());
  }
  if (from.has_upstream_bind_config()) {
    bind_config(from.upstream_bind_config(), to, path + ".upstream_bind_config");
  } else if (bind_config_ != nullptr) {
    bind_config(*bind_config_, to, "cluster_manager.upstream_bind_config");
  }
  if (diagnostics_.errors() != errors_before) return std::nullopt;
  return to;
}

void Translator::bind_config(const core_v3::BindConfig& from, upstream::ClusterOptions& to, Path path) {
  to.socket_options = socket_options(from.socket_options());
  for (int i = 0; i < from.socket_options_size(); ++i) {
    if (from.socket_options(i).state() == core_v3::SocketOption::STATE_PREBIND) continue;
    error(fmt::format("{}.socket_options[{}].state", path, i),
          fmt::format("{} is known to Envoy, not supported by Millrace yet for sockets that connect",
                      core_v3::SocketOption::SocketState_Name(from.socket_options(i).state())));
  }
  if (from.has_source_address()) {
    if (auto found = socket_address(from.source_address(), path + ".source_address", true)) to.bind_address = *found;
    own_network_namespace(from.source_address(), path + ".source_address");
  }
  if (from.freebind().value()) {
    const bool v6 = to.bind_address.kind() == net::Address::Kind::kIpv6;
    const int on = 1;
    net::SocketOption option{v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, {}};
    option.value.resize(sizeof on);
    std::memcpy(option.value.data(), &on, sizeof on);
    to.socket_options.push_back(std::move(option));
  }
}

// Weights of localities choose between the localities of a priority: with one each there is nothing to choose.
void Translator::one_locality_per_priority(const upstream::ClusterOptions& cluster, Path path) {
  std::set<uint32_t> priorities;
  for (const upstream::LocalityEndpoints& locality : cluster.endpoints) {
    if (priorities.insert(locality.priority).second) continue;
    error(path,
          fmt::format("several localities of priority {}: choosing between them by weight is known to Envoy, not "
                      "supported by Millrace yet",
                      locality.priority),
          "give each priority one locality");
    return;
  }
}

void Translator::endpoints(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path cluster_path) {
  const std::string path = cluster_path + ".load_assignment";
  const auto& assignment = from.load_assignment();
  const std::vector<TransportMatch> transports = transports_of(from, to, cluster_path);
  for (int l = 0; l < assignment.endpoints_size(); ++l) {
    const auto& source = assignment.endpoints(l);
    upstream::LocalityEndpoints locality;
    locality.locality = {source.locality().region(), source.locality().zone(), source.locality().sub_zone()};
    locality.priority = source.priority();
    for (int e = 0; e < source.lb_endpoints_size(); ++e) {
      const auto& endpoint = source.lb_endpoints(e);
      const std::string at = fmt::format("{}.endpoints[{}].lb_endpoints[{}]", path, l, e);
      auto where = address(endpoint.endpoint().address(), at + ".endpoint.address", false);
      own_network_namespace(endpoint.endpoint().address().socket_address(), at + ".endpoint.address.socket_address");
      if (!where) continue;
      upstream::EndpointOptions out = this->endpoint(endpoint, transports, to);
      out.address = std::move(*where);
      locality.endpoints.push_back(std::move(out));
    }
    to.endpoints.push_back(std::move(locality));
  }
  priorities_without_gap(assignment, path);
}

void Translator::priorities_without_gap(const endpoint_v3::ClusterLoadAssignment& from, Path path) {
  std::set<uint32_t> priorities;
  for (const auto& locality : from.endpoints()) priorities.insert(locality.priority());
  uint32_t next = 0;
  for (const uint32_t priority : priorities) {
    if (priority != next) {
      error(path + ".endpoints", fmt::format("priority {} is used, but not {}", priority, next),
            "priorities must start at 0 and leave no gap");
      break;
    }
    ++next;
  }
}

std::vector<Translator::TransportMatch> Translator::transports_of(const cluster_v3::Cluster& from,
                                                                  upstream::ClusterOptions& to, Path path) {
  std::vector<TransportMatch> transports = transport_matches(from, stat_name(to), path);
  for (const TransportMatch& match : transports) to.transport_match_stats.push_back(match.stats);
  if (!transports.empty()) to.transport_match_stats.push_back(match_stats(stat_name(to), "default"));
  return transports;
}

upstream::EndpointOptions Translator::endpoint(const endpoint_v3::LbEndpoint& from,
                                               const std::vector<TransportMatch>& transports,
                                               const upstream::ClusterOptions& cluster) {
  upstream::EndpointOptions to;
  to.hostname = from.endpoint().hostname();
  if (from.has_load_balancing_weight()) to.weight = from.load_balancing_weight().value();
  to.health_status = health(from.health_status());
  to.canary = is_canary(from.metadata());
  if (transports.empty()) return to;
  const TransportMatch* match = matching(transports, from.metadata());
  if (match != nullptr) to.transport = match->transport;
  const stats::StatBlockPtr& chosen = match != nullptr ? match->stats : cluster.transport_match_stats.back();
  chosen->main_shard().inc(stats::transport_match::kTotalMatchCount);
  return to;
}

void Translator::lb_policy(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path) {
  const auto least_request = [&](const auto& config) {
    if (config.has_choice_count()) to.least_request.choice_count = config.choice_count().value();
    if (config.has_active_request_bias()) {
      to.least_request.active_request_bias = runtime_number(config.active_request_bias().runtime_key())
                                                 .value_or(config.active_request_bias().default_value());
    }
  };
  const auto localities = [&](const auto& config, Path at) {
    if (!config.has_locality_lb_config()) return;
    const auto& choice = config.locality_lb_config();
    if (choice.has_locality_weighted_lb_config()) {
      one_locality_per_priority(to, at + ".locality_lb_config.locality_weighted_lb_config");
    }
    to.common_lb.fail_traffic_on_panic |= choice.zone_aware_lb_config().fail_traffic_on_panic();
  };
  switch (from.lb_policy()) {
    case cluster_v3::Cluster::LEAST_REQUEST:
      to.lb_policy = upstream::LbPolicy::kLeastRequest;
      least_request(from.least_request_lb_config());
      break;
    case cluster_v3::Cluster::RANDOM:
      to.lb_policy = upstream::LbPolicy::kRandom;
      break;
    case cluster_v3::Cluster::CLUSTER_PROVIDED:
      to.lb_policy = upstream::LbPolicy::kClusterProvided;
      break;
    default:
      break;
  }
  if (!from.has_load_balancing_policy()) {
    if (from.lb_policy() == cluster_v3::Cluster::LOAD_BALANCING_POLICY_CONFIG) {
      error(path + ".lb_policy", "LOAD_BALANCING_POLICY_CONFIG asks for load_balancing_policy, which is not set",
            "add load_balancing_policy, or name a policy");
    }
    return;
  }
  const std::string list = path + ".load_balancing_policy.policies";
  for (int i = 0; i < from.load_balancing_policy().policies_size(); ++i) {
    const auto& any = from.load_balancing_policy().policies(i).typed_extension_config().typed_config();
    const std::string at = fmt::format("{}[{}].typed_extension_config.typed_config", list, i);
    if (any.Is<round_robin_v3::RoundRobin>()) {
      round_robin_v3::RoundRobin config;
      if (!unpack(any, config, at)) return;
      to.lb_policy = upstream::LbPolicy::kRoundRobin;
      localities(config, at);
      return;
    }
    if (any.Is<envoy::extensions::load_balancing_policies::random::v3::Random>()) {
      to.lb_policy = upstream::LbPolicy::kRandom;
      return;
    }
    if (any.Is<least_request_v3::LeastRequest>()) {
      least_request_v3::LeastRequest config;
      if (!unpack(any, config, at)) return;
      to.lb_policy = upstream::LbPolicy::kLeastRequest;
      least_request(config);
      localities(config, at);
      to.least_request.full_scan =
          config.selection_method() == least_request_v3::LeastRequest::FULL_SCAN || config.enable_full_scan().value();
      return;
    }
  }
  error_if_first(list, "none of the policies is one that Millrace has", "use round_robin, least_request or random");
}

void Translator::original_dst(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path) {
  const bool provided = from.lb_policy() == cluster_v3::Cluster::CLUSTER_PROVIDED;
  if (from.type() != cluster_v3::Cluster::ORIGINAL_DST) {
    if (provided && from.type() == cluster_v3::Cluster::STATIC) {
      error(path + ".lb_policy", "CLUSTER_PROVIDED: a STATIC cluster brings no load balancer of its own",
            "name another policy, or make it type: ORIGINAL_DST");
    }
    if (from.has_original_dst_lb_config()) {
      ignored_.push_back({path + ".original_dst_lb_config", "only a cluster with type: ORIGINAL_DST reads it"});
    }
    return;
  }
  to.type = upstream::DiscoveryType::kOriginalDst;
  to.lb_policy = upstream::LbPolicy::kClusterProvided;
  if (!provided || from.has_load_balancing_policy()) {
    error(path + (provided ? ".load_balancing_policy" : ".lb_policy"),
          "an ORIGINAL_DST cluster chooses hosts by itself, no other policy applies",
          "set lb_policy: CLUSTER_PROVIDED");
  }
  if (from.has_load_assignment()) {
    error(path + ".load_assignment", "an ORIGINAL_DST cluster has no endpoints: connections say where they go");
  }
  if (from.has_cleanup_interval()) to.original_dst.cleanup_interval = duration(from.cleanup_interval());
  const auto& source = from.original_dst_lb_config();
  if (source.use_http_header()) {
    to.original_dst.header_name = source.http_header_name().empty() ? "x-envoy-original-dst-host"
                                                                    : source.http_header_name();
    for (char& c : to.original_dst.header_name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  } else if (!source.http_header_name().empty()) {
    error(path + ".original_dst_lb_config.http_header_name", "is read with use_http_header only",
          "add use_http_header: true");
  }
  if (source.has_upstream_port_override()) {
    to.original_dst.port_override = static_cast<uint16_t>(source.upstream_port_override().value());
  }
}

void Translator::circuit_breakers(const cluster_v3::CircuitBreakers& from, upstream::ClusterOptions& to, Path path) {
  for (const auto& source : from.thresholds()) {
    const size_t index = source.priority() == core_v3::HIGH ? 1 : 0;
    upstream::Thresholds& t = to.circuit_breakers.thresholds[index];
    if (source.has_max_connections()) t.max_connections = source.max_connections().value();
    if (source.has_max_pending_requests()) t.max_pending_requests = source.max_pending_requests().value();
    if (source.has_max_requests()) t.max_requests = source.max_requests().value();
    if (source.has_max_retries()) t.max_retries = source.max_retries().value();
    if (source.has_max_connection_pools()) t.max_connection_pools = source.max_connection_pools().value();
    t.track_remaining = source.track_remaining();
    if (source.has_retry_budget()) {
      upstream::RetryBudget budget;
      if (source.retry_budget().has_budget_percent())
        budget.budget_percent = source.retry_budget().budget_percent().value();
      if (source.retry_budget().has_min_retry_concurrency()) {
        budget.min_retry_concurrency = source.retry_budget().min_retry_concurrency().value();
      }
      t.retry_budget = budget;
    }
  }
  for (int i = 0; i < from.per_host_thresholds_size(); ++i) {
    if (from.per_host_thresholds(i).has_max_connections()) {
      to.circuit_breakers.per_host_max_connections = from.per_host_thresholds(i).max_connections().value();
    } else {
      warning(fmt::format("{}.per_host_thresholds[{}]", path, i), "only max_connections is bounded per host");
    }
  }
}

// circuit_breakers.<cluster>.<priority>.<limit> of the runtime beats what the cluster says.
void Translator::circuit_breaker_keys(upstream::ClusterOptions& to) {
  for (size_t i = 0; i < upstream::kResourcePriorities; ++i) {
    upstream::Thresholds& t = to.circuit_breakers.thresholds[i];
    const std::string prefix = fmt::format("circuit_breakers.{}.{}.", to.name, i == 0 ? "default" : "high");
    const auto limit = [&](const char* name, uint32_t& value) {
      value = runtime_integer(prefix + name).value_or(value);
    };
    limit("max_connections", t.max_connections);
    limit("max_pending_requests", t.max_pending_requests);
    limit("max_requests", t.max_requests);
    limit("max_retries", t.max_retries);
    limit("max_connection_pools", t.max_connection_pools);
    if (!t.retry_budget) continue;
    t.retry_budget->budget_percent =
        runtime_number(prefix + "retry_budget.budget_percent").value_or(t.retry_budget->budget_percent);
    limit("retry_budget.min_retry_concurrency", t.retry_budget->min_retry_concurrency);
  }
}

}  // namespace millrace::config
