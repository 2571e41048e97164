// What a cluster says about HTTP: the HttpProtocolOptions extension, and the fields of the cluster that it replaced.
#include "config/translator.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "route/text.h"

namespace millrace::config {

namespace http_v3 = envoy::extensions::upstreams::http::v3;
using upstream::HttpProtocol;

namespace {

constexpr const char* kHttpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

}  // namespace

void Translator::common_http(const core_v3::HttpProtocolOptions& from, upstream::HttpOptions& to) {
  if (from.has_idle_timeout()) to.idle_timeout = duration(from.idle_timeout());
  if (from.has_max_connection_duration()) to.max_connection_duration = duration(from.max_connection_duration());
  if (from.has_max_stream_duration()) to.max_stream_duration = duration(from.max_stream_duration());
  if (from.has_max_headers_count()) to.max_headers_count = from.max_headers_count().value();
  if (from.has_max_requests_per_connection()) {
    to.max_requests_per_connection = from.max_requests_per_connection().value();
  }
  if (from.has_max_response_headers_kb()) to.max_response_headers_kb = from.max_response_headers_kb().value();
}

void Translator::http1(const core_v3::Http1ProtocolOptions& from, upstream::HttpOptions& to, Path path) {
  to.proper_case_header_keys = from.header_key_format().has_proper_case_words();
  to.enable_trailers = from.enable_trailers();
  to.send_fully_qualified_url = from.send_fully_qualified_url();
  // The table knows the field, for listeners.
  if (from.allow_chunked_length()) {
    error(path + ".allow_chunked_length", "known to Envoy, not supported for responses by Millrace yet");
  }
}

void Translator::server_name_by_request(const core_v3::UpstreamHttpProtocolOptions& from, upstream::HttpOptions& to) {
  to.auto_sni = from.auto_sni();
  to.auto_san_validation = from.auto_san_validation();
  to.override_auto_sni_header = route::to_lower(from.override_auto_sni_header());
}

void Translator::http_options(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path) {
  if (from.has_common_http_protocol_options()) common_http(from.common_http_protocol_options(), to.http);
  if (from.has_http_protocol_options()) http1(from.http_protocol_options(), to.http, path + ".http_protocol_options");
  if (from.has_http2_protocol_options()) {
    to.http.protocol = HttpProtocol::kHttp2;
    to.http.http2 = http2(from.http2_protocol_options(), path + ".http2_protocol_options");
  }
  if (from.protocol_selection() == cluster_v3::Cluster::USE_DOWNSTREAM_PROTOCOL) {
    to.http.protocol = HttpProtocol::kDownstream;
  }
  if (from.has_upstream_http_protocol_options()) {
    server_name_by_request(from.upstream_http_protocol_options(), to.http);
  }
  if (from.has_max_requests_per_connection()) {
    to.http.max_requests_per_connection = from.max_requests_per_connection().value();
  }
  for (const auto& [key, any] : from.typed_extension_protocol_options()) {
    const std::string at = fmt::format("{}.typed_extension_protocol_options[\"{}\"]", path, key);
    if (key == kHttpProtocolOptions) {
      http_protocol_options(any, to.http, at);
    } else {
      error_if_first(at, "no extension of that name has protocol options here",
                     fmt::format("use {}", kHttpProtocolOptions));
    }
  }
}

void Translator::http_protocol_options(const google::protobuf::Any& from, upstream::HttpOptions& to, Path path) {
  http_v3::HttpProtocolOptions options;
  if (!unpack(from, options, path)) return;
  if (options.has_common_http_protocol_options()) common_http(options.common_http_protocol_options(), to);
  if (options.has_upstream_http_protocol_options()) {
    server_name_by_request(options.upstream_http_protocol_options(), to);
  }
  const auto both = [&](const auto& config, Path at) {
    if (config.has_http_protocol_options()) http1(config.http_protocol_options(), to, at + ".http_protocol_options");
    if (config.has_http2_protocol_options()) {
      to.http2 = http2(config.http2_protocol_options(), at + ".http2_protocol_options");
    }
  };
  if (options.has_explicit_http_config()) {
    const auto& config = options.explicit_http_config();
    to.protocol = config.has_http2_protocol_options() ? HttpProtocol::kHttp2 : HttpProtocol::kHttp1;
    both(config, path + ".explicit_http_config");
  } else if (options.has_use_downstream_protocol_config()) {
    to.protocol = HttpProtocol::kDownstream;
    both(options.use_downstream_protocol_config(), path + ".use_downstream_protocol_config");
  } else if (options.has_auto_config()) {
    to.protocol = HttpProtocol::kAuto;
    both(options.auto_config(), path + ".auto_config");
  }
}

}  // namespace millrace::config
