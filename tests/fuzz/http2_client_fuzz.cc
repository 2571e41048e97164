// An HTTP/2 session in the client's role, three requests under way, takes anything from its server: the same bytes give
// the same responses whatever the pieces they come in (but that data before an error or a reset of the same piece is
// dropped), and what it says is whole frames. The first byte of an input chooses options, the second seeds the cuts,
// the rest is what the server sends.
#include <cstdint>

#include "base/prng.h"
#include "fuzz/check.h"
#include "support/http2_peers.h"

using namespace millrace;
using test::Peer;
using test::PeerStream;

namespace {

constexpr size_t kRequests = 3;

struct Heard {
  std::string log, ends;
  std::vector<std::string> bodies;
  bool finished = false;
};

Heard run(unsigned flags, std::string_view bytes, base::Prng* cuts) {
  http::Http2Options options;
  options.stream_error_on_invalid_http_message = (flags & 1) != 0;
  const uint32_t header_bytes = (flags & 2) != 0 ? 200 : 60 * 1024;
  Peer client(http::Http2Session::Role::kClient, options, header_bytes, 100);
  http::HeaderMap head;
  head.add(http::Header::kMethod, (flags & 4) != 0 ? "HEAD" : "GET");
  head.add(http::Header::kScheme, "http");
  head.add(http::Header::kPath, "/");
  head.add(http::Header::kAuthority, "a");
  for (size_t i = 0; i < kRequests; ++i) {
    client.streams.push_back(std::make_unique<PeerStream>());
    FUZZ_CHECK(client.session.request(*client.streams.back(), head, i != 1), "a request was refused");  // one is open
  }
  std::string said = client.drain(SIZE_MAX);
  const std::string whole = ((flags & 8) == 0 ? test::frame(test::kSettings, 0, 0) : "") + std::string(bytes);
  std::string_view left = whole;
  for (bool ok = true; !left.empty() && ok;) {
    const size_t n = cuts == nullptr ? left.size() : 1 + cuts->next() % std::min<size_t>(left.size(), 40);
    ok = client.feed(left.substr(0, n));
    left.remove_prefix(n);
  }
  said = client.drain(SIZE_MAX);
  size_t framed = 0;
  for (const test::RawFrame& f : test::frames_of(said)) framed += 9 + f.payload.size();
  FUZZ_CHECK(framed == said.size(), "half a frame");
  Heard heard;
  heard.finished = client.session.finished();
  for (const auto& line : client.log) heard.log += line + "\n";
  for (const auto& stream : client.streams) {
    heard.ends += stream->ended ? "!" : "?";
    heard.bodies.push_back(stream->body);
    FUZZ_CHECK(stream->head_map.byte_size() <= header_bytes + 64, "a head beyond its limit");
  }
  FUZZ_CHECK(client.session.streams() <= kRequests, "streams from nowhere");
  return heard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  base::Prng cuts(data[1]);
  const Heard at_once = run(data[0], bytes, nullptr);
  const Heard in_pieces = run(data[0], bytes, &cuts);
  if (in_pieces.finished) {  // by GOAWAY, in both: what comes later than that piece is not looked at
    FUZZ_CHECK(at_once.log.starts_with(in_pieces.log), at_once.log + "in pieces:\n" + in_pieces.log);
    return 0;
  }
  FUZZ_CHECK(at_once.log == in_pieces.log, at_once.log + "in pieces:\n" + in_pieces.log);
  FUZZ_CHECK(at_once.ends == in_pieces.ends, at_once.ends + " in pieces " + in_pieces.ends);
  for (size_t i = 0; i < kRequests; ++i) {
    FUZZ_CHECK(in_pieces.bodies[i].starts_with(at_once.bodies[i]), at_once.bodies[i] + "|" + in_pieces.bodies[i]);
  }
  return 0;
}
