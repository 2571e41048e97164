// What the HTTP connection manager does to a request's headers before the filters see it, and to a response's before it
// is sent, as Envoy's ConnectionManagerUtility does: path and host normalisation, who the client is (x-forwarded-for
// and its kin), hop-by-hop fields (RFC 9110 section 7.6.1), x-request-id, via. Functions of their arguments alone; any
// thread.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/prng.h"
#include "filter/hcm_options.h"
#include "http/header_map.h"
#include "net/address.h"
#include "stats/stats.h"
#include "stream/stream_info.h"

namespace millrace::filter {

struct RequestFacts {
  const stream::ConnectionInfo& connection;
  base::Prng& prng;
  stats::StatShard& codec_stats;
  bool upgrade = false;   // Connection and Upgrade go on to the upstream
};

// status 0: go on. Otherwise the answer to give; location is set for a redirect and lives in the headers' arena.
struct RequestVerdict {
  unsigned status = 0;
  std::string_view body{}, details{}, location{};
  int counter = -1;  // of stats::http, -1: none
};

// trusted: set when the client is another than the connection's remote address.
RequestVerdict prepare_request_headers(http::HeaderMap& headers, const HcmOptions& options, const RequestFacts& facts,
                                       net::Address& trusted);

// Whether the route and the manager let this request switch protocols.
bool upgrade_allowed(const http::HeaderMap& headers, const HcmOptions& options, const route::Route* route);

struct ForwardedFor {
  net::Address address;   // empty: there is none at that place
  bool single = false;    // it is the only one in the header
};
// The address `from_last` places before the last one of x-forwarded-for; a malformed one counts as none.
ForwardedFor address_from_forwarded_for(std::string_view value, uint32_t from_last);

}  // namespace millrace::filter
