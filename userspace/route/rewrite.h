// What a route changes in the messages: header edits, path and host on the way to the upstream, edits on the
// way back, and the Location of a redirect. Works on the HeaderMap of one stream; its arena is the only place
// that grows. Constant header values stay views into the table: whoever holds the messages holds the table.
#pragma once
#include <string_view>

#include "http/header_map.h"
#include "route/table.h"
#include "stream/formatter.h"

namespace millrace::route {

struct RewriteOptions {
  bool set_original = true;  // x-envoy-original-path and -host; false with the router's suppress_envoy_headers
};

// Everything a route does to a request, in Envoy's order: header edits (weighted cluster, route, virtual host, route
// configuration, or the reverse with most_specific_header_mutations_wins), host, path.
void rewrite_request(const Route& route, const ClusterChoice& cluster, http::HeaderMap& request,
                     const stream::FormatContext& context, const RewriteOptions& options = {});
// auto_host_rewrite, once a host is chosen: sets :authority to its name.
void rewrite_host(http::HeaderMap& request, std::string_view host, bool append_x_forwarded_host,
                  const RewriteOptions& options = {});
// The edits of the response, in the same order. weighted may be null.
void rewrite_response(const Route& route, const WeightedChoice* weighted, http::HeaderMap& response,
                      const stream::FormatContext& context);
// The Location of a redirect route, in the arena of `into` (the response's headers).
std::string_view redirect_location(const Route& route, const http::HeaderMap& request, http::HeaderMap& into);

}  // namespace millrace::route
