// The connection manager's part in a response's headers; see request_headers.h. Pure function, any thread.
#pragma once
#include <string_view>

#include "filter/hcm_options.h"
#include "http/header_map.h"

namespace millrace::filter {

struct ResponseFacts {
  bool local_reply = false;
  bool upgrade = false;         // 101: Connection and Upgrade stay
  std::string_view request_id{};
  std::string_view date{};      // IMF-fixdate of now
};

void prepare_response_headers(http::HeaderMap& headers, const HcmOptions& options, const ResponseFacts& facts);

// Removes what concerns one connection only: Connection and what it names, Keep-Alive, Proxy-Connection, TE (but
// "trailers"), Transfer-Encoding, Upgrade unless keep_upgrade.
void remove_hop_by_hop(http::HeaderMap& headers, bool keep_upgrade);

}  // namespace millrace::filter
