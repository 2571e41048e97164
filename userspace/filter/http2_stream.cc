#include <algorithm>
#include <utility>

#include "filter/http2_connection.h"
#include "http/http2_upgrade.h"
#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;
namespace h2 = stats::http2_codec;
using http::Header;
using http::Http2Code;
using stream::ResponseFlag;

namespace {

constexpr size_t kFrameHeadBytes = 9;
constexpr size_t kFrameBytes = 16'384;

}  // namespace

Http2ServerStream::Http2ServerStream(HcmWorker& hcm) : hcm_(hcm), flush_timer_(hcm.worker().loop.timers(), *this) {}

Http2ServerStream::~Http2ServerStream() = default;

void Http2ServerStream::begin(Http2Connection& connection) {
  connection_ = &connection;
  waiting_end_ = waiting_trailers_ = resumed_ = paused_ = above_high_ = false;
  extended_connect_ = upgraded_ = cut_by_client_ = bodyless_ = false;
  http_ = hcm_.acquire();
  http_->begin(*this);
  http_->info().protocol = stream::Protocol::kHttp2;
  head = &http_->request_headers();
  trailers = &http_->request_trailers();
}

// Both ends have come to theirs.
void Http2ServerStream::release() {
  flush_timer_.disarm();
  static_cast<base::ListHook<Http2ServerStream>&>(*this).unlink();
  if (resumed_) std::erase(connection_->resumed_, this);
  if (connection_->reading_head_ == this) connection_->reading_head_ = nullptr;
  if (--connection_->active_ == 0) connection_->arm_idle();
  waiting_.clear();
  connection_->schedule_write();  // it may have been the last one
  hcm_.recycle(std::unique_ptr<Http2ServerStream>(this));
}

// ---- the request

// False: the request is refused for them.
bool Http2ServerStream::check_underscores() {
  const UnderscoreHeaders action = hcm_.options().headers_with_underscores;
  if (action == UnderscoreHeaders::kAllow) return true;
  const auto has = [](const http::HeaderMap::Entry& e) { return e.name.find('_') != std::string_view::npos; };
  http::HeaderMap& headers = http_->request_headers();
  if (action == UnderscoreHeaders::kDrop) {
    if (const size_t n = headers.remove_if(has)) hcm_.http2_stats().inc(h2::kDroppedHeadersWithUnderscores, n);
    return true;
  }
  bool found = false;
  headers.for_each([&](const http::HeaderMap::Entry& e) { found |= has(e); });
  if (found) hcm_.http2_stats().inc(h2::kRequestsRejectedWithUnderscoresInHeaders);
  return !found;
}

void Http2ServerStream::on_headers(bool end_stream) {
  if (http_ == nullptr) return;
  count_received();
  if (!check_underscores()) {
    connection_->session_.reset(*this, Http2Code::kInternalError);
    connection_->schedule_write();
    return end(ResponseFlag::kDownstreamProtocolError, "http2.unexpected_underscore");
  }
  http::HeaderMap& headers = http_->request_headers();
  extended_connect_ = http::is_extended_connect(headers);
  if (extended_connect_) http::request_from_extended_connect(headers);
  const bool upgrade = extended_connect_ || headers.get(Header::kMethod) == "CONNECT";
  const bool expects = headers.has(Header::kExpect) &&
                       http::equal_ignoring_case(headers.get(Header::kExpect), "100-continue");
  http_->on_request_headers(end_stream, upgrade, expects);
  if (upgrade && end_stream && http_ != nullptr) {
    base::Buffer nothing;
    on_data(nothing, true);
  }
}

void Http2ServerStream::on_data(base::Buffer& data, bool end_stream) {
  const size_t n = data.size();
  if (http_ == nullptr) {
    data.clear();
  } else if (paused_ || resumed_) {
    waiting_.move_from(data);
    waiting_end_ |= end_stream;
    return;
  } else {
    count_received();
    http_->on_request_data(data, end_stream);
  }
  connection_->session_.consume(*this, n);
}

void Http2ServerStream::on_trailers() {
  if (http_ == nullptr) return;
  if (paused_ || resumed_) {
    waiting_trailers_ = true;
    return;
  }
  count_received();
  http_->on_request_trailers();
}

void Http2ServerStream::pause_request(HttpStream&) { paused_ = true; }

void Http2ServerStream::resume_request(HttpStream&) {
  paused_ = false;
  if (resumed_ || (waiting_.empty() && !waiting_end_ && !waiting_trailers_)) return;
  resumed_ = true;  // not from within the call that resumes
  connection_->resumed_.push_back(this);
  connection_->schedule_write();
}

void Http2ServerStream::deliver_waiting() {
  resumed_ = false;
  if (paused_ || http_ == nullptr) return;
  if (!waiting_.empty() || waiting_end_) {
    base::Buffer data(std::move(waiting_));
    on_data(data, std::exchange(waiting_end_, false));
  }
  if (waiting_trailers_ && !paused_ && http_ != nullptr) {
    waiting_trailers_ = false;
    http_->on_request_trailers();
  }
}

void Http2ServerStream::on_header_timeout() {
  if (http_ != nullptr) http_->on_header_timeout();
}

// ---- the response

void Http2ServerStream::encode_informational(HttpStream&, const http::HeaderMap& headers) {
  connection_->session_.send_informational(*this, headers);
  connection_->schedule_write();
}

void Http2ServerStream::encode_headers(HttpStream& stream, http::HeaderMap& headers, bool end_stream) {
  const unsigned code = stream.info().response_code;
  const bool connect = stream.request_headers().get(Header::kMethod) == "CONNECT";
  if (stream.upgrade_requested() && (extended_connect_ ? code == 101 : connect && code / 100 == 2)) {
    upgraded_ = true;
    hcm_.stats().inc(hs::kDownstreamCxUpgradesTotal);
    hcm_.stats().gauge_add(hs::kDownstreamCxUpgradesActive);
  }
  if (extended_connect_) http::response_to_extended_connect(headers);
  if (hcm_.draining() && connection_->drain_ == Http2Connection::Drain::kNone) connection_->start_drain();
  if (code == 204) headers.remove(Header::kContentLength);  // RFC 9110 section 8.6
  bodyless_ = stream.head_request() || code == 204 || code == 304;
  connection_->session_.send_headers(*this, headers, end_stream);
  connection_->schedule_write();
}

void Http2ServerStream::encode_data(HttpStream& stream, base::Buffer& data, bool end_stream) {
  if (bodyless_) data.clear();
  connection_->session_.send_data(*this, data, end_stream);
  connection_->schedule_write();
  if (!above_high_ && !end_stream && unsent() > connection_->stream_watermark()) {
    above_high_ = true;
    stream.on_downstream_above_high_watermark();
  }
}

void Http2ServerStream::encode_trailers(HttpStream&, http::HeaderMap& from) {
  connection_->session_.send_trailers(*this, from);
  connection_->schedule_write();
}

void Http2ServerStream::on_sent() {
  if (flush_timer_.armed()) flush_timer_.arm(hcm_.options().stream_idle_timeout);
  if (!above_high_ || unsent() > connection_->stream_watermark() / 2) return;
  above_high_ = false;
  if (http_ != nullptr && !http_->over()) http_->on_downstream_below_low_watermark();
}

void Http2ServerStream::reset(HttpStream&) {
  connection_->write_ahead();  // what there is of the answer: the reset would drop it
  if (id() == 0) return;
  connection_->session_.reset(*this, upgraded_ ? Http2Code::kConnectError : Http2Code::kInternalError);
  connection_->schedule_write();
}

void Http2ServerStream::close_after_stream() { connection_->start_drain(); }

const stream::ConnectionInfo& Http2ServerStream::connection_info() const { return connection_->account_.info(); }

// ---- the end

void Http2ServerStream::count_received() {
  stream::ByteCounts& bytes = http_->info().downstream_bytes;
  bytes.wire_received = wire_bytes_received();
  bytes.header_received = header_bytes_received();
  bytes.plain_header_received = plain_header_bytes_received();
}

// What was given to the session is framed now, so that its size is known. What has to wait for windows will come in
// frames of the usual size; an answer that is made while its request is being read counts as if it was not compressed.
void Http2ServerStream::count_bytes(HttpStream& stream) {
  count_received();
  connection_->frame_ahead();
  connection_->schedule_write();
  stream::ByteCounts& bytes = stream.info().downstream_bytes;
  const auto framed = [](size_t n) { return n + (n + kFrameBytes - 1) / kFrameBytes * kFrameHeadBytes; };
  bytes.plain_header_sent = plain_header_bytes_sent();
  bytes.header_sent = header_bytes_sent() > 0 ? header_bytes_sent() : framed(bytes.plain_header_sent);
  bytes.wire_sent = wire_bytes_sent() + (bytes.header_sent - header_bytes_sent()) + framed(unsent());
}

// The session is done with the stream: all was said on both sides, or one was reset.
void Http2ServerStream::on_closed() {
  if (http_ == nullptr) return release();
  count_received();
  cut_by_client_ = !http_->over();
  if (remote_reset()) return end(ResponseFlag::kDownstreamRemoteReset, "http2.remote_reset");
  if (!details().empty()) return end(ResponseFlag::kDownstreamProtocolError, details());
  end(ResponseFlag::kDownstreamProtocolError, "http2.local_reset");
}

void Http2ServerStream::end(ResponseFlag flag, std::string_view details) {
  connection_->session_.abandon(*this);
  if (http_ == nullptr) return release();
  http_->on_downstream_reset(flag, details);  // leads to on_stream_over()
}

void Http2ServerStream::on_stream_over(HttpStream& stream) {
  head = trailers = &connection_->unwanted_;
  paused_ = false;
  http::Http2Session& session = connection_->session_;
  if (!waiting_.empty()) session.consume(*this, waiting_.size());
  waiting_.clear();
  if (upgraded_) hcm_.stats().gauge_sub(hs::kDownstreamCxUpgradesActive);
  connection_->stream_ended(stream, cut_by_client_);
  hcm_.recycle(std::move(http_));
  if (id() == 0) return release();
  session.reset_when_sent(*this);
  connection_->schedule_write();
  // A client that gives no window gets only so long to take what is left.
  if (const base::milliseconds limit = hcm_.options().stream_idle_timeout; limit.count() > 0 && unsent() > 0) {
    flush_timer_.arm(limit);
  }
}

void Http2ServerStream::on_flush_timeout() {
  hcm_.http2_stats().inc(h2::kTxFlushTimeout);
  connection_->session_.reset(*this, Http2Code::kCancel);
  connection_->schedule_write();
  release();
}

}  // namespace millrace::filter
