#include "filter/http1_connection.h"

#include <algorithm>

#include "http/http1_writer.h"
#include "http/http2_session.h"
#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;
using http::Header;
using http::Http1Parser;
using stream::ResponseFlag;

namespace {

constexpr size_t kPipelinedInputMax = 64 * 1024;  // bytes read ahead of the request being answered
// Long enough for a client under load to use the connection once more and be told Connection: close: closing it while a
// request is on its way would lose that request. drain_timeout may shorten it.
constexpr base::milliseconds kDrainIdleGrace{2'000};

http::ParserOptions parser_options(const HcmOptions& o) {
  http::ParserOptions p;
  p.kind = http::MessageKind::kRequest;
  p.max_header_bytes = o.max_request_headers_kb * 1024;
  p.max_header_count = o.max_headers_count;
  p.allow_chunked_length = o.allow_chunked_length;
  p.accept_http_10 = o.accept_http_10;
  p.allow_absolute_url = o.allow_absolute_url;
  p.allow_custom_methods = o.allow_custom_methods;
  p.enable_trailers = o.enable_trailers;
  return p;
}

}  // namespace

Http1Connection::Http1Connection(HcmWorker& hcm, std::unique_ptr<net::Connection> connection,
                                 ConnectionObserver& observer)
    : hcm_(hcm), connection_(std::move(connection)), account_(hcm, *connection_, observer),
      hop_(hcm.listener().short_circuit ? hcm.worker().splice_offers : nullptr), parser_(parser_options(hcm.options())),
      idle_(hcm.worker().loop.timers(), *this), header_timer_(hcm.worker().loop.timers(), *this),
      max_duration_(hcm.worker().loop.timers(), *this) {
  connection_->set_handler(*this);
  connection_->set_watermark(hcm.listener().per_connection_buffer_limit_bytes);
}

Http1Connection::~Http1Connection() = default;

void Http1Connection::start() {
  const HcmOptions& o = hcm_.options();
  arm_idle();
  if (o.max_connection_duration.count() > 0) max_duration_.arm(o.max_connection_duration);
  connection_->start();
}

// ---- requests

// Whether it is HTTP/1; otherwise it may be too early to say, or it was handed over.
bool Http1Connection::choose_codec(bool end_stream) {
  bool http2 = false;
  if (hcm_.options().codec == Codec::kAuto) {
    // Enough of the first bytes to tell: no method of HTTP/1 begins so.
    constexpr std::string_view kPrefix = http::kHttp2Preface.substr(0, 12);
    const std::string_view alpn = connection_->negotiated_protocol();
    base::Buffer& in = connection_->input();
    const size_t n = std::min(in.size(), kPrefix.size());
    if (n == 0) return false;
    http2 = alpn.empty() ? in.linearize(n) == kPrefix.substr(0, n) : alpn == "h2";
    if (http2 && alpn.empty() && n < kPrefix.size()) {
      if (!end_stream) return false;
      http2 = false;
    }
  }
  if (http2) {
    idle_.disarm();
    max_duration_.disarm();
    hcm_.serve_http2(std::move(connection_), std::move(account_), true);
    hcm_.forget(*this);
    return false;
  }
  codec_known_ = true;
  hcm_.stats().inc(hs::kDownstreamCxHttp1Total);
  hcm_.stats().gauge_add(hs::kDownstreamCxHttp1Active);
  return true;
}

void Http1Connection::on_data(net::Connection&, base::Buffer&, bool end_stream) {
  if (!codec_known_ && !choose_codec(end_stream)) {
    if (connection_ != nullptr && end_stream) close(net::CloseMode::kFlush, true);
    return;
  }
  process();
  if (connection_ == nullptr) return;
  account_.count_bytes(*connection_);
  if (!end_stream) {
    if (!input_paused_ && !paused_ && connection_->input().size() > kPipelinedInputMax) {
      input_paused_ = true;
      connection_->pause_reading();
    }
    return;
  }
  if (raw_ && stream_ != nullptr) return;  // half-closed: the other direction goes on
  // A client that ends its side has gone: there is no half-close in HTTP/1.
  if (stream_ != nullptr && stream_begun_) {
    stats::StatShard& s = hcm_.stats();
    s.inc(hs::kDownstreamCxDestroyActiveRq);
    s.inc(hs::kDownstreamCxDestroyRemoteActiveRq);
    stream_->on_downstream_reset(ResponseFlag::kDownstreamConnectionTermination, "downstream_remote_disconnect");
  }
  if (connection_ != nullptr) close(net::CloseMode::kFlush, true);
}

void Http1Connection::process() {
  if (in_process_) return;
  in_process_ = true;
  while (connection_ != nullptr && parse_some()) {
  }
  in_process_ = false;
  if (connection_ == nullptr) return;
  if (input_paused_ && connection_->input().size() <= kPipelinedInputMax / 2) {
    input_paused_ = false;
    connection_->resume_reading();
  }
}

Http1Parser::Event Http1Connection::parse(base::Buffer& in, http::HeaderMap& map, base::Buffer& body) {
  const size_t before = in.size();
  const Http1Parser::Event event = parser_.next(in, map, body);
  stream::ByteCounts& bytes = stream_->info().downstream_bytes;
  bytes.wire_received += before - in.size();
  if (!stream_begun_) bytes.header_received += before - in.size();
  return event;
}

// One event; false: nothing more can be done now.
bool Http1Connection::parse_some() {
  base::Buffer& in = connection_->input();
  if (close_said_ && stream_ == nullptr) {
    in.clear();
    return false;
  }
  if (raw_) {
    const bool end = connection_->read_ended();
    if (paused_ || stream_ == nullptr || (in.empty() && !end) || request_complete_) return false;
    base::Buffer data(std::move(in));
    stream_->info().downstream_bytes.wire_received += data.size();
    request_complete_ = end;
    stream_->on_request_data(data, end);
    return false;
  }
  if (paused_ || (stream_begun_ && (request_complete_ || upgrade_))) return false;
  if (stream_ == nullptr) {
    if (in.empty()) return false;
    begin_stream();
  }
  base::Buffer body;
  http::HeaderMap& map = stream_begun_ ? stream_->request_trailers() : stream_->request_headers();
  switch (parse(in, map, body)) {
    case Http1Parser::Event::kNeedMore:
      if (!stream_begun_ && !parser_.in_message()) drop_pristine_stream();
      return false;
    case Http1Parser::Event::kHeaders: on_headers_complete(); return true;
    case Http1Parser::Event::kData: {
      const bool end = take_end();
      stream_->on_request_data(body, end);
      return true;
    }
    case Http1Parser::Event::kTrailers:
      take_end();
      stream_->on_request_trailers();
      return true;
    case Http1Parser::Event::kComplete: {
      request_complete_ = true;
      // A chunked body without trailers ends here, with nothing before it that said so.
      if (stream_ != nullptr && !stream_->request_ended()) {
        base::Buffer nothing;
        stream_->on_request_data(nothing, true);
      }
      return true;
    }
    case Http1Parser::Event::kError: on_parse_error(); return false;
  }
  return false;
}

// Whether the request ends with the event at hand. Takes the parser's kComplete along, so that nothing of this request
// is left over for the next one.
bool Http1Connection::take_end() {
  if (!parser_.ended()) return false;
  base::Buffer nothing;
  (void)parse(connection_->input(), stream_->request_trailers(), nothing);
  request_complete_ = true;
  return true;
}

void Http1Connection::begin_stream() {
  idle_.disarm();
  stream_ = hcm_.acquire();
  stream_->begin(*this);
  stream_begun_ = request_complete_ = upgrade_ = false;
  framing_ = BodyFraming::kNone;
  if (const base::milliseconds limit = hcm_.options().request_headers_timeout; limit.count() > 0) {
    header_timer_.arm(limit);
  }
}

// Only empty lines so far: no request has begun.
void Http1Connection::drop_pristine_stream() {
  hcm_.recycle(std::move(stream_));
  header_timer_.disarm();
  arm_idle();
}

void Http1Connection::arm_idle() {
  if (draining_ || hcm_.draining()) return idle_.arm(std::min(kDrainIdleGrace, hcm_.options().drain_timeout));
  if (const base::milliseconds limit = hcm_.options().idle_timeout; limit.count() > 0) idle_.arm(limit);
}

void Http1Connection::on_headers_complete() {
  header_timer_.disarm();
  stream_begun_ = true;
  ++requests_;
  const HcmOptions& o = hcm_.options();
  HttpStream& stream = *stream_;
  stream.info().protocol = parser_.http_11() ? stream::Protocol::kHttp11 : stream::Protocol::kHttp10;
  if (!parser_.http_11() && !stream.request_headers().has(Header::kAuthority) &&
      !o.default_host_for_http_10.empty()) {
    stream.request_headers().add(Header::kAuthority, o.default_host_for_http_10);
  }
  if (o.max_requests_per_connection > 0 && requests_ >= o.max_requests_per_connection) {
    if (!close_after_) hcm_.stats().inc(hs::kDownstreamCxMaxRequestsReached);
    close_after_ = true;
  }
  // A request with a body is not upgraded: a server may ignore Upgrade (RFC 9110 section 7.8), and where the body ends
  // must be known when it does.
  upgrade_ = (parser_.upgrade() && !parser_.has_body()) || parser_.connect();
  if (!upgrade_) hop_.on_request(*connection_);
  stream.on_request_headers(take_end(), upgrade_, parser_.expect_continue());
}

void Http1Connection::on_parse_error() {
  header_timer_.disarm();
  hcm_.stats().inc(hs::kDownstreamCxProtocolError);
  close_after_ = true;
  request_complete_ = true;  // nothing after it can be trusted
  connection_->input().clear();
  if (parser_.status_hint() == 431) hcm_.stats().inc(hs::kDownstreamRqTooLarge);
  stream_begun_ = true;
  stream_->on_codec_error(parser_.status_hint(), parser_.detail());
}

void Http1Connection::pause_request(HttpStream&) {
  if (paused_ || connection_ == nullptr) return;
  paused_ = true;
  connection_->pause_reading();
}

void Http1Connection::resume_request(HttpStream&) {
  if (!paused_ || connection_ == nullptr) return;
  paused_ = false;
  connection_->resume_reading();
  connection_->redeliver();
}

// ---- responses

// After something was appended to the output, which was this long before.
void Http1Connection::wrote(HttpStream& stream, size_t before, bool head) {
  const size_t n = connection_->output().size() - before;
  stream::ByteCounts& bytes = stream.info().downstream_bytes;
  bytes.wire_sent += n;
  if (head) bytes.header_sent += n;
  connection_->wrote();
}

void Http1Connection::encode_informational(HttpStream& stream, const http::HeaderMap& headers) {
  if (connection_ == nullptr || !parser_.http_11()) return;  // HTTP/1.0 knows none
  const size_t before = connection_->output().size();
  if (!http::write_response_head(headers, {}, {.proper_case = hcm_.options().proper_case_headers},
                                 connection_->output())) {
    return;
  }
  wrote(stream, before, true);
}

bool Http1Connection::must_close(HttpStream& stream) const {
  return close_after_ || draining_ || hcm_.draining() || !parser_.keep_alive() ||
         (!request_complete_ && !stream.request_ended());
}

Http1Connection::BodyFraming Http1Connection::choose_framing(HttpStream& stream, http::HeaderMap& headers,
                                                             bool end_stream) {
  const unsigned code = stream.info().response_code;
  if (upgrade_ && (code == 101 || (code / 100 == 2 && parser_.connect()))) return BodyFraming::kRaw;
  if (code == 204 || code == 304 || stream.head_request() || end_stream) return BodyFraming::kNone;
  if (headers.has(Header::kContentLength)) return BodyFraming::kLength;
  return parser_.http_11() ? BodyFraming::kChunked : BodyFraming::kUntilClose;
}

void Http1Connection::encode_headers(HttpStream& stream, http::HeaderMap& headers, bool end_stream) {
  if (connection_ == nullptr) return;
  framing_ = choose_framing(stream, headers, end_stream);
  const unsigned code = stream.info().response_code;
  http::Framing wire;
  switch (framing_) {
    case BodyFraming::kNone:
      if (stream.head_request() || code == 304) {
        wire.kind = http::Framing::Kind::kAsIs;
      } else if (code != 204 && code >= 200) {
        wire.kind = http::Framing::Kind::kContentLength;
      }
      break;
    case BodyFraming::kLength: wire.kind = http::Framing::Kind::kAsIs; break;
    case BodyFraming::kChunked: wire.kind = http::Framing::Kind::kChunked; break;
    case BodyFraming::kUntilClose: close_after_ = true; break;
    case BodyFraming::kRaw: break;
  }
  if (framing_ == BodyFraming::kRaw) {
    raw_ = true;
    // A tunnel's ends tell more by resets than those of HTTP, so it has all of TCP.
    hop_.leave();
    request_complete_ = false;
    hcm_.stats().inc(hs::kDownstreamCxUpgradesTotal);
    hcm_.stats().gauge_add(hs::kDownstreamCxUpgradesActive);
    idle_.disarm();
  } else if (must_close(stream)) {
    if (hcm_.draining() || draining_) hcm_.stats().inc(hs::kDownstreamCxDrainClose);
    close_said_ = true;
    headers.set_view(Header::kConnection, "close");
  } else if (!parser_.http_11()) {
    headers.set_view(Header::kConnection, "keep-alive");
  }
  const size_t before = connection_->output().size();
  if (!http::write_response_head(headers, wire,
                                 {.proper_case = hcm_.options().proper_case_headers,
                                  .http_10 = stream.info().protocol == stream::Protocol::kHttp10},
                                 connection_->output())) {
    return close(net::CloseMode::kFlush, false);  // a status that cannot be written: nothing else can be said
  }
  wrote(stream, before, true);
  if (raw_) connection_->redeliver();  // what the client sent before it knew
}

void Http1Connection::encode_data(HttpStream& stream, base::Buffer& data, bool end_stream) {
  if (connection_ == nullptr) return data.clear();
  const size_t before = connection_->output().size();
  switch (framing_) {
    case BodyFraming::kNone: data.clear(); return;
    case BodyFraming::kChunked:
      if (!data.empty()) http::write_chunk(data, connection_->output());
      if (end_stream) http::write_last_chunk(nullptr, {}, connection_->output());
      wrote(stream, before, false);
      return;
    case BodyFraming::kRaw:
    case BodyFraming::kLength:
    case BodyFraming::kUntilClose:
      stream.info().downstream_bytes.wire_sent += data.size();
      connection_->write(data, framing_ == BodyFraming::kRaw && end_stream);
      return;
  }
}

void Http1Connection::encode_trailers(HttpStream& stream, http::HeaderMap& trailers) {
  if (connection_ == nullptr || framing_ != BodyFraming::kChunked) return;
  const size_t before = connection_->output().size();
  http::write_last_chunk(hcm_.options().enable_trailers ? &trailers : nullptr,
                         {.proper_case = hcm_.options().proper_case_headers}, connection_->output());
  wrote(stream, before, false);
}

void Http1Connection::reset(HttpStream&) {
  // The bytes so far go out, then the connection ends: a length or a last chunk that is missing tells the client.
  close_after_ = true;
  close_said_ = true;
}

void Http1Connection::on_stream_over(HttpStream& stream) {
  hcm_.recycle(std::move(stream_));
  stream_begun_ = false;
  upgrade_ = false;
  if (paused_) {
    paused_ = false;
    if (connection_ != nullptr) connection_->resume_reading();
  }
  if (raw_) hcm_.stats().gauge_sub(hs::kDownstreamCxUpgradesActive);
  if (connection_ == nullptr) return;
  account_.count_bytes(*connection_);
  // A request that was answered before it was complete cannot be told from what follows it.
  if (close_said_ || raw_ || close_after_ || !stream.request_ended() || connection_->read_ended()) {
    close(net::CloseMode::kFlushDelay, false);
    return;
  }
  arm_idle();
  if (in_process_) return;
  if (input_paused_) {  // nothing is delivered while reading is paused
    input_paused_ = false;
    connection_->resume_reading();
  }
  if (!connection_->input().empty()) connection_->redeliver();
}

void Http1Connection::on_above_high_watermark(net::Connection&) {
  if (stream_ != nullptr && stream_begun_) stream_->on_downstream_above_high_watermark();
}

void Http1Connection::on_below_low_watermark(net::Connection&) {
  if (stream_ != nullptr && stream_begun_) stream_->on_downstream_below_low_watermark();
}

// ---- the end

void Http1Connection::on_error(net::Connection&, const base::Error&) {
  if (stream_ != nullptr && stream_begun_) {
    stats::StatShard& s = hcm_.stats();
    s.inc(hs::kDownstreamCxDestroyActiveRq);
    s.inc(hs::kDownstreamCxDestroyRemoteActiveRq);
    stream_->on_downstream_reset(ResponseFlag::kDownstreamConnectionTermination, "downstream_remote_disconnect");
  }
  if (connection_ != nullptr) close(net::CloseMode::kNow, true);
}

void Http1Connection::close(net::CloseMode mode, bool remote) {
  if (connection_ == nullptr) return;
  stats::StatShard& s = hcm_.stats();
  account_.count_bytes(*connection_);
  hop_.withdraw();
  net::Connection::close(std::move(connection_), mode, hcm_.options().delayed_close_timeout, &hcm_.delayed_closes());
  idle_.disarm();
  header_timer_.disarm();
  max_duration_.disarm();
  if (stream_ != nullptr) {
    if (stream_begun_) {
      if (!remote) {
        s.inc(hs::kDownstreamCxDestroyActiveRq);
        s.inc(hs::kDownstreamCxDestroyLocalActiveRq);
      }
      stream_->on_downstream_reset(ResponseFlag::kCount, "");
    } else {
      hcm_.recycle(std::move(stream_));
    }
  }
  if (codec_known_) s.gauge_sub(hs::kDownstreamCxHttp1Active);
  account_.closed(remote);
  hcm_.forget(*this);
}

void Http1Connection::drain() {
  draining_ = true;
  if (stream_ == nullptr) arm_idle();
}

void Http1Connection::close_now() {
  if (stream_ != nullptr && stream_begun_) {
    stream_->on_downstream_reset(ResponseFlag::kLocalReset, "server_shutdown");
  }
  if (connection_ != nullptr) close(net::CloseMode::kNow, false);
}

void Http1Connection::on_idle() {
  if (stream_ != nullptr) return;
  if (!draining_ && !hcm_.draining()) hcm_.stats().inc(hs::kDownstreamCxIdleTimeout);
  close(net::CloseMode::kFlushDelay, false);
}

void Http1Connection::on_header_timeout() {
  if (stream_ == nullptr || stream_begun_) return;
  hcm_.stats().inc(hs::kDownstreamRqHeaderTimeout);
  close_after_ = true;
  request_complete_ = true;
  stream_begun_ = true;
  stream_->on_header_timeout();
}

void Http1Connection::on_max_duration() {
  hcm_.stats().inc(hs::kDownstreamCxMaxDurationReached);
  close_after_ = true;
  if (stream_ == nullptr) close(net::CloseMode::kFlushDelay, false);
}

}  // namespace millrace::filter
