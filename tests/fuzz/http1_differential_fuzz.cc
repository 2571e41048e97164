// Our parser against another one, http_parser: of a message that ours accepts the other one reads the same method
// and target or status, fields, body and end. Inputs that begin with HTTP/ are responses to GET. What only the
// other one accepts is of no interest: ours may be stricter.
#include <http_parser.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "http/chars.h"
#include "http/http1_parser.h"

using namespace millrace;
using http::Header;

namespace {

struct Message {
  std::string method, target;  // responses: status, nothing
  std::vector<std::pair<std::string, std::string>> fields;  // trailers included, Host not
  std::string host, body;
  bool complete = false;
};

std::string to_text(const Message& m) {
  std::string text = m.method + " " + m.target + " host=" + m.host + "\n";
  for (const auto& [name, value] : m.fields) text += "  " + name + "=" + value + "\n";
  return text + "body=" + m.body + (m.complete ? "\ncomplete\n" : "\n");
}

// What http_parser makes of the bytes.
struct Other {
  std::vector<Message> messages;
  bool in_value = false;

  Message& last() { return messages.back(); }
  static Other& of(http_parser* p) { return *static_cast<Other*>(p->data); }

  void parse(std::string_view bytes, bool response) {
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_message_begin = [](http_parser* p) {
      of(p).messages.emplace_back();
      of(p).in_value = true;
      return 0;
    };
    settings.on_url = [](http_parser* p, const char* at, size_t n) {
      of(p).last().target.append(at, n);
      return 0;
    };
    settings.on_header_field = [](http_parser* p, const char* at, size_t n) {
      Other& other = of(p);
      if (std::exchange(other.in_value, false)) other.last().fields.emplace_back();
      for (size_t i = 0; i < n; ++i) other.last().fields.back().first += http::chars::lower(at[i]);
      return 0;
    };
    settings.on_header_value = [](http_parser* p, const char* at, size_t n) {
      of(p).in_value = true;
      of(p).last().fields.back().second.append(at, n);
      return 0;
    };
    settings.on_headers_complete = [](http_parser* p) {
      of(p).last().method = p->type == HTTP_RESPONSE ? std::to_string(p->status_code)
                                                     : http_method_str(static_cast<http_method>(p->method));
      return p->type == HTTP_RESPONSE && p->status_code == 304 ? 1 : 0;  // 1: no body, which it leaves to its user
    };
    settings.on_body = [](http_parser* p, const char* at, size_t n) {
      of(p).last().body.append(at, n);
      return 0;
    };
    settings.on_message_complete = [](http_parser* p) {
      of(p).last().complete = true;
      return 0;
    };
    http_parser parser;
    http_parser_init(&parser, response ? HTTP_RESPONSE : HTTP_REQUEST);
    parser.data = this;
    const size_t n = http_parser_execute(&parser, &settings, bytes.data(), bytes.size());
    if (n == bytes.size() && parser.http_errno == HPE_OK) http_parser_execute(&parser, &settings, nullptr, 0);
    for (Message& m : messages) {
      std::vector<std::pair<std::string, std::string>> fields;
      for (auto& [name, value] : m.fields) {
        value = http::chars::trim(value);
        if (!response && name == "host" && m.host.empty()) m.host = value;
        else fields.emplace_back(std::move(name), std::move(value));
      }
      m.fields = std::move(fields);
    }
  }
};

// The target as it was on the wire, from what became of it; absolute ones in their other possible spelling if that
// fits.
std::string wire_target(const http::HeaderMap& map, const std::string& other) {
  const std::string path(map.get(Header::kPath)), authority(map.get(Header::kAuthority));
  if (!map.has(Header::kScheme)) return map.has(Header::kPath) ? path : authority;
  const std::string scheme = other.substr(0, map.get(Header::kScheme).size());
  if (!http::equal_ignoring_case(scheme, map.get(Header::kScheme))) return "another scheme";
  const std::string base = scheme + "://" + authority;
  if (path.starts_with("/?") && other == base + path.substr(1)) return other;
  if ((path == "/" || path == "*") && other == base) return other;
  return base + path;
}

// http_parser 2.9.4 takes Transfer-EncodingX for Transfer-Encoding when it frames the body.
bool has_longer_transfer_encoding(const http::HeaderMap& map) {
  bool found = false;
  map.for_each([&](const http::HeaderMap::Entry& e) {
    if (e.id == Header::kOther && e.name.starts_with("transfer-encoding")) found = true;
  });
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (char c : bytes) {
    if (static_cast<unsigned char>(c) >= 0x80) return 0;  // the other one refuses raw UTF-8 in targets, we do not
  }
  Other other;
  const bool response = bytes.starts_with("HTTP/");
  other.parse(bytes, response);

  http::ParserOptions options;
  if (response) options.kind = http::MessageKind::kResponse;
  http::Http1Parser parser(options);
  http::HeaderMap headers, trailers;
  base::Buffer in, body;
  in.append(bytes);
  using Event = http::Http1Parser::Event;
  Message ours;
  bool after_head = false;
  for (size_t index = 0;;) {
    Event event = parser.next(in, after_head ? trailers : headers, body);
    if (event == Event::kNeedMore && response && parser.in_message()) event = parser.on_eof();
    if (event == Event::kNeedMore || event == Event::kError) return 0;
    if (event == Event::kHeaders) after_head = !parser.informational();
    if (event != Event::kComplete && !(event == Event::kHeaders && parser.informational())) continue;

    ours = {};
    ours.complete = true;
    ours.body = body.to_string();
    FUZZ_CHECK(index < other.messages.size(), "the other parser saw fewer messages");
    Message& theirs = other.messages[index++];
    ours.method = headers.get(response ? Header::kStatus : Header::kMethod);
    if (!response) ours.target = wire_target(headers, theirs.target);
    if (has_longer_transfer_encoding(headers)) return 0;
    const bool own_authority = headers.has(Header::kScheme) || parser.connect();
    ours.host = own_authority ? theirs.host : std::string(headers.get(Header::kAuthority));
    auto keep = [&](const http::HeaderMap::Entry& e) {
      if (!e.name.starts_with(':')) ours.fields.emplace_back(e.name, e.value);
    };
    headers.for_each(keep);
    const size_t head_fields = ours.fields.size();
    trailers.for_each(keep);
    // 1xx have no body, and what would frame one must not be passed on (RFC 9110, 8.6): we drop it.
    if (response && ours.method.starts_with("1")) {
      std::erase_if(theirs.fields, [](const auto& f) {
        return f.first == "content-length" || f.first == "transfer-encoding";
      });
    }
    // Trailers that we drop: the other one has them behind the fields of the head.
    if (parser.chunked() && theirs.fields.size() > ours.fields.size()) {
      ours.fields.resize(head_fields);
      theirs.fields.resize(head_fields);
    }
    FUZZ_CHECK(to_text(ours) == to_text(theirs), "ours:\n" + to_text(ours) + "theirs:\n" + to_text(theirs));
    if (!parser.keep_alive() || parser.upgrade() || parser.connect()) return 0;
    // Its reading of odd Connection lists is looser, and with an Upgrade it stops where we go on.
    if (headers.has(Header::kUpgrade)) return 0;
    headers.clear();
    trailers.clear();
    body.clear();
    after_head = false;
  }
}
