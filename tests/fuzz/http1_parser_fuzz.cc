// The HTTP/1 parser gives the same events whatever the pieces its input comes in, and reads a head that it accepted and
// the writer wrote again as the same one, with nothing before or behind it. The first byte of an input chooses
// options, the second seeds the cuts, the rest is what a peer sends.
#include <cstdint>

#include "base/prng.h"
#include "fuzz/check.h"
#include "http/http1_writer.h"
#include "support/http1_transcript.h"

using millrace::test::Feed;
using namespace millrace::http;

namespace {

std::string to_text(const HeaderMap& map) {
  std::string text;
  map.for_each([&](const HeaderMap::Entry& e) {
    // What the writer is told, and what an absolute target says besides the authority, does not come back.
    if (e.id == Header::kContentLength || e.id == Header::kTransferEncoding || e.id == Header::kScheme) return;
    text.append(e.name).append("=").append(e.value).append("\n");
  });
  return text;
}

void check_round_trip(const ParserOptions& options, std::string_view bytes, std::string_view request_method) {
  using Event = Http1Parser::Event;
  const bool request = options.kind == MessageKind::kRequest;
  millrace::base::Buffer in, out, body;
  in.append(bytes);
  HeaderMap map, again;
  ParserOptions roomy = options;  // the framing may be said in more bytes
  roomy.max_header_bytes += 100;
  roomy.max_header_count += 1;
  Http1Parser parser(options), reader(roomy);
  for (Http1Parser* p : {&parser, &reader}) p->set_request_method(request_method);
  if (parser.next(in, map, body) != Event::kHeaders) return;
  Framing framing{Framing::Kind::kNone, 0};
  if (parser.has_body() && parser.http_11() && !parser.informational()) framing.kind = Framing::Kind::kChunked;
  const WriterOptions writing{.proper_case = bytes.size() % 2 == 0, .http_10 = !parser.http_11()};
  const bool written =
      request ? write_request_head(map, framing, writing, out) : write_response_head(map, framing, writing, out);
  FUZZ_CHECK(written, to_text(map));
  const std::string wire = out.to_string();
  FUZZ_CHECK(reader.next(out, again, body) == Event::kHeaders, wire);
  FUZZ_CHECK(out.empty(), wire);
  FUZZ_CHECK(to_text(again) == to_text(map), to_text(map) + "then:\n" + to_text(again));
}

// The same, but that a head may be wrong and too large, and which of that is found first is a matter of the pieces.
bool same(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto at = a.rfind("error "), other_at = b.rfind("error ");
  if (at == std::string::npos || other_at == std::string::npos) return false;
  if (a.substr(0, at) != b.substr(0, other_at)) return false;
  const auto too_large = [](const std::string& text, size_t from) { return text.find(" 431 ", from) == from + 5; };
  return too_large(a, at) || too_large(b, other_at);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const unsigned flags = data[0];
  ParserOptions options;
  options.kind = (flags & 1) != 0 ? MessageKind::kResponse : MessageKind::kRequest;
  options.accept_http_10 = (flags & 2) != 0;
  options.allow_custom_methods = (flags & 4) != 0;
  options.allow_chunked_length = (flags & 8) != 0;
  options.enable_trailers = (flags & 16) != 0;
  if ((flags & 32) != 0) {
    options.max_header_bytes = 200;
    options.max_header_count = 5;
    options.max_chunk_extension_bytes = 10;
  }
  Feed feed;
  feed.request_method = (flags & 64) != 0 ? "HEAD" : (flags & 128) != 0 ? "CONNECT" : "GET";
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  feed.pieces = {bytes};
  const std::string expected = millrace::test::transcript(options, feed);
  FUZZ_CHECK(!expected.starts_with("unsound"), expected);

  check_round_trip(options, bytes, feed.request_method);

  millrace::base::Prng random(data[1]);
  for (size_t piece_max : {size_t{1}, size_t{8}, size_t{64}}) {
    feed.pieces.clear();
    for (size_t i = 0; i < bytes.size();) {
      const size_t n = random.below(piece_max) + 1;
      feed.pieces.push_back(bytes.substr(i, n));
      i += n;
    }
    for (bool at_once : {false, true}) {
      feed.at_once = at_once;
      const std::string other = millrace::test::transcript(options, feed);
      FUZZ_CHECK(same(other, expected), "whole:\n" + expected + "in pieces:\n" + other);
    }
  }
  return 0;
}
