#include "upstream/http1_client.h"

#include <charconv>

#include "stats/schema_cluster.h"
#include "upstream/http1_pool.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;
using EndedBy = ConnectionAccount::EndedBy;
using Event = http::Http1Parser::Event;

// How long a connection may take to send what is left after its tunnel ended.
constexpr base::milliseconds kFlushDelay{1000};

http::ParserOptions parser_options(const HttpOptions& options) {
  http::ParserOptions parser;
  parser.kind = http::MessageKind::kResponse;
  parser.max_header_bytes = options.max_response_headers_kb * 1024;
  parser.max_header_count = options.max_headers_count;
  parser.enable_trailers = options.enable_trailers;
  return parser;
}

bool is_tunnel(const http::HeaderMap& headers) {
  return headers.get(http::Header::kMethod) == "CONNECT" ||
         (headers.has(http::Header::kUpgrade) &&
          http::list_has_token(headers.get(http::Header::kConnection), "upgrade"));
}

// RFC 9110 section 8.6: methods that usually carry a body say so when there is none.
bool expects_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

http::Framing request_framing(const http::HeaderMap& headers, bool end_stream) {
  using Kind = http::Framing::Kind;
  const std::string_view length = headers.get(http::Header::kContentLength);
  if (end_stream) {
    const bool say_zero = !length.empty() || expects_body(headers.get(http::Header::kMethod));
    return {say_zero ? Kind::kContentLength : Kind::kNone, 0};
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), value);
  if (length.empty() || error != std::errc() || end != length.data() + length.size()) return {Kind::kChunked, 0};
  return {Kind::kContentLength, value};
}

}  // namespace

Http1Client::Http1Client(Http1Pool& pool)
    : pool_(pool),
      account_(pool.cluster(), pool.host(), pool.priority()),
      hop_(pool.cluster().splice_offers()),
      parser_(parser_options(pool.cluster().cluster().options().http)),
      idle_timer_(pool.cluster().loop().timers(), *this),
      duration_timer_(pool.cluster().loop().timers(), *this) {
  const ClusterOptions& options = pool.cluster().cluster().options();
  connection_ = net::Connection::connect(pool.cluster().loop(), pool.host().address(), connect_options(options), *this);
  connection_->set_watermark(options.per_connection_buffer_limit_bytes);
  account_.cluster().stats().inc(stat::kUpstreamCxHttp1Total);
}

Http1Client::~Http1Client() { MILLRACE_ASSERT(connection_ == nullptr); }

void Http1Client::on_connected(net::Connection&) {
  connected_ = true;
  account_.connected();
  const base::milliseconds duration = account_.cluster().cluster().options().http.max_connection_duration;
  if (duration.count() > 0) duration_timer_.arm(duration);
  pool_.on_connected(*this);
}

void Http1Client::attach(UpstreamRequest& request) {
  MILLRACE_DCHECK(request_ == nullptr);
  idle_timer_.disarm();
  request_ = &request;
  request.client_ = this;
  request.state_ = UpstreamRequest::State::kActive;
  request.request_ended_ = false;
  request.wire_bytes_sent_ = request.wire_bytes_received_ = 0;
  request.header_bytes_sent_ = request.header_bytes_received_ = 0;
  headers_seen_ = raw_request_ = raw_response_ = false;
  ++requests_;
  const uint32_t requests_max = account_.cluster().cluster().options().http.max_requests_per_connection;
  if (requests_ == requests_max) {
    last_request_ = true;
    account_.cluster().stats().inc(stat::kUpstreamCxMaxRequests);
  }
  account_.cluster().counters(account_.host()).rq_total.add();
  account_.host().add_active(1);
  account_.cluster().stats().inc(stat::kUpstreamRqTotal);
  account_.cluster().stats().gauge_add(stat::kUpstreamRqActive);
}

// The request lets go of the connection; its breaker and gauges with it.
UpstreamRequest* Http1Client::detach() {
  UpstreamRequest* request = std::exchange(request_, nullptr);
  if (request == nullptr) return nullptr;
  request->client_ = nullptr;
  request->state_ = UpstreamRequest::State::kIdle;
  account_.host().add_active(-1);
  account_.cluster().stats().gauge_sub(stat::kUpstreamRqActive);
  account_.cluster().cluster().resources(account_.priority()).requests.release();
  return request;
}

bool Http1Client::send_headers(const http::HeaderMap& headers, bool end_stream) {
  parser_.set_request_method(headers.get(http::Header::kMethod));
  raw_request_ = is_tunnel(headers);
  http::Framing framing = request_framing(headers, end_stream);
  if (raw_request_) framing = {};
  else hop_.on_request(*connection_);
  framing_ = framing.kind;
  const size_t before = connection_->output().size();
  const HttpOptions& options = account_.cluster().cluster().options().http;
  const http::WriterOptions form{.proper_case = options.proper_case_header_keys,
                                 .absolute_form = options.send_fully_qualified_url};
  if (!http::write_request_head(headers, framing, form, connection_->output())) return false;
  request_->request_ended_ = end_stream;
  count_sent(before, true);
  return true;
}

void Http1Client::count_sent(size_t before, bool head) {
  const size_t n = connection_->output().size() - before;
  request_->wire_bytes_sent_ += n;
  if (head) request_->header_bytes_sent_ += n;
  connection_->wrote();
}

void Http1Client::send_data(base::Buffer& data, bool end_stream) {
  const size_t before = connection_->output().size();
  request_->request_ended_ = end_stream;
  if (raw_request_) {
    request_->wire_bytes_sent_ += data.size();
    return connection_->write(data, end_stream);
  }
  if (framing_ == http::Framing::Kind::kChunked) {
    http::write_chunk(data, connection_->output());
    if (end_stream) http::write_last_chunk(nullptr, {}, connection_->output());
  } else {
    connection_->output().absorb(data);
  }
  count_sent(before, false);
}

void Http1Client::send_trailers(const http::HeaderMap& trailers) {
  request_->request_ended_ = true;
  if (framing_ != http::Framing::Kind::kChunked) return;
  const size_t before = connection_->output().size();
  const HttpOptions& options = account_.cluster().cluster().options().http;
  http::write_last_chunk(options.enable_trailers ? &trailers : nullptr,
                         {.proper_case = options.proper_case_header_keys}, connection_->output());
  count_sent(before, false);
}

http::Http1Parser::Event Http1Client::parse(base::Buffer& data, base::Buffer& body) {
  const size_t before = data.size();
  const Event event = parser_.next(data, headers_seen_ ? request_->trailers_ : request_->headers_, body);
  const uint64_t n = before - data.size();
  request_->wire_bytes_received_ += n;
  if (!headers_seen_) request_->header_bytes_received_ += n;
  return event;
}

void Http1Client::on_data(net::Connection& connection, base::Buffer& data, bool end_stream) {
  account_.count_bytes(connection);
  base::Buffer body;
  while (request_ != nullptr && !raw_response_) {
    // What waits behind a paused reader stays in the connection, which hands it out again.
    if (pauses_ > 0 && !data.empty()) return;
    const Event event = parse(data, body);
    if (event == Event::kNeedMore) return end_stream ? on_end_of_stream() : void();
    if (event == Event::kError) return fail(ResetReason::kProtocolError, nullptr, EndedBy::kLocal);
    bool more = false;
    if (event == Event::kHeaders) more = deliver_headers(data, end_stream);
    else if (event == Event::kData) more = deliver_body(data, body, end_stream);
    else {
      const bool trailers = event == Event::kTrailers;
      if (trailers) [[maybe_unused]] const Event complete = parse(data, body);
      UpstreamRequest& request = finish(data.empty() && !end_stream);
      if (trailers) request.handler_.on_trailers(request);
      else request.handler_.on_data(request, body, true);
    }
    if (!more) return;
  }
  if (request_ != nullptr) return pauses_ > 0 ? void() : on_raw_data(data, end_stream);
  // Idle, and yet it speaks or ends: nobody asked for that.
  close(net::CloseMode::kNow, EndedBy::kRemote);
}

// Each returns whether the connection still carries this response.
bool Http1Client::deliver_headers(base::Buffer& data, bool end_stream) {
  UpstreamRequest& request = *request_;
  if (parser_.informational()) {
    request.handler_.on_informational(request);
    return request_ == &request;
  }
  headers_seen_ = true;
  raw_response_ = parser_.upgrade();
  if (raw_response_ && !raw_request_) {  // nobody asked to switch: what follows could be read in two ways
    fail(ResetReason::kProtocolError, nullptr, EndedBy::kLocal);
    return false;
  }
  // A tunnel's ends tell more by resets than those of HTTP, so it has all of TCP.
  if (raw_response_) hop_.withdraw();
  if (!raw_response_ && parser_.ended()) {
    base::Buffer none;
    [[maybe_unused]] const Event complete = parse(data, none);
    MILLRACE_DCHECK(complete == Event::kComplete);
    finish(data.empty() && !end_stream).handler_.on_headers(request, true);
    return false;
  }
  request.handler_.on_headers(request, false);
  return request_ == &request;
}

bool Http1Client::deliver_body(base::Buffer& data, base::Buffer& body, bool end_stream) {
  UpstreamRequest& request = *request_;
  if (parser_.ended()) {
    base::Buffer none;
    [[maybe_unused]] const Event complete = parse(data, none);
    MILLRACE_DCHECK(complete == Event::kComplete);
    finish(data.empty() && !end_stream).handler_.on_data(request, body, true);
    return false;
  }
  request.handler_.on_data(request, body, false);
  body.clear();
  return request_ == &request;
}

void Http1Client::on_raw_data(base::Buffer& data, bool end_stream) {
  UpstreamRequest& request = *request_;
  request.wire_bytes_received_ += data.size();
  if (!end_stream) {
    if (!data.empty()) request.handler_.on_data(request, data, false);
    return;
  }
  // As in Envoy: HTTP/1 upstream connections know no half-close, the upstream's end ends a tunnel also while the client
  // still sends. What the client sent so far goes out.
  base::Buffer rest;
  rest.move_from(data);
  detach();
  close(net::CloseMode::kFlushDelay, EndedBy::kRemote);
  request.handler_.on_data(request, rest, true);
}

// The peer ended its side while a response was due.
void Http1Client::on_end_of_stream() {
  const Event event = parser_.on_eof();
  if (event == Event::kComplete) {  // a body that ends with the connection
    UpstreamRequest& request = finish(false);
    base::Buffer none;
    request.handler_.on_data(request, none, true);
    return;
  }
  fail(ResetReason::kConnectionTermination, nullptr, EndedBy::kRemote);
}

// The response is whole: the connection goes back to the pool, or goes, before the handler hears of it, so that a
// request which follows at once can have it.
UpstreamRequest& Http1Client::finish(bool reusable) {
  const bool keep = reusable && parser_.keep_alive() && request_->request_ended_ && !last_request_ && !raw_request_;
  if (!parser_.keep_alive()) account_.cluster().stats().inc(stat::kUpstreamCxCloseNotify);
  while (pauses_ > 0) request_->resume_reading();
  UpstreamRequest& request = *detach();
  if (keep) {
    pool_.on_idle(*this);
  } else {
    close(net::CloseMode::kNow, EndedBy::kLocal);
  }
  return request;
}

void Http1Client::on_error(net::Connection&, const base::Error& error) {
  if (connected_) return fail(ResetReason::kConnectionTermination, &error, EndedBy::kRemote);
  account_.connect_failed(error);
  // The pool tells those who wait once this connection is off its books; `error` dies with the connection.
  const base::Error copy = error;
  Http1Pool& pool = pool_;
  close(net::CloseMode::kNow, EndedBy::kRemote);
  pool.on_connect_failed(connect_failure_reason(copy), copy);
}

void Http1Client::fail(ResetReason reason, const base::Error* error, EndedBy by, bool tell) {
  stats::StatShard& stats = account_.cluster().stats();
  Reset reset{.reason = reason, .error = error};
  if (request_ != nullptr) {
    reset.response_started = request_->wire_bytes_received_ > 0;
    reset.stale_connection =
        reason == ResetReason::kConnectionTermination && reused() && !reset.response_started;
    stats.inc(by == EndedBy::kRemote ? stat::kUpstreamRqRxReset : stat::kUpstreamRqTxReset);
  }
  if (reason == ResetReason::kProtocolError) {
    stats.inc(stat::kUpstreamCxProtocolError);
    reset.detail = parser_.detail();
  }
  base::Error kept;
  if (error != nullptr) {
    kept = *error;
    reset.error = &kept;
  }
  UpstreamRequest* request = request_;
  close(net::CloseMode::kNow, by);
  if (request != nullptr && tell) request->handler_.on_reset(*request, reset);
}

void Http1Client::abort(ResetReason reason, bool tell) { fail(reason, nullptr, EndedBy::kLocal, tell); }

void Http1Client::close(net::CloseMode mode, EndedBy by) {
  if (connection_ == nullptr) return;
  const bool active = request_ != nullptr;
  detach();
  idle_timer_.disarm();
  duration_timer_.disarm();
  account_.count_bytes(*connection_);
  account_.closed(by, active);
  if (connected_) account_.cluster().stats().record(stat::kUpstreamRqPerCx, requests_);
  io::Loop& loop = account_.cluster().loop();
  hop_.withdraw();
  net::Connection::close(std::move(connection_), mode, kFlushDelay);
  unlink();
  loop.retire(std::unique_ptr<io::Retired>(this));
  pool_.on_closed(connected_);
}

void Http1Client::arm_idle_timer() {
  const base::milliseconds timeout = account_.cluster().cluster().options().http.idle_timeout;
  if (timeout.count() > 0) idle_timer_.arm(timeout);
}

void Http1Client::on_idle_timeout() {
  account_.cluster().stats().inc(stat::kUpstreamCxIdleTimeout);
  close(net::CloseMode::kNow, EndedBy::kLocal);
}

void Http1Client::on_max_duration() {
  account_.cluster().stats().inc(stat::kUpstreamCxMaxDurationReached);
  if (request_ == nullptr) return close(net::CloseMode::kNow, EndedBy::kLocal);
  last_request_ = true;
}

void Http1Client::on_above_high_watermark(net::Connection&) {
  if (request_ == nullptr) return;
  account_.cluster().stats().inc(stat::kUpstreamFlowControlBackedUpTotal);
  request_->handler_.on_above_high_watermark(*request_);
}

void Http1Client::on_below_low_watermark(net::Connection&) {
  if (request_ == nullptr) return;
  account_.cluster().stats().inc(stat::kUpstreamFlowControlDrainedTotal);
  request_->handler_.on_below_low_watermark(*request_);
}

}  // namespace millrace::upstream
