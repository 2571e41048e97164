#include "config/translator.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace millrace::config {

template <class Message>
route::HeaderMutations Translator::mutations(const Message& from, Path path) {
  route::HeaderMutations to;
  const auto add = [&](const auto& list, const char* field, std::vector<route::HeaderToAdd>& out) {
    for (int i = 0; i < list.size(); ++i)
      out.push_back(header_to_add(list[i], fmt::format("{}.{}[{}]", path, field, i)));
  };
  add(from.request_headers_to_add(), "request_headers_to_add", to.request_headers_to_add);
  add(from.response_headers_to_add(), "response_headers_to_add", to.response_headers_to_add);
  to.request_headers_to_remove.assign(from.request_headers_to_remove().begin(), from.request_headers_to_remove().end());
  to.response_headers_to_remove.assign(from.response_headers_to_remove().begin(),
                                       from.response_headers_to_remove().end());
  return to;
}

template <class Message>
std::vector<route::FilterOverrideOptions> Translator::filter_overrides(const Message& from, Path path) {
  std::vector<route::FilterOverrideOptions> to;
  for (const auto& [filter, config] : from.typed_per_filter_config()) {
    to.push_back(filter_override(filter, config, fmt::format("{}.typed_per_filter_config[\"{}\"]", path, filter)));
  }
  return to;
}

route::HeaderToAdd Translator::header_to_add(const core_v3::HeaderValueOption& from, Path) {
  route::HeaderToAdd to;
  to.name = from.header().key();
  to.value = from.header().raw_value().empty() ? from.header().value() : from.header().raw_value();
  to.keep_empty_value = from.keep_empty_value();
  if (from.has_append()) {  // deprecated, and stronger than append_action when it is there
    to.append_action = from.append().value() ? route::AppendAction::kAppendIfExistsOrAdd
                                             : route::AppendAction::kOverwriteIfExistsOrAdd;
    return to;
  }
  switch (from.append_action()) {
    case core_v3::HeaderValueOption::ADD_IF_ABSENT:
      to.append_action = route::AppendAction::kAddIfAbsent;
      break;
    case core_v3::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD:
      to.append_action = route::AppendAction::kOverwriteIfExistsOrAdd;
      break;
    case core_v3::HeaderValueOption::OVERWRITE_IF_EXISTS:
      to.append_action = route::AppendAction::kOverwriteIfExists;
      break;
    default:
      to.append_action = route::AppendAction::kAppendIfExistsOrAdd;
      break;
  }
  return to;
}

route::RouteTableOptions Translator::route_table(const route_v3::RouteConfiguration& from, Path path) {
  route::RouteTableOptions to;
  to.name = from.name();
  to.mutations = mutations(from, path);
  to.most_specific_header_mutations_wins = from.most_specific_header_mutations_wins();
  to.internal_only_headers.assign(from.internal_only_headers().begin(), from.internal_only_headers().end());
  if (from.has_max_direct_response_body_size_bytes()) {
    to.max_direct_response_body_size_bytes = from.max_direct_response_body_size_bytes().value();
  }
  to.ignore_port_in_host_matching = from.ignore_port_in_host_matching();
  to.ignore_path_parameters_in_path_matching = from.ignore_path_parameters_in_path_matching();
  for (const NamedFilter& filter : named_filters_) to.filters.push_back(filter.name);
  to.filter_overrides = filter_overrides(from, path);
  for (int i = 0; i < from.virtual_hosts_size(); ++i) {
    to.virtual_hosts.push_back(virtual_host(from.virtual_hosts(i), fmt::format("{}.virtual_hosts[{}]", path, i)));
  }
  return to;
}

route::VirtualHostOptions Translator::virtual_host(const route_v3::VirtualHost& from, Path path) {
  route::VirtualHostOptions to;
  to.name = from.name();
  to.domains.assign(from.domains().begin(), from.domains().end());
  switch (from.require_tls()) {
    case route_v3::VirtualHost::EXTERNAL_ONLY:
      to.require_tls = route::RequireTls::kExternalOnly;
      break;
    case route_v3::VirtualHost::ALL:
      to.require_tls = route::RequireTls::kAll;
      break;
    default:
      break;
  }
  to.mutations = mutations(from, path);
  if (from.has_retry_policy()) to.retry_policy = retry_policy(from.retry_policy(), path + ".retry_policy");
  if (from.has_per_request_buffer_limit_bytes()) {
    to.per_request_buffer_limit_bytes = from.per_request_buffer_limit_bytes().value();
  }
  to.include_request_attempt_count = from.include_request_attempt_count();
  to.include_attempt_count_in_response = from.include_attempt_count_in_response();
  to.include_is_timeout_retry_header = from.include_is_timeout_retry_header();
  to.filter_overrides = filter_overrides(from, path);
  for (int i = 0; i < from.routes_size(); ++i) {
    to.routes.push_back(route(from.routes(i), fmt::format("{}.routes[{}]", path, i)));
  }
  return to;
}

route::RouteMatch Translator::route_match(const route_v3::RouteMatch& from, Path path) {
  using Kind = route::PathMatch::Kind;
  route::RouteMatch to;
  if (from.has_case_sensitive()) to.path.case_sensitive = from.case_sensitive().value();
  switch (from.path_specifier_case()) {
    case route_v3::RouteMatch::kPrefix:
      to.path.value = from.prefix();
      break;
    case route_v3::RouteMatch::kPath:
      to.path.kind = Kind::kPath;
      to.path.value = from.path();
      break;
    case route_v3::RouteMatch::kSafeRegex:
      to.path.kind = Kind::kSafeRegex;
      to.path.value = from.safe_regex().regex();
      break;
    case route_v3::RouteMatch::kPathSeparatedPrefix:
      to.path.kind = Kind::kPathSeparatedPrefix;
      to.path.value = from.path_separated_prefix();
      break;
    case route_v3::RouteMatch::kConnectMatcher:
      to.path.kind = Kind::kConnect;
      break;
    default:
      error_if_first(path, "no path is matched", "set one of prefix, path, safe_regex, path_separated_prefix");
      break;
  }
  for (const auto& header : from.headers()) to.headers.push_back(header_match(header));
  for (const auto& parameter : from.query_parameters()) {
    route::QueryParameterMatch match;
    match.name = parameter.name();
    if (parameter.has_string_match()) {
      match.kind = route::QueryParameterMatch::Kind::kString;
      match.string = string_match(parameter.string_match());
    } else if (parameter.query_parameter_match_specifier_case() == route_v3::QueryParameterMatcher::kPresentMatch) {
      match.present = parameter.present_match();
    }
    to.query_parameters.push_back(std::move(match));
  }
  if (from.has_runtime_fraction())
    to.runtime_fraction = fraction(from.runtime_fraction().default_value(), from.runtime_fraction().runtime_key());
  to.grpc = from.has_grpc();
  return to;
}

route::RouteOptions Translator::route(const route_v3::Route& from, Path path) {
  route::RouteOptions to;
  to.name = from.name();
  to.stat_prefix = from.stat_prefix();
  to.match = route_match(from.match(), path + ".match");
  to.filter_overrides = filter_overrides(from, path);
  to.mutations = mutations(from, path);
  if (from.has_per_request_buffer_limit_bytes()) {
    to.per_request_buffer_limit_bytes = from.per_request_buffer_limit_bytes().value();
  }
  switch (from.action_case()) {
    case route_v3::Route::kRoute:
      to.route = route_action(from.route(), path + ".route");
      break;
    case route_v3::Route::kRedirect:
      to.action = route::ActionKind::kRedirect;
      to.redirect = redirect(from.redirect());
      break;
    case route_v3::Route::kDirectResponse:
      to.action = route::ActionKind::kDirectResponse;
      to.direct_response.status = from.direct_response().status();
      if (from.direct_response().has_body()) {
        to.direct_response.body = data_source(from.direct_response().body(), path + ".direct_response.body");
      }
      break;
    case route_v3::Route::kNonForwardingAction:
      to.action = route::ActionKind::kNonForwarding;
      break;
    default:
      error_if_first(path, "the route does nothing", "set one of route, redirect, direct_response");
      break;
  }
  return to;
}

void Translator::weighted_clusters(const route_v3::WeightedCluster& from, route::RouteAction& to, Path path) {
  to.cluster_kind = route::RouteAction::ClusterKind::kWeightedClusters;
  to.total_weight = from.has_total_weight() ? from.total_weight().value() : 0;
  to.weighted_clusters_random_header = from.header_name();
  for (int i = 0; i < from.clusters_size(); ++i) {
    const auto& one = from.clusters(i);
    const std::string at = fmt::format("{}.clusters[{}]", path, i);
    route::WeightedCluster out;
    out.name = one.name();
    out.cluster_header = one.cluster_header();
    out.weight = one.weight().value();
    if (!from.runtime_key_prefix().empty()) {
      out.weight = runtime_integer(from.runtime_key_prefix() + "." + one.name()).value_or(out.weight);
    }
    out.host_rewrite_literal = one.host_rewrite_literal();
    out.mutations = mutations(one, at);
    out.filter_overrides = filter_overrides(one, at);
    to.weighted_clusters.push_back(std::move(out));
  }
}

route::RouteAction Translator::route_action(const route_v3::RouteAction& from, Path path) {
  route::RouteAction to;
  switch (from.cluster_specifier_case()) {
    case route_v3::RouteAction::kCluster:
      to.cluster = from.cluster();
      break;
    case route_v3::RouteAction::kClusterHeader:
      to.cluster_kind = route::RouteAction::ClusterKind::kClusterHeader;
      to.cluster = from.cluster_header();
      break;
    case route_v3::RouteAction::kWeightedClusters:
      weighted_clusters(from.weighted_clusters(), to, path + ".weighted_clusters");
      break;
    default:
      error_if_first(path, "no cluster is named", "set cluster, cluster_header or weighted_clusters");
      break;
  }
  switch (from.cluster_not_found_response_code()) {
    case route_v3::RouteAction::NOT_FOUND:
      to.cluster_not_found_response_code = 404;
      break;
    case route_v3::RouteAction::INTERNAL_SERVER_ERROR:
      to.cluster_not_found_response_code = 500;
      break;
    default:
      break;
  }
  to.prefix_rewrite = from.prefix_rewrite();
  if (from.has_regex_rewrite()) to.regex_rewrite = regex_rewrite(from.regex_rewrite());
  using Rewrite = route::HostRewrite::Kind;
  switch (from.host_rewrite_specifier_case()) {
    case route_v3::RouteAction::kHostRewriteLiteral:
      to.host_rewrite = {Rewrite::kLiteral, from.host_rewrite_literal(), {}};
      break;
    case route_v3::RouteAction::kAutoHostRewrite:
      if (from.auto_host_rewrite().value()) to.host_rewrite.kind = Rewrite::kAuto;
      break;
    case route_v3::RouteAction::kHostRewriteHeader:
      to.host_rewrite = {Rewrite::kHeader, from.host_rewrite_header(), {}};
      break;
    case route_v3::RouteAction::kHostRewritePathRegex:
      to.host_rewrite = {Rewrite::kPathRegex, {}, regex_rewrite(from.host_rewrite_path_regex())};
      break;
    default:
      break;
  }
  to.append_x_forwarded_host = from.append_x_forwarded_host();
  if (from.has_timeout()) to.timeout = duration(from.timeout());
  if (from.has_idle_timeout()) to.idle_timeout = duration(from.idle_timeout());
  if (from.has_max_stream_duration()) {
    const auto& limit = from.max_stream_duration();
    if (limit.has_max_stream_duration()) to.max_stream_duration = duration(limit.max_stream_duration());
    if (limit.has_grpc_timeout_header_max()) to.grpc_timeout_header_max = duration(limit.grpc_timeout_header_max());
    if (limit.has_grpc_timeout_header_offset()) {
      to.grpc_timeout_header_offset = duration(limit.grpc_timeout_header_offset());
    }
  }
  if (from.has_max_grpc_timeout()) to.max_grpc_timeout = duration(from.max_grpc_timeout());
  if (from.has_grpc_timeout_offset()) to.grpc_timeout_offset = duration(from.grpc_timeout_offset());
  if (from.has_retry_policy()) to.retry_policy = retry_policy(from.retry_policy(), path + ".retry_policy");
  if (from.priority() == core_v3::HIGH) to.priority = route::Priority::kHigh;
  for (const auto& upgrade : from.upgrade_configs()) {
    to.upgrade_configs.push_back({upgrade.upgrade_type(), !upgrade.has_enabled() || upgrade.enabled().value()});
  }
  return to;
}

route::RedirectAction Translator::redirect(const route_v3::RedirectAction& from) {
  using PathKind = route::RedirectAction::Path;
  route::RedirectAction to;
  to.https_redirect = from.https_redirect();
  to.scheme_redirect = from.scheme_redirect();
  to.host_redirect = from.host_redirect();
  to.port_redirect = from.port_redirect();
  to.strip_query = from.strip_query();
  switch (from.path_rewrite_specifier_case()) {
    case route_v3::RedirectAction::kPathRedirect:
      to.path = PathKind::kReplace;
      to.path_value = from.path_redirect();
      break;
    case route_v3::RedirectAction::kPrefixRewrite:
      to.path = PathKind::kPrefixRewrite;
      to.path_value = from.prefix_rewrite();
      break;
    case route_v3::RedirectAction::kRegexRewrite:
      to.path = PathKind::kRegexRewrite;
      to.regex_rewrite = regex_rewrite(from.regex_rewrite());
      break;
    default:
      break;
  }
  switch (from.response_code()) {
    case route_v3::RedirectAction::FOUND:
      to.response_code = 302;
      break;
    case route_v3::RedirectAction::SEE_OTHER:
      to.response_code = 303;
      break;
    case route_v3::RedirectAction::TEMPORARY_REDIRECT:
      to.response_code = 307;
      break;
    case route_v3::RedirectAction::PERMANENT_REDIRECT:
      to.response_code = 308;
      break;
    default:
      to.response_code = 301;
      break;
  }
  return to;
}

route::RetryPolicy Translator::retry_policy(const route_v3::RetryPolicy& from, Path path) {
  route::RetryPolicy to;
  if (base::Result<uint32_t> on = route::parse_retry_on(from.retry_on()); on.ok()) {
    to.retry_on = *on;
  } else {
    error(path + ".retry_on", on.error().what);
  }
  if (from.has_num_retries()) to.num_retries = from.num_retries().value();
  if (from.has_per_try_timeout()) to.per_try_timeout = duration(from.per_try_timeout());
  if (from.has_per_try_idle_timeout()) to.per_try_idle_timeout = duration(from.per_try_idle_timeout());
  to.retriable_status_codes.assign(from.retriable_status_codes().begin(), from.retriable_status_codes().end());
  for (const auto& header : from.retriable_headers()) to.retriable_headers.push_back(header_match(header));
  for (const auto& header : from.retriable_request_headers()) {
    to.retriable_request_headers.push_back(header_match(header));
  }
  if (from.has_retry_back_off()) {
    to.base_interval = duration(from.retry_back_off().base_interval());
    if (from.retry_back_off().has_max_interval()) to.max_interval = duration(from.retry_back_off().max_interval());
  }
  if (from.host_selection_retry_max_attempts() > 0) {
    to.host_selection_retry_max_attempts = static_cast<uint32_t>(from.host_selection_retry_max_attempts());
  }
  for (int i = 0; i < from.retry_host_predicate_size(); ++i) {
    const auto& predicate = from.retry_host_predicate(i);
    const std::string& url = predicate.typed_config().type_url();
    // Many tutorials give the name alone.
    if (url.ends_with("PreviousHostsPredicate") || predicate.name() == "envoy.retry_host_predicates.previous_hosts") {
      to.previous_hosts = true;
    } else if (url.ends_with("OmitCanaryHostsPredicate") ||
               predicate.name() == "envoy.retry_host_predicates.omit_canary_hosts") {
      to.omit_canary_hosts = true;
    } else {
      error(fmt::format("{}.retry_host_predicate[{}]", path, i),
            fmt::format("unknown predicate '{}'", predicate.name()),
            "use envoy.retry_host_predicates.previous_hosts or envoy.retry_host_predicates.omit_canary_hosts");
    }
  }
  if (from.has_rate_limited_retry_back_off()) {
    route::RateLimitedRetryBackOff limited;
    const auto& source = from.rate_limited_retry_back_off();
    if (source.has_max_interval()) limited.max_interval = duration(source.max_interval());
    for (const auto& header : source.reset_headers()) {
      limited.reset_headers.push_back({header.name(), header.format() == route_v3::RetryPolicy::UNIX_TIMESTAMP
                                                          ? route::ResetHeader::Format::kUnixTimestamp
                                                          : route::ResetHeader::Format::kSeconds});
    }
    to.rate_limited_retry_back_off = std::move(limited);
  }
  return to;
}

}  // namespace millrace::config
