// Http1Parser, second half: what the lines of a head mean, and how the body after it is framed (RFC 9112 sections
// 3, 6).
#include <algorithm>

#include "http/authority.h"
#include "http/chars.h"
#include "http/http1_parser.h"

namespace millrace::http {
namespace {

constexpr std::string_view kMethods[] = {
    "GET",       "POST",     "HEAD",   "PUT",        "DELETE",     "OPTIONS",   "PATCH",  "CONNECT",     "TRACE",
    "COPY",      "LOCK",     "MKCOL",  "MOVE",       "PROPFIND",   "PROPPATCH", "SEARCH", "UNLOCK",      "BIND",
    "REBIND",    "UNBIND",   "ACL",    "REPORT",     "MKACTIVITY", "CHECKOUT",  "MERGE",  "M-SEARCH",    "NOTIFY",
    "SUBSCRIBE", "PURGE",    "MKCALENDAR", "LINK",   "UNLINK",     "SOURCE",    "UNSUBSCRIBE",
};

// RFC 9110 section 6.5.1: framing, routing, authentication and content fields have no business in trailers.
bool forbidden_in_trailers(Header id, std::string_view name) {
  switch (id) {
    case Header::kHost: case Header::kConnection:
    case Header::kTe: case Header::kTrailer: case Header::kUpgrade: case Header::kExpect: case Header::kKeepAlive:
    case Header::kProxyConnection: case Header::kHttp2Settings: case Header::kDate: case Header::kCookie:
    case Header::kSetCookie: case Header::kLocation: case Header::kContentType: case Header::kContentEncoding:
    case Header::kAuthorization: case Header::kCacheControl: case Header::kRetryAfter: case Header::kForwardedFor:
    case Header::kForwardedProto: case Header::kForwardedHost: case Header::kForwardedClientCert: return true;
    case Header::kOther: break;
    default: return false;
  }
  constexpr std::string_view kNames[] = {
      "content-range", "range", "max-forwards", "pragma", "age", "expires", "vary", "warning", "www-authenticate",
      "proxy-authenticate", "proxy-authorization", "if-match", "if-none-match", "if-modified-since",
      "if-unmodified-since", "if-range", "forwarded",
  };
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// Whether the white space around a value, which lies in its line, is spaces only. Tabs are allowed there, but some
// parsers do not trim them, and see another transfer coding or length.
bool spaces_only_around(std::string_view value) {
  for (const char* p = value.data() - 1; *p != ':'; --p) {
    if (*p != ' ') return false;
  }
  const char* p = value.data() + value.size();
  while (*p == ' ') ++p;
  return *p == '\r';
}

}  // namespace

bool Http1Parser::take_method(std::string_view method) {
  const auto* known = std::find(std::begin(kMethods), std::end(kMethods), method);
  if (known == std::end(kMethods) && !options_.allow_custom_methods) return fail("an unknown method");
  method_ = method == "HEAD"      ? Method::kHead
            : method == "CONNECT" ? Method::kConnect
            : method == "OPTIONS" ? Method::kOptions
                                  : Method::kOther;
  return true;
}

bool Http1Parser::take_target(std::string_view target, HeaderMap& map) {
  if (method_ == Method::kConnect) {
    const HostPort authority = split_host_port(target);
    if (!authority.valid || authority.port == 0) {
      return fail("a CONNECT target without host and port", "http1.invalid_url");
    }
    absolute_target_ = true;
    map.add_view(Header::kAuthority, target);
    return true;
  }
  if (target[0] == '/' || (target == "*" && method_ == Method::kOptions)) {
    map.add_view(Header::kPath, target);
    map.add_view(Header::kAuthority, {"", 0});  // keeps the place of Host
    return true;
  }
  return take_absolute_target(target, map);
}

bool Http1Parser::take_absolute_target(std::string_view target, HeaderMap& map) {
  constexpr std::string_view kHttp = "http", kHttps = "https", kSeparator = "://";
  const std::string_view scheme = target.substr(0, target.find(':'));
  const bool http = equal_ignoring_case(scheme, kHttp);
  if ((!http && !equal_ignoring_case(scheme, kHttps)) || !target.substr(scheme.size()).starts_with(kSeparator)) {
    return fail("a request target in none of the four forms", "http1.invalid_url");
  }
  std::string_view rest = target.substr(scheme.size() + kSeparator.size());
  const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  const std::string_view authority = rest.substr(0, authority_end);
  if (!split_host_port(authority).valid) return fail("a request target with an invalid host", "http1.invalid_url");
  rest.remove_prefix(authority_end);
  if (!options_.allow_absolute_url) {
    map.add_view(Header::kPath, target);
    map.add_view(Header::kAuthority, {"", 0});
    return true;
  }
  absolute_target_ = true;
  if (rest.empty()) {  // RFC 9112 section 3.2.4 for OPTIONS, RFC 9110 section 4.2.3 for the others
    map.add_view(Header::kPath, method_ == Method::kOptions ? "*" : "/");
  } else if (rest[0] == '?') {
    char* path = map.allocate(rest.size() + 1);
    path[0] = '/';
    rest.copy(path + 1, rest.size());
    map.add_view(Header::kPath, {path, rest.size() + 1});
  } else {
    map.add_view(Header::kPath, rest);
  }
  map.add_view(Header::kAuthority, authority);
  map.add_view(Header::kScheme, http ? kHttp : kHttps);
  return true;
}

bool Http1Parser::take_field(Header id, std::string_view name, std::string_view value, HeaderMap& map) {
  if (in_trailers_) {
    if (id == Header::kContentLength || id == Header::kTransferEncoding) return fail("a framing field in the trailers");
    if (!options_.enable_trailers || forbidden_in_trailers(id, name)) return true;
    trailers_kept_ = true;
    map.add_view(id, name, value);
    return true;
  }
  switch (id) {
    case Header::kHost:
      if (options_.kind == MessageKind::kResponse) break;
      if (saw_host_) return fail("several Host fields");
      saw_host_ = true;
      host_ = value;
      return true;
    case Header::kContentLength:
      if (!spaces_only_around(value)) return fail("a tab around Content-Length");
      if (!take_content_length(value)) return false;
      break;
    case Header::kTransferEncoding:
      if (!spaces_only_around(value)) {
        return fail("a tab around Transfer-Encoding", "http1.invalid_transfer_encoding");
      }
      if (!take_transfer_encoding(value)) return false;
      break;
    case Header::kConnection: take_connection(value); break;
    case Header::kUpgrade: saw_upgrade_ = true; break;
    case Header::kExpect: expects_ = equal_ignoring_case(value, "100-continue"); break;
    default: break;
  }
  map.add_view(id, name, value);
  return true;
}

bool Http1Parser::take_content_length(std::string_view value) {
  if (has_length_) return fail("several Content-Length fields");
  if (value.empty() || !chars::all(value, chars::kDigit)) return fail("a malformed Content-Length");
  uint64_t length = 0;
  for (char c : value) {
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (length > (UINT64_MAX - digit) / 10) return fail("a Content-Length out of range");
    length = length * 10 + digit;
  }
  if (length > INT64_MAX) return fail("a Content-Length out of range");  // others count in signed numbers
  has_length_ = true;
  content_length_ = length;
  return true;
}

// Only chunked, once and alone: any other list is framed differently by different parsers.
bool Http1Parser::take_transfer_encoding(std::string_view value) {
  if (chunked_) return fail("several Transfer-Encoding fields", "http1.invalid_transfer_encoding");
  if (!equal_ignoring_case(value, "chunked")) {
    return fail("an unknown transfer coding", "http1.invalid_transfer_encoding");
  }
  chunked_ = true;
  return true;
}

void Http1Parser::take_connection(std::string_view value) {
  if (equal_ignoring_case(value, "keep-alive")) {
    saw_keep_alive_ = true;
    return;
  }
  saw_close_ = saw_close_ || list_has_token(value, "close");
  saw_keep_alive_ = saw_keep_alive_ || list_has_token(value, "keep-alive");
  connection_upgrade_ = connection_upgrade_ || list_has_token(value, "upgrade");
}

Http1Parser::Event Http1Parser::finish_head(HeaderMap& map) {
  if (in_trailers_) {
    state_ = trailers_kept_ ? State::kDone : State::kIdle;
    return trailers_kept_ ? Event::kTrailers : Event::kComplete;
  }
  if (chunked_ && !http_11_) {
    fail("Transfer-Encoding in HTTP/1.0", "http1.invalid_transfer_encoding");
    return Event::kError;
  }
  const bool ok = options_.kind == MessageKind::kRequest ? finish_request(map) : finish_response(map);
  if (!ok) return Event::kError;
  if (informational_) {
    state_ = State::kIdle;
  } else if (!has_body_) {
    state_ = State::kDone;
  } else if (chunked_) {
    state_ = State::kChunkSize;
    remaining_ = 0;
  } else {
    state_ = has_length_ ? State::kLength : State::kUntilClose;
    remaining_ = content_length_;
  }
  return Event::kHeaders;
}

bool Http1Parser::finish_request(HeaderMap& map) {
  if (!http_11_ && !options_.accept_http_10) return fail("HTTP/1.0 is not accepted", "low_version", 426);
  if (!saw_host_ && http_11_) return fail("no Host field", "missing_host_header");
  // An absolute target overrules Host (RFC 9112 section 3.2.2), which still has to be one.
  if (saw_host_ && !(absolute_target_ && host_.empty()) && !split_host_port(host_).valid) {
    return fail("an invalid Host");
  }
  if (!absolute_target_) {
    if (saw_host_) {
      map.replace_view(Header::kAuthority, host_);
    } else {
      map.remove(Header::kAuthority);
    }
  }
  if (chunked_ && has_length_) {
    if (!options_.allow_chunked_length) {
      return fail("Transfer-Encoding with Content-Length", "http1.content_length_and_chunked_not_allowed");
    }
    map.remove(Header::kContentLength);
    has_length_ = false;
  }
  has_body_ = chunked_ || (has_length_ && content_length_ > 0);
  if (method_ == Method::kConnect && has_body_) return fail("CONNECT with a body", "http1.body_disallowed");
  keep_alive_ = !saw_close_ && (http_11_ || saw_keep_alive_);
  upgrade_ = http_11_ && saw_upgrade_ && connection_upgrade_;
  expect_continue_ = expects_ && http_11_ && has_body_;
  return true;
}

bool Http1Parser::finish_response(HeaderMap& map) {
  keep_alive_ = !saw_close_ && (http_11_ || saw_keep_alive_);
  informational_ = status_ < 200 && status_ != 101;
  if (method_ == Method::kConnect && status_ >= 200 && status_ < 300) {  // RFC 9112 section 6.3, rule 2
    map.remove(Header::kContentLength);
    map.remove(Header::kTransferEncoding);
    chunked_ = has_length_ = false;
    upgrade_ = true;
    return true;
  }
  if (status_ < 200 || status_ == 204) {  // RFC 9110 section 8.6 and RFC 9112 section 6.1 forbid both
    if (chunked_) return fail("Transfer-Encoding in a 1xx or 204", "http1.transfer_encoding_not_allowed");
    if (has_length_ && content_length_ != 0) {
      return fail("Content-Length in a 1xx or 204", "http1.content_length_not_allowed");
    }
    if (has_length_) map.remove(Header::kContentLength);
    has_length_ = false;
    upgrade_ = status_ == 101;
    return true;
  }
  if (chunked_ && has_length_) {
    if (!options_.allow_chunked_length) {
      return fail("Transfer-Encoding with Content-Length", "http1.content_length_and_chunked_not_allowed");
    }
    map.remove(Header::kContentLength);
    has_length_ = false;
  }
  if (method_ == Method::kHead || status_ == 304) return true;
  has_body_ = chunked_ || !has_length_ || content_length_ > 0;
  if (!chunked_ && !has_length_) keep_alive_ = false;
  return true;
}

}  // namespace millrace::http
