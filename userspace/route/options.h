// What a route configuration says, free of protobuf: Envoy's RouteConfiguration with Envoy's names, defaults and units.
// Plain values, built by `config` on the main thread, given to RouteTable::compile() and kept, unchanged, by the
// compiled table. Nothing here is checked, compile() does that. Every member has an initializer, so that designated
// initializers may name some and leave the rest.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::route {

using std::chrono::milliseconds;

// ---- matchers

struct StringMatch {
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kContains, kSafeRegex };
  Kind kind = Kind::kExact;
  std::string value{};       // a regex must match the whole string
  bool ignore_case = false;  // has no effect on regexes, as in Envoy
};

struct HeaderMatch {
  enum class Kind : uint8_t { kPresent, kString, kRange };
  std::string name{};
  Kind kind = Kind::kPresent;
  bool present = true;        // kPresent: false asks for absence
  StringMatch string{};       // kString
  int64_t range_start = 0;    // kRange: [start, end)
  int64_t range_end = 0;
  bool invert_match = false;
  bool treat_missing_header_as_empty = false;
};

struct QueryParameterMatch {
  enum class Kind : uint8_t { kPresent, kString };
  std::string name{};
  Kind kind = Kind::kPresent;
  bool present = true;
  StringMatch string{};
};

// The static default of a RuntimeFractionalPercent.
struct Fraction {
  uint32_t numerator = 100;
  uint32_t denominator = 100;  // 100, 10,000 or 1,000,000
};

struct PathMatch {
  enum class Kind : uint8_t { kPrefix, kPath, kSafeRegex, kPathSeparatedPrefix, kConnect };
  Kind kind = Kind::kPrefix;
  std::string value{};         // unused by kConnect
  bool case_sensitive = true;  // has no effect on regexes
};

struct RouteMatch {
  PathMatch path{};
  std::vector<HeaderMatch> headers{};                     // all must match
  std::vector<QueryParameterMatch> query_parameters{};    // all must match
  std::optional<Fraction> runtime_fraction{};
  bool grpc = false;                                    // content-type application/grpc or application/grpc+*
};

// ---- header mutations

enum class AppendAction : uint8_t { kAppendIfExistsOrAdd, kAddIfAbsent, kOverwriteIfExistsOrAdd, kOverwriteIfExists };

struct HeaderToAdd {
  std::string name{};
  std::string value{};  // with %...% operators
  AppendAction append_action = AppendAction::kAppendIfExistsOrAdd;
  bool keep_empty_value = false;
};

struct HeaderMutations {
  std::vector<HeaderToAdd> request_headers_to_add{};
  std::vector<std::string> request_headers_to_remove{};
  std::vector<HeaderToAdd> response_headers_to_add{};
  std::vector<std::string> response_headers_to_remove{};
};

// ---- retries

// Bits of RetryPolicy::retry_on, with Envoy's values.
namespace retry_on {
inline constexpr uint32_t k5xx = 1u << 0;
inline constexpr uint32_t kGatewayError = 1u << 1;
inline constexpr uint32_t kConnectFailure = 1u << 2;
inline constexpr uint32_t kRetriable4xx = 1u << 3;
inline constexpr uint32_t kRefusedStream = 1u << 4;
inline constexpr uint32_t kGrpcCancelled = 1u << 5;
inline constexpr uint32_t kGrpcDeadlineExceeded = 1u << 6;
inline constexpr uint32_t kGrpcResourceExhausted = 1u << 7;
inline constexpr uint32_t kGrpcUnavailable = 1u << 8;
inline constexpr uint32_t kGrpcInternal = 1u << 9;
inline constexpr uint32_t kRetriableStatusCodes = 1u << 10;
inline constexpr uint32_t kReset = 1u << 11;
inline constexpr uint32_t kRetriableHeaders = 1u << 12;
inline constexpr uint32_t kEnvoyRateLimited = 1u << 13;
inline constexpr uint32_t kHttp3PostConnectFailure = 1u << 14;
inline constexpr uint32_t kResetBeforeRequest = 1u << 15;
}  // namespace retry_on

// "5xx,gateway-error" -> bits; an unknown word is an error that suggests the nearest known one.
base::Result<uint32_t> parse_retry_on(std::string_view text);
// The same for x-envoy-retry-on and x-envoy-retry-grpc-on: what is unknown is skipped, as in Envoy.
uint32_t parse_retry_on_leniently(std::string_view text);

struct ResetHeader {
  enum class Format : uint8_t { kSeconds, kUnixTimestamp };
  std::string name{};
  Format format = Format::kSeconds;
};

struct RateLimitedRetryBackOff {
  std::vector<ResetHeader> reset_headers{};  // the first that parses wins
  milliseconds max_interval{300'000};
};

struct RetryPolicy {
  uint32_t retry_on = 0;
  uint32_t num_retries = 1;
  milliseconds per_try_timeout{0};       // 0: the route's timeout
  milliseconds per_try_idle_timeout{0};  // 0: off
  std::vector<uint32_t> retriable_status_codes{};
  std::vector<HeaderMatch> retriable_headers{};          // any on the response
  std::vector<HeaderMatch> retriable_request_headers{};  // if any: one must match the request, or nothing is retried
  milliseconds base_interval{25};
  milliseconds max_interval{0};  // 0: 10 times base_interval
  bool previous_hosts = false;   // retry_host_predicate envoy.retry_host_predicates.previous_hosts
  bool omit_canary_hosts = false;
  uint32_t host_selection_retry_max_attempts = 1;
  std::optional<RateLimitedRetryBackOff> rate_limited_retry_back_off{};
};

// ---- what filters of the connection manager are to do differently here

// What it says, only the filter knows.
class PerFilterConfig {
 public:
  virtual ~PerFilterConfig() = default;
};

// An item of typed_per_filter_config. The level nearest to the route decides: weighted cluster, route, virtual host,
// route configuration.
struct FilterOverrideOptions {
  std::string filter{};  // its name in http_filters
  std::shared_ptr<const PerFilterConfig> config{};  // null: that of the next level
  bool disabled = false;
};

// ---- actions

struct RegexRewrite {
  std::string pattern{};
  std::string substitution{};  // \1 ... \9 are groups, \0 the match
};

struct WeightedCluster {
  std::string name{};          // this or cluster_header
  std::string cluster_header{};
  uint32_t weight = 0;
  HeaderMutations mutations{};
  std::string host_rewrite_literal{};
  std::vector<FilterOverrideOptions> filter_overrides{};
};

struct UpgradeConfig {
  std::string type{};  // "websocket", "CONNECT", ...; compared in any case
  bool enabled = true;
};

enum class Priority : uint8_t { kDefault, kHigh };

// What happens to the authority; at most one of them.
struct HostRewrite {
  enum class Kind : uint8_t { kNone, kLiteral, kHeader, kPathRegex, kAuto };
  Kind kind = Kind::kNone;
  std::string value{};  // kLiteral: the host; kHeader: the header's name
  RegexRewrite path_regex{};
};

struct RouteAction {
  enum class ClusterKind : uint8_t { kCluster, kClusterHeader, kWeightedClusters };
  ClusterKind cluster_kind = ClusterKind::kCluster;
  std::string cluster{};         // the name, or the header's
  std::vector<WeightedCluster> weighted_clusters{};
  uint64_t total_weight = 0;   // 0: the sum; otherwise must be it (the old field of Envoy)
  std::string weighted_clusters_random_header{};  // weighted_clusters.header_name: the random value comes from it
  uint32_t cluster_not_found_response_code = 503;

  std::string prefix_rewrite{};  // empty: none
  std::optional<RegexRewrite> regex_rewrite{};
  HostRewrite host_rewrite{};
  bool append_x_forwarded_host = false;

  std::optional<milliseconds> timeout{};              // unset: 15 s; 0: none
  std::optional<milliseconds> idle_timeout{};         // unset: the connection manager's stream_idle_timeout
  std::optional<milliseconds> max_stream_duration{};  // unset: the connection manager's
  std::optional<milliseconds> grpc_timeout_header_max{};     // max_stream_duration.grpc_timeout_header_max
  std::optional<milliseconds> grpc_timeout_header_offset{};  // max_stream_duration.grpc_timeout_header_offset
  std::optional<milliseconds> max_grpc_timeout{};            // the old fields, which change `timeout` for gRPC
  std::optional<milliseconds> grpc_timeout_offset{};
  std::optional<RetryPolicy> retry_policy{};          // unset: the virtual host's
  Priority priority = Priority::kDefault;
  std::vector<UpgradeConfig> upgrade_configs{};
};

struct RedirectAction {
  bool https_redirect = false;
  std::string scheme_redirect{};  // at most one of the two
  std::string host_redirect{};
  uint32_t port_redirect = 0;   // 0: kept
  enum class Path : uint8_t { kKeep, kReplace, kPrefixRewrite, kRegexRewrite };
  Path path = Path::kKeep;
  std::string path_value{};       // kReplace: may carry a query of its own; kPrefixRewrite
  RegexRewrite regex_rewrite{};
  uint32_t response_code = 301; // 301, 302, 303, 307, 308
  bool strip_query = false;
};

struct DirectResponseAction {
  uint32_t status = 200;
  std::string body{};
};

enum class ActionKind : uint8_t { kRoute, kRedirect, kDirectResponse, kNonForwarding };

struct RouteOptions {
  std::string name{};
  RouteMatch match{};
  ActionKind action = ActionKind::kRoute;
  RouteAction route{};
  RedirectAction redirect{};
  DirectResponseAction direct_response{};
  HeaderMutations mutations{};
  std::string stat_prefix{};
  std::optional<uint32_t> per_request_buffer_limit_bytes{};
  std::string decorator_operation{};
  std::vector<FilterOverrideOptions> filter_overrides{};
};

enum class RequireTls : uint8_t { kNone, kExternalOnly, kAll };

struct VirtualHostOptions {
  std::string name{};
  std::vector<std::string> domains{};
  std::vector<RouteOptions> routes{};
  RequireTls require_tls = RequireTls::kNone;
  HeaderMutations mutations{};
  std::optional<RetryPolicy> retry_policy{};
  std::optional<uint32_t> per_request_buffer_limit_bytes{};
  bool include_request_attempt_count = false;
  bool include_attempt_count_in_response = false;
  bool include_is_timeout_retry_header = false;
  std::vector<FilterOverrideOptions> filter_overrides{};
};

struct RouteTableOptions {
  std::string name{};
  std::vector<VirtualHostOptions> virtual_hosts{};
  HeaderMutations mutations{};
  bool most_specific_header_mutations_wins = false;
  std::vector<std::string> internal_only_headers{};
  uint32_t max_direct_response_body_size_bytes = 4096;
  bool ignore_port_in_host_matching = false;
  bool ignore_path_parameters_in_path_matching = false;
  std::vector<std::string> filters{};  // names of the connection manager's http_filters, in their order
  std::vector<FilterOverrideOptions> filter_overrides{};
};

}  // namespace millrace::route
