#include "http/http1_writer.h"

#include <charconv>

#include "http/chars.h"
#include "http/codes.h"
#include "http/scan.h"

namespace millrace::http {
namespace {

constexpr std::string_view kCrlf = "\r\n", kSeparator = ": ";
constexpr size_t kExtraBytesMax = 128;  // first line without its target, framing field, last line
constexpr size_t kPerFieldBytes = kSeparator.size() + kCrlf.size();

inline char* put(char* at, std::string_view bytes) {
  return scan::copy(at, bytes.data(), bytes.size());
}

char* put_number(char* at, uint64_t n, int radix) { return std::to_chars(at, at + 20, n, radix).ptr; }

bool clean(std::string_view value) {
  return scan::value_end(value.data(), value.data() + value.size()) == value.data() + value.size();
}

bool clean_target(std::string_view target) {
  const char* const end = target.data() + target.size();
  return !target.empty() && scan::target_end(target.data(), end) == end;
}

// A letter that follows anything but a letter or digit becomes a capital.
char* put_proper_case(char* at, std::string_view name) {
  bool first = true;
  for (char c : name) {
    const bool letter = c >= 'a' && c <= 'z';
    *at++ = letter && first ? static_cast<char>(c - 32) : c;
    first = !letter && !chars::is(c, chars::kDigit);
  }
  return at;
}

char* put_field(char* at, std::string_view name, std::string_view value, WriterOptions options) {
  at = options.proper_case ? put_proper_case(at, name) : put(at, name);
  at = put(at, kSeparator);
  at = put(at, value);
  return put(at, kCrlf);
}

char* put_fields(char* at, const HeaderMap& headers, Framing framing, WriterOptions options) {
  headers.for_each([&](const HeaderMap::Entry& e) {
    switch (e.id) {
      case Header::kMethod: case Header::kPath: case Header::kAuthority: case Header::kScheme: case Header::kStatus:
      case Header::kProtocol: return;
      case Header::kContentLength:
        if (framing.kind != Framing::Kind::kAsIs) return;
        break;
      case Header::kTransferEncoding: return;
      case Header::kOther:
        if (!valid_name(e.name)) return;
        break;
      default: break;
    }
    if (!clean(e.value)) return;
    at = put_field(at, e.name, e.value, options);
  });
  return at;
}

char* put_framing(char* at, Framing framing, WriterOptions options) {
  if (framing.kind == Framing::Kind::kChunked) return put_field(at, "transfer-encoding", "chunked", options);
  if (framing.kind != Framing::Kind::kContentLength) return at;
  char digits[20];
  const size_t n = static_cast<size_t>(put_number(digits, framing.length, 10) - digits);
  return put_field(at, "content-length", {digits, n}, options);
}

size_t fields_size_max(const HeaderMap& headers) { return headers.byte_size() + headers.size() * kPerFieldBytes; }

}  // namespace

bool write_request_head(const HeaderMap& headers, Framing framing, WriterOptions options, base::Buffer& out) {
  const std::string_view method = headers.get(Header::kMethod);
  const std::string_view authority = headers.get(Header::kAuthority);
  const std::string_view target = method == "CONNECT" ? authority : headers.get(Header::kPath);
  if (!valid_name(method) || !clean_target(target)) return false;
  if (!authority.empty() && !clean_target(authority)) return false;
  const bool absolute = options.absolute_form && !authority.empty() && target.starts_with('/');
  const size_t size_max = fields_size_max(headers) + target.size() + authority.size() + kExtraBytesMax;
  char* const begin = out.reserve(size_max);
  char* at = put(begin, method);
  *at++ = ' ';
  if (absolute) {
    at = put(at, headers.get(Header::kScheme) == "https" ? "https://" : "http://");
    at = put(at, authority);
  }
  at = put(at, target);
  at = put(at, options.http_10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  if (authority.data() != nullptr) at = put_field(at, "host", authority, options);
  at = put_fields(at, headers, framing, options);
  at = put_framing(at, framing, options);
  at = put(at, kCrlf);
  MILLRACE_DCHECK(static_cast<size_t>(at - begin) <= size_max);
  out.commit(static_cast<size_t>(at - begin));
  return true;
}

bool write_response_head(const HeaderMap& headers, Framing framing, WriterOptions options, base::Buffer& out) {
  const std::string_view status = headers.get(Header::kStatus);
  if (status.size() != 3 || !chars::all(status, chars::kDigit) || status[0] == '0') return false;
  const unsigned code = static_cast<unsigned>((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
  const size_t size_max = fields_size_max(headers) + kExtraBytesMax;
  char* const begin = out.reserve(size_max);
  char* at = put(begin, options.http_10 ? "HTTP/1.0 " : "HTTP/1.1 ");
  at = put(at, status);
  *at++ = ' ';
  at = put(at, status_text(code));
  at = put(at, kCrlf);
  at = put_fields(at, headers, framing, options);
  at = put_framing(at, framing, options);
  at = put(at, kCrlf);
  MILLRACE_DCHECK(static_cast<size_t>(at - begin) <= size_max);
  out.commit(static_cast<size_t>(at - begin));
  return true;
}

void write_chunk(base::Buffer& body, base::Buffer& out) {
  if (body.empty()) return;
  char line[20];
  char* at = put(put_number(line, body.size(), 16), kCrlf);
  out.append(line, static_cast<size_t>(at - line));
  out.move_from(body);
  out.append(kCrlf);
}

void write_last_chunk(const HeaderMap* trailers, WriterOptions options, base::Buffer& out) {
  if (trailers == nullptr || trailers->size() == 0) return out.append("0\r\n\r\n");
  char* const begin = out.reserve(fields_size_max(*trailers) + kExtraBytesMax);
  char* at = put(begin, "0\r\n");
  at = put_fields(at, *trailers, Framing{}, options);
  at = put(at, kCrlf);
  out.commit(static_cast<size_t>(at - begin));
}

}  // namespace millrace::http
