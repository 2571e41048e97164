#include "router/reply_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace millrace::router {

using stream::ResponseFlag;
using upstream::ResetReason;

ResponseFlag flag_of(ResetReason reason) {
  switch (reason) {
    case ResetReason::kLocalConnectionFailure:
    case ResetReason::kRemoteConnectionFailure:
    case ResetReason::kConnectionTimeout: return ResponseFlag::kUpstreamConnectionFailure;
    case ResetReason::kConnectionTermination: return ResponseFlag::kUpstreamConnectionTermination;
    case ResetReason::kRemoteReset:
    case ResetReason::kRemoteRefusedStream: return ResponseFlag::kUpstreamRemoteReset;
    case ResetReason::kProtocolError: return ResponseFlag::kUpstreamProtocolError;
    case ResetReason::kOverflow: return ResponseFlag::kUpstreamOverflow;
    case ResetReason::kLocalReset: return ResponseFlag::kLocalReset;
  }
  return ResponseFlag::kLocalReset;
}

std::string underscored(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), ' ', '_');
  return out;
}

std::string detail_of(ResetReason reason) { return underscored(upstream::name(reason)); }

route::ResetReason route_reason(ResetReason reason) {
  switch (reason) {
    case ResetReason::kLocalConnectionFailure:
    case ResetReason::kRemoteConnectionFailure:
    case ResetReason::kConnectionTimeout: return route::ResetReason::kConnectionFailure;
    case ResetReason::kConnectionTermination: return route::ResetReason::kConnectionTermination;
    case ResetReason::kRemoteReset: return route::ResetReason::kRemoteReset;
    case ResetReason::kRemoteRefusedStream: return route::ResetReason::kRemoteRefusedStream;
    case ResetReason::kProtocolError: return route::ResetReason::kProtocolError;
    case ResetReason::kOverflow: return route::ResetReason::kOverflow;
    case ResetReason::kLocalReset: return route::ResetReason::kLocalReset;
  }
  return route::ResetReason::kLocalReset;
}

std::string transport_failure(const base::Error& error) {
  if (error.os == 0) return error.what;
  if (error.os == ETIMEDOUT) return {};  // the reason says it: connection timeout
  return fmt::format("delayed connect error: {}", std::strerror(error.os));
}

}  // namespace millrace::router
