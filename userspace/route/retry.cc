#include "route/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "route/table.h"
#include "route/text.h"
#include "stream/grpc_status.h"

namespace millrace::route {
namespace {

using http::Header;
using http::HeaderMap;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether f(element) is true for an element of a comma-separated list.
template <class F>
bool any_element(std::string_view list, F&& f) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view element = trimmed(list.substr(0, comma));
    if (!element.empty() && f(element)) return true;
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return false;
}

bool has_ignoring_case(const HeaderMap& headers, std::string_view name) {
  bool found = false;
  headers.for_each(
      [&](const HeaderMap::Entry& entry) { found = found || http::equal_ignoring_case(entry.name, name); });
  return found;
}

// The bit that asks for a retry of this grpc-status.
uint32_t grpc_bit(std::string_view grpc_status) {
  switch (parse_whole<uint32_t>(grpc_status).value_or(0)) {
    case 1: return retry_on::kGrpcCancelled;
    case 4: return retry_on::kGrpcDeadlineExceeded;
    case 8: return retry_on::kGrpcResourceExhausted;
    case 13: return retry_on::kGrpcInternal;
    case 14: return retry_on::kGrpcUnavailable;
    default: return 0;
  }
}

// How long the upstream asks to be left alone, by the first header that says so.
std::optional<milliseconds> asked_back_off(const RateLimitedRetryBackOff& options, const HeaderMap& response,
                                           base::SystemTime now) {
  for (const ResetHeader& header : options.reset_headers) {
    const auto number = parse_whole<int64_t>(trimmed(response.get(header.name)));
    if (!number || *number < 0 || *number > INT64_MAX / 1'000'000'000) continue;
    base::seconds interval(*number);
    if (header.format == ResetHeader::Format::kUnixTimestamp) {
      interval -= std::chrono::duration_cast<base::seconds>(now.time_since_epoch());
    }
    if (interval > base::seconds(0) && interval <= options.max_interval) return interval;
  }
  return std::nullopt;
}

// The gRPC HTTP/2 mapping's Timeout: at most 8 digits and a unit.
std::optional<milliseconds> grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  const auto number = parse_whole<uint64_t>(text.substr(0, text.size() - 1));
  if (!number) return std::nullopt;
  const auto count = static_cast<int64_t>(*number);
  switch (text.back()) {
    case 'H': return std::chrono::hours(count);
    case 'M': return std::chrono::minutes(count);
    case 'S': return std::chrono::seconds(count);
    case 'm': return milliseconds(count);
    case 'u': return std::chrono::ceil<milliseconds>(std::chrono::microseconds(count));
    case 'n': return std::chrono::ceil<milliseconds>(std::chrono::nanoseconds(count));
    default: return std::nullopt;
  }
}

// The largest unit that loses nothing and fits into 8 digits.
std::string_view format_grpc_timeout(milliseconds timeout, std::array<char, 12>& text) {
  constexpr int64_t kMax = 99'999'999;
  int64_t count = timeout.count();
  char unit = 'm';
  if (count > kMax) {
    count /= 1000;
    unit = 'S';
  }
  if (count > kMax) {
    count = std::min<int64_t>(count / 3600, kMax);
    unit = 'H';
  }
  char* end = std::to_chars(text.data(), text.data() + text.size(), count).ptr;
  *end++ = unit;
  return {text.data(), static_cast<size_t>(end - text.data())};
}

// route.max_grpc_timeout: what the client asks for in grpc-timeout, up to that; 0: no limit.
milliseconds capped_grpc_timeout(const RouteAction& action, const HeaderMap& request) {
  milliseconds timeout = grpc_timeout(request.get(Header::kGrpcTimeout)).value_or(milliseconds(0));
  const milliseconds offset = action.grpc_timeout_offset.value_or(milliseconds(0));
  if (offset < timeout) timeout -= offset;
  const milliseconds max = *action.max_grpc_timeout;
  if (max != milliseconds(0) && (timeout == milliseconds(0) || timeout > max)) timeout = max;
  return timeout;
}

}  // namespace

base::Result<CompiledRetryPolicy> CompiledRetryPolicy::compile(const RetryPolicy& options) {
  CompiledRetryPolicy out;
  out.options_ = options;
  if (options.base_interval < milliseconds(1)) return invalid("retry_back_off.base_interval: must be at least 1 ms");
  if (options.max_interval != milliseconds(0) && options.max_interval < options.base_interval) {
    return invalid(fmt::format("retry_back_off.max_interval: {} ms is less than base_interval, {} ms",
                               options.max_interval.count(), options.base_interval.count()));
  }
  for (size_t i = 0; i < options.retriable_status_codes.size(); ++i) {
    const uint32_t code = options.retriable_status_codes[i];
    if (code < 100 || code > 599)
      return invalid(fmt::format("retriable_status_codes[{}]: {} is not a status", i, code));
  }
  if (out.options_.rate_limited_retry_back_off) {
    for (ResetHeader& header : out.options_.rate_limited_retry_back_off->reset_headers) {
      header.name = to_lower(header.name);
    }
  }
  auto headers = compile_all(options.retriable_headers, "retriable_headers");
  if (!headers) return std::move(headers).error();
  out.retriable_headers_ = *std::move(headers);
  auto request_headers = compile_all(options.retriable_request_headers, "retriable_request_headers");
  if (!request_headers) return std::move(request_headers).error();
  out.retriable_request_headers_ = *std::move(request_headers);
  return out;
}

milliseconds CompiledRetryPolicy::max_interval() const {
  return options_.max_interval == milliseconds(0) ? options_.base_interval * 10 : options_.max_interval;
}

RetryState::RetryState(const CompiledRetryPolicy& policy, HeaderMap& request)
    : policy_(&policy),
      retry_on_(policy.options().retry_on),
      retries_remaining_(policy.options().num_retries),
      next_interval_(policy.options().base_interval) {
  if (request.has(Header::kEnvoyRetryOn)) {
    retry_on_ |= parse_retry_on_leniently(request.get(Header::kEnvoyRetryOn));
    request.remove(Header::kEnvoyRetryOn);
  }
  if (request.has(Header::kEnvoyRetryGrpcOn)) {
    retry_on_ |= parse_retry_on_leniently(request.get(Header::kEnvoyRetryGrpcOn));
    request.remove(Header::kEnvoyRetryGrpcOn);
  }
  if (!policy.retriable_request_headers().empty() && !matches_any(policy.retriable_request_headers(), request)) {
    retry_on_ = 0;
  }
  if (request.has(Header::kEnvoyMaxRetries)) {
    const auto retries = parse_whole<uint32_t>(request.get(Header::kEnvoyMaxRetries));
    if (retries) retries_remaining_ = *retries;
    request.remove(Header::kEnvoyMaxRetries);
  }
  if (request.has(Header::kEnvoyRetriableStatusCodes)) {
    header_status_codes_ = request.get(Header::kEnvoyRetriableStatusCodes);
    request.remove(Header::kEnvoyRetriableStatusCodes);
  }
  if (request.has(Header::kEnvoyRetriableHeaderNames)) {
    header_names_ = request.get(Header::kEnvoyRetriableHeaderNames);
    request.remove(Header::kEnvoyRetriableHeaderNames);
  }
  request.remove(Header::kEnvoyHedgeOnPerTryTimeout);
}

bool RetryState::wants(const HeaderMap& response) const {
  // Only another Envoy says this; it is retried when the policy says so in so many words, whatever else it asks for.
  if (response.has(Header::kEnvoyRateLimited)) return (retry_on_ & retry_on::kEnvoyRateLimited) != 0;
  const uint32_t status = parse_whole<uint32_t>(response.get(Header::kStatus)).value_or(0);
  if ((retry_on_ & retry_on::k5xx) != 0 && status >= 500 && status < 600) return true;
  if ((retry_on_ & retry_on::kGatewayError) != 0 && status >= 502 && status <= 504) return true;
  if ((retry_on_ & retry_on::kRetriable4xx) != 0 && status == 409) return true;
  if ((retry_on_ & retry_on::kRetriableStatusCodes) != 0) {
    const std::vector<uint32_t>& codes = policy_->options().retriable_status_codes;
    if (std::find(codes.begin(), codes.end(), status) != codes.end()) return true;
    const auto same = [&](std::string_view code) { return parse_whole<uint32_t>(code) == status; };
    if (any_element(header_status_codes_, same)) return true;
  }
  if ((retry_on_ & retry_on::kRetriableHeaders) != 0) {
    if (matches_any(policy_->retriable_headers(), response)) return true;
    if (any_element(header_names_, [&](std::string_view name) { return has_ignoring_case(response, name); }))
      return true;
  }
  return response.has(Header::kGrpcStatus) && (retry_on_ & grpc_bit(response.get(Header::kGrpcStatus))) != 0;
}

bool RetryState::wants(ResetReason reason, bool request_started) const {
  if (reason == ResetReason::kOverflow) return false;
  // A reset ends in a 503, so whoever retries those retries every reset.
  if ((retry_on_ & (retry_on::kReset | retry_on::k5xx | retry_on::kGatewayError)) != 0) return true;
  if ((retry_on_ & retry_on::kResetBeforeRequest) != 0 && !request_started) return true;
  if ((retry_on_ & retry_on::kRefusedStream) != 0 && reason == ResetReason::kRemoteRefusedStream) return true;
  return (retry_on_ & retry_on::kConnectFailure) != 0 && reason == ResetReason::kConnectionFailure;
}

// Exponential back-off with full jitter: the n-th wait is uniform in [0, base * 2^n), up to the maximum.
RetryVerdict RetryState::take_retry(base::Prng& prng) {
  if (retries_remaining_ == 0) return {RetryAnswer::kLimitExceeded, milliseconds(0)};
  --retries_remaining_;
  const auto back_off = milliseconds(prng.below(static_cast<uint64_t>(next_interval_.count())));
  next_interval_ = std::min(next_interval_ * 2, policy_->max_interval());
  return {RetryAnswer::kYes, back_off};
}

RetryVerdict RetryState::on_response(const HeaderMap& response, base::SystemTime now, base::Prng& prng) {
  if (retry_on_ == 0 || !wants(response)) return {};
  const auto& rate_limited = policy_->options().rate_limited_retry_back_off;
  const auto asked = rate_limited ? asked_back_off(*rate_limited, response, now) : std::nullopt;
  if (!asked || retries_remaining_ == 0) return take_retry(prng);
  --retries_remaining_;
  // Never before the time asked for; spread over half of it after.
  return {RetryAnswer::kYes, *asked + milliseconds(prng.below(static_cast<uint64_t>(asked->count()) / 2))};
}

RetryVerdict RetryState::on_reset(ResetReason reason, bool request_started, base::Prng& prng) {
  if (retry_on_ == 0 || !wants(reason, request_started)) return {};
  return take_retry(prng);
}

Timeouts request_timeouts(const Route& route, HeaderMap& request, bool set_expected, bool respect_expected) {
  const RetryPolicy& policy = route.retry_policy->options();
  Timeouts out{route.timeout, policy.per_try_timeout, policy.per_try_idle_timeout};
  const RouteAction& action = route.options->route;
  const bool cap_grpc = action.max_grpc_timeout && !limits_streams(action) && stream::is_grpc_request(&request);
  if (cap_grpc) out.global = capped_grpc_timeout(action, request);
  if (respect_expected && request.has(Header::kEnvoyExpectedRequestTimeout)) {
    const auto number = parse_whole<uint32_t>(request.get(Header::kEnvoyExpectedRequestTimeout));
    if (number) out.global = milliseconds(*number);
  } else if (request.has(Header::kEnvoyUpstreamRequestTimeout)) {
    const auto number = parse_whole<uint32_t>(request.get(Header::kEnvoyUpstreamRequestTimeout));
    if (number) out.global = milliseconds(*number);
    request.remove(Header::kEnvoyUpstreamRequestTimeout);
  }
  if (request.has(Header::kEnvoyUpstreamRequestPerTryTimeout)) {
    const auto number = parse_whole<uint32_t>(request.get(Header::kEnvoyUpstreamRequestPerTryTimeout));
    if (number) out.per_try = milliseconds(*number);
    request.remove(Header::kEnvoyUpstreamRequestPerTryTimeout);
  }
  if (out.global != milliseconds(0) && out.per_try >= out.global) out.per_try = milliseconds(0);
  const milliseconds expected = out.per_try != milliseconds(0) ? out.per_try : out.global;
  if (set_expected && expected > milliseconds(0)) {
    char text[24];
    const auto end = std::to_chars(text, text + sizeof(text), expected.count()).ptr;
    request.set(Header::kEnvoyExpectedRequestTimeout, std::string_view(text, static_cast<size_t>(end - text)));
  }
  if (cap_grpc && expected > milliseconds(0)) {
    std::array<char, 12> text;
    request.set(Header::kGrpcTimeout, format_grpc_timeout(expected, text));
  }
  return out;
}

std::optional<milliseconds> stream_duration_limit(const Route& route, const HeaderMap& request) {
  const RouteAction& action = route.options->route;
  const auto asked = action.grpc_timeout_header_max ? grpc_timeout(request.get(Header::kGrpcTimeout)) : std::nullopt;
  if (!asked) return action.max_stream_duration;
  milliseconds limit = *asked;
  const milliseconds max = *action.grpc_timeout_header_max;
  if (max != milliseconds(0) && (limit > max || limit == milliseconds(0))) limit = max;
  const milliseconds offset = action.grpc_timeout_header_offset.value_or(milliseconds(0));
  if (offset < limit) limit -= offset;
  return limit;
}

}  // namespace millrace::route
