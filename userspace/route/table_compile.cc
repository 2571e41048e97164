// RouteTableOptions -> RouteTable: what is checked, and what is computed ahead of the first request.
#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <unordered_map>

#include "route/table.h"
#include "route/text.h"

namespace millrace::route {
namespace {

base::Error within(std::string_view field, base::Error error) {
  error.what = fmt::format("{}{}{}", field, error.what.starts_with('.') ? "" : ": ", error.what);
  return error;
}

// Puts a path like ".routes[3].match" in front of an error that has one of its own, or none.
base::Error beneath(std::string_view field, base::Error error) {
  error.what = fmt::format("{}.{}", field, error.what);
  return error;
}

base::Result<void> check_path(const PathMatch& path) {
  if (path.kind != PathMatch::Kind::kPathSeparatedPrefix) return {};
  if (path.value.size() < 2 || path.value.back() == '/' || path.value.find_first_of("?#") != std::string::npos) {
    return invalid(fmt::format("path_separated_prefix: \"{}\" must have at least two bytes, no \"?\" or \"#\" and no "
                               "slash at its end", path.value));
  }
  return {};
}

base::Result<void> check_match(const RouteMatch& match) {
  if (auto ok = check_path(match.path); !ok) return ok;
  if (match.runtime_fraction) {
    const uint32_t denominator = match.runtime_fraction->denominator;
    if (denominator != 100 && denominator != 10'000 && denominator != 1'000'000) {
      return invalid(fmt::format("runtime_fraction: denominator {} is not 100, 10000 or 1000000", denominator));
    }
  }
  return {};
}

base::Result<void> check_redirect(const RedirectAction& redirect) {
  constexpr std::array<uint32_t, 5> kCodes = {301, 302, 303, 307, 308};
  for (const uint32_t code : kCodes) if (code == redirect.response_code) return {};
  return invalid(fmt::format("response_code: {} is not 301, 302, 303, 307 or 308", redirect.response_code));
}

base::Result<std::unique_ptr<const CompiledRewrite>> compile_rewrite(const RegexRewrite& options) {
  auto regex = Regex::compile(options.pattern);
  if (!regex) return std::move(regex).error();
  if (auto ok = regex->check_substitution(options.substitution); !ok) return ok.error();
  return std::make_unique<const CompiledRewrite>(CompiledRewrite{*std::move(regex), options.substitution});
}

base::Result<void> compile_edits(const HeaderMutations& options, HeaderEdits& request, HeaderEdits& response) {
  auto request_edits =
      HeaderEdits::compile(options.request_headers_to_add, options.request_headers_to_remove, "request_headers");
  if (!request_edits) return std::move(request_edits).error();
  auto response_edits =
      HeaderEdits::compile(options.response_headers_to_add, options.response_headers_to_remove, "response_headers");
  if (!response_edits) return std::move(response_edits).error();
  request = *std::move(request_edits);
  response = *std::move(response_edits);
  return {};
}

}  // namespace

class TableCompiler {
 public:
  explicit TableCompiler(RouteTable& table) : table_(table) {}

  base::Result<void> run() {
    if (auto ok = compile_edits(table_.options_.mutations, table_.request_edits_, table_.response_edits_); !ok)
      return ok;
    table_.tls_redirect_options_.action = ActionKind::kRedirect;
    table_.tls_redirect_options_.redirect.https_redirect = true;
    for (size_t i = 0; i < table_.options_.virtual_hosts.size(); ++i) {
      VirtualHostOptions& options = table_.options_.virtual_hosts[i];
      auto host = std::make_unique<VirtualHost>();
      host->options = &options;
      host->table = &table_;
      table_.virtual_hosts_.push_back(std::move(host));
      if (auto ok = compile_host(*table_.virtual_hosts_.back(), static_cast<uint32_t>(i)); !ok) {
        return beneath(fmt::format("virtual_hosts[{}]", i), ok.error());
      }
    }
    return {};
  }

 private:
  base::Result<void> compile_domains(const VirtualHostOptions& options, uint32_t number) {
    if (options.domains.empty()) return invalid("domains: at least one is needed");
    for (size_t i = 0; i < options.domains.size(); ++i) {
      const std::string& domain = options.domains[i];
      if (domain.empty()) return invalid(fmt::format("domains[{}]: is empty", i));
      const uint32_t holder = table_.hosts_.add(domain, number);
      if (holder == HostIndex::kNone) continue;
      if (holder == number) {
        return invalid(fmt::format("domains[{}]: \"{}\" stands twice in virtual host \"{}\"", i, domain, options.name));
      }
      return invalid(fmt::format("domains[{}]: \"{}\" of virtual host \"{}\" belongs to virtual host \"{}\" "
                                 "(virtual_hosts[{}]) already", i, domain, options.name,
                                 table_.options_.virtual_hosts[holder].name, holder));
    }
    return {};
  }

  base::Result<void> compile_host(VirtualHost& host, uint32_t number) {
    VirtualHostOptions& options = table_.options_.virtual_hosts[number];
    if (auto ok = compile_domains(options, number); !ok) return ok;
    if (auto ok = compile_edits(options.mutations, host.request_edits, host.response_edits); !ok) return ok;
    auto policy = CompiledRetryPolicy::compile(options.retry_policy.value_or(RetryPolicy{}));
    if (!policy) return within("retry_policy", std::move(policy).error());
    host.retry_policy = *std::move(policy);
    host.tls_redirect.options = &table_.tls_redirect_options_;
    host.tls_redirect.virtual_host = &host;
    host.tls_redirect.retry_policy = &host.retry_policy;
    host.routes.reserve(options.routes.size());
    for (size_t i = 0; i < options.routes.size(); ++i) {
      Route& route = host.routes.emplace_back();
      route.options = &options.routes[i];
      route.virtual_host = &host;
      route.index = static_cast<uint32_t>(i);
      if (auto ok = compile_route(route, options.routes[i], host); !ok) {
        return beneath(fmt::format("routes[{}]", i), ok.error());
      }
    }
    host.paths.build();
    return {};
  }

  base::Result<void> compile_route(Route& route, RouteOptions& options, VirtualHost& host) {
    if (auto ok = compile_match(route, options.match, host); !ok) return beneath("match", ok.error());
    if (auto ok = compile_edits(options.mutations, route.request_edits, route.response_edits); !ok) return ok;
    route.retry_policy = &host.retry_policy;
    route.own_filter_overrides =
        overrides({&table_.options_.filter_overrides, &host.options->filter_overrides, &options.filter_overrides});
    switch (options.action) {
      case ActionKind::kRoute:
        if (auto ok = compile_action(route, options); !ok) return beneath("route", ok.error());
        break;
      case ActionKind::kRedirect:
        if (auto ok = check_redirect(options.redirect); !ok) return beneath("redirect", ok.error());
        if (options.redirect.path == RedirectAction::Path::kRegexRewrite) {
          auto rewrite = compile_rewrite(options.redirect.regex_rewrite);
          if (!rewrite) return within("redirect.regex_rewrite", std::move(rewrite).error());
          route.path_rewrite = *std::move(rewrite);
        }
        break;
      case ActionKind::kDirectResponse:
        if (auto ok = check_direct_response(options.direct_response); !ok)
          return beneath("direct_response", ok.error());
        break;
      case ActionKind::kNonForwarding: break;
    }
    return {};
  }

  base::Result<void> compile_match(Route& route, const RouteMatch& match, VirtualHost& host) {
    if (auto ok = check_match(match); !ok) return ok;
    auto headers = compile_all(match.headers, "headers");
    if (!headers) return std::move(headers).error();
    route.headers = *std::move(headers);
    auto parameters = compile_all(match.query_parameters, "query_parameters");
    if (!parameters) return std::move(parameters).error();
    route.query_parameters = *std::move(parameters);
    route.has_conditions = !match.headers.empty() || !match.query_parameters.empty() || match.grpc ||
                           match.runtime_fraction.has_value();
    if (auto ok = host.paths.add(match.path, route.has_conditions); !ok) return within("safe_regex", ok.error());
    return {};
  }

  base::Result<void> check_direct_response(const DirectResponseAction& response) {
    if (response.status < 200 || response.status > 599) {
      return invalid(fmt::format("status: {} is not in 200 to 599", response.status));
    }
    const uint32_t limit = table_.options_.max_direct_response_body_size_bytes;
    if (response.body.size() > limit) {
      return invalid(fmt::format("body: has {} bytes, max_direct_response_body_size_bytes allows {}",
                                 response.body.size(), limit));
    }
    return {};
  }

  base::Result<void> compile_action(Route& route, RouteOptions& options) {
    RouteAction& action = options.route;
    if (auto ok = compile_cluster(route, action); !ok) return ok;
    if (!action.prefix_rewrite.empty() && action.regex_rewrite) {
      return invalid("prefix_rewrite: only one of prefix_rewrite and regex_rewrite can be set");
    }
    if (action.regex_rewrite) {
      auto rewrite = compile_rewrite(*action.regex_rewrite);
      if (!rewrite) return within("regex_rewrite", std::move(rewrite).error());
      route.path_rewrite = *std::move(rewrite);
    }
    if (action.host_rewrite.kind == HostRewrite::Kind::kHeader) {
      action.host_rewrite.value = to_lower(action.host_rewrite.value);
      route.host_rewrite_header = http::header_id(action.host_rewrite.value);
    }
    if (action.host_rewrite.kind == HostRewrite::Kind::kPathRegex) {
      auto rewrite = compile_rewrite(action.host_rewrite.path_regex);
      if (!rewrite) return within("host_rewrite_path_regex", std::move(rewrite).error());
      route.host_rewrite = *std::move(rewrite);
    }
    if (action.retry_policy) {
      auto policy = CompiledRetryPolicy::compile(*action.retry_policy);
      if (!policy) return within("retry_policy", std::move(policy).error());
      route.own_retry_policy = std::make_unique<const CompiledRetryPolicy>(*std::move(policy));
      route.retry_policy = route.own_retry_policy.get();
    }
    route.timeout = limits_streams(action) ? milliseconds(0) : action.timeout.value_or(milliseconds(15'000));
    return {};
  }

  base::Result<void> compile_cluster(Route& route, RouteAction& action) {
    switch (action.cluster_kind) {
      case RouteAction::ClusterKind::kCluster:
        if (action.cluster.empty()) return invalid("cluster: is empty");
        route.cluster_id = cluster_id(action.cluster);
        return {};
      case RouteAction::ClusterKind::kClusterHeader:
        if (action.cluster.empty()) return invalid("cluster_header: is empty");
        action.cluster = to_lower(action.cluster);
        return {};
      case RouteAction::ClusterKind::kWeightedClusters: break;
    }
    action.weighted_clusters_random_header = to_lower(action.weighted_clusters_random_header);
    uint64_t sum = 0;
    for (size_t i = 0; i < action.weighted_clusters.size(); ++i) {
      WeightedCluster& options = action.weighted_clusters[i];
      const std::string field = fmt::format("weighted_clusters.clusters[{}]", i);
      if (options.name.empty() == options.cluster_header.empty()) {
        return within(field, invalid("needs exactly one of name and cluster_header"));
      }
      options.cluster_header = to_lower(options.cluster_header);
      WeightedChoice choice;
      choice.options = &options;
      choice.name = options.name;
      if (!options.name.empty()) choice.cluster_id = cluster_id(options.name);
      choice.end = sum += options.weight;
      if (auto ok = compile_edits(options.mutations, choice.request_edits, choice.response_edits); !ok) {
        return beneath(field, ok.error());
      }
      if (!options.filter_overrides.empty()) {
        choice.filter_overrides =
            overrides({&table_.options_.filter_overrides, &route.virtual_host->options->filter_overrides,
                       &route.options->filter_overrides, &options.filter_overrides});
        route.weighted_filter_overrides |= !choice.filter_overrides.empty();
      }
      route.weighted.push_back(std::move(choice));
    }
    if (sum == 0) return invalid("weighted_clusters: the weights add up to 0");
    if (sum > ~0u)
      return invalid(fmt::format("weighted_clusters: the weights add up to {}, more than 32 bits hold", sum));
    if (action.total_weight != 0 && action.total_weight != sum) {
      return invalid(fmt::format("weighted_clusters: the weights add up to {}, not to total_weight {}", sum,
                                 action.total_weight));
    }
    return {};
  }

  // Levels from the least specific one on.
  FilterOverrides overrides(std::initializer_list<const std::vector<FilterOverrideOptions>*> levels) {
    FilterOverrides out;
    for (const std::vector<FilterOverrideOptions>* level : levels) {
      for (const FilterOverrideOptions& one : *level) {
        for (size_t i = 0; i < table_.options_.filters.size(); ++i) {
          if (table_.options_.filters[i] != one.filter) continue;
          out.resize(table_.options_.filters.size());
          if (one.config != nullptr) out[i].config = one.config.get();
          out[i].said = true;
          out[i].disabled = one.disabled;
          table_.per_filter_ = true;
        }
      }
    }
    return out;
  }

  uint32_t cluster_id(const std::string& name) {
    const auto [it, inserted] = ids_.emplace(name, static_cast<uint32_t>(table_.clusters_.size()));
    if (inserted) table_.clusters_.push_back(name);
    return it->second;
  }

  RouteTable& table_;
  std::unordered_map<std::string, uint32_t> ids_;
};

base::Result<std::shared_ptr<const RouteTable>> RouteTable::compile(RouteTableOptions options) {
  std::shared_ptr<RouteTable> table(new RouteTable());
  table->options_ = std::move(options);
  if (auto ok = TableCompiler(*table).run(); !ok) return ok.error();
  return std::shared_ptr<const RouteTable>(std::move(table));
}

}  // namespace millrace::route
