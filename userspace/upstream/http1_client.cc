#include "upstream/http1_client.h"

#include <charconv>

#include "stats/schema_cluster.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;
using Event = http::Http1Parser::Event;

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

Http1Client::Http1Client(HttpPool& pool)
    : HttpClient(pool, 1),
      // With a transport what is on the wire is not the stream.
      hop_(pool.host().transport() == nullptr ? pool.cluster().splice_offers() : nullptr),
      parser_(parser_options(pool.cluster().cluster().options().http)) {
  stats().inc(stat::kUpstreamCxHttp1Total);
}

Http1Client::Http1Client(HttpClient& from)
    : HttpClient(from, 1), hop_(nullptr), parser_(parser_options(options().http)) {
  stats().inc(stat::kUpstreamCxHttp1Total);
}

void Http1Client::on_open() {
  set_expected(0);
  room_ = 1;
  arm_idle_timer();
}

void Http1Client::attach(UpstreamRequest& request) {
  MILLRACE_DCHECK(request_ == nullptr);
  room_ = 0;
  request_ = &request;
  headers_seen_ = raw_request_ = raw_response_ = false;
  take_request(request);
}

UpstreamRequest* Http1Client::detach() {
  UpstreamRequest* request = std::exchange(request_, nullptr);
  if (request != nullptr) release_request(*request);
  return request;
}

void Http1Client::drain() {
  if (request_ == nullptr) return close(net::CloseMode::kNow, EndedBy::kLocal);
  last_request_ = true;
}

bool Http1Client::send_headers(UpstreamRequest&, const http::HeaderMap& headers, bool end_stream) {
  parser_.set_request_method(headers.get(http::Header::kMethod));
  raw_request_ = is_tunnel(headers);
  http::Framing framing = request_framing(headers, end_stream);
  if (raw_request_) framing = {};
  else hop_.on_request(*connection_);
  framing_ = framing.kind;
  const size_t before = connection_->output().size();
  const HttpOptions& http = options().http;
  const http::WriterOptions form{.proper_case = http.proper_case_header_keys,
                                 .absolute_form = http.send_fully_qualified_url};
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

void Http1Client::send_data(UpstreamRequest&, base::Buffer& data, bool end_stream) {
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

void Http1Client::send_trailers(UpstreamRequest&, const http::HeaderMap& trailers) {
  request_->request_ended_ = true;
  if (framing_ != http::Framing::Kind::kChunked) return;
  const size_t before = connection_->output().size();
  const HttpOptions& http = options().http;
  http::write_last_chunk(http.enable_trailers ? &trailers : nullptr, {.proper_case = http.proper_case_header_keys},
                         connection_->output());
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
  account_->count_bytes(connection);
  base::Buffer body;
  while (request_ != nullptr && !raw_response_) {
    // What waits behind a paused reader stays in the connection, which hands it out again.
    if (request_->pauses_ > 0 && !data.empty()) return;
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
  if (request_ != nullptr) return request_->pauses_ > 0 ? void() : on_raw_data(data, end_stream);
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
  if (raw_response_) hop_.leave();
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
  // A body that ends with the connection: with TLS only a close_notify says so (RFC 9112, section 9.8).
  if (event == Event::kComplete && !connection_->read_truncated()) {
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
  if (!parser_.keep_alive()) stats().inc(stat::kUpstreamCxCloseNotify);
  while (request_->pauses_ > 0) request_->resume_reading();
  UpstreamRequest& request = *detach();
  if (keep) {
    room_ = 1;
    arm_idle_timer();
    pool_.on_room(*this);
  } else {
    close(net::CloseMode::kNow, EndedBy::kLocal);
  }
  return request;
}

void Http1Client::on_broken(const base::Error& error) {
  fail(ResetReason::kConnectionTermination, &error, EndedBy::kRemote);
}

void Http1Client::fail(ResetReason reason, const base::Error* error, EndedBy by, bool tell) {
  Reset reset{.reason = reason, .error = error};
  if (request_ != nullptr) {
    reset.response_started = request_->wire_bytes_received_ > 0;
    reset.stale_connection =
        reason == ResetReason::kConnectionTermination && reused() && !reset.response_started;
    stats().inc(by == EndedBy::kRemote ? stat::kUpstreamRqRxReset : stat::kUpstreamRqTxReset);
  }
  if (reason == ResetReason::kProtocolError) {
    stats().inc(stat::kUpstreamCxProtocolError);
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

void Http1Client::close(net::CloseMode mode, EndedBy by) {
  hop_.withdraw();
  HttpClient::close(mode, by, detach() != nullptr);
}

void Http1Client::pause_reading(UpstreamRequest&) {
  stats().inc(stat::kUpstreamFlowControlPausedReadingTotal);
  connection_->pause_reading();
}

void Http1Client::resume_reading(UpstreamRequest&) {
  stats().inc(stat::kUpstreamFlowControlResumedReadingTotal);
  connection_->resume_reading();
}

void Http1Client::on_above_high_watermark(net::Connection&) {
  if (request_ == nullptr) return;
  stats().inc(stat::kUpstreamFlowControlBackedUpTotal);
  request_->handler_.on_above_high_watermark(*request_);
}

void Http1Client::on_below_low_watermark(net::Connection&) {
  if (request_ == nullptr) return;
  stats().inc(stat::kUpstreamFlowControlDrainedTotal);
  request_->handler_.on_below_low_watermark(*request_);
}

}  // namespace millrace::upstream
