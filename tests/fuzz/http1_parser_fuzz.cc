// The HTTP/1 parser gives the same events whatever the pieces its input comes in. The first byte of an input chooses
// options, the second seeds the cuts, the rest is what a peer sends.
#include <cstdint>

#include "base/prng.h"
#include "fuzz/check.h"
#include "support/http1_transcript.h"

using millrace::test::Feed;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const unsigned flags = data[0];
  millrace::http::ParserOptions options;
  options.kind = (flags & 1) != 0 ? millrace::http::MessageKind::kResponse : millrace::http::MessageKind::kRequest;
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
      FUZZ_CHECK(other == expected, "whole:\n" + expected + "in pieces:\n" + other);
    }
  }
  return 0;
}
