#include "filter/http2_connection.h"

#include <algorithm>

#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;
namespace h2 = stats::http2_codec;
using http::Http2Code;
using stream::ResponseFlag;

namespace {

// Framed bytes that wait for the socket: enough to keep it busy, little enough that what is framed later can still go
// first.
constexpr size_t kOutputBytes = 256 * 1024;
constexpr size_t kStreamWatermarkMin = 64 * 1024;
constexpr uint64_t kDrainPing = 0x6e69617264;

}  // namespace

Http2Connection::Http2Connection(HcmWorker& hcm, std::unique_ptr<net::Connection> connection,
                                 DownstreamAccount account)
    : hcm_(hcm), connection_(std::move(connection)), account_(std::move(account)),
      session_(http::Http2Session::Role::kServer,
               {hcm.options().http2, hcm.options().max_request_headers_kb * 1024, hcm.options().max_headers_count},
               hcm.http2_stats(), *this),
      idle_(hcm.worker().loop.timers(), *this), header_timer_(hcm.worker().loop.timers(), *this),
      max_duration_(hcm.worker().loop.timers(), *this), drain_timer_(hcm.worker().loop.timers(), *this),
      keepalive_(hcm.worker().loop.timers(), *this), keepalive_timeout_(hcm.worker().loop.timers(), *this) {
  stats::StatShard& s = hcm_.stats();
  connection_->set_handler(*this);
  connection_->set_watermark(kOutputBytes - 1);
  s.inc(hs::kDownstreamCxHttp2Total);
  s.gauge_add(hs::kDownstreamCxHttp2Active);
}

Http2Connection::~Http2Connection() = default;

void Http2Connection::start(bool reading) {
  const HcmOptions& o = hcm_.options();
  arm_idle();
  arm_keepalive();
  if (o.max_connection_duration.count() > 0) {
    const auto gone = std::chrono::duration_cast<base::milliseconds>(hcm_.worker().loop.now() - account_.info().start);
    max_duration_.arm(std::max(o.max_connection_duration - gone, base::milliseconds(0)));
  }
  schedule_write();
  if (!reading) return connection_->start();
  on_data(*connection_, connection_->input(), connection_->read_ended());
}

// ---- what arrives

void Http2Connection::on_data(net::Connection&, base::Buffer& data, bool end_stream) {
  if (keepalive_timeout_.armed()) keepalive_timeout_.arm(hcm_.options().http2.keepalive_timeout);
  session_.set_unsent(connection_->unsent());
  const bool ok = session_.feed(data).ok();
  account_.count_bytes(*connection_);
  schedule_write();
  if (too_many_resets_) return too_many_resets();
  if (!ok) return protocol_error();
  if (!end_stream) return;
  // A client that ends its side has gone.
  if (active_ > 0) hcm_.stats().inc(hs::kDownstreamCxDestroyRemoteActiveRq);
  close(net::CloseMode::kFlush, true, ResponseFlag::kDownstreamConnectionTermination, "downstream_remote_disconnect");
}

http::Http2Stream* Http2Connection::on_stream_begin() {
  idle_.disarm();
  Http2ServerStream* stream = hcm_.acquire_http2().release();
  streams_.push_back(*stream);
  stream->begin(*this);
  ++active_;
  ++requests_;
  reading_head_ = stream;
  const HcmOptions& o = hcm_.options();
  if (o.request_headers_timeout.count() > 0) header_timer_.arm(o.request_headers_timeout);
  if (o.max_requests_per_connection > 0 && requests_ >= o.max_requests_per_connection && drain_ == Drain::kNone) {
    hcm_.stats().inc(hs::kDownstreamCxMaxRequestsReached);
    start_drain();
  }
  return stream;
}

void Http2Connection::on_headers(http::Http2Stream& stream, bool end_stream) {
  header_timer_.disarm();
  reading_head_ = nullptr;
  static_cast<Http2ServerStream&>(stream).on_headers(end_stream);
}

void Http2Connection::on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) {
  static_cast<Http2ServerStream&>(stream).on_data(data, end_stream);
}

void Http2Connection::on_trailers(http::Http2Stream& stream) {
  static_cast<Http2ServerStream&>(stream).on_trailers();
}

void Http2Connection::on_stream_closed(http::Http2Stream& stream, Http2Code) {
  static_cast<Http2ServerStream&>(stream).on_closed();
}

void Http2Connection::on_sent(http::Http2Stream& stream) { static_cast<Http2ServerStream&>(stream).on_sent(); }

// Rapid reset: requests that cost us more than the client. As Envoy counts them, and with those that the client has
// made us reset.
void Http2Connection::stream_ended(HttpStream& stream, bool cut_by_client) {
  ++ended_requests_;
  const HcmOptions& o = hcm_.options();
  if (cut_by_client && stream.info().response_code == 0 &&
      hcm_.worker().loop.now() - stream.info().start <= o.premature_reset_lifetime) {
    ++premature_resets_;
  }
  const uint64_t of = std::max<uint64_t>(ended_requests_, o.premature_resets_max);
  if (premature_resets_ == 0 || premature_resets_ * 2 < of || too_many_resets_) return;
  too_many_resets_ = true;
  session_.stop();
}

// ---- what is sent

void Http2Connection::on_turn_end() {
  while (!resumed_.empty()) {  // each may end others
    Http2ServerStream* stream = resumed_.back();
    resumed_.pop_back();
    stream->deliver_waiting();
  }
  if (drain_ == Drain::kHeard && active_ == 0) on_drain_timeout();
  write();
  if (drain_ != Drain::kNotice || connection_ == nullptr) return;
  drain_ = Drain::kPinged;  // not before the notice is framed: a PING would overtake it
  session_.ping(kDrainPing);
  write();
}

void Http2Connection::frame_ahead() {
  if (connection_ == nullptr || session_.busy()) return;
  base::Buffer& out = connection_->output();
  const size_t before = out.size();
  session_.set_unsent(before);
  session_.drain(out, kOutputBytes);
  framed_ |= out.size() != before;
}

void Http2Connection::write_ahead() {
  frame_ahead();
  if (!framed_ || connection_ == nullptr) return;
  framed_ = false;
  account_.count_bytes(*connection_);
  connection_->wrote();
}

void Http2Connection::write() {
  if (connection_ == nullptr) return;
  write_ahead();
  if (too_many_resets_) return too_many_resets();  // those that we were made to say
  if (session_.failed()) return protocol_error();
  if (session_.finished()) close(net::CloseMode::kFlushDelay, false);
}

// Of the bytes that one stream may have waiting: less where there are many.
size_t Http2Connection::stream_watermark() const {
  return std::max<size_t>(kStreamWatermarkMin,
                          hcm_.listener().per_connection_buffer_limit_bytes / (1 + session_.streams() / 16));
}

// ---- the end

void Http2Connection::start_drain() {
  if (drain_ != Drain::kNone || connection_ == nullptr) return;
  if (hcm_.draining()) hcm_.stats().inc(hs::kDownstreamCxDrainClose);
  drain_ = Drain::kNotice;
  session_.shutdown_notice();
  schedule_write();
  const base::milliseconds grace = hcm_.options().drain_timeout;
  if (grace.count() == 0) return on_drain_timeout();
  drain_timer_.arm(grace);
}

void Http2Connection::on_drain_timeout() {
  drain_ = Drain::kGoingAway;
  drain_timer_.disarm();
  session_.goaway();
  schedule_write();
}

void Http2Connection::drain() { start_drain(); }

void Http2Connection::close_now() {
  close(net::CloseMode::kNow, false, ResponseFlag::kLocalReset, "server_shutdown");
}

void Http2Connection::on_error(net::Connection&, const base::Error&) {
  if (active_ > 0) hcm_.stats().inc(hs::kDownstreamCxDestroyRemoteActiveRq);
  close(net::CloseMode::kNow, true, ResponseFlag::kDownstreamConnectionTermination, "downstream_remote_disconnect");
}

void Http2Connection::protocol_error() {
  hcm_.stats().inc(hs::kDownstreamCxProtocolError);
  session_.drain(connection_->output(), SIZE_MAX);  // GOAWAY, which says why
  close(net::CloseMode::kFlushDelay, false, ResponseFlag::kDownstreamProtocolError,
        session_.details().empty() ? std::string_view("http2.protocol.error") : session_.details());
}

void Http2Connection::too_many_resets() {
  hcm_.stats().inc(hs::kDownstreamRqTooManyPrematureResets);
  session_.terminate(Http2Code::kEnhanceYourCalm);
  session_.drain(connection_->output(), SIZE_MAX);
  close(net::CloseMode::kFlushDelay, false, ResponseFlag::kCount, "too_many_premature_resets");
}

void Http2Connection::end_streams(ResponseFlag flag, std::string_view details) {
  while (Http2ServerStream* stream = streams_.front()) stream->end(flag, details);
}

void Http2Connection::close(net::CloseMode mode, bool remote, ResponseFlag flag, std::string_view details) {
  if (connection_ == nullptr) return;
  session_.stop();
  stats::StatShard& s = hcm_.stats();
  account_.count_bytes(*connection_);
  net::Connection::close(std::move(connection_), mode, hcm_.options().delayed_close_timeout, &hcm_.delayed_closes());
  if (active_ > 0) {
    s.inc(hs::kDownstreamCxDestroyActiveRq);
    if (!remote) s.inc(hs::kDownstreamCxDestroyLocalActiveRq);
  }
  end_streams(flag, details);
  for (io::Timer* timer : std::initializer_list<io::Timer*>{&idle_, &header_timer_, &max_duration_, &drain_timer_,
                                                            &keepalive_, &keepalive_timeout_}) {
    timer->disarm();
  }
  s.gauge_sub(hs::kDownstreamCxHttp2Active);
  account_.closed(remote);
  hcm_.forget(*this);
}

// ---- times

void Http2Connection::arm_idle() {
  if (connection_ == nullptr) return;
  if (const base::milliseconds limit = hcm_.options().idle_timeout; limit.count() > 0) idle_.arm(limit);
}

void Http2Connection::on_idle() {
  if (active_ > 0) return;
  hcm_.stats().inc(hs::kDownstreamCxIdleTimeout);
  start_drain();
}

void Http2Connection::on_max_duration() {
  hcm_.stats().inc(hs::kDownstreamCxMaxDurationReached);
  start_drain();
}

// The block of a head does not come to its end, and nothing else can come before it does.
void Http2Connection::on_header_timeout() {
  if (reading_head_ == nullptr) return;
  hcm_.stats().inc(hs::kDownstreamRqHeaderTimeout);
  Http2ServerStream* stream = std::exchange(reading_head_, nullptr);
  stream->on_header_timeout();
  session_.goaway();
  session_.drain(connection_->output(), kOutputBytes);
  close(net::CloseMode::kFlushDelay, false, ResponseFlag::kDownstreamConnectionTermination, "request_header_timeout");
}

void Http2Connection::arm_keepalive() {
  const http::Http2Options& o = hcm_.options().http2;
  if (o.keepalive_interval.count() <= 0) return;
  const double jitter_max =
      static_cast<double>(o.keepalive_interval.count()) * o.keepalive_interval_jitter_percent / 100;
  const uint64_t jitter = hcm_.worker().loop.prng().next() % (static_cast<uint64_t>(jitter_max) + 1);
  keepalive_.arm(o.keepalive_interval + base::milliseconds(jitter));
}

void Http2Connection::on_keepalive() {
  session_.ping(hcm_.worker().loop.prng().next());
  schedule_write();
  keepalive_timeout_.arm(hcm_.options().http2.keepalive_timeout);
}

void Http2Connection::on_ping_ack(uint64_t opaque) {
  if (opaque == kDrainPing) {
    if (drain_ == Drain::kPinged) drain_ = Drain::kHeard;
    return;  // the turn's end, which is due after anything that arrives, sees to it
  }
  if (!keepalive_timeout_.armed()) return;
  keepalive_timeout_.disarm();
  arm_keepalive();
}

void Http2Connection::on_keepalive_timeout() {
  hcm_.http2_stats().inc(h2::kKeepaliveTimeout);
  close(net::CloseMode::kNow, false, ResponseFlag::kDownstreamConnectionTermination, "http2.ping_timeout");
}

}  // namespace millrace::filter
