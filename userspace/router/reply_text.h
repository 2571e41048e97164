// What the router says when an upstream failed, in Envoy's words: response flags, response code details, and the reason
// in the body of the local reply. Pure functions, any thread.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"
#include "route/retry.h"
#include "stream/response_flags.h"
#include "upstream/upstream_request.h"

namespace millrace::router {

stream::ResponseFlag flag_of(upstream::ResetReason reason);
// "connection_termination": the reason as response code details carry it.
std::string detail_of(upstream::ResetReason reason);
// Blanks become '_': details must stay one word.
std::string underscored(std::string_view text);
route::ResetReason route_reason(upstream::ResetReason reason);
// "delayed connect error: Connection refused": what Envoy's sockets report.
std::string transport_failure(const base::Error& error);

}  // namespace millrace::router
