// Two Http2Sessions that talk to each other, and raw frames for a session that is talked to: what unit tests and the
// fuzz target share. Everything a side hears is written down as text.
#pragma once
#include <map>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/http2_session.h"
#include "stats/schema_http.h"
#include "stats/stats.h"

namespace millrace::test {

struct PeerStream final : http::Http2Stream {
  PeerStream() {
    head = &head_map;
    trailers = &trailer_map;
  }
  http::HeaderMap head_map, trailer_map;
  std::string body;
  bool ended = false;
  bool closed = false;
  int data_calls = 0;
  http::Http2Code code = http::Http2Code::kNoError;
};

class Peer final : public http::Http2Handler {
 public:
  explicit Peer(http::Http2Session::Role role, http::Http2Options options = {}, uint32_t max_header_bytes = 60 * 1024,
                uint32_t max_header_count = 100)
      : options_(std::move(options)),
        block_(store_.add_block(stats::http2_codec::kSchema, stats::BlockName{"http2.", "http2.", {}})),
        session(role, {options_, max_header_bytes, max_header_count}, block_->worker(0), *this) {}

  http::Http2Stream* on_stream_begin() override {
    if (refuse) return nullptr;
    streams.push_back(std::make_unique<PeerStream>());
    return streams.back().get();
  }
  void on_headers(http::Http2Stream& stream, bool end_stream) override {
    log.push_back(text(*stream.head) + (end_stream ? " end" : ""));
    of(stream).ended |= end_stream;
    if (answer) answer(of(stream));
  }
  void on_informational(http::Http2Stream& stream) override { log.push_back("1xx " + text(*stream.head)); }
  void on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) override {
    PeerStream& to = of(stream);
    ++to.data_calls;
    to.body += data.to_string();
    to.ended |= end_stream;
    if (consume) session.consume(stream, data.size());
    data.clear();
    if (end_stream && answer_end) answer_end(to);
  }
  void on_trailers(http::Http2Stream& stream) override {
    of(stream).ended = true;
    log.push_back("trailers " + text(*stream.trailers));
  }
  void on_stream_closed(http::Http2Stream& stream, http::Http2Code code) override {
    of(stream).closed = true;
    of(stream).code = code;
  }
  void on_goaway(int32_t last, http::Http2Code code) override {
    log.push_back("goaway " + std::to_string(last) + " " + std::to_string(static_cast<uint32_t>(code)));
  }
  void on_ping_ack(uint64_t opaque) override { log.push_back("ping " + std::to_string(opaque)); }

  // What it has to say, to the other's ear. False: nothing.
  bool say_to(Peer& other, size_t limit = 1 << 20) {
    base::Buffer wire;
    session.drain(wire, limit);
    session.set_unsent(0);
    if (wire.empty()) return false;
    heard_error = "";
    if (auto fed = other.session.feed(wire); !fed.ok()) other.heard_error = fed.error().what;
    return true;
  }
  bool feed(std::string_view bytes) {
    base::Buffer wire;
    wire.append(bytes);
    auto fed = session.feed(wire);
    if (!fed.ok()) heard_error = fed.error().what;
    return fed.ok();
  }
  std::string drain(size_t limit = 1 << 20) {
    base::Buffer wire;
    session.drain(wire, limit);
    session.set_unsent(0);
    return wire.to_string();
  }
  uint64_t counter(uint16_t index) const { return block_->counter(index); }
  int64_t gauge(uint16_t index) const { return block_->gauge(index); }

  static PeerStream& of(http::Http2Stream& stream) { return static_cast<PeerStream&>(stream); }
  static std::string text(const http::HeaderMap& map) {
    std::string out;
    map.for_each([&](const http::HeaderMap::Entry& e) {
      if (!out.empty()) out += "|";
      out.append(e.name).append("=").append(e.value);
    });
    return out;
  }

 private:
  http::Http2Options options_;
  stats::Store store_{1};
  stats::StatBlockPtr block_;

 public:
  bool refuse = false, consume = true;
  std::function<void(PeerStream&)> answer, answer_end;
  std::vector<std::string> log;
  std::vector<std::unique_ptr<PeerStream>> streams;
  std::string heard_error;
  http::Http2Session session;
};

// Until neither has anything to say.
inline void talk(Peer& a, Peer& b) {
  for (bool more = true; more;) {
    more = a.say_to(b);
    more |= b.say_to(a);
  }
}

// ---- raw frames

enum FrameType : uint8_t {
  kData = 0, kHeaders = 1, kPriority = 2, kRstStream = 3, kSettings = 4, kPushPromise = 5, kPing = 6, kGoaway = 7,
  kWindowUpdate = 8, kContinuation = 9,
};
inline constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8;

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string out;
  for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(stream >> shift);
  return out.append(payload);
}
inline std::string number(uint32_t n) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(n >> shift);
  return out;
}
// HPACK: a literal without indexing (RFC 7541 section 6.2.2), strings shorter than 127 bytes or with a long length.
inline std::string hpack_string(std::string_view s) {
  std::string out;
  size_t n = s.size();
  if (n < 127) {
    out += static_cast<char>(n);
  } else {
    out += static_cast<char>(127);
    for (n -= 127; n >= 128; n /= 128) out += static_cast<char>(n % 128 + 128);
    out += static_cast<char>(n);
  }
  return out.append(s);
}
inline std::string field(std::string_view name, std::string_view value) {
  return std::string(1, '\0') + hpack_string(name) + hpack_string(value);
}
// GET http://example/ : indexed fields, and :authority.
inline std::string get_request() { return std::string("\x82\x86\x84", 3) + field(":authority", "example"); }
inline std::string preface() { return std::string(http::kHttp2Preface) + frame(kSettings, 0, 0); }

struct RawFrame {
  uint8_t type, flags;
  uint32_t stream;
  std::string payload;
};
inline std::vector<RawFrame> frames_of(std::string_view bytes) {
  std::vector<RawFrame> out;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  while (bytes.size() >= 9) {
    const size_t n = byte(0) << 16 | byte(1) << 8 | byte(2);
    const uint32_t stream = (byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)) & 0x7fffffff;
    out.push_back({static_cast<uint8_t>(byte(3)), static_cast<uint8_t>(byte(4)), stream,
                   std::string(bytes.substr(9, n))});
    bytes.remove_prefix(std::min(bytes.size(), 9 + n));
  }
  return out;
}

}  // namespace millrace::test
