// What the HTTP router does when a try does not bring a response: resets, retries, timeouts, and the answers we give
// instead.
#include <fmt/format.h>

#include "router/http_router.h"
#include "router/reply_text.h"
#include "stats/schema_cluster.h"

namespace millrace::router {

namespace cs = stats::cluster;
using stream::ResponseFlag;
using upstream::Reset;
using upstream::ResetReason;
using upstream::UpstreamRequest;

void HttpRouter::on_reset(UpstreamRequest&, const Reset& reset) { fail(reset); }

void HttpRouter::fail(const Reset& reset) {
  disarm_attempt();
  stream::StreamInfo& info = stream_->info();
  if (reset.error != nullptr && reset.reason != ResetReason::kConnectionTermination) {
    info.upstream.transport_failure_reason = info.keep(transport_failure(*reset.error));
  }
  if (upstream_full_) {
    upstream_full_ = false;
    stream_->resume_request();
  }
  const ResponseFlag flag = flag_of(reset.reason);
  if (state_ == State::kResponding) {
    info.flags.set(flag);
    cluster_->counters(*host_).rq_error.add();
    return stream_->reset_response(info.keep(
        fmt::format("upstream_reset_after_response_started{{{}}}", detail_of(reset.reason))));
  }
  if (retry_stale(reset)) return;
  if (reset.reason != ResetReason::kOverflow) cluster_->counters(*host_).rq_error.add();
  const bool started = state_ == State::kActive;
  state_ = State::kWaiting;
  if (retry_state_.enabled()) {
    const route::RetryVerdict verdict =
        retry_state_.on_reset(route_reason(reset.reason), started, worker_.loop.prng());
    if (retry(verdict)) return;
  }
  const std::string_view transport = info.upstream.transport_failure_reason;
  std::string body = fmt::format("upstream connect error or disconnect/reset before headers. {}reset reason: {}",
                                 retried_ ? "retried and the latest " : "", name(reset.reason));
  if (!transport.empty()) body += fmt::format(", transport failure reason: {}", transport);
  std::string details = fmt::format("upstream_reset_before_response_started{{{}{}{}}}", detail_of(reset.reason),
                                    transport.empty() ? "" : "|", underscored(transport));
  const unsigned code = reset.reason == ResetReason::kProtocolError ? 502 : 503;
  if (reset.reason != ResetReason::kOverflow) {
    count_failure(code);
  }
  reply(code, flag, body, info.keep(details), reset.reason == ResetReason::kOverflow);
}

// The upstream closed a kept connection while our request was on its way: nobody has seen the request (RFC 9112 section
// 9.3.1). Costs none of the policy's retries, and not more than a few times.
bool HttpRouter::retry_stale(const Reset& reset) {
  if (!reset.stale_connection || stale_retries_ >= kStaleRetriesMax || !replayable_ || !idempotent() ||
      reset.response_started) {
    return false;
  }
  ++stale_retries_;
  fresh_ = true;
  begin_retry(base::milliseconds(0));
  return true;
}

bool HttpRouter::retry(const route::RetryVerdict& verdict) {
  stats::StatShard& s = cluster_->stats();
  switch (verdict.answer) {
    case route::RetryAnswer::kNo: return false;
    case route::RetryAnswer::kLimitExceeded:
      s.inc(cs::kUpstreamRqRetryLimitExceeded);
      stream_->info().flags.set(ResponseFlag::kUpstreamRetryLimitExceeded);
      return false;
    case route::RetryAnswer::kYes: break;
  }
  if (!replayable_) return false;
  release_retry();
  if (!cluster_->cluster().resources(priority()).try_acquire_retry()) {
    s.inc(cs::kUpstreamRqRetryOverflow);
    stream_->info().flags.set(ResponseFlag::kUpstreamOverflow);
    return false;
  }
  holds_retry_ = true;
  retried_ = true;
  s.inc(cs::kUpstreamRqRetry);
  s.inc(cs::kUpstreamRqRetryBackoffExponential);
  begin_retry(verdict.back_off);
  return true;
}

void HttpRouter::begin_retry(base::milliseconds back_off) {
  request_->cancel();
  attempt_duration_.disarm();
  disarm_attempt();
  state_ = State::kBackOff;
  unsent_.clear();
  unsent_.share(replay_);
  response_headers_->clear();
  if (back_off.count() > 0) {
    back_off_.arm(back_off);
  } else {
    on_back_off_over();
  }
}

void HttpRouter::on_back_off_over() {
  if (state_ != State::kBackOff || stream_->over()) return;
  start_attempt();
}

void HttpRouter::release_retry() {
  if (!holds_retry_) return;
  holds_retry_ = false;
  cluster_->cluster().resources(priority()).retries.release();
}

void HttpRouter::reply(unsigned code, ResponseFlag flag, std::string_view body, std::string_view details,
                       bool overloaded) {
  state_ = State::kDone;
  request_->cancel();
  timeout_.disarm();
  attempt_duration_.disarm();
  disarm_attempt();
  if (flag != ResponseFlag::kCount) stream_->info().flags.set(flag);
  if (paused_request_) {
    paused_request_ = false;
    stream_->resume_request();
  }
  const std::pair<std::string_view, std::string_view> extra{"x-envoy-overloaded", "true"};
  if (overloaded && !options_.suppress_envoy_headers) {
    stream_->send_local_reply(code, body, details, {&extra, 1});
  } else {
    stream_->send_local_reply(code, body, details);
  }
}

// ---- timeouts

void HttpRouter::on_timeout() {
  if (stream_->over() || state_ == State::kDone) return;
  stats::StatShard& s = cluster_->stats();
  s.inc(cs::kUpstreamRqTimeout);
  if (host_ != nullptr) cluster_->counters(*host_).rq_timeout.add();
  if (state_ == State::kResponding) {
    stream_->info().flags.set(ResponseFlag::kUpstreamRequestTimeout);
    state_ = State::kDone;
    request_->cancel();
    return stream_->reset_response("response_timeout");
  }
  count_failure(504);
  reply(504, ResponseFlag::kUpstreamRequestTimeout, "upstream request timeout", "response_timeout");
}

// The cluster's max_stream_duration.
void HttpRouter::on_attempt_duration() {
  if (stream_->over() || (state_ != State::kActive && state_ != State::kResponding)) return;
  cluster_->stats().inc(cs::kUpstreamRqMaxDurationReached);
  constexpr std::string_view kDetails = "upstream_max_stream_duration_reached";
  if (state_ == State::kResponding) {
    stream_->info().flags.set(ResponseFlag::kUpstreamMaxStreamDurationReached);
    state_ = State::kDone;
    request_->cancel();
    return stream_->reset_response(kDetails);
  }
  disarm_attempt();
  request_->cancel();
  state_ = State::kWaiting;
  if (retry_state_.enabled() &&
      retry(retry_state_.on_reset(route::ResetReason::kLocalReset, true, worker_.loop.prng()))) {
    return;
  }
  reply(request_ended_ ? 504 : 408, ResponseFlag::kUpstreamMaxStreamDurationReached,
        "upstream max stream duration reached", kDetails);
}

void HttpRouter::on_per_try_timeout() { per_try_expired(cs::kUpstreamRqPerTryTimeout, "upstream_per_try_timeout"); }
void HttpRouter::on_per_try_idle() {
  per_try_expired(cs::kUpstreamRqPerTryIdleTimeout, "upstream_per_try_idle_timeout");
}

void HttpRouter::per_try_expired(uint16_t counter, std::string_view details) {
  if (stream_->over() || state_ != State::kActive) return;
  cluster_->stats().inc(counter);
  cluster_->counters(*host_).rq_timeout.add();
  disarm_attempt();
  request_->cancel();
  state_ = State::kWaiting;
  timed_out_ = true;
  if (retry_state_.enabled() &&
      retry(retry_state_.on_reset(route::ResetReason::kLocalReset, true, worker_.loop.prng()))) {
    return;
  }
  count_failure(504);
  reply(504, ResponseFlag::kUpstreamRequestTimeout, "upstream request timeout", details);
}

}  // namespace millrace::router
