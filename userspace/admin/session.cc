#include "admin/session.h"

#include <ctime>

#include "admin/server.h"
#include "base/log.h"
#include "http/codes.h"
#include "http/http1_writer.h"
#include "stats/schema_http.h"
#include "stream/formatter.h"

namespace millrace::admin {
namespace {

namespace stat = stats::http;
using http::Header;

// Two slices may wait for the client; the next is made when one of them has gone.
constexpr size_t kOutputBytes = 2 * kSliceBytes;
// What a client may send ahead while it is being answered.
constexpr size_t kReadAheadBytes = 64 * 1024;
constexpr base::milliseconds kCloseDelay{1000};

// RFC 9110 section 5.6.7.
std::string http_date(base::SystemTime now) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

http::ParserOptions parser_options(const AdminOptions& options) {
  http::ParserOptions parser;
  parser.max_header_bytes = options.max_request_header_bytes;
  parser.max_header_count = options.max_request_headers;
  parser.accept_http_10 = true;
  return parser;
}

}  // namespace

Session::Session(AdminServer& server, int fd)
    : server_(server),
      connection_(net::Connection::accepted(server.loop_, fd)),
      timer_(server.loop_.timers(), *this),
      parser_(parser_options(server.options_)) {
  connection_->set_handler(*this);
  connection_->set_watermark(kOutputBytes);
  connection_info_.remote_address = &connection_->remote_address();
  connection_info_.local_address = &connection_->local_address();
  connection_info_.start = server.loop_.now();
}

void Session::start() {
  time(Timing::kIdle);
  connection_->start();
}

bool Session::idle() const {
  return state_ == State::kReading && !parser_.in_message() && connection_->input().empty() &&
         connection_->unsent() == 0;
}

void Session::take_turn() {
  if (state_ == State::kWriting) return write_slice();
  if (state_ == State::kReading) read();
}

void Session::on_data(net::Connection&, base::Buffer& data, bool end_stream) {
  input_ended_ |= end_stream;
  if (state_ == State::kReading) read();
  // Closed, data is gone with the connection.
  if (state_ == State::kClosed || paused_ || data.size() <= kReadAheadBytes) return;
  paused_ = true;
  connection_->pause_reading();
}

void Session::read() {
  // Answers to requests that were sent ahead wait for their reader like everything else.
  while (state_ == State::kReading && !connection_->above_high_watermark()) {
    if (paused_) {
      paused_ = false;
      connection_->resume_reading();
    }
    switch (parser_.next(connection_->input(), in_request_ ? trailers_ : headers_, request_body_)) {
      case http::Http1Parser::Event::kNeedMore:
        if (input_ended_) return on_input_end();
        if (parser_.in_message() && timing_ != Timing::kRequest) time(Timing::kRequest);
        return;
      case http::Http1Parser::Event::kHeaders: on_headers(); break;
      case http::Http1Parser::Event::kData:
        if (request_body_.size() > server_.options_.max_body_bytes) return refuse(413, "The body is too large.\n");
        break;
      case http::Http1Parser::Event::kTrailers: break;
      case http::Http1Parser::Event::kComplete: return on_request();
      case http::Http1Parser::Event::kError:
        server_.http_stats_.inc(stat::kDownstreamCxProtocolError);
        MILLRACE_LOG(kDebug, "admin", "bad request from {}: {}", connection_->remote_address().to_string(),
                     parser_.reason());
        if (!in_request_) begin_info();
        info_.flags.set(stream::ResponseFlag::kDownstreamProtocolError);
        info_.response_code_details = parser_.detail();
        return refuse(parser_.status_hint(), fmt::format("{}\n", http::status_text(parser_.status_hint())));
    }
  }
}

void Session::begin_info() {
  in_request_ = true;
  info_.reset();
  info_.start = server_.loop_.now();
  info_.start_time = server_.loop_.system_now();
  info_.connection = &connection_info_;
  info_.response_code_details = "admin_filter_response";
  server_.http_stats_.inc(stat::kDownstreamRqTotal);
  server_.http_stats_.inc(stat::kDownstreamRqHttp1Total);
}

void Session::on_headers() {
  begin_info();
  http_10_ = !parser_.http_11();
  info_.protocol = http_10_ ? stream::Protocol::kHttp10 : stream::Protocol::kHttp11;
  head_request_ = parser_.head();
  close_after_ = http_10_ || !parser_.keep_alive();
  request_.method = headers_.get(Header::kMethod);
  const std::string_view target = headers_.get(Header::kPath);
  request_.path = target.substr(0, target.find('?'));
  if (request_.path.size() < target.size()) request_.query = Query(target.substr(request_.path.size() + 1));
  if (parser_.connect() || parser_.upgrade()) {
    // What follows would not be HTTP.
    close_after_ = true;
    return on_request();
  }
  if (parser_.expect_continue() && parser_.has_body()) connection_->write("HTTP/1.1 100 Continue\r\n\r\n");
}

void Session::on_request() {
  if (request_.query.empty() && !request_body_.empty() &&
      headers_.get(Header::kContentType).starts_with("application/x-www-form-urlencoded")) {
    request_.query = Query(request_body_.to_string());
  }
  info_.bytes_received = request_body_.size();
  info_.request_end = server_.loop_.now();
  request_body_.clear();
  respond(server_.answer(request_));
}

void Session::on_input_end() {
  if (parser_.in_message()) server_.http_stats_.inc(stat::kDownstreamCxDestroyRemoteActiveRq);
  close(parser_.in_message() ? net::CloseMode::kNow : net::CloseMode::kFlush);
}

void Session::refuse(unsigned status, std::string reason) {
  if (!in_request_) begin_info();
  close_after_ = true;
  respond(Response::make(status, std::move(reason)));
}

void Session::respond(Response response) {
  count_status(response.status);
  info_.response_code = static_cast<uint16_t>(response.status);
  info_.first_downstream_tx = server_.loop_.now();
  const bool streamed = response.body != nullptr;
  chunked_ = streamed && !http_10_;
  after_ = std::move(response.after);
  write_head(response, chunked_);
  if (!streamed || head_request_) {
    if (!head_request_) {
      connection_->output().append(response.text);
      info_.bytes_sent = response.text.size();
    }
    connection_->wrote();
    return end_response();
  }
  connection_->wrote();
  body_ = std::move(response.body);
  state_ = State::kWriting;
  time(Timing::kWrite);
  server_.schedule(*this);
}

void Session::write_head(const Response& response, bool chunked) {
  http::HeaderMap& head = response_headers_;
  head.clear();
  head.add(Header::kStatus, std::to_string(response.status));
  head.add_view(Header::kContentType, response.content_type);
  head.add_view(Header::kCacheControl, "no-cache, max-age=0");
  head.add_view("x-content-type-options", "nosniff");
  if (!response.allow.empty()) head.add_view("allow", response.allow);
  head.add(Header::kDate, http_date(server_.loop_.system_now()));
  head.add_view(Header::kServer, "envoy");
  if (close_after_) head.add_view(Header::kConnection, "close");
  http::Framing framing;
  if (response.body != nullptr) {
    framing.kind = chunked && !head_request_ ? http::Framing::Kind::kChunked : http::Framing::Kind::kNone;
  } else if (head_request_) {
    head.add(Header::kContentLength, std::to_string(response.text.size()));
    framing.kind = http::Framing::Kind::kAsIs;
  } else {
    framing.kind = http::Framing::Kind::kContentLength;
    framing.length = response.text.size();
  }
  http::WriterOptions writer;
  writer.http_10 = http_10_;
  const bool written = http::write_response_head(head, framing, writer, connection_->output());
  MILLRACE_ASSERT(written);
}

void Session::write_slice() {
  base::Buffer slice;
  const bool more = body_->next(slice);
  info_.bytes_sent += slice.size();
  base::Buffer& out = connection_->output();
  if (chunked_) {
    http::write_chunk(slice, out);
    if (!more) http::write_last_chunk(nullptr, {}, out);
  } else {
    out.move_from(slice);
  }
  connection_->wrote();
  time(Timing::kWrite);
  if (!more) {
    body_.reset();
    return end_response();
  }
  if (!connection_->above_high_watermark()) server_.schedule(*this);
}

void Session::end_response() {
  if (!after_) return end_exchange();
  state_ = State::kDraining;
  time(Timing::kWrite);
  connection_->notify_drained();
}

void Session::on_drained(net::Connection&) {
  if (state_ != State::kDraining) return;
  run_after();
  if (state_ == State::kDraining) end_exchange();  // what waited may have stopped the server
}

void Session::end_exchange() {
  write_access_log();
  in_request_ = false;
  server_.http_stats_.inc(stat::kDownstreamRqCompleted);
  if (close_after_) return close(net::CloseMode::kFlushDelay);
  state_ = State::kReading;
  head_request_ = false;
  request_ = {};
  headers_.clear();
  time(Timing::kIdle);
  if (!connection_->input().empty() || input_ended_) server_.schedule(*this);
}

void Session::on_below_low_watermark(net::Connection&) {
  if (state_ == State::kClosed) return;
  if (timing_ != Timing::kRequest) time(timing_);  // the client reads
  server_.schedule(*this);
}

void Session::on_error(net::Connection&, const base::Error& error) {
  MILLRACE_LOG(kDebug, "admin", "connection lost: {}", error.to_string());
  if (in_request_) server_.http_stats_.inc(stat::kDownstreamCxDestroyRemoteActiveRq);
  close(net::CloseMode::kNow);
}

void Session::on_timer() {
  switch (timing_) {
    case Timing::kIdle:
      server_.http_stats_.inc(stat::kDownstreamCxIdleTimeout);
      return close(connection_->unsent() == 0 ? net::CloseMode::kFlush : net::CloseMode::kNow);
    case Timing::kRequest:
      server_.http_stats_.inc(in_request_ ? stat::kDownstreamRqTimeout : stat::kDownstreamRqHeaderTimeout);
      return refuse(408, "The request took too long.\n");
    case Timing::kWrite:
      server_.http_stats_.inc(stat::kDownstreamRqIdleTimeout);
      return close(net::CloseMode::kReset);
  }
}

void Session::time(Timing timing) {
  timing_ = timing;
  const AdminOptions& options = server_.options_;
  timer_.arm(timing == Timing::kIdle      ? options.idle_timeout
             : timing == Timing::kRequest ? options.request_timeout
                                          : options.write_timeout);
}

void Session::run_after() {
  // Moved first: what it does may end this session.
  if (const std::function<void()> after = std::move(after_)) {
    after_ = nullptr;
    after();
  }
}

void Session::count_status(unsigned status) {
  static constexpr uint16_t kClasses[] = {stat::kDownstreamRq1xx, stat::kDownstreamRq2xx, stat::kDownstreamRq3xx,
                                          stat::kDownstreamRq4xx, stat::kDownstreamRq5xx};
  if (status >= 100 && status < 600) server_.http_stats_.inc(kClasses[status / 100 - 1]);
}

void Session::write_access_log() {
  if (!server_.has_access_logs()) return;
  info_.end = info_.last_downstream_tx = server_.loop_.now();
  stream::FormatContext format;
  format.info = &info_;
  format.request_headers = &headers_;
  format.response_headers = &response_headers_;
  format.log_type = stream::AccessLogType::kDownstreamEnd;
  format.now = server_.loop_.now();
  format.system_now = server_.loop_.system_now();
  server_.log(format);
}

void Session::close(net::CloseMode mode) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.disarm();
  if (in_request_) {
    info_.flags.set(stream::ResponseFlag::kDownstreamConnectionTermination);
    write_access_log();
  }
  body_.reset();
  stats::StatShard& stats = server_.http_stats_;
  stats.inc(stat::kDownstreamCxRxBytesTotal, connection_->bytes_received());
  stats.inc(stat::kDownstreamCxTxBytesTotal, connection_->bytes_sent() + connection_->unsent());
  net::Connection::close(std::move(connection_), mode, kCloseDelay);
  server_.forget(*this);
  run_after();
}

}  // namespace millrace::admin
