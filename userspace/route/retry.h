// Whether a try that failed is made again, when, and how long each may take: x-envoy-retry-* and the route's
// retry policy. Sans-IO: the router reports what happened and obeys; circuit-breaker budgets and hosts are its
// business. CompiledRetryPolicy is immutable and belongs to the table; RetryState is a field of one stream, on
// its worker, and allocates nothing. It keeps views into the request headers, which must outlive it unchanged
// in their storage.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/prng.h"
#include "base/result.h"
#include "http/header_map.h"
#include "route/matchers.h"
#include "route/options.h"

namespace millrace::route {

struct Route;

class CompiledRetryPolicy {
 public:
  static base::Result<CompiledRetryPolicy> compile(const RetryPolicy& options);
  const RetryPolicy& options() const { return options_; }
  milliseconds max_interval() const;

  const std::vector<HeaderMatcher>& retriable_headers() const { return retriable_headers_; }
  const std::vector<HeaderMatcher>& retriable_request_headers() const { return retriable_request_headers_; }

 private:
  RetryPolicy options_;
  std::vector<HeaderMatcher> retriable_headers_;
  std::vector<HeaderMatcher> retriable_request_headers_;
};

// How a try ended without response headers.
enum class ResetReason : uint8_t {
  kLocalReset,               // also: the per-try timeout
  kConnectionFailure,        // connect or handshake failed or timed out
  kConnectionTermination,    // closed or reset after the request was begun
  kRemoteReset,
  kRemoteRefusedStream,
  kProtocolError,
  kOverflow,                 // a circuit breaker; never retried
};

enum class RetryAnswer : uint8_t {
  kNo,             // the outcome is not one to retry
  kLimitExceeded,  // it is, but no try is left (URX)
  kYes,
};

struct RetryVerdict {
  RetryAnswer answer = RetryAnswer::kNo;
  milliseconds back_off{0};  // with kYes: wait that long first
};

class RetryState {
 public:
  RetryState() = default;  // retries nothing
  // Reads and removes the x-envoy-retry-* headers of the request.
  RetryState(const CompiledRetryPolicy& policy, http::HeaderMap& request);

  bool enabled() const { return retry_on_ != 0; }
  uint32_t retries_remaining() const { return retries_remaining_; }
  // A verdict of kYes has taken one of the tries left, whether or not the caller's budget then allows it.
  RetryVerdict on_response(const http::HeaderMap& response, base::SystemTime now, base::Prng& prng);
  // request_started: bytes of the request were written to the upstream connection.
  RetryVerdict on_reset(ResetReason reason, bool request_started, base::Prng& prng);
  const CompiledRetryPolicy* policy() const { return policy_; }

 private:
  bool wants(const http::HeaderMap& response) const;
  bool wants(ResetReason reason, bool request_started) const;
  RetryVerdict take_retry(base::Prng& prng);

  const CompiledRetryPolicy* policy_ = nullptr;
  uint32_t retry_on_ = 0;
  uint32_t retries_remaining_ = 0;
  milliseconds next_interval_{0};
  std::string_view header_status_codes_;  // x-envoy-retriable-status-codes
  std::string_view header_names_;         // x-envoy-retriable-header-names
};

struct Timeouts {
  milliseconds global{0};        // 0: none
  milliseconds per_try{0};       // 0: none of its own
  milliseconds per_try_idle{0};
};

// Timeouts of a request: the route's, or those of x-envoy-upstream-rq-timeout-ms and -per-try-timeout-ms, which
// are removed. With set_expected it tells the upstream in x-envoy-expected-rq-timeout-ms; with respect_expected what an
// earlier Envoy said there is the timeout.
Timeouts request_timeouts(const Route& route, http::HeaderMap& request, bool set_expected = true,
                          bool respect_expected = false);
// Whoever sets max_stream_duration has left route.timeout and max_grpc_timeout behind, as in Envoy.
inline bool limits_streams(const RouteAction& action) {
  return action.max_stream_duration || action.grpc_timeout_header_max || action.grpc_timeout_header_offset;
}
// max_stream_duration of the route for this request, with grpc-timeout; nothing: the connection manager's.
std::optional<milliseconds> stream_duration_limit(const Route& route, const http::HeaderMap& request);

}  // namespace millrace::route
