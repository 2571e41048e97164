#include "filter/http_stream.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "filter/hcm_worker.h"
#include "filter/request_headers.h"
#include "filter/response_headers.h"
#include "http/codes.h"
#include "route/rewrite.h"
#include "stats/response_counters.h"
#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;
using http::Header;
using stream::ResponseFlag;

HttpStream::HttpStream(HcmWorker& worker)
    : hcm_(worker), idle_(worker.worker().loop.timers(), *this), request_timer_(worker.worker().loop.timers(), *this),
      max_duration_(worker.worker().loop.timers(), *this) {
  for (const auto& config : hcm_.options().filters) filters_.push_back(config->instantiate(hcm_.worker()));
}

HttpStream::~HttpStream() = default;

const HcmOptions& HttpStream::options() const { return hcm_.options(); }
WorkerContext& HttpStream::worker() { return hcm_.worker(); }
stats::StatShard& HttpStream::stats() { return hcm_.stats(); }

void HttpStream::begin(StreamCodec& codec) {
  codec_ = &codec;
  request_headers_.clear();
  request_trailers_.clear();
  response_headers_.clear();
  response_trailers_.clear();
  info_.reset();
  held_request_.clear();
  held_response_.clear();
  route_ = nullptr;
  request_stopped_ = response_stopped_ = kNotStopped;
  request_seen_ = response_seen_ = request_heads_ = 0;
  request_pauses_ = 0;
  begun_ = route_known_ = request_begun_ = request_ended_ = false;
  request_trailers_pending_ = request_trailers_seen_ = stop_paused_ = false;
  response_started_ = response_ended_ = response_end_pending_ = local_reply_ = false;
  response_trailers_pending_ = response_trailers_seen_ = false;
  head_request_ = upgrade_requested_ = over_ = false;
  io::Loop& loop = hcm_.worker().loop;
  random_ = loop.prng().next();
  info_.start_time = loop.system_now();
  info_.start = loop.now();
  info_.connection = &codec.connection_info();
}

stream::FormatContext HttpStream::format_context() {
  stream::FormatContext context;
  context.info = &info_;
  context.request_headers = &request_headers_;
  context.response_headers = &response_headers_;
  context.response_trailers = &response_trailers_;
  context.now = hcm_.worker().loop.now();
  context.system_now = hcm_.worker().loop.system_now();
  return context;
}

const route::Route* HttpStream::route() {
  if (!route_known_) {
    route_known_ = true;
    const route::MatchInput input{request_headers_, random_, info_.connection->tls != nullptr};
    route_ = options().routes->match(input);
    if (route_ != nullptr) info_.route_name = route_->name();
  }
  return route_;
}

// ---- the request

void HttpStream::on_request_headers(bool end_stream, bool upgrade, bool expect_continue) {
  const HcmOptions& o = options();
  info_.protocol = info_.protocol == stream::Protocol::kNone ? stream::Protocol::kHttp11 : info_.protocol;
  count_begin();
  stats().inc(info_.protocol == stream::Protocol::kHttp2 ? hs::kDownstreamRqHttp2Total : hs::kDownstreamRqHttp1Total);
  request_ended_ = end_stream && !upgrade;
  upgrade_requested_ = upgrade;
  head_request_ = request_headers_.get(Header::kMethod) == "HEAD";
  if (request_ended_) {
    info_.request_end = hcm_.worker().loop.now();
  } else if (o.request_timeout.count() > 0) {
    request_timer_.arm(o.request_timeout);
  }
  idle_timeout_ = o.stream_idle_timeout;
  touch();
  if (o.max_stream_duration.count() > 0) max_duration_.arm(o.max_stream_duration);
  if (!prepare_request()) return;
  if (expect_continue && !o.proxy_100_continue) {
    request_headers_.remove(Header::kExpect);
    http::HeaderMap& headers = response_headers_;
    headers.add_view(Header::kStatus, "100");
    codec_->encode_informational(*this, headers);
    headers.clear();
  }
  for (auto& filter : filters_) filter->begin(*this);
  request_begun_ = true;
  pass_request_headers(0);
}

void HttpStream::count_begin() {
  if (begun_) return;
  begun_ = true;
  stats().inc(hs::kDownstreamRqTotal);
  stats().inc(hs::kRqTotal);
  stats().gauge_add(hs::kDownstreamRqActive);
}

bool HttpStream::prepare_request() {
  const HcmOptions& o = options();
  const RequestFacts facts{*info_.connection, hcm_.worker().loop.prng(), hcm_.codec_stats(), upgrade_requested_};
  RequestVerdict verdict = prepare_request_headers(request_headers_, o, facts, trusted_address_);
  if (!trusted_address_.empty()) info_.trusted_remote_address = &trusted_address_;
  info_.request_id = request_headers_.get(Header::kRequestId);
  if (verdict.status == 0) {
    if (upgrade_requested_ && !upgrade_allowed(request_headers_, o, route())) {
      stats().inc(hs::kDownstreamRqWsOnNonWsRoute);
      send_local_reply(403, "", "upgrade_failed");
      return false;
    }
    return true;
  }
  if (verdict.counter >= 0) stats().inc(static_cast<uint16_t>(verdict.counter));
  if (!verdict.location.empty()) {
    const std::pair<std::string_view, std::string_view> location{"location", verdict.location};
    send_local_reply(verdict.status, "", verdict.details, {&location, 1});
  } else {
    send_local_reply(verdict.status, verdict.body, verdict.details);
  }
  return false;
}

void HttpStream::pass_request_headers(size_t from) {
  const bool end = request_ended_ && held_request_.empty() && !request_trailers_pending_;
  for (size_t i = from; i < filters_.size(); ++i) {
    request_heads_ = i + 1;
    const HttpFilterStatus status = filters_[i]->on_request_headers(request_headers_, end);
    if (over_ || local_reply_) return;
    if (status == HttpFilterStatus::kStop && i + 1 < filters_.size()) return stop_request(i, nullptr);
  }
}

// Filter `at` holds the request, with these bytes of it in hand.
void HttpStream::stop_request(size_t at, base::Buffer* seen) {
  request_stopped_ = at;
  if (seen != nullptr) held_request_.move_from(*seen);
  request_seen_ = held_request_.size();
  stop_paused_ = !request_ended_;  // else there is nothing to read, but that the client goes away
  if (stop_paused_) pause_request();
}

void HttpStream::on_request_data(base::Buffer& data, bool end_stream) {
  if (over_ || response_ended_) return data.clear();
  touch();
  info_.bytes_received += data.size();
  if (end_stream) {
    request_ended_ = true;
    info_.request_end = hcm_.worker().loop.now();
    request_timer_.disarm();
  }
  if (local_reply_ || !request_begun_) {
    data.clear();
    return maybe_finish();
  }
  pass_request_data(0, data, end_stream);
}

void HttpStream::pass_request_data(size_t from, base::Buffer& data, bool end_stream) {
  for (size_t i = from; i < filters_.size(); ++i) {
    if (i == request_stopped_) return held_request_.move_from(data);
    const HttpFilterStatus status = filters_[i]->on_request_data(data, end_stream);
    if (over_ || local_reply_) return;
    if (status == HttpFilterStatus::kStop && i + 1 < filters_.size() && request_stopped_ == kNotStopped) {
      return stop_request(i, &data);
    }
  }
  maybe_finish();
}

void HttpStream::on_request_trailers() {
  if (over_) return;
  touch();
  request_ended_ = true;
  info_.request_end = hcm_.worker().loop.now();
  request_timer_.disarm();
  if (local_reply_ || !request_begun_) return maybe_finish();
  pass_request_trailers(0);
}

void HttpStream::pass_request_trailers(size_t from) {
  for (size_t i = from; i < filters_.size(); ++i) {
    if (i == request_stopped_) {
      request_trailers_pending_ = true;
      return;
    }
    const HttpFilterStatus status = filters_[i]->on_request_trailers(request_trailers_);
    if (over_ || local_reply_) return;
    if (status == HttpFilterStatus::kStop && i + 1 < filters_.size()) {
      request_trailers_pending_ = request_trailers_seen_ = true;
      return stop_request(i, nullptr);
    }
  }
  maybe_finish();
}

// Every filter sees every part of the message once: what the one that stopped has had goes on behind it, what came
// later begins with it.
void HttpStream::continue_request() {
  if (over_ || request_stopped_ == kNotStopped) return;
  const size_t at = request_stopped_;
  request_stopped_ = kNotStopped;
  const size_t seen_bytes = std::exchange(request_seen_, 0);
  if (std::exchange(stop_paused_, false)) resume_request();
  const bool head = request_heads_ == at + 1;
  const bool headers_only = request_ended_ && held_request_.empty() && !request_trailers_pending_;
  if (head) {
    pass_request_headers(at + 1);
    if (headers_only) return;
  }
  const auto running = [&] { return !over_ && !local_reply_; };
  base::Buffer later(std::move(held_request_)), seen;
  seen.move_from(later, seen_bytes);
  const bool trailers = std::exchange(request_trailers_pending_, false);
  if (running() && (!seen.empty() || headers_only)) {
    pass_request_data(at + 1, seen, request_ended_ && !trailers && later.empty());
  }
  if (running() && !later.empty()) pass_request_data(at, later, request_ended_ && !trailers);
  if (running() && trailers) pass_request_trailers(request_trailers_seen_ ? at + 1 : at);
}

void HttpStream::pause_request() {
  if (request_pauses_++ == 0) {
    stats().inc(hs::kDownstreamFlowControlPausedReadingTotal);
    codec_->pause_request(*this);
  }
}

void HttpStream::resume_request() {
  if (request_pauses_ == 0 || --request_pauses_ > 0) return;
  stats().inc(hs::kDownstreamFlowControlResumedReadingTotal);
  codec_->resume_request(*this);
}

void HttpStream::on_codec_error(unsigned status, std::string_view details) {
  info_.flags.set(ResponseFlag::kDownstreamProtocolError);
  refuse(status, http::status_text(status), details);
}

void HttpStream::on_header_timeout() { refuse(408, "request header timeout", "request_header_timeout"); }

void HttpStream::refuse(unsigned status, std::string_view body, std::string_view details) {
  count_begin();
  request_ended_ = true;
  send_local_reply(status, body, details);
}

void HttpStream::on_downstream_reset(ResponseFlag flag, std::string_view details) {
  if (over_) return;
  count_begin();
  if (flag != ResponseFlag::kCount) info_.flags.set(flag);
  if (info_.response_code_details.empty() || !response_started_) info_.response_code_details = details;
  stats().inc(hs::kDownstreamRqRxReset);
  finish();
}

void HttpStream::on_downstream_above_high_watermark() {
  for (auto& filter : filters_) filter->on_downstream_above_high_watermark();
}

void HttpStream::on_downstream_below_low_watermark() {
  for (auto& filter : filters_) filter->on_downstream_below_low_watermark();
}

// ---- the response

void HttpStream::respond_informational(const http::HeaderMap& headers) {
  if (over_ || response_started_) return;
  touch();
  if (headers.get(Header::kStatus) == "100" && !options().proxy_100_continue) return;
  codec_->encode_informational(*this, headers);
}

void HttpStream::respond_headers(bool end_stream) {
  if (over_) return;
  touch();
  pass_response_headers(filters_.size() - 1, end_stream);
}

void HttpStream::pass_response_headers(size_t from, bool end_stream) {
  for (size_t i = from; i-- > 0;) {
    const HttpFilterStatus status = filters_[i]->on_response_headers(response_headers_, end_stream);
    if (over_) return;
    if (status == HttpFilterStatus::kStop) {
      response_stopped_ = i;
      response_end_pending_ = end_stream;
      return;
    }
  }
  send_headers(end_stream);
}

void HttpStream::send_headers(bool end_stream) {
  finish_response_headers();
  response_started_ = true;
  request_timer_.disarm();
  info_.first_downstream_tx = hcm_.worker().loop.now();
  if (upgrade_requested_ && info_.response_code != 101 &&
      !(info_.response_code / 100 == 2 && request_headers_.get(Header::kMethod) == "CONNECT")) {
    request_ended_ = true;  // no switch of protocols: what else comes is another request
  }
  if (end_stream) response_ended_ = true;
  codec_->encode_headers(*this, response_headers_, end_stream);
  if (end_stream) maybe_finish();
}

void HttpStream::finish_response_headers() {
  unsigned code = 0;
  const std::string_view status = response_headers_.get(Header::kStatus);
  std::from_chars(status.data(), status.data() + status.size(), code);
  info_.response_code = static_cast<uint16_t>(code);
  count_response_code(code);
  ResponseFacts facts;
  facts.local_reply = local_reply_;
  facts.upgrade = upgrade_requested_ && code == 101;
  facts.request_id = request_headers_.get(Header::kRequestId);
  facts.date = hcm_.worker().date.format(hcm_.worker().loop.system_now());
  prepare_response_headers(response_headers_, options(), facts);
}

void HttpStream::count_response_code(unsigned code) {
  static constexpr stats::ResponseCounters kAll = MILLRACE_RESPONSE_COUNTERS(hs::kDownstreamRq);
  static constexpr stats::ResponseCounters kListener =
      MILLRACE_RESPONSE_COUNTERS(stats::listener_http::kDownstreamRq);
  stats::count_response(stats(), kAll, code);
  stats::count_response(hcm_.listener_stats(), kListener, code);
}

void HttpStream::respond_data(base::Buffer& data, bool end_stream) {
  if (over_) return data.clear();
  touch();
  pass_response_data(filters_.size() - 1, data, end_stream);
}

void HttpStream::pass_response_data(size_t from, base::Buffer& data, bool end_stream) {
  for (size_t i = from; i-- > 0;) {
    if (i == response_stopped_) {
      held_response_.move_from(data);
      response_end_pending_ |= end_stream;
      return;
    }
    const HttpFilterStatus status = filters_[i]->on_response_data(data, end_stream);
    if (over_) return;
    if (status == HttpFilterStatus::kStop && response_stopped_ == kNotStopped) {
      response_stopped_ = i;
      held_response_.move_from(data);
      response_seen_ = held_response_.size();
      response_end_pending_ = end_stream;
      return;
    }
  }
  info_.bytes_sent += data.size();
  info_.last_downstream_tx = hcm_.worker().loop.now();
  if (end_stream) response_ended_ = true;
  codec_->encode_data(*this, data, end_stream);
  if (end_stream) maybe_finish();
}

void HttpStream::respond_trailers() {
  if (over_) return;
  touch();
  pass_response_trailers(filters_.size() - 1);
}

void HttpStream::pass_response_trailers(size_t from) {
  for (size_t i = from; i-- > 0;) {
    if (i == response_stopped_) {
      response_trailers_pending_ = true;
      return;
    }
    const HttpFilterStatus status = filters_[i]->on_response_trailers(response_trailers_);
    if (over_) return;
    if (status == HttpFilterStatus::kStop) {
      response_stopped_ = i;
      response_trailers_pending_ = response_trailers_seen_ = true;
      return;
    }
  }
  response_ended_ = true;
  codec_->encode_trailers(*this, response_trailers_);
  maybe_finish();
}

// See continue_request(); the head waits as long as the codec has not been given it.
void HttpStream::continue_response() {
  if (over_ || response_stopped_ == kNotStopped) return;
  const size_t at = response_stopped_;
  response_stopped_ = kNotStopped;
  const bool end = std::exchange(response_end_pending_, false);
  const bool trailers = std::exchange(response_trailers_pending_, false);
  base::Buffer later(std::move(held_response_)), seen;
  seen.move_from(later, std::exchange(response_seen_, 0));
  const bool nothing_held = later.empty() && seen.empty();
  if (!response_started_) {
    pass_response_headers(at, end && nothing_held);
    if (nothing_held && !trailers) return;
  }
  if (!over_ && (!seen.empty() || (end && nothing_held))) pass_response_data(at, seen, end && later.empty());
  if (!over_ && !later.empty()) pass_response_data(at + 1, later, end);
  if (!over_ && trailers) pass_response_trailers(response_trailers_seen_ ? at : at + 1);
}

void HttpStream::send_local_reply(unsigned code, std::string_view body, std::string_view details, ExtraHeaders extra,
                                  bool of_route) {
  if (over_) return;
  if (response_started_) return reset_response(details);
  local_reply_ = true;
  response_stopped_ = kNotStopped;  // an answer that a filter holds is dropped
  held_response_.clear();
  response_seen_ = 0;
  response_end_pending_ = response_trailers_pending_ = false;
  info_.response_code_details = details;
  info_.response_code = static_cast<uint16_t>(code);
  response_headers_.clear();
  response_trailers_.clear();
  char digits[8];
  const auto end = fmt::format_to_n(digits, sizeof digits, "{}", code).out;
  response_headers_.add(Header::kStatus, {digits, static_cast<size_t>(end - digits)});
  bool typed = false;
  for (const auto& [name, value] : extra) {
    response_headers_.add(name, value);
    typed |= name == "content-type";
  }
  if (!body.empty()) {
    const auto length_end = fmt::format_to_n(digits, sizeof digits, "{}", body.size()).out;
    response_headers_.add(Header::kContentLength, {digits, static_cast<size_t>(length_end - digits)});
    if (!typed) response_headers_.add_view(Header::kContentType, "text/plain");
  }
  if (of_route) route::rewrite_response(*route_, nullptr, response_headers_, format_context());
  const bool headers_only = body.empty() || head_request_;
  if (request_begun_) {
    respond_headers(headers_only);
  } else {
    send_headers(headers_only);  // no filter has seen the request
  }
  if (headers_only || over_) return;
  base::Buffer data;
  data.append(body);
  if (request_begun_) return respond_data(data, true);
  info_.bytes_sent += data.size();
  response_ended_ = true;
  codec_->encode_data(*this, data, true);
  maybe_finish();
}

void HttpStream::reset_response(std::string_view details) {
  if (over_) return;
  info_.response_code_details = details;
  stats().inc(hs::kRqResetAfterDownstreamResponseStarted);
  stats().inc(hs::kDownstreamRqTxReset);
  codec_->reset(*this);
  if (!over_) finish();
}

// ---- times

void HttpStream::set_idle_timeout(base::milliseconds timeout) {
  idle_timeout_ = timeout;
  if (timeout.count() > 0) {
    idle_.arm(timeout);
  } else {
    idle_.disarm();
  }
}

void HttpStream::set_max_duration(base::milliseconds limit) {
  if (limit.count() <= 0) return max_duration_.disarm();
  const auto gone = std::chrono::duration_cast<base::milliseconds>(hcm_.worker().loop.now() - info_.start);
  max_duration_.arm(limit - gone);
}

void HttpStream::on_idle() {
  if (over_) return;
  stats().inc(hs::kDownstreamRqIdleTimeout);
  info_.flags.set(ResponseFlag::kStreamIdleTimeout);
  if (response_started_) return reset_response("stream_idle_timeout");
  send_local_reply(request_ended_ ? 504 : 408, "stream timeout", "stream_idle_timeout");
}

void HttpStream::on_request_timeout() {
  if (over_ || request_ended_) return;
  stats().inc(hs::kDownstreamRqTimeout);
  send_local_reply(408, "request timeout", "request_overall_timeout");
}

void HttpStream::on_max_duration() {
  if (over_) return;
  stats().inc(hs::kDownstreamRqMaxDurationReached);
  info_.flags.set(ResponseFlag::kDurationTimeout);
  if (response_started_) return reset_response("max_duration_timeout");
  send_local_reply(request_ended_ ? 504 : 408, "downstream duration timeout", "max_duration_timeout");
}

// ---- the end

void HttpStream::maybe_finish() {
  // An answer that is complete ends the stream, also when the request is not: the codec then closes the connection.
  if (!over_ && response_ended_) finish();
}

void HttpStream::finish() {
  over_ = true;
  io::Loop& loop = hcm_.worker().loop;
  info_.end = loop.now();
  idle_.disarm();
  request_timer_.disarm();
  max_duration_.disarm();
  if (begun_) {
    stats().gauge_sub(hs::kDownstreamRqActive);
    stats().record(
        hs::kDownstreamRqTime,
        static_cast<uint64_t>(std::chrono::duration_cast<base::milliseconds>(info_.end - info_.start).count()));
  }
  if (response_ended_ && !request_ended_) stats().inc(hs::kDownstreamRqResponseBeforeRqComplete);
  if (request_begun_) {
    for (auto& filter : filters_) filter->on_stream_complete();
  }
  if (begun_) write_access_logs();
  if (request_begun_) {
    for (auto& filter : filters_) filter->end();
  }
  codec_->on_stream_over(*this);
}

void HttpStream::write_access_logs() {
  if (options().access_logs.empty()) return;
  stream::FormatContext context = format_context();
  context.log_type = stream::AccessLogType::kDownstreamEnd;
  stream::log_all(options().access_logs, context, hcm_.worker().access_log);
}

}  // namespace millrace::filter
