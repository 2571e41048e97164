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
#include "stream/grpc_status.h"

namespace millrace::filter {

namespace hs = stats::http;
using http::Header;
using stream::ResponseFlag;

HttpStream::HttpStream(HcmWorker& worker)
    : hcm_(worker), chain_(*this, worker.options().filters, worker.worker()),
      idle_(worker.worker().loop.timers(), *this), request_timer_(worker.worker().loop.timers(), *this),
      max_duration_(worker.worker().loop.timers(), *this) {}

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
  chain_.reset();
  route_ = nullptr;
  request_pauses_ = response_pauses_ = 0;
  begun_ = route_known_ = request_begun_ = request_ended_ = false;
  response_started_ = response_ended_ = local_reply_ = grpc_request_ = false;
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
  grpc_request_ = stream::is_grpc_request(&request_headers_);
  // The route is that of the request as it came, unless a filter clears it, as in Envoy.
  if (options().filters.size() > 1) route();
  chain_.begin(options().routes->per_filter() ? skipped_filters() : options().disabled_filters);
  request_begun_ = true;
  chain_.pass_headers(Way::kRequest, request_ended_);
}

// The filters that this request does not meet: bit i for filter i.
uint64_t HttpStream::skipped_filters() {
  uint64_t skipped = options().disabled_filters;
  const route::Route* matched = route();
  if (matched == nullptr) return skipped;
  const route::FilterOverrides& overrides = matched->filter_overrides(request_headers_, random_);
  for (size_t i = 0; i < overrides.size(); ++i) {
    if (!overrides[i].said) continue;
    const uint64_t bit = uint64_t{1} << i;
    skipped = overrides[i].disabled ? skipped | bit : skipped & ~bit;
  }
  return skipped;
}

const route::PerFilterConfig* HttpStream::route_config(const HttpFilter& filter) {
  if (!options().routes->per_filter()) return nullptr;
  const route::Route* matched = route();
  if (matched == nullptr) return nullptr;
  const route::FilterOverrides& overrides = matched->filter_overrides(request_headers_, random_);
  return filter.index() < overrides.size() ? overrides[filter.index()].config : nullptr;
}

size_t HttpStream::buffer_limit_bytes() {
  const size_t limit = hcm_.listener().per_connection_buffer_limit_bytes;
  const route::Route* matched = route();
  if (matched == nullptr) return limit;
  if (matched->options->per_request_buffer_limit_bytes) return *matched->options->per_request_buffer_limit_bytes;
  return matched->virtual_host->options->per_request_buffer_limit_bytes.value_or(limit);
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
  chain_.pass_data(Way::kRequest, data, end_stream);
  maybe_finish();
}

void HttpStream::on_request_trailers() {
  if (over_) return;
  touch();
  request_ended_ = true;
  info_.request_end = hcm_.worker().loop.now();
  request_timer_.disarm();
  if (local_reply_ || !request_begun_) return maybe_finish();
  chain_.pass_trailers(Way::kRequest);
  maybe_finish();
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

void HttpStream::refuse_large_request() {
  stats().inc(hs::kDownstreamRqTooLarge);
  send_local_reply(413, http::status_text(413), "request_payload_too_large");
}

void HttpStream::refuse_large_response() {
  stats().inc(hs::kRsTooLarge);
  send_local_reply(500, http::status_text(500), "response_payload_too_large");
}

void HttpStream::on_downstream_reset(ResponseFlag flag, std::string_view details) {
  if (over_) return;
  count_begin();
  if (flag != ResponseFlag::kCount) info_.flags.set(flag);
  if (info_.response_code_details.empty() || !response_started_) info_.response_code_details = details;
  stats().inc(hs::kDownstreamRqRxReset);
  finish();
}

void HttpStream::on_downstream_above_high_watermark() { pause_response(); }
void HttpStream::on_downstream_below_low_watermark() { resume_response(); }

void HttpStream::pause_response() {
  if (response_pauses_++ > 0 || !request_begun_) return;
  chain_.for_each([](HttpFilter& filter) { filter.on_downstream_above_high_watermark(); });
}

void HttpStream::resume_response() {
  if (response_pauses_ == 0 || --response_pauses_ > 0 || !request_begun_) return;
  chain_.for_each([](HttpFilter& filter) { filter.on_downstream_below_low_watermark(); });
}

// ---- the response

void HttpStream::respond_informational(const http::HeaderMap& headers) {
  if (over_ || response_started_) return;
  touch();
  if (headers.get(Header::kStatus) == "100" && !options().proxy_100_continue) return;
  codec_->encode_informational(*this, headers);
}

void HttpStream::respond_headers(bool end_stream) {
  if (over_ || local_reply_) return;
  touch();
  chain_.pass_headers(Way::kResponse, end_stream);
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
  if (over_ || local_reply_) return data.clear();
  touch();
  chain_.pass_data(Way::kResponse, data, end_stream);
}

void HttpStream::send_data(base::Buffer& data, bool end_stream) {
  info_.bytes_sent += data.size();
  info_.last_downstream_tx = hcm_.worker().loop.now();
  if (end_stream) response_ended_ = true;
  codec_->encode_data(*this, data, end_stream);
  if (end_stream) maybe_finish();
}

void HttpStream::respond_trailers() {
  if (over_ || local_reply_) return;
  touch();
  chain_.pass_trailers(Way::kResponse);
}

void HttpStream::send_trailers() {
  if (response_trailers_.size() == 0) {  // a filter took them all
    base::Buffer nothing;
    return send_data(nothing, true);
  }
  response_ended_ = true;
  codec_->encode_trailers(*this, response_trailers_);
  maybe_finish();
}

bool HttpStream::is_grpc_request() const { return grpc_request_ || stream::is_grpc_request(&request_headers_); }

// Trailers only, as gRPC calls it: a head that says it all.
void HttpStream::grpc_reply_headers(unsigned code, std::string_view body, std::optional<int64_t> status) {
  http::HeaderMap& headers = response_headers_;
  headers.set_view(Header::kStatus, "200");
  headers.set_view(Header::kContentType, "application/grpc");
  headers.remove(Header::kContentLength);
  if (!headers.has(Header::kGrpcStatus)) {
    char digits[20];
    const int64_t number = status.value_or(stream::grpc_status_of_http(static_cast<uint16_t>(code)));
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    headers.set(Header::kGrpcStatus, {digits, static_cast<size_t>(end - digits)});
  }
  if (!body.empty() && !head_request_) headers.set(Header::kGrpcMessage, stream::grpc_message_encoded(body));
}

void HttpStream::send_local_reply(unsigned code, std::string_view body, std::string_view details, ExtraHeaders extra,
                                  bool of_route, std::optional<int64_t> grpc_status) {
  if (over_) return;
  if (response_started_) return reset_response(details);
  // No filter has seen the request, or one answers for the response in hand, or for an answer that it cannot take.
  const bool direct = !request_begun_ || chain_.in_response() || local_reply_;
  local_reply_ = true;
  chain_.drop_response();  // an answer that a filter holds
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
  const bool grpc = is_grpc_request();
  if (grpc) {
    grpc_reply_headers(code, body, grpc_status);
  } else if (!body.empty()) {
    const auto length_end = fmt::format_to_n(digits, sizeof digits, "{}", body.size()).out;
    response_headers_.add(Header::kContentLength, {digits, static_cast<size_t>(length_end - digits)});
    if (!typed) response_headers_.add_view(Header::kContentType, "text/plain");
  }
  if (of_route) route::rewrite_response(*route_, nullptr, response_headers_, format_context());
  const bool headers_only = grpc || body.empty() || head_request_;
  direct ? send_headers(headers_only) : chain_.pass_headers(Way::kResponse, headers_only);
  if (headers_only || over_) return;
  base::Buffer data;
  data.append(body);
  direct ? send_data(data, true) : chain_.pass_data(Way::kResponse, data, true);
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
  send_local_reply(request_ended_ ? 504 : 408, "downstream duration timeout", "max_duration_timeout", {}, false,
                   stream::kGrpcDeadlineExceeded);
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
    chain_.for_each([](HttpFilter& filter) { filter.on_stream_complete(); });
  }
  if (begun_) write_access_logs();
  if (request_begun_) {
    chain_.for_each([](HttpFilter& filter) { filter.end(); });
  }
  codec_->on_stream_over(*this);
}

void HttpStream::write_access_logs() {
  if (options().access_logs.empty()) return;
  codec_->count_bytes(*this);
  stream::FormatContext context = format_context();
  context.log_type = stream::AccessLogType::kDownstreamEnd;
  stream::log_all(options().access_logs, context, hcm_.worker().access_log);
}

}  // namespace millrace::filter
