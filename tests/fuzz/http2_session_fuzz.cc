// An HTTP/2 session in the server's role takes anything: the same bytes give the same requests whatever the pieces they
// come in (but that data before an error or a reset of the same piece is dropped), its answers are whole frames, and it
// holds no more than its limits allow. The first byte of an input chooses
// options, the second seeds the cuts, the rest is what a client sends after its preface.
#include <cstdint>

#include "base/prng.h"
#include "fuzz/check.h"
#include "support/http2_peers.h"

using namespace millrace;
using test::Peer;
using test::PeerStream;

namespace {

struct Heard {
  std::string log, ends;
  std::vector<std::string> bodies;
  bool finished = false;
};

Heard run(unsigned flags, std::string_view bytes, base::Prng* cuts) {
  http::Http2Options options;
  options.stream_error_on_invalid_http_message = (flags & 1) != 0;
  options.allow_connect = (flags & 2) != 0;
  options.max_concurrent_streams = (flags & 4) != 0 ? 3 : 1024;
  options.disallow_obs_text = (flags & 8) != 0;
  const uint32_t header_bytes = (flags & 16) != 0 ? 200 : 60 * 1024;
  const uint32_t header_count = (flags & 16) != 0 ? 6 : 100;
  Peer server(http::Http2Session::Role::kServer, options, header_bytes, header_count);
  http::HeaderMap head;
  head.add(http::Header::kStatus, "200");
  const auto respond = [&](PeerStream& to) {
    server.session.send_headers(to, head, false);
    base::Buffer body;
    body.append("answer");
    server.session.send_data(to, body, true);
  };
  server.answer = [&](PeerStream& to) {
    if (to.ended) respond(to);
  };
  server.answer_end = respond;
  std::string whole(http::kHttp2Preface);
  if ((flags & 32) == 0) whole += test::frame(test::kSettings, 0, 0);
  whole += bytes;
  std::string_view left = whole;
  std::string said;
  bool ok = true;
  while (!left.empty() && ok) {
    const size_t n = cuts == nullptr ? left.size() : 1 + cuts->next() % std::min<size_t>(left.size(), 40);
    ok = server.feed(left.substr(0, n));
    left.remove_prefix(n);
  }
  said = server.drain(SIZE_MAX);
  size_t framed = 0;
  for (const test::RawFrame& f : test::frames_of(said)) framed += 9 + f.payload.size();
  FUZZ_CHECK(framed == said.size(), "half a frame");
  Heard heard;
  heard.finished = server.session.finished();
  for (const auto& line : server.log) heard.log += line + "\n";
  for (const auto& stream : server.streams) {
    heard.ends += stream->ended ? "!" : "?";
    heard.bodies.push_back(stream->body);
    FUZZ_CHECK(stream->head_map.byte_size() <= header_bytes + 64, "a head beyond its limit");
  }
  FUZZ_CHECK(server.session.streams() <= options.max_concurrent_streams, "more streams than allowed");
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
  for (size_t i = 0; i < at_once.bodies.size(); ++i) {
    FUZZ_CHECK(in_pieces.bodies[i].starts_with(at_once.bodies[i]), at_once.bodies[i] + "|" + in_pieces.bodies[i]);
  }
  return 0;
}
