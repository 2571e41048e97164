// Why a response or a connection ended the way it did: Envoy's response flags, under Envoy's short names ("UF", in
// access logs) and long names ("UpstreamConnectionFailure", in %RESPONSE_FLAGS_LONG%). Scripts grep for the short
// ones, so names and order are Envoy's. A ResponseFlags is one word: setting and testing is a bit operation. Plain
// value, any thread.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::stream {

// X(enumerator, short name, long name), in the order in which they are printed.
#define MILLRACE_RESPONSE_FLAGS(X)                                                          \
  X(kFailedLocalHealthCheck, "LH", "FailedLocalHealthCheck")                                \
  X(kNoHealthyUpstream, "UH", "NoHealthyUpstream")                                          \
  X(kUpstreamRequestTimeout, "UT", "UpstreamRequestTimeout")                                \
  X(kLocalReset, "LR", "LocalReset")                                                        \
  X(kUpstreamRemoteReset, "UR", "UpstreamRemoteReset")                                      \
  X(kUpstreamConnectionFailure, "UF", "UpstreamConnectionFailure")                          \
  X(kUpstreamConnectionTermination, "UC", "UpstreamConnectionTermination")                  \
  X(kUpstreamOverflow, "UO", "UpstreamOverflow")                                            \
  X(kNoRouteFound, "NR", "NoRouteFound")                                                    \
  X(kDelayInjected, "DI", "DelayInjected")                                                  \
  X(kFaultInjected, "FI", "FaultInjected")                                                  \
  X(kRateLimited, "RL", "RateLimited")                                                      \
  X(kUnauthorizedExternalService, "UAEX", "UnauthorizedExternalService")                    \
  X(kRateLimitServiceError, "RLSE", "RateLimitServiceError")                                \
  X(kDownstreamConnectionTermination, "DC", "DownstreamConnectionTermination")              \
  X(kUpstreamRetryLimitExceeded, "URX", "UpstreamRetryLimitExceeded")                       \
  X(kStreamIdleTimeout, "SI", "StreamIdleTimeout")                                          \
  X(kInvalidEnvoyRequestHeaders, "IH", "InvalidEnvoyRequestHeaders")                        \
  X(kDownstreamProtocolError, "DPE", "DownstreamProtocolError")                             \
  X(kUpstreamMaxStreamDurationReached, "UMSDR", "UpstreamMaxStreamDurationReached")         \
  X(kResponseFromCacheFilter, "RFCF", "ResponseFromCacheFilter")                            \
  X(kNoFilterConfigFound, "NFCF", "NoFilterConfigFound")                                    \
  X(kDurationTimeout, "DT", "DurationTimeout")                                              \
  X(kUpstreamProtocolError, "UPE", "UpstreamProtocolError")                                 \
  X(kNoClusterFound, "NC", "NoClusterFound")                                                \
  X(kOverloadManagerTerminated, "OM", "OverloadManagerTerminated")                          \
  X(kDnsResolutionFailed, "DF", "DnsResolutionFailed")                                      \
  X(kDropOverload, "DO", "DropOverload")                                                    \
  X(kDownstreamRemoteReset, "DR", "DownstreamRemoteReset")                                  \
  X(kUnconditionalDropOverload, "UDO", "UnconditionalDropOverload")

enum class ResponseFlag : uint8_t {
#define MILLRACE_X(enumerator, short_name, long_name) enumerator,
  MILLRACE_RESPONSE_FLAGS(MILLRACE_X)
#undef MILLRACE_X
  kCount,
};
inline constexpr size_t kResponseFlagCount = static_cast<size_t>(ResponseFlag::kCount);

std::string_view short_name(ResponseFlag flag);
std::string_view long_name(ResponseFlag flag);
// The flag of a short name ("UF"), as access log filters write it.
std::optional<ResponseFlag> parse_response_flag(std::string_view short_name);

class ResponseFlags {
 public:
  constexpr ResponseFlags() = default;
  constexpr ResponseFlags(ResponseFlag flag) { set(flag); }
  constexpr ResponseFlags(std::initializer_list<ResponseFlag> flags) {
    for (ResponseFlag flag : flags) set(flag);
  }

  constexpr void set(ResponseFlag flag) { bits_ |= bit(flag); }
  constexpr void clear(ResponseFlag flag) { bits_ &= ~bit(flag); }
  constexpr bool has(ResponseFlag flag) const { return (bits_ & bit(flag)) != 0; }
  constexpr bool any(ResponseFlags of) const { return (bits_ & of.bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr uint64_t bits() const { return bits_; }
  constexpr bool operator==(const ResponseFlags&) const = default;

  // Appends the names joined with "," to out, or "-" when no flag is set.
  void append_short(std::string& out) const;
  void append_long(std::string& out) const;

 private:
  static constexpr uint64_t bit(ResponseFlag flag) { return uint64_t{1} << static_cast<unsigned>(flag); }
  uint64_t bits_ = 0;
};

}  // namespace millrace::stream
