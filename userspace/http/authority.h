// host[:port] as it stands in Host, :authority and CONNECT targets (RFC 3986 section 3.2.2). Pure functions, any
// thread.
#pragma once
#include <cstdint>
#include <string_view>

namespace millrace::http {

struct HostPort {
  std::string_view host;  // IP literals with their brackets
  uint16_t port = 0;      // 0: none given
  bool valid = false;
};

// Not valid: an empty host, characters a host may not hold, userinfo, a port that is no number or out of range.
// "host:" is valid and has no port.
HostPort split_host_port(std::string_view authority);
// The host without its port, by the last colon outside brackets; for what has been validated.
std::string_view strip_port(std::string_view authority);

}  // namespace millrace::http
