#include <algorithm>

#include "config/translator.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "filter/hcm_worker.h"
#include "stats/names.h"
#include "stats/schema_http.h"
#include "stats/schema_tcp.h"

namespace millrace::config {

namespace router_v3 = envoy::extensions::filters::http::router::v3;

namespace {

bool is_router(const hcm_v3::HttpFilter& filter) {
  return filter.typed_config().Is<router_v3::Router>() ||
         (!filter.has_typed_config() && filter.name() == "envoy.filters.http.router");
}

}  // namespace

void Translator::hcm_http2(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path) {
  using Hcm = hcm_v3::HttpConnectionManager;
  switch (from.codec_type()) {
    case Hcm::HTTP1: to.codec = filter::Codec::kHttp1; break;
    case Hcm::HTTP2: to.codec = filter::Codec::kHttp2; break;
    default: to.codec = filter::Codec::kAuto; break;
  }
  const auto& options = from.http2_protocol_options();
  to.http2 = http2(options, path + ".http2_protocol_options");
  if (!options.has_override_stream_error_on_invalid_http_message() &&
      from.has_stream_error_on_invalid_http_message()) {
    to.http2.stream_error_on_invalid_http_message = from.stream_error_on_invalid_http_message().value();
  }
  to.premature_resets_max =
      runtime_integer("overload.premature_reset_total_stream_count").value_or(to.premature_resets_max);
  if (const auto seconds = runtime_integer("overload.premature_reset_min_stream_lifetime_seconds")) {
    to.premature_reset_lifetime = std::chrono::seconds(*seconds);
  }
}

void Translator::hcm_codec(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path) {
  if (from.has_max_request_headers_kb()) to.max_request_headers_kb = from.max_request_headers_kb().value();
  const auto& common = from.common_http_protocol_options();
  if (common.has_idle_timeout()) to.idle_timeout = duration(common.idle_timeout());
  if (common.has_max_connection_duration()) to.max_connection_duration = duration(common.max_connection_duration());
  if (common.has_max_stream_duration()) to.max_stream_duration = duration(common.max_stream_duration());
  if (common.has_max_headers_count()) to.max_headers_count = common.max_headers_count().value();
  if (common.has_max_requests_per_connection()) {
    to.max_requests_per_connection = common.max_requests_per_connection().value();
  }
  switch (common.headers_with_underscores_action()) {
    case core_v3::HttpProtocolOptions::REJECT_REQUEST:
      to.headers_with_underscores = filter::UnderscoreHeaders::kReject;
      break;
    case core_v3::HttpProtocolOptions::DROP_HEADER:
      to.headers_with_underscores = filter::UnderscoreHeaders::kDrop;
      break;
    default:
      break;
  }
  const auto& http1 = from.http_protocol_options();
  to.accept_http_10 = http1.accept_http_10();
  to.default_host_for_http_10 = http1.default_host_for_http_10();
  if (http1.has_allow_absolute_url()) to.allow_absolute_url = http1.allow_absolute_url().value();
  to.allow_chunked_length = http1.allow_chunked_length();
  to.allow_custom_methods = http1.allow_custom_methods();
  to.enable_trailers = http1.enable_trailers();
  to.proper_case_headers = http1.header_key_format().has_proper_case_words();
  if (from.has_stream_idle_timeout()) to.stream_idle_timeout = duration(from.stream_idle_timeout());
  if (from.has_request_timeout()) to.request_timeout = duration(from.request_timeout());
  if (from.has_request_headers_timeout()) to.request_headers_timeout = duration(from.request_headers_timeout());
  if (from.has_delayed_close_timeout()) to.delayed_close_timeout = duration(from.delayed_close_timeout());
  if (from.has_drain_timeout()) to.drain_timeout = duration(from.drain_timeout());
}

void Translator::hcm_headers(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path) {
  using Hcm = hcm_v3::HttpConnectionManager;
  to.use_remote_address = from.use_remote_address().value();
  to.xff_num_trusted_hops = from.xff_num_trusted_hops();
  to.skip_xff_append = from.skip_xff_append();
  to.append_x_forwarded_port = from.append_x_forwarded_port();
  using Forward = filter::ForwardClientCert;
  switch (from.forward_client_cert_details()) {
    case Hcm::FORWARD_ONLY: to.forward_client_cert = Forward::kForwardOnly; break;
    case Hcm::APPEND_FORWARD: to.forward_client_cert = Forward::kAppendForward; break;
    case Hcm::SANITIZE_SET: to.forward_client_cert = Forward::kSanitizeSet; break;
    case Hcm::ALWAYS_FORWARD_ONLY: to.forward_client_cert = Forward::kAlwaysForwardOnly; break;
    default: break;
  }
  const auto& details = from.set_current_client_cert_details();
  to.client_cert_details = {details.subject().value(), details.cert(), details.chain(), details.uri(), details.dns()};
  if (!from.server_name().empty()) to.server_name = from.server_name();
  switch (from.server_header_transformation()) {
    case Hcm::APPEND_IF_ABSENT:
      to.server_header_transformation = filter::ServerHeader::kAppendIfAbsent;
      break;
    case Hcm::PASS_THROUGH:
      to.server_header_transformation = filter::ServerHeader::kPassThrough;
      break;
    default:
      break;
  }
  to.via = from.via();
  if (from.has_scheme_header_transformation()) {
    to.scheme_to_overwrite = from.scheme_header_transformation().scheme_to_overwrite();
  }
  if (from.has_generate_request_id()) to.generate_request_id = from.generate_request_id().value();
  to.preserve_external_request_id = from.preserve_external_request_id();
  to.always_set_request_id_in_response = from.always_set_request_id_in_response();
  to.proxy_100_continue = from.proxy_100_continue();
  to.path.normalize = from.normalize_path().value();  // off unless asked for, as Envoy is built by default
  to.path.merge_slashes = from.merge_slashes();
  switch (from.path_with_escaped_slashes_action()) {
    case Hcm::REJECT_REQUEST:
      to.path.escaped_slashes = http::EscapedSlashes::kReject;
      break;
    case Hcm::UNESCAPE_AND_REDIRECT:
      to.path.escaped_slashes = http::EscapedSlashes::kUnescapeAndRedirect;
      break;
    case Hcm::UNESCAPE_AND_FORWARD:
      to.path.escaped_slashes = http::EscapedSlashes::kUnescapeAndForward;
      break;
    default:
      break;
  }
  to.strip_matching_host_port = from.strip_matching_host_port();
  to.strip_any_host_port = from.strip_any_host_port();
  to.strip_trailing_host_dot = from.strip_trailing_host_dot();
  for (const auto& upgrade : from.upgrade_configs()) {
    std::string type = upgrade.upgrade_type();
    std::transform(type.begin(), type.end(), type.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    to.upgrades.push_back({std::move(type), !upgrade.has_enabled() || upgrade.enabled().value()});
  }
  const auto& internal = from.internal_address_config();
  to.internal_unix_sockets = internal.unix_sockets();
  to.internal_ranges = cidr_ranges(internal.cidr_ranges(), path + ".internal_address_config.cidr_ranges");
}

std::vector<upstream::Cluster*> Translator::route_clusters(const route::RouteTable& table, bool validate, Path path) {
  std::vector<upstream::Cluster*> to;
  for (const std::string& name : table.clusters()) {
    upstream::Cluster* found = clusters_ != nullptr ? clusters_->find(name) : nullptr;
    if (found == nullptr && validate && !defined_clusters_.contains(name)) {
      error(path, fmt::format("a route names the unknown cluster '{}'", name),
            "define it in static_resources.clusters, or set validate_clusters: false");
    }
    to.push_back(found);
  }
  return to;
}

void Translator::http_filters(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path) {
  const std::string list = path + ".http_filters";
  if (from.http_filters_size() == 0) {
    error(path, "http_filters is empty", "end it with the router: - name: envoy.filters.http.router");
    return;
  }
  if (static_cast<size_t>(from.http_filters_size()) > filter::kHttpFiltersMax) {
    error(list, fmt::format("has {} filters, at most {} are possible", from.http_filters_size(),
                            filter::kHttpFiltersMax));
    return;
  }
  const std::vector<int> kept = kept_http_filters(from);
  bool has_router = false;
  for (const int i : kept) {
    const hcm_v3::HttpFilter& filter = from.http_filters(i);
    const std::string at = fmt::format("{}[{}]", list, i);
    if (is_router(filter)) {
      has_router = true;
      if (i != kept.back()) error(at, "the router must be the last HTTP filter", "move it to the end of http_filters");
      if (filter.disabled()) error(at + ".disabled", "the router cannot be disabled");
      router(from, i, to, path);
      continue;
    }
    if (!filter.has_typed_config()) {
      error(at, fmt::format("filter '{}' has no typed_config", filter.name()),
            "filters are known by the @type of their typed_config");
      continue;
    }
    FilterConfigPtr config = http_filter(filter.typed_config(), at + ".typed_config");
    if (config == nullptr) continue;  // an unknown type was reported by the table of supported fields
    if (filter.disabled()) to.disabled_filters |= uint64_t{1} << to.filters.size();
    to.filters.emplace_back(std::move(config));
  }
  if (!has_router) error(list, "there is no router", "end http_filters with - name: envoy.filters.http.router");
}

void Translator::router(const hcm_v3::HttpConnectionManager& from, int index, filter::HcmOptions& to, Path path) {
  const hcm_v3::HttpFilter& filter = from.http_filters(index);
  const std::string at = fmt::format("{}.http_filters[{}]", path, index);
  router_v3::Router config;
  if (filter.has_typed_config()) {
    if (!unpack(filter.typed_config(), config, at + ".typed_config")) return;
  } else {
    warning(at, "filter without typed_config is taken by its name",
            "add typed_config with @type: type.googleapis.com/envoy.extensions.filters.http.router.v3.Router");
  }
  router::HttpRouterOptions options;
  options.suppress_envoy_headers = config.suppress_envoy_headers();
  options.respect_expected_rq_timeout = config.respect_expected_rq_timeout();
  const bool validate = !from.route_config().has_validate_clusters() || from.route_config().validate_clusters().value();
  if (to.routes != nullptr) options.clusters = route_clusters(*to.routes, validate, path + ".route_config");
  to.filters.emplace_back(std::make_unique<router::HttpRouterConfig>(std::move(options)));
}

std::unique_ptr<const filter::NetworkFilterConfig> Translator::hcm(const hcm_v3::HttpConnectionManager& from,
                                                                   const Listener& listener, Path path) {
  const size_t errors_before = diagnostics_.errors();
  filter::HcmOptions to;
  to.stat_prefix = from.stat_prefix();
  hcm_codec(from, to, path);
  hcm_http2(from, to, path);
  hcm_headers(from, to, path);
  if (!from.has_route_config()) {
    if (from.route_specifier_case() == hcm_v3::HttpConnectionManager::ROUTE_SPECIFIER_NOT_SET) {
      error_if_first(path + ".route_config", "there are no routes", "add route_config with virtual_hosts");
    }
    return nullptr;
  }
  named_filters_.clear();
  for (const int i : kept_http_filters(from)) {
    const hcm_v3::HttpFilter& filter = from.http_filters(i);
    named_filters_.push_back({filter.name(), http_filter_kind(filter.typed_config())});
  }
  auto table = route::RouteTable::compile(route_table(from.route_config(), path + ".route_config"));
  if (table.ok()) {
    to.routes = std::move(*table);
  } else {
    // "virtual_hosts[1].domains[0]: what"
    const std::string& what = table.error().what;
    const size_t colon = what.find(": ");
    if (colon != std::string::npos && what.find(' ') > colon) {
      error(path + ".route_config." + what.substr(0, colon), what.substr(colon + 2));
    } else {
      error(path + ".route_config", what);
    }
  }
  http_filters(from, to, path);
  to.access_logs = access_logs(from.access_log(), path + ".access_log");
  if (diagnostics_.errors() != errors_before) return nullptr;
  to.stats = context_.store->add_block(stats::http::kSchema, stats::http_name(to.stat_prefix));
  to.http2_stats = context_.store->add_block(stats::http2_codec::kSchema, stats::plain_name("http2."));
  to.codec_stats = context_.store->add_block(stats::http1_codec::kSchema, stats::plain_name("http1."));
  if (!listener.addresses.empty()) {
    const std::string address = listener.stat_prefix.empty() ? listener.addresses[0].to_string() : listener.stat_prefix;
    to.listener_stats =
        context_.store->add_block(stats::listener_http::kSchema, stats::listener_http_name(address, to.stat_prefix));
  }
  return std::make_unique<filter::HcmConfig>(std::move(to));
}

std::unique_ptr<const filter::NetworkFilterConfig> Translator::tcp_proxy(const tcp_proxy_v3::TcpProxy& from,
                                                                         Path path) {
  const size_t errors_before = diagnostics_.errors();
  router::TcpProxyOptions to;
  to.stat_prefix = from.stat_prefix();
  const auto add = [&](const std::string& name, uint32_t weight, Path at) {
    upstream::Cluster* found = clusters_ != nullptr ? clusters_->find(name) : nullptr;
    if (found == nullptr && !defined_clusters_.contains(name)) {
      error(at, fmt::format("unknown cluster '{}'", name), "define it in static_resources.clusters");
    }
    to.clusters.push_back({found, name, weight});
  };
  if (from.has_weighted_clusters()) {
    for (int i = 0; i < from.weighted_clusters().clusters_size(); ++i) {
      const auto& one = from.weighted_clusters().clusters(i);
      add(one.name(), one.weight(), fmt::format("{}.weighted_clusters.clusters[{}].name", path, i));
    }
  } else {
    add(from.cluster(), 1, path + ".cluster");
  }
  if (from.has_idle_timeout()) to.idle_timeout = duration(from.idle_timeout());
  if (from.has_max_downstream_connection_duration()) {
    to.max_downstream_connection_duration = duration(from.max_downstream_connection_duration());
  }
  if (from.has_max_connect_attempts()) to.max_connect_attempts = from.max_connect_attempts().value();
  if (from.has_backoff_options()) {
    to.backoff_base = duration(from.backoff_options().base_interval());
    to.backoff_max = from.backoff_options().has_max_interval() ? duration(from.backoff_options().max_interval())
                                                               : 10 * to.backoff_base;
  }
  to.access_logs = access_logs(from.access_log(), path + ".access_log");
  // The two older fields, or the message that took their place.
  if (from.has_access_log_flush_interval()) to.access_log_flush_interval = duration(from.access_log_flush_interval());
  to.flush_access_log_on_connected = from.flush_access_log_on_connected();
  if (from.has_access_log_options()) {
    const auto& options = from.access_log_options();
    if (from.has_access_log_flush_interval() || from.flush_access_log_on_connected()) {
      error(path + ".access_log_options", "set beside access_log_flush_interval or flush_access_log_on_connected",
            "keep access_log_options, which has both");
    }
    if (options.has_access_log_flush_interval())
      to.access_log_flush_interval = duration(options.access_log_flush_interval());
    to.flush_access_log_on_connected = options.flush_access_log_on_connected();
  }
  if (diagnostics_.errors() != errors_before) return nullptr;
  to.stats = context_.store->add_block(stats::tcp::kSchema, stats::tcp_name(to.stat_prefix));
  return std::make_unique<router::TcpProxyConfig>(std::move(to));
}

}  // namespace millrace::config
