#include "route/table.h"

#include <algorithm>
#include <cstring>

#include "route/text.h"
#include "stream/grpc_status.h"

namespace millrace::route {
namespace {

using http::Header;

// Where the query or fragment begins; the size when there is neither.
size_t path_end(std::string_view path) {
  const void* question = std::memchr(path.data(), '?', path.size());
  size_t end =
      question == nullptr ? path.size() : static_cast<size_t>(static_cast<const char*>(question) - path.data());
  const void* fragment = std::memchr(path.data(), '#', end);
  if (fragment != nullptr) end = static_cast<size_t>(static_cast<const char*>(fragment) - path.data());
  return end;
}

bool conditions_hold(const Route& route, const MatchInput& input, std::string_view query) {
  const RouteMatch& match = route.options->match;
  if (match.grpc && !stream::is_grpc_request(&input.headers)) return false;
  if (match.runtime_fraction &&
      input.random % match.runtime_fraction->denominator >= match.runtime_fraction->numerator) {
    return false;
  }
  if (!matches_all(route.headers, input.headers)) return false;
  return std::all_of(route.query_parameters.begin(), route.query_parameters.end(),
                     [&](const QueryParameterMatcher& matcher) { return matcher.matches(query); });
}

}  // namespace

const VirtualHost* RouteTable::find_virtual_host(std::string_view authority) const {
  if (options_.ignore_port_in_host_matching) authority = without_port(authority);
  const uint32_t host = hosts_.find(authority);
  return host == HostIndex::kNone ? nullptr : virtual_hosts_[host].get();
}

const Route* RouteTable::match(const MatchInput& input) const {
  const VirtualHost* host = find_virtual_host(input.headers.get(Header::kAuthority));
  if (host == nullptr) return nullptr;
  if (host->options->require_tls != RequireTls::kNone) {
    const std::string_view proto = input.headers.get(Header::kForwardedProto);
    const bool secure = proto.data() == nullptr ? input.tls : http::equal_ignoring_case(proto, "https");
    const bool exempt = host->options->require_tls == RequireTls::kExternalOnly &&
                        input.headers.get(Header::kEnvoyInternal) == "true";
    if (!secure && !exempt) return &host->tls_redirect;
  }
  return match_route(*host, input);
}

const Route* RouteTable::match_route(const VirtualHost& host, const MatchInput& input) const {
  const std::string_view target = input.headers.get(Header::kPath);
  std::string_view path = target;
  std::string_view query;
  if (target.data() != nullptr) {
    path = target.substr(0, path_end(target));
    query = target.substr(path.size());
    if (query.starts_with('?')) {
      query.remove_prefix(1);
    } else {
      query = {};
    }
    if (options_.ignore_path_parameters_in_path_matching) path = path.substr(0, path.find(';'));
  }
  Candidates candidates(host.paths, path, input.headers.get(Header::kMethod) == "CONNECT");
  for (uint32_t at = candidates.next(); at != Candidates::kNone; at = candidates.next()) {
    const Route& route = host.routes[at];
    if (!route.has_conditions || conditions_hold(route, input, query)) return &route;
  }
  return nullptr;
}

ClusterChoice Route::choose_cluster(const http::HeaderMap& request, uint64_t random) const {
  const RouteAction& action = options->route;
  switch (action.cluster_kind) {
    case RouteAction::ClusterKind::kCluster: return {action.cluster, cluster_id, nullptr};
    case RouteAction::ClusterKind::kClusterHeader: return {request.get(action.cluster), kUnlistedCluster, nullptr};
    case RouteAction::ClusterKind::kWeightedClusters: break;
  }
  uint64_t value = random;
  if (!action.weighted_clusters_random_header.empty()) {
    value = parse_whole<uint64_t>(request.get(action.weighted_clusters_random_header)).value_or(random);
  }
  value %= weighted.back().end;
  const auto choice = std::upper_bound(weighted.begin(), weighted.end(), value,
                                       [](uint64_t v, const WeightedChoice& c) { return v < c.end; });
  if (!choice->name.empty()) return {choice->name, choice->cluster_id, &*choice};
  return {request.get(choice->options->cluster_header), kUnlistedCluster, &*choice};
}

const FilterOverrides& Route::filter_overrides(const http::HeaderMap& request, uint64_t random) const {
  if (!weighted_filter_overrides) return own_filter_overrides;
  const WeightedChoice* chosen = choose_cluster(request, random).weighted;
  return chosen->filter_overrides.empty() ? own_filter_overrides : chosen->filter_overrides;
}

const UpgradeConfig* Route::upgrade(std::string_view type) const {
  for (const UpgradeConfig& config : options->route.upgrade_configs) {
    if (http::equal_ignoring_case(config.type, type)) return &config;
  }
  return nullptr;
}

}  // namespace millrace::route
