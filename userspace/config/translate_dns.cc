// Clusters whose endpoints are names: STRICT_DNS, LOGICAL_DNS and envoy.clusters.dns.
#include <algorithm>

#include "config/translator.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/resolver.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb.h"

namespace millrace::config {

namespace cares_v3 = envoy::extensions::network::dns_resolver::cares::v3;
namespace dns_v3 = envoy::extensions::clusters::dns::v3;

namespace {

upstream::DnsFamily family(cluster_v3::Cluster::DnsLookupFamily from) {
  switch (from) {
    case cluster_v3::Cluster::V4_ONLY: return upstream::DnsFamily::kV4Only;
    case cluster_v3::Cluster::V6_ONLY: return upstream::DnsFamily::kV6Only;
    case cluster_v3::Cluster::V4_PREFERRED: return upstream::DnsFamily::kV4Preferred;
    case cluster_v3::Cluster::ALL: return upstream::DnsFamily::kAll;
    default: return upstream::DnsFamily::kAuto;
  }
}

// The extension's enum has a value for "not set" before the others.
upstream::DnsFamily family(envoy::extensions::clusters::common::dns::v3::DnsLookupFamily from) {
  if (from == 0) return upstream::DnsFamily::kAuto;
  return family(static_cast<cluster_v3::Cluster::DnsLookupFamily>(from - 1));
}

// "_service._proto.name" with port 0: SRV records say where it is (RFC 2782).
bool names_services(const core_v3::SocketAddress& from) {
  const std::string& name = from.address();
  return from.port_value() == 0 && name.starts_with('_') && name.find("._") != std::string::npos;
}

}  // namespace

void Translator::dns_servers(const google::protobuf::RepeatedPtrField<core_v3::Address>& from,
                             upstream::CaresOptions& to, Path path) {
  for (int i = 0; i < from.size(); ++i) {
    const std::string at = fmt::format("{}.resolvers[{}]", path, i);
    core_v3::Address server = from[i];
    if (server.socket_address().port_value() == 0) server.mutable_socket_address()->set_port_value(53);
    std::optional<net::Address> found = address(server, at, false);
    if (!found) continue;
    if (found->is_ip()) to.servers.push_back(std::move(*found));
    else error(at, "a DNS server has an IP address", "write socket_address");
  }
}

upstream::CaresOptions Translator::cares(const google::protobuf::Any& from, Path path) {
  upstream::CaresOptions to;
  cares_v3::CaresDnsResolverConfig config;
  if (!from.Is<cares_v3::CaresDnsResolverConfig>() || !unpack(from, config, path)) return to;
  dns_servers(config.resolvers(), to, path);
  to.servers_as_fallback = config.use_resolvers_as_fallback();
  to.use_tcp = config.dns_resolver_options().use_tcp_for_dns_lookups();
  to.no_search_domain = config.dns_resolver_options().no_default_search_domain();
  to.rotate_servers = config.rotate_nameservers();
  if (config.has_query_timeout_seconds()) {
    const uint64_t seconds = std::min<uint64_t>(config.query_timeout_seconds().value(), 3600);
    to.query_timeout = base::seconds(std::max<uint64_t>(seconds, 1));
  }
  if (config.has_query_tries()) to.query_tries = std::clamp(config.query_tries().value(), 1u, 100u);
  return to;
}

// Of a cluster or of the bootstrap: the newest of three ways to say it.
template <class Config>
upstream::CaresOptions Translator::resolver(const Config& from, Path path) {
  const std::string prefix = path.empty() ? "" : path + ".";
  if (from.has_typed_dns_resolver_config()) {
    return cares(from.typed_dns_resolver_config().typed_config(), prefix + "typed_dns_resolver_config.typed_config");
  }
  upstream::CaresOptions to;
  if (from.has_dns_resolution_config()) {
    const auto& config = from.dns_resolution_config();
    dns_servers(config.resolvers(), to, prefix + "dns_resolution_config");
    to.use_tcp = config.dns_resolver_options().use_tcp_for_dns_lookups();
    to.no_search_domain = config.dns_resolver_options().no_default_search_domain();
  }
  to.use_tcp |= from.use_tcp_for_dns_lookups();
  return to;
}
template upstream::CaresOptions Translator::resolver(const bootstrap_v3::Bootstrap& from, Path path);

template <class RefreshRate>
void Translator::failure_refresh(const RefreshRate& from, upstream::DnsOptions& to) {
  to.failure_refresh_base = duration(from.base_interval());
  to.failure_refresh_max = from.has_max_interval() ? duration(from.max_interval()) : *to.failure_refresh_base * 10;
}

std::shared_ptr<upstream::DnsOptions> Translator::dns_options(const cluster_v3::Cluster& from, Path path) {
  auto to = std::make_shared<upstream::DnsOptions>();
  to->family = family(from.dns_lookup_family());
  if (from.has_dns_refresh_rate()) to->refresh_rate = duration(from.dns_refresh_rate());
  if (from.has_dns_jitter()) to->jitter = duration(from.dns_jitter());
  to->respect_ttl = from.respect_dns_ttl();
  if (from.has_dns_failure_refresh_rate()) failure_refresh(from.dns_failure_refresh_rate(), *to);
  const bool own = from.has_typed_dns_resolver_config() || from.has_dns_resolution_config() ||
                   from.use_tcp_for_dns_lookups() || from.dns_resolvers_size() > 0;
  to->resolver = own ? resolver(from, path) : default_resolver_;
  if (from.dns_resolvers_size() > 0 && !from.has_typed_dns_resolver_config() && !from.has_dns_resolution_config()) {
    dns_servers(from.dns_resolvers(), to->resolver, path);
  }
  return to;
}

void Translator::dns_extension(const google::protobuf::Any& from, upstream::ClusterOptions& to, Path path) {
  dns_v3::DnsCluster config;
  if (!unpack(from, config, path)) return;
  auto dns = std::make_shared<upstream::DnsOptions>();
  dns->family = family(config.dns_lookup_family());
  if (config.has_dns_refresh_rate()) dns->refresh_rate = duration(config.dns_refresh_rate());
  if (config.has_dns_jitter()) dns->jitter = duration(config.dns_jitter());
  if (config.has_dns_min_refresh_rate()) dns->min_refresh_rate = duration(config.dns_min_refresh_rate());
  dns->respect_ttl = config.respect_dns_ttl();
  if (config.has_dns_failure_refresh_rate()) failure_refresh(config.dns_failure_refresh_rate(), *dns);
  dns->resolver = config.has_typed_dns_resolver_config()
                      ? cares(config.typed_dns_resolver_config().typed_config(),
                              path + ".typed_dns_resolver_config.typed_config")
                      : default_resolver_;
  to.type = config.all_addresses_in_single_endpoint() ? upstream::DiscoveryType::kLogicalDns
                                                      : upstream::DiscoveryType::kStrictDns;
  to.dns = std::move(dns);
}

void Translator::dns(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path) {
  using Cluster = cluster_v3::Cluster;
  std::shared_ptr<upstream::DnsOptions> options;
  if (from.cluster_discovery_type_case() == Cluster::kClusterType) {
    const auto& any = from.cluster_type().typed_config();
    const std::string at = path + ".cluster_type.typed_config";
    if (!any.Is<dns_v3::DnsCluster>()) {
      error_if_first(at, fmt::format("a cluster_type of '{}' is not supported by Millrace yet", any.type_url()),
                     "use envoy.clusters.dns, or a type");
      return;
    }
    dns_extension(any, to, at);
    if (to.dns == nullptr) return;
    options = std::make_shared<upstream::DnsOptions>(*to.dns);
  } else if (from.type() == Cluster::STRICT_DNS || from.type() == Cluster::LOGICAL_DNS) {
    to.type = from.type() == Cluster::STRICT_DNS ? upstream::DiscoveryType::kStrictDns
                                                 : upstream::DiscoveryType::kLogicalDns;
    options = dns_options(from, path);
  } else {
    const auto unread = [&](bool set, const char* field) {
      if (set) ignored_.push_back({path + "." + field, "only a cluster with type: STRICT_DNS or LOGICAL_DNS reads it"});
    };
    unread(from.has_dns_refresh_rate(), "dns_refresh_rate");
    unread(from.has_dns_failure_refresh_rate(), "dns_failure_refresh_rate");
    unread(from.has_dns_jitter(), "dns_jitter");
    unread(from.respect_dns_ttl(), "respect_dns_ttl");
    unread(from.dns_lookup_family() != Cluster::AUTO, "dns_lookup_family");
    unread(from.dns_resolvers_size() > 0, "dns_resolvers");
    unread(from.use_tcp_for_dns_lookups(), "use_tcp_for_dns_lookups");
    unread(from.has_dns_resolution_config(), "dns_resolution_config");
    unread(from.has_typed_dns_resolver_config(), "typed_dns_resolver_config");
    return;
  }
  dns_targets(from, to, *options, path + ".load_assignment");
  to.dns = std::move(options);
}

void Translator::dns_targets(const cluster_v3::Cluster& from, upstream::ClusterOptions& cluster,
                             upstream::DnsOptions& to, Path path) {
  const std::vector<TransportMatch> transports = transports_of(from, cluster, path.substr(0, path.rfind('.')));
  for (int l = 0; l < from.load_assignment().endpoints_size(); ++l) {
    const auto& source = from.load_assignment().endpoints(l);
    for (int e = 0; e < source.lb_endpoints_size(); ++e) {
      const auto& endpoint = source.lb_endpoints(e);
      const std::string at = fmt::format("{}.endpoints[{}].lb_endpoints[{}].endpoint.address", path, l, e);
      if (!endpoint.endpoint().address().has_socket_address()) {
        error_if_first(at, "a name to resolve is missing", "write socket_address with the name as its address");
        continue;
      }
      const auto& named = endpoint.endpoint().address().socket_address();
      own_network_namespace(named, at + ".socket_address");
      upstream::DnsTarget target;
      target.name = named.address();
      target.services = names_services(named);
      target.priority = source.priority();
      target.locality = {source.locality().region(), source.locality().zone(), source.locality().sub_zone()};
      target.endpoint = this->endpoint(endpoint, transports, cluster);
      if (named.port_value() > 65535 || (named.port_value() == 0 && !target.services)) {
        error_if_first(at + ".socket_address.port_value", fmt::format("{} is not a port to connect to",
                                                                      named.port_value()),
                       "use 1 to 65535; 0 only with a name like _http._tcp.example.com, whose SRV records have ports");
      }
      target.endpoint.address.set_port(static_cast<uint16_t>(named.port_value()));
      to.targets.push_back(std::move(target));
    }
  }
  priorities_without_gap(from.load_assignment(), path);
  if (cluster.type == upstream::DiscoveryType::kLogicalDns && to.targets.size() != 1) {
    error_if_first(path, fmt::format("a LOGICAL_DNS cluster has one endpoint, not {}", to.targets.size()),
                   "write one name, or type: STRICT_DNS");
  }
}

}  // namespace millrace::config
