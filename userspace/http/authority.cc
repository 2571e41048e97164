#include "http/authority.h"

#include "http/chars.h"

namespace millrace::http {
namespace {

// Digits up to 65535; empty is 0. Negative: neither.
int parse_port(std::string_view digits) {
  int port = 0;
  for (char c : digits) {
    if (!chars::is(c, chars::kDigit)) return -1;
    port = port * 10 + (c - '0');
    if (port > 65535) return -1;
  }
  return port;
}

bool valid_literal(std::string_view inside) {
  if (inside.empty()) return false;
  for (char c : inside) {
    if (!chars::is(c, chars::kUnreserved) && c != ':' && c != '%') return false;
  }
  return true;
}

}  // namespace

HostPort split_host_port(std::string_view authority) {
  std::string_view host, rest;
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos || !valid_literal(authority.substr(1, bracket - 1))) return {};
    host = authority.substr(0, bracket + 1);
    rest = authority.substr(bracket + 1);
    if (!rest.empty() && rest[0] != ':') return {};
  } else {
    size_t n = 0;
    while (n < authority.size() && authority[n] != ':' && chars::is(authority[n], chars::kHost)) ++n;
    host = authority.substr(0, n);
    rest = authority.substr(n);
    if (host.empty() || (!rest.empty() && rest[0] != ':')) return {};
  }
  if (rest.empty()) return {host, 0, true};
  const int port = parse_port(rest.substr(1));
  if (port < 0) return {};
  return {host, static_cast<uint16_t>(port), true};
}

std::string_view strip_port(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return authority;
  const size_t bracket = authority.rfind(']');
  if (bracket != std::string_view::npos && bracket > colon) return authority;
  return authority.substr(0, colon);
}

}  // namespace millrace::http
