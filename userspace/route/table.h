// The compiled route table: which route a request takes. Built once from RouteTableOptions on the main thread,
// immutable after that, shared by all workers through the Snapshot; match() takes no lock and allocates
// nothing. The first route that matches wins, as written, yet the routes are not walked: a host index finds the
// virtual host, its path index (path_index.h) names the few routes whose path condition can hold, in the order
// of the configuration, and only their headers, query parameters and fractions are checked. Routes that share
// one path or prefix and differ by other conditions only are walked one by one.
// Every Route, VirtualHost and name handed out lives as long as the table.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/header_map.h"
#include "route/host_index.h"
#include "route/matchers.h"
#include "route/mutations.h"
#include "route/options.h"
#include "route/path_index.h"
#include "route/regex.h"
#include "route/retry.h"

namespace millrace::route {

class RouteTable;
struct VirtualHost;

inline constexpr uint32_t kUnlistedCluster = ~0u;

// A compiled regex with its substitution.
struct CompiledRewrite {
  Regex regex;
  std::string substitution;
};

// What a route says for one filter of the connection manager.
struct FilterOverride {
  const PerFilterConfig* config = nullptr;
  bool said = false;      // whether the filter is disabled; else it is as in http_filters
  bool disabled = false;
};
using FilterOverrides = std::vector<FilterOverride>;  // by RouteTableOptions::filters; empty: nothing is said

// One entry of weighted_clusters.
struct WeightedChoice {
  std::string_view name;                // empty: take cluster_header
  uint32_t cluster_id = kUnlistedCluster;
  const WeightedCluster* options = nullptr;
  uint64_t end = 0;                     // sum of the weights up to and with this one
  HeaderEdits request_edits;
  HeaderEdits response_edits;
  FilterOverrides filter_overrides;     // the route's included
};

struct ClusterChoice {
  std::string_view name;                     // empty: a cluster_header that is absent
  uint32_t id = kUnlistedCluster;            // index into RouteTable::clusters(); kUnlistedCluster: look the name up
  const WeightedChoice* weighted = nullptr;  // its header edits and host rewrite apply too
};

struct Route {
  const RouteOptions* options = nullptr;
  const VirtualHost* virtual_host = nullptr;
  uint32_t index = 0;  // in its virtual host

  std::string_view name() const { return options->name; }
  ActionKind action() const { return options->action; }

  // For ActionKind::kRoute.
  uint32_t cluster_id = kUnlistedCluster;
  std::vector<WeightedChoice> weighted;
  const CompiledRetryPolicy* retry_policy = nullptr;  // the route's or its virtual host's; never null
  milliseconds timeout{15'000};                       // 0: none
  // random decides between weighted clusters: one value per request, the same at every call.
  ClusterChoice choose_cluster(const http::HeaderMap& request, uint64_t random) const;
  // Those of the weighted cluster, when the request goes to one: as choose_cluster().
  const FilterOverrides& filter_overrides(const http::HeaderMap& request, uint64_t random) const;
  // nullptr: the route says nothing of that upgrade type.
  const UpgradeConfig* upgrade(std::string_view type) const;

  // The rest is for rewrite.h and the table itself.
  std::unique_ptr<const CompiledRewrite> path_rewrite;      // regex_rewrite of the action, or of the redirect
  std::unique_ptr<const CompiledRewrite> host_rewrite;      // host_rewrite_path_regex
  http::Header host_rewrite_header = http::Header::kOther;
  HeaderEdits request_edits;
  HeaderEdits response_edits;
  std::vector<HeaderMatcher> headers;
  std::vector<QueryParameterMatcher> query_parameters;
  bool has_conditions = false;                              // anything beyond the path
  FilterOverrides own_filter_overrides;                     // the virtual host's included
  bool weighted_filter_overrides = false;
  std::unique_ptr<const CompiledRetryPolicy> own_retry_policy;
};

struct VirtualHost {
  const VirtualHostOptions* options = nullptr;
  const RouteTable* table = nullptr;
  std::string_view name() const { return options->name; }

  HeaderEdits request_edits;
  HeaderEdits response_edits;
  CompiledRetryPolicy retry_policy;  // for routes without one of their own
  std::vector<Route> routes;
  PathIndex paths;
  Route tls_redirect;                // what require_tls answers with
};

struct MatchInput {
  const http::HeaderMap& headers;
  uint64_t random = 0;  // for runtime_fraction; the same for every match of one request
  bool tls = false;     // of the downstream connection; x-forwarded-proto, when there is one, comes first
};

class RouteTable {
 public:
  // Errors name the field: "virtual_hosts[1].domains[0]: ...".
  static base::Result<std::shared_ptr<const RouteTable>> compile(RouteTableOptions options);
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;

  // nullptr: no route (NR, 404).
  const Route* match(const MatchInput& input) const;
  const VirtualHost* find_virtual_host(std::string_view authority) const;

  const RouteTableOptions& options() const { return options_; }
  // The distinct cluster names the routes mention, by id.
  const std::vector<std::string>& clusters() const { return clusters_; }
  const std::vector<std::unique_ptr<VirtualHost>>& virtual_hosts() const { return virtual_hosts_; }
  // Whether any route says anything for a filter.
  bool per_filter() const { return per_filter_; }
  const HeaderEdits& request_edits() const { return request_edits_; }
  const HeaderEdits& response_edits() const { return response_edits_; }

 private:
  friend class TableCompiler;
  RouteTable() = default;
  const Route* match_route(const VirtualHost& host, const MatchInput& input) const;

  RouteTableOptions options_;
  RouteOptions tls_redirect_options_;
  std::vector<std::string> clusters_;
  std::vector<std::unique_ptr<VirtualHost>> virtual_hosts_;
  HostIndex hosts_;
  HeaderEdits request_edits_;
  HeaderEdits response_edits_;
  bool per_filter_ = false;
};

}  // namespace millrace::route
