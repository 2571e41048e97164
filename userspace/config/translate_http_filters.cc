// The HTTP filters of a connection manager, and what routes say for them: one kind per type of configuration.
#include <algorithm>
#include <array>

#include "config/translator.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/filters/http/grpc_http1_bridge/v3/config.pb.h"
#include "envoy/extensions/filters/http/grpc_http1_reverse_bridge/v3/config.pb.h"
#include "envoy/extensions/filters/http/grpc_stats/v3/config.pb.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "filter/grpc_http1_bridge_filter.h"
#include "filter/grpc_reverse_bridge_filter.h"
#include "filter/grpc_stats_filter.h"
#include "filter/grpc_web_filter.h"
#include "http/header_map.h"

namespace millrace::config {

namespace pb = google::protobuf;
namespace http_v3 = envoy::extensions::filters::http;

struct Translator::HttpFilterKind {
  std::string_view type;        // of its configuration
  FilterConfigPtr (Translator::*make)(const pb::Any&, Path);
  std::string_view route_type;  // of what a route says for it; empty: nothing but FilterConfig
  PerFilterConfigPtr (Translator::*make_route)(const pb::Any&, Path);
};

namespace {

// "type.googleapis.com/a.b.C" -> "a.b.C"
std::string_view type_of(const pb::Any& any) {
  const std::string_view url = any.type_url();
  return url.substr(url.rfind('/') + 1);
}

}  // namespace

const Translator::HttpFilterKind* Translator::http_filter_kind(const pb::Any& config) {
  static constexpr std::array kKinds = {
      HttpFilterKind{"envoy.extensions.filters.http.grpc_http1_bridge.v3.Config", &Translator::grpc_http1_bridge, {},
                     nullptr},
      HttpFilterKind{"envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
                     &Translator::grpc_reverse_bridge,
                     "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute",
                     &Translator::grpc_reverse_bridge_route},
      HttpFilterKind{"envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
                     &Translator::grpc_json_transcoder,
                     "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
                     &Translator::grpc_json_transcoder_route},
      HttpFilterKind{"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", &Translator::grpc_stats, {}, nullptr},
      HttpFilterKind{"envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", &Translator::grpc_web, {}, nullptr},
  };
  const std::string_view type = type_of(config);
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& kind) { return kind.type == type; });
  return found == kKinds.end() ? nullptr : found;
}

std::vector<int> Translator::kept_http_filters(const hcm_v3::HttpConnectionManager& from) {
  std::vector<int> kept;
  for (int i = 0; i < from.http_filters_size(); ++i) {
    const hcm_v3::HttpFilter& filter = from.http_filters(i);
    const bool known = !filter.has_typed_config() || http_filter_kind(filter.typed_config()) != nullptr ||
                       filter.typed_config().Is<http_v3::router::v3::Router>();
    if (known || !filter.is_optional()) kept.push_back(i);
  }
  return kept;
}

Translator::FilterConfigPtr Translator::http_filter(const pb::Any& config, Path path) {
  const HttpFilterKind* kind = http_filter_kind(config);
  return kind == nullptr ? nullptr : (this->*kind->make)(config, path);
}

// Either what the filter has for routes, or a FilterConfig around it.
route::FilterOverrideOptions Translator::filter_override(const std::string& filter, const pb::Any& config, Path path) {
  route::FilterOverrideOptions to;
  to.filter = filter;
  const pb::Any* content = &config;
  envoy::config::route::v3::FilterConfig wrapper;
  if (config.Is<envoy::config::route::v3::FilterConfig>()) {
    if (!unpack(config, wrapper, path)) return to;
    to.disabled = wrapper.disabled();
    if (!wrapper.has_config()) content = nullptr;
    if (content != nullptr) content = &wrapper.config();
  }
  const auto named = std::find_if(named_filters_.begin(), named_filters_.end(),
                                  [&](const NamedFilter& one) { return one.name == filter; });
  if (named == named_filters_.end()) {
    if (!wrapper.is_optional()) {
      warning(path, fmt::format("http_filters has no filter '{}'", filter), "this has no effect");
    }
    return to;
  }
  const HttpFilterKind* kind = named->kind;
  if (to.disabled && named + 1 == named_filters_.end()) error(path, "the router cannot be disabled");
  if (content == nullptr || kind == nullptr) return to;
  if (kind->route_type != type_of(*content)) {
    if (wrapper.is_optional()) return to;
    error(path, fmt::format("filter '{}' takes no {} from a route", filter, type_of(*content)),
          kind->route_type.empty() ? "it takes an envoy.config.route.v3.FilterConfig with `disabled` only"
                                   : fmt::format("it takes an {}", kind->route_type));
    return to;
  }
  to.config = (this->*kind->make_route)(*content, path);
  return to;
}

// ---- the kinds

Translator::FilterConfigPtr Translator::grpc_http1_bridge(const pb::Any& from, Path path) {
  http_v3::grpc_http1_bridge::v3::Config config;
  if (!unpack(from, config, path)) return nullptr;
  filter::GrpcHttp1BridgeOptions to;
  to.upgrade_protobuf_to_grpc = config.upgrade_protobuf_to_grpc();
  to.ignore_query_parameters = config.ignore_query_parameters();
  return std::make_unique<filter::GrpcHttp1BridgeConfig>(to);
}

Translator::FilterConfigPtr Translator::grpc_reverse_bridge(const pb::Any& from, Path path) {
  http_v3::grpc_http1_reverse_bridge::v3::FilterConfig config;
  if (!unpack(from, config, path)) return nullptr;
  filter::GrpcReverseBridgeOptions to;
  to.content_type = config.content_type();
  to.withhold_grpc_frames = config.withhold_grpc_frames();
  to.response_size_header = config.response_size_header();
  std::transform(to.response_size_header.begin(), to.response_size_header.end(), to.response_size_header.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!http::valid_value(to.content_type)) error(path + ".content_type", "has bytes that no header may have");
  if (!to.response_size_header.empty() && !to.withhold_grpc_frames) {
    warning(path + ".response_size_header", "has an effect with withhold_grpc_frames only");
  }
  return std::make_unique<filter::GrpcReverseBridgeConfig>(std::move(to));
}

Translator::PerFilterConfigPtr Translator::grpc_reverse_bridge_route(const pb::Any& from, Path path) {
  http_v3::grpc_http1_reverse_bridge::v3::FilterConfigPerRoute config;
  if (!unpack(from, config, path)) return nullptr;
  return std::make_shared<filter::GrpcReverseBridgeRoute>(config.disabled());
}

Translator::FilterConfigPtr Translator::grpc_stats(const pb::Any& from, Path path) {
  http_v3::grpc_stats::v3::FilterConfig config;
  if (!unpack(from, config, path)) return nullptr;
  filter::GrpcStatsOptions to;
  to.all_methods = config.stats_for_all_methods().value();
  for (const auto& service : config.individual_method_stats_allowlist().services()) {
    to.allowlist.push_back({service.name(), {service.method_names().begin(), service.method_names().end()}});
  }
  to.enable_upstream_stats = config.enable_upstream_stats();
  to.replace_dots_in_service = config.replace_dots_in_grpc_service_name();
  if (to.replace_dots_in_service && !to.all_methods) {
    warning(path + ".replace_dots_in_grpc_service_name", "has an effect with stats_for_all_methods only");
  }
  return std::make_unique<filter::GrpcStatsConfig>(std::move(to), *context_.store);
}

Translator::FilterConfigPtr Translator::grpc_web(const pb::Any&, Path) {
  return std::make_unique<filter::GrpcWebConfig>(*context_.store);
}

}  // namespace millrace::config
