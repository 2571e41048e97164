#include "upstream/http2_client.h"

#include <algorithm>

#include "http/http2_upgrade.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;
using http::Header;
using http::Http2Code;

// What is framed ahead of the socket; the rest waits in the streams, which take turns and know their watermarks.
constexpr size_t kOutputBytes = 256 * 1024;
// Until the peer says what it takes: the least that it should (RFC 9113 section 6.5.2).
constexpr uint32_t kStreamsBeforeSettings = 100;
// Stream ids are 31 bits, every other one is ours.
constexpr uint32_t kRequestsMax = (1u << 30) - 1;

uint32_t streams_expected(const HttpOptions& options) {
  const uint32_t requests = options.max_requests_per_connection;
  const uint32_t streams = std::max(options.http2.max_concurrent_streams, 1u);
  return requests > 0 ? std::min(requests, streams) : streams;
}

http::Http2SessionOptions session_options(const HttpOptions& options) {
  return {.http2 = options.http2,
          .max_header_bytes = options.max_response_headers_kb * 1024,
          .max_header_count = options.max_headers_count};
}

}  // namespace

Http2Client::Http2Client(HttpPool& pool)
    : HttpClient(pool, pool.expects_http1() ? 1 : streams_expected(pool.cluster().cluster().options().http)),
      codec_stats_(pool.cluster().cluster().http2_stats().worker(pool.cluster().worker())),
      session_(http::Http2Session::Role::kClient, session_options(options().http), codec_stats_, *this),
      keepalive_timer_(pool.cluster().loop().timers(), *this),
      ping_timer_(pool.cluster().loop().timers(), *this) {
  connection_->set_watermark(kOutputBytes / 2);
}

Http2Client::~Http2Client() = default;

void Http2Client::on_open() {
  stats().inc(stat::kUpstreamCxHttp2Total);
  received_at_ = account_->cluster().loop().now();
  update_room();
  flush_later();
  arm_keepalive();
  arm_idle_timer();
}

// ---- room

uint32_t Http2Client::streams_max() const {
  const uint32_t ours = options().http.http2.max_concurrent_streams;
  return std::min(ours, settings_seen_ ? session_.peer_max_concurrent_streams() : kStreamsBeforeSettings);
}

void Http2Client::update_room() {
  const uint32_t most = last_request_ ? 0 : streams_max();
  room_ = most > used_ ? most - used_ : 0;
}

void Http2Client::attach(UpstreamRequest& request) {
  Stream* stream = nullptr;
  if (free_.empty()) {
    stream = streams_.emplace_back(std::make_unique<Stream>()).get();
  } else {
    stream = free_.back();
    free_.pop_back();
  }
  stream->request = &request;
  stream->head = &request.headers_;
  stream->trailers = &request.trailers_;
  stream->received_before = connection_->bytes_received();
  stream->paused_bytes = 0;
  stream->above_high = false;
  stream->upgrade.clear();
  request.stream_ = stream;
  active_.push_back(*stream);
  ++used_;
  take_request(request);
  if (requests_ >= kRequestsMax) last_request_ = true;
  update_room();
  const base::milliseconds quiet = options().http.http2.keepalive_connection_idle_interval;
  if (used_ == 1 && quiet.count() > 0 && account_->cluster().loop().now() - received_at_ >= quiet) ping();
}

// Closes once the requests that there are have been answered.
void Http2Client::stop_requests() {
  const bool had_room = room_ > 0;
  last_request_ = true;
  room_ = 0;
  if (had_room) pool_.on_full(*this);
  set_expected(0);
  pool_.connect_for_pending();
}

void Http2Client::drain() {
  if (used_ > 0) return stop_requests();
  session_.goaway();
  session_.drain(connection_->output(), SIZE_MAX);
  end_session();
  close(net::CloseMode::kFlush, EndedBy::kLocal, false);
}

void Http2Client::end_session() {
  keepalive_timer_.disarm();
  ping_timer_.disarm();
  session_.stop();
}

// After the session has run: streams that it let go of make room, SETTINGS make more or less of it.
void Http2Client::settle() {
  if (connection_ == nullptr) return;
  if (!over_.empty()) {
    free_.insert(free_.end(), over_.begin(), over_.end());
    used_ -= static_cast<uint32_t>(over_.size());
    over_.clear();
    if (used_ == 0) {
      if (last_request_) return drain();
      arm_idle_timer();
    }
  }
  const bool had_room = room_ > 0;
  const bool settled = std::exchange(settings_new_, false);
  update_room();
  if (settled) set_expected(0);
  if (had_room && room_ == 0) {
    pool_.on_full(*this);
  } else if (!had_room && room_ > 0) {
    pool_.on_room(*this);
  }
  // Those who wait for more than there is; not if there is nothing, another connection would say the same.
  if (settled && streams_max() > 0) pool_.connect_for_pending();
}

// ---- the request

// What goes out: as it came, but for tunnels. Null: a head that HTTP/2 cannot carry.
const http::HeaderMap* Http2Client::request_head(Stream& stream, const http::HeaderMap& headers) {
  const bool connect = headers.get(Header::kMethod) == "CONNECT";
  if (!headers.has(Header::kMethod) || (!connect && !headers.has(Header::kPath))) return nullptr;
  if (!connect && !headers.has(Header::kUpgrade) && headers.has(Header::kScheme)) return &headers;
  if (scratch_ == nullptr) scratch_ = std::make_unique<http::HeaderMap>();
  scratch_->copy_from(headers);
  if (connect && !headers.has(Header::kProtocol)) {  // RFC 9113 section 8.5
    scratch_->remove(Header::kPath);
    scratch_->remove(Header::kScheme);
    return scratch_.get();
  }
  if (!headers.has(Header::kScheme)) scratch_->add_view(Header::kScheme, "http");
  if (http::request_to_extended_connect(*scratch_)) stream.upgrade = headers.get(Header::kUpgrade);
  return scratch_.get();
}

bool Http2Client::send_headers(UpstreamRequest& request, const http::HeaderMap& headers, bool end_stream) {
  if (connection_ == nullptr) return true;
  Stream& stream = stream_of(request);
  const http::HeaderMap* head = request_head(stream, headers);
  if (head == nullptr || !session_.request(stream, *head, end_stream)) return false;
  request.request_ended_ = end_stream;
  flush_later();
  return true;
}

void Http2Client::send_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) {
  if (connection_ == nullptr) return data.clear();
  Stream& stream = stream_of(request);
  request.request_ended_ = end_stream;
  session_.send_data(stream, data, end_stream);
  flush_later();
  if (stream.above_high || stream.unsent() <= options().per_connection_buffer_limit_bytes) return;
  stream.above_high = true;
  stats().inc(stat::kUpstreamFlowControlBackedUpTotal);
  request.handler_.on_above_high_watermark(request);
}

void Http2Client::send_trailers(UpstreamRequest& request, const http::HeaderMap& trailers) {
  if (connection_ == nullptr) return;
  request.request_ended_ = true;
  session_.send_trailers(stream_of(request), trailers);
  flush_later();
}

void Http2Client::cancel(UpstreamRequest& request) {
  Stream& stream = stream_of(request);
  detach(stream);
  if (connection_ == nullptr) return;
  stats().inc(stat::kUpstreamRqTxReset);
  session_.reset(stream, Http2Code::kCancel);
  recycle(stream);
  flush_later();
}

void Http2Client::pause_reading(UpstreamRequest&) { stats().inc(stat::kUpstreamFlowControlPausedReadingTotal); }

void Http2Client::resume_reading(UpstreamRequest& request) {
  stats().inc(stat::kUpstreamFlowControlResumedReadingTotal);
  Stream& stream = stream_of(request);
  const size_t n = std::exchange(stream.paused_bytes, 0);
  if (n == 0 || connection_ == nullptr) return;
  session_.consume(stream, n);
  flush_later();
}

// ---- streams and their requests

void Http2Client::count(const Stream& stream, UpstreamRequest& request) {
  request.wire_bytes_sent_ = stream.wire_bytes_sent();
  request.wire_bytes_received_ = stream.wire_bytes_received();
  request.header_bytes_sent_ = stream.header_bytes_sent();
  request.header_bytes_received_ = stream.header_bytes_received();
  request.plain_header_bytes_sent_ = stream.plain_header_bytes_sent();
  request.plain_header_bytes_received_ = stream.plain_header_bytes_received();
}

UpstreamRequest& Http2Client::detach(Stream& stream) {
  UpstreamRequest& request = *std::exchange(stream.request, nullptr);
  stream.unlink();
  count(stream, request);
  request.stream_ = nullptr;
  release_request(request);
  return request;
}

// The session no longer knows the stream, or never did.
void Http2Client::recycle(Stream& stream) { over_.push_back(&stream); }

// The response is whole. What the peer has not needed of a request that still goes on, it does not need any more.
UpstreamRequest& Http2Client::finish(Stream& stream) {
  const bool ended = stream.request->request_ended_;
  UpstreamRequest& request = detach(stream);
  if (!ended) {
    session_.reset(stream, Http2Code::kNoError);
    recycle(stream);
  }
  return request;
}

// ---- from the session

void Http2Client::on_informational(http::Http2Stream& of) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.request != nullptr) stream.request->handler_.on_informational(*stream.request);
}

void Http2Client::on_headers(http::Http2Stream& of, bool end_stream) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.request == nullptr) return;
  UpstreamRequest& request = *stream.request;
  if (!stream.upgrade.empty()) http::response_from_extended_connect(request.headers_, stream.upgrade);
  if (end_stream) finish(stream);
  request.handler_.on_headers(request, end_stream);
}

void Http2Client::on_data(http::Http2Stream& of, base::Buffer& data, bool end_stream) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.request == nullptr) return session_.consume(stream, data.size());
  UpstreamRequest& request = *stream.request;
  if (end_stream) {
    finish(stream);  // and with the stream goes what was held of its window
  } else if (request.pauses_ > 0) {
    stream.paused_bytes += data.size();
  } else {
    session_.consume(stream, data.size());
  }
  request.handler_.on_data(request, data, end_stream);
}

void Http2Client::on_trailers(http::Http2Stream& of) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.request == nullptr) return;
  UpstreamRequest& request = finish(stream);
  request.handler_.on_trailers(request);
}

void Http2Client::on_stream_closed(http::Http2Stream& of, Http2Code code) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.request == nullptr) return recycle(stream);
  Reset reset{.reason = ResetReason::kProtocolError, .detail = stream.details()};  // what arrived breaks HTTP/2
  if (code == Http2Code::kRefusedStream) {
    // By RST_STREAM, or by GOAWAY: then the peer may just have closed an idle connection.
    reset.reason = ResetReason::kRemoteRefusedStream;
    reset.stale_connection = !stream.remote_reset();
  } else if (stream.remote_reset()) {
    reset.reason = ResetReason::kRemoteReset;
  } else if (code == Http2Code::kInternalError) {
    reset.reason = ResetReason::kLocalReset;  // the head could not be sent
  }
  stats().inc(stream.remote_reset() || goaway_seen_ ? stat::kUpstreamRqRxReset : stat::kUpstreamRqTxReset);
  if (stream.remote_reset() && code == Http2Code::kNoError) stats().inc(stat::kUpstreamRqRxResetNoError);
  UpstreamRequest& request = detach(stream);
  reset.response_started = request.header_bytes_received_ > 0;
  recycle(stream);
  request.handler_.on_reset(request, reset);
}

void Http2Client::on_sent(http::Http2Stream& of) {
  Stream& stream = static_cast<Stream&>(of);
  if (stream.above_high && stream.unsent() <= options().per_connection_buffer_limit_bytes / 2) {
    stream.above_high = false;
    drained_.push_back(&stream);
  }
}

void Http2Client::tell_drained() {
  while (!drained_.empty()) {
    Stream& stream = *drained_.back();
    drained_.pop_back();
    if (stream.request == nullptr || stream.above_high) continue;
    stats().inc(stat::kUpstreamFlowControlDrainedTotal);
    stream.request->handler_.on_below_low_watermark(*stream.request);
  }
}

void Http2Client::on_goaway(int32_t, Http2Code) {
  if (!std::exchange(goaway_seen_, true)) stats().inc(stat::kUpstreamCxCloseNotify);
  stop_requests();
}

void Http2Client::on_settings() { settings_seen_ = settings_new_ = true; }

// ---- the connection

void Http2Client::on_data(net::Connection& connection, base::Buffer& data, bool end_stream) {
  account_->count_bytes(connection);
  received_at_ = account_->cluster().loop().now();
  session_.set_unsent(connection.unsent());
  const base::Result<void> fed = session_.feed(data);
  if (connection_ == nullptr) return;
  if (!fed.ok()) return on_protocol_error();
  if (end_stream) {
    session_.drain(connection_->output(), SIZE_MAX);
    if (connection_ == nullptr) return;
    if (session_.failed()) return on_protocol_error();  // it was no HTTP/2 that ended here
    if (used_ > over_.size()) return fail(ResetReason::kConnectionTermination, nullptr, EndedBy::kRemote);
    end_session();
    return close(net::CloseMode::kNow, EndedBy::kRemote, false);
  }
  settle();
  if (connection_ != nullptr && session_.wants_write()) flush_later();
}

void Http2Client::flush() {
  if (connection_ == nullptr || connection_->connecting()) return;
  session_.drain(connection_->output(), kOutputBytes);
  if (connection_ == nullptr) return;  // by a handler that heard of a stream's end
  connection_->wrote();
  if (session_.failed()) return on_protocol_error();  // what was drained says so to the peer
  settle();
  tell_drained();
}

void Http2Client::on_below_low_watermark(net::Connection&) { flush_later(); }

void Http2Client::on_protocol_error() {
  stats().inc(stat::kUpstreamCxProtocolError);
  session_.drain(connection_->output(), SIZE_MAX);
  fail(ResetReason::kProtocolError, nullptr, EndedBy::kLocal, session_.details());
}

void Http2Client::on_broken(const base::Error& error) {
  fail(ResetReason::kConnectionTermination, &error, EndedBy::kRemote);
}

// The connection goes, and then every request hears of it; what it does from within may end others of them.
void Http2Client::fail(ResetReason reason, const base::Error* error, EndedBy by, std::string_view detail) {
  if (connection_ == nullptr) return;
  base::Error kept;
  if (error != nullptr) kept = *error;
  const uint64_t received = connection_->bytes_received();
  const bool reused_before = reused();
  end_session();
  close(reason == ResetReason::kProtocolError ? net::CloseMode::kFlush : net::CloseMode::kNow, by, !active_.empty());
  while (Stream* stream = active_.front()) {
    Reset reset{.reason = reason, .error = error != nullptr ? &kept : nullptr, .detail = detail};
    // Nothing came since the request was sent, so most likely the peer had closed before it saw it.
    reset.stale_connection = reason == ResetReason::kConnectionTermination && reused_before &&
                             stream->received_before == received;
    stats().inc(by == EndedBy::kRemote ? stat::kUpstreamRqRxReset : stat::kUpstreamRqTxReset);
    UpstreamRequest& request = detach(*stream);
    reset.response_started = request.header_bytes_received_ > 0;
    request.handler_.on_reset(request, reset);
  }
}

// ---- pings

void Http2Client::ping() {
  session_.ping(++pings_);
  ping_timer_.arm(options().http.http2.keepalive_timeout);
  flush_later();
}

void Http2Client::arm_keepalive() {
  const http::Http2Options& http2 = options().http.http2;
  if (http2.keepalive_interval.count() == 0) return;
  const auto jitter_max = static_cast<uint64_t>(static_cast<double>(http2.keepalive_interval.count()) *
                                                http2.keepalive_interval_jitter_percent / 100);
  const uint64_t jitter = jitter_max > 0 ? account_->cluster().loop().prng().below(jitter_max + 1) : 0;
  keepalive_timer_.arm(http2.keepalive_interval + base::milliseconds(jitter));
}

void Http2Client::on_keepalive() {
  if (connection_ != nullptr) ping();
}

void Http2Client::on_ping_ack(uint64_t opaque) {
  if (opaque != pings_) return;
  ping_timer_.disarm();
  arm_keepalive();
}

void Http2Client::on_ping_timeout() {
  codec_stats_.inc(stats::http2_codec::kKeepaliveTimeout);
  fail(ResetReason::kConnectionTermination, nullptr, EndedBy::kLocal);
}

}  // namespace millrace::upstream
