// What the configuration says about an HTTP connection manager, with Envoy's names and defaults; plain values, part of
// the Snapshot. A duration of zero is "off".
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "filter/http_filter.h"
#include "http/http2_options.h"
#include "http/path.h"
#include "net/address.h"
#include "route/table.h"
#include "stats/stats.h"
#include "stream/access_log.h"

namespace millrace::filter {

enum class ServerHeader : uint8_t { kOverwrite, kAppendIfAbsent, kPassThrough };
// What connections speak; kAuto: ALPN decides, or without TLS the first bytes.
enum class Codec : uint8_t { kAuto, kHttp1, kHttp2 };
enum class UnderscoreHeaders : uint8_t { kAllow, kReject, kDrop };

enum class ForwardClientCert : uint8_t { kSanitize, kForwardOnly, kAppendForward, kSanitizeSet, kAlwaysForwardOnly };

// set_current_client_cert_details
struct ClientCertDetails {
  bool subject = false, cert = false, chain = false, uri = false, dns = false;
};

struct HcmUpgrade {
  std::string type;  // lower case
  bool enabled = true;
};

inline constexpr size_t kHttpFiltersMax = 64;

// An item of http_filters.
struct HcmFilter {
  std::unique_ptr<HttpFilterConfig> config;

  template <class Config>
  HcmFilter(std::unique_ptr<Config> config_in) : config(std::move(config_in)) {}
};

struct HcmOptions {
  std::string stat_prefix;
  std::shared_ptr<const route::RouteTable> routes;
  // The router last; at most kHttpFiltersMax. RouteTableOptions::filters names them in the same order.
  std::vector<HcmFilter> filters;
  uint64_t disabled_filters = 0;  // bit i: filters[i] is disabled unless the route says otherwise
  std::vector<stream::AccessLog> access_logs;
  stats::StatBlockPtr stats;           // http.<stat_prefix>.
  stats::StatBlockPtr listener_stats;  // listener.<address>.http.<stat_prefix>.; may be null
  stats::StatBlockPtr codec_stats;     // http1.; may be null
  stats::StatBlockPtr http2_stats;     // http2.; may be null

  // Codec.
  Codec codec = Codec::kAuto;
  http::Http2Options http2;
  // HTTP/2 requests that the client resets within this time of their start, before an answer: if half of a connection's
  // are such, of at least this many, it is closed.
  uint32_t premature_resets_max = 500;
  base::milliseconds premature_reset_lifetime{1'000};
  uint32_t max_request_headers_kb = 60;
  uint32_t max_headers_count = 100;
  bool accept_http_10 = false;
  std::string default_host_for_http_10;
  bool allow_absolute_url = true;
  bool allow_chunked_length = false;
  bool allow_custom_methods = true;
  bool enable_trailers = false;
  bool proper_case_headers = false;
  UnderscoreHeaders headers_with_underscores = UnderscoreHeaders::kAllow;

  // Limits and times.
  base::milliseconds idle_timeout{3'600'000};
  base::milliseconds max_connection_duration{0};
  base::milliseconds max_stream_duration{0};
  base::milliseconds stream_idle_timeout{300'000};
  base::milliseconds request_timeout{0};
  base::milliseconds request_headers_timeout{0};
  base::milliseconds delayed_close_timeout{1'000};
  base::milliseconds drain_timeout{5'000};
  uint32_t max_requests_per_connection = 0;

  // Who the client is.
  bool use_remote_address = false;
  uint32_t xff_num_trusted_hops = 0;
  bool skip_xff_append = false;
  bool append_x_forwarded_port = false;
  // internal_address_config: none by default, as Envoy since 1.33.
  std::vector<net::Cidr> internal_ranges;
  bool internal_unix_sockets = false;

  ForwardClientCert forward_client_cert = ForwardClientCert::kSanitize;
  ClientCertDetails client_cert_details;

  // Headers.
  std::string server_name = "envoy";
  ServerHeader server_header_transformation = ServerHeader::kOverwrite;
  std::string via;
  std::optional<std::string> scheme_to_overwrite;
  bool generate_request_id = true;
  bool preserve_external_request_id = false;
  bool always_set_request_id_in_response = false;
  bool proxy_100_continue = false;

  // Paths and hosts.
  http::PathOptions path;  // normalize_path, merge_slashes, path_with_escaped_slashes_action
  bool strip_matching_host_port = false;
  bool strip_any_host_port = false;
  bool strip_trailing_host_dot = false;

  std::vector<HcmUpgrade> upgrades;
};

}  // namespace millrace::filter
