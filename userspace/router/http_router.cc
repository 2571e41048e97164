#include "router/http_router.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "http/authority.h"
#include "stats/response_counters.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"
#include "upstream/connection_account.h"
#include "upstream/http_pool.h"

namespace millrace::router {

namespace cs = stats::cluster;
namespace hs = stats::http;
using filter::HttpFilterStatus;
using http::Header;
using stream::ResponseFlag;
using upstream::HttpPool;
using upstream::Reset;
using upstream::ResetReason;
using upstream::UpstreamRequest;

namespace {

constexpr stats::ResponseCounters kResponses = MILLRACE_RESPONSE_COUNTERS(cs::kUpstreamRq);
constexpr stats::ResponseCounters kInternalResponses = MILLRACE_RESPONSE_COUNTERS(cs::kInternalUpstreamRq);
constexpr stats::ResponseCounters kExternalResponses = MILLRACE_RESPONSE_COUNTERS(cs::kExternalUpstreamRq);

uint64_t to_ms(base::nanoseconds d) {
  return static_cast<uint64_t>(std::max<int64_t>(std::chrono::duration_cast<base::milliseconds>(d).count(), 0));
}

void set_number(http::HeaderMap& headers, Header header, uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  headers.set(header, {digits, static_cast<size_t>(end - digits)});
}

}  // namespace

std::unique_ptr<filter::HttpFilter> HttpRouterConfig::instantiate(filter::WorkerContext& worker) const {
  return std::make_unique<HttpRouter>(options_, worker);
}

HttpRouter::HttpRouter(const HttpRouterOptions& options, filter::WorkerContext& worker)
    : options_(options), worker_(worker), timeout_(worker.loop.timers(), *this), per_try_(worker.loop.timers(), *this),
      per_try_idle_(worker.loop.timers(), *this), attempt_duration_(worker.loop.timers(), *this),
      back_off_(worker.loop.timers(), *this) {}

HttpRouter::~HttpRouter() = default;

void HttpRouter::begin(filter::HttpStream& stream) {
  if (stream_ != &stream) {
    stream_ = &stream;
    response_headers_ = &stream.response_headers();
    request_ = std::make_unique<UpstreamRequest>(*this, stream.response_headers(), stream.response_trailers());
  }
  route_ = nullptr;
  cluster_ = nullptr;
  host_ = nullptr;
  choice_ = {};
  state_ = State::kIdle;
  retry_state_ = {};
  timeouts_ = {};
  tried_.clear();
  request_complete_at_ = attempt_start_ = {};
  body_bytes_ = 0;
  attempts_ = stale_retries_ = 0;
  request_ended_ = has_trailers_ = replayable_ = holds_retry_ = retried_ = false;
  paused_request_ = upstream_full_ = downstream_full_ = fresh_ = timed_out_ = false;
}

void HttpRouter::end() {
  request_->cancel();
  state_ = State::kDone;
  timeout_.disarm();
  back_off_.disarm();
  attempt_duration_.disarm();
  disarm_attempt();
  release_retry();
  connection_info_.reset();
  host_hold_.reset();
  unsent_.clear();
  replay_.clear();
}

void HttpRouter::disarm_attempt() {
  per_try_.disarm();
  per_try_idle_.disarm();
}

upstream::ResourcePriority HttpRouter::priority() const {
  return action().priority == route::Priority::kHigh ? upstream::ResourcePriority::kHigh
                                                     : upstream::ResourcePriority::kDefault;
}

// RFC 9110 section 9.2.2.
bool HttpRouter::idempotent() const {
  const std::string_view method = stream_->request_headers().get(Header::kMethod);
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS" ||
         method == "TRACE";
}

// ---- the request

HttpFilterStatus HttpRouter::on_request_headers(http::HeaderMap& headers, bool end_stream) {
  const route::Route* route = stream_->route();
  if (answer_without_upstream(route)) return HttpFilterStatus::kStop;
  route_ = route;
  if (!choose_cluster()) return HttpFilterStatus::kStop;

  const bool tell = !options_.suppress_envoy_headers;
  timeouts_ = route::request_timeouts(*route_, headers, tell, options_.respect_expected_rq_timeout);
  retry_state_ = route::RetryState(*route_->retry_policy, headers);
  route::rewrite_request(*route_, choice_, headers, stream_->format_context(), {.set_original = tell});
  note_host_name(headers);
  if (action().idle_timeout) stream_->set_idle_timeout(*action().idle_timeout);
  if (const auto limit = route::stream_duration_limit(*route_, headers)) stream_->set_max_duration(*limit);

  retry_buffer_max_ = options_.retry_buffer_bytes_max;
  if (route_->options->per_request_buffer_limit_bytes) {
    retry_buffer_max_ = *route_->options->per_request_buffer_limit_bytes;
  } else if (route_->virtual_host->options->per_request_buffer_limit_bytes) {
    retry_buffer_max_ = *route_->virtual_host->options->per_request_buffer_limit_bytes;
  }
  replayable_ = !stream_->upgrade_requested() && (retry_state_.enabled() || idempotent());
  request_ended_ = end_stream;
  start_attempt();
  if (end_stream && state_ != State::kDone && !stream_->over()) on_request_complete();
  return HttpFilterStatus::kStop;
}

bool HttpRouter::answer_without_upstream(const route::Route* route) {
  if (route == nullptr) {
    stream_->stats().inc(hs::kNoRoute);
    reply(404, ResponseFlag::kNoRouteFound, "", "route_not_found");
    return true;
  }
  switch (route->action()) {
    case route::ActionKind::kRoute: return false;
    case route::ActionKind::kRedirect: {
      stream_->stats().inc(hs::kRqRedirect);
      state_ = State::kDone;
      const std::pair<std::string_view, std::string_view> location{
          "location", route::redirect_location(*route, stream_->request_headers(), stream_->request_headers())};
      stream_->send_local_reply(route->options->redirect.response_code, "", "direct_response", {&location, 1}, true);
      return true;
    }
    case route::ActionKind::kDirectResponse:
    case route::ActionKind::kNonForwarding:
      stream_->stats().inc(hs::kRqDirectResponse);
      state_ = State::kDone;
      if (route->action() == route::ActionKind::kNonForwarding) {
        stream_->send_local_reply(404, "", "route_not_found");  // no filter before the router took it
      } else {
        stream_->send_local_reply(route->options->direct_response.status, route->options->direct_response.body,
                                  "direct_response", {}, true);
      }
      return true;
  }
  return false;
}

bool HttpRouter::choose_cluster() {
  choice_ = route_->choose_cluster(stream_->request_headers(), stream_->random());
  if (choice_.id != route::kUnlistedCluster) {
    upstream::Cluster* known = options_.clusters[choice_.id];
    cluster_ = known != nullptr ? &worker_.clusters->get(*known) : nullptr;
  } else {
    cluster_ = choice_.name.empty() ? nullptr : worker_.clusters->find(choice_.name);
  }
  if (cluster_ == nullptr) {
    stream_->stats().inc(hs::kNoCluster);
    reply(action().cluster_not_found_response_code, ResponseFlag::kNoClusterFound, "", "cluster_not_found");
    return false;
  }
  stream::UpstreamInfo& info = stream_->info().upstream;
  info.cluster_name = cluster_->cluster().name();
  info.cluster_alt_stat_name = cluster_->cluster().options().alt_stat_name;
  return true;
}

void HttpRouter::start_attempt() {
  ++attempts_;
  stream::StreamInfo& info = stream_->info();
  info.upstream.attempt_count = attempts_;
  upstream::LbContext context;
  const route::RetryPolicy& policy = route_->retry_policy->options();
  if (attempts_ > 1) {
    if (policy.previous_hosts) context.previous_hosts = tried_;
    context.omit_canary_hosts = policy.omit_canary_hosts;
    context.host_selection_attempts = policy.host_selection_retry_max_attempts;
  }
  if (info.connection != nullptr) context.original_destination = info.connection->original_destination();
  context.request_headers = &stream_->request_headers();
  host_ = cluster_->choose(context);
  if (host_ == nullptr)
    return reply(503, ResponseFlag::kNoHealthyUpstream, "no healthy upstream", "no_healthy_upstream");
  host_hold_ = host_->hold();
  if (retry_state_.enabled() && host_->listed()) tried_.push_back(host_);
  info.upstream.host_address = &host_->address();
  info.upstream.host_name = host_->hostname();

  http::HeaderMap& headers = stream_->request_headers();
  if (action().host_rewrite.kind == route::HostRewrite::Kind::kAuto && !host_->hostname().empty()) {
    route::rewrite_host(headers, host_->hostname(), action().append_x_forwarded_host && attempts_ == 1,
                        {.set_original = !options_.suppress_envoy_headers});
  }
  if (route_->virtual_host->options->include_request_attempt_count) {
    set_number(headers, Header::kEnvoyAttemptCount, attempts_);
  }
  if (attempts_ > 1 && route_->virtual_host->options->include_is_timeout_retry_header) {
    headers.set_view(Header::kEnvoyIsTimeoutRetry, timed_out_ ? "true" : "false");
  }
  timed_out_ = false;
  HttpPool* const pool = this->pool();
  state_ = State::kWaiting;
  info.upstream.connect_start = worker_.loop.now();
  // What lies idle below a connection that was stale has lain there for longer.
  const bool fresh = std::exchange(fresh_, false);
  switch (pool != nullptr ? pool->start(*request_, fresh) : HttpPool::Start::kOverflow) {
    case HttpPool::Start::kReady: return send_request();
    case HttpPool::Start::kPending: return;
    case HttpPool::Start::kOverflow: return fail(Reset{ResetReason::kOverflow});
  }
}

void HttpRouter::note_host_name(const http::HeaderMap& headers) {
  identity_.server_name.clear();
  identity_.verify_name.clear();
  const upstream::HttpOptions& http = cluster_->cluster().options().http;
  if (!http.auto_sni && !http.auto_san_validation) return;
  std::string_view authority;
  if (!http.override_auto_sni_header.empty()) authority = headers.get(http.override_auto_sni_header);
  if (authority.empty()) authority = headers.get(Header::kAuthority);
  std::string_view host = http::strip_port(authority);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (http.auto_sni && !net::Address::parse_ip(host, 0).ok()) identity_.server_name = host;
  if (http.auto_san_validation) identity_.verify_name = host;
}

HttpPool* HttpRouter::pool() {
  const stream::Protocol protocol = stream_->info().protocol;
  const upstream::HttpOptions& http = cluster_->cluster().options().http;
  const net::TransportFactory* transport = host_->transport();
  const bool tells_source = transport != nullptr && transport->tells_source();
  if (transport == nullptr || (!http.auto_sni && !http.auto_san_validation && !tells_source)) {
    return cluster_->http_pool(*host_, priority(), protocol);
  }
  const stream::ConnectionInfo* client = tells_source ? stream_->info().connection : nullptr;
  const auto address = [](const net::Address* known) { return known != nullptr ? *known : net::Address(); };
  identity_.source = client != nullptr ? address(client->remote_address) : net::Address();
  identity_.destination = client != nullptr ? address(client->local_address) : net::Address();
  return cluster_->http_pool(*host_, priority(), protocol, &identity_);
}

void HttpRouter::on_pool_ready(UpstreamRequest&) { send_request(); }

void HttpRouter::send_request() {
  state_ = State::kActive;
  attempt_start_ = worker_.loop.now();
  stream::UpstreamInfo& info = stream_->info().upstream;
  info.pool_ready = attempt_start_;
  if (!stream::is_set(info.first_tx)) info.first_tx = attempt_start_;
  info.protocol = request_->protocol();
  if (!stream_->options().access_logs.empty()) note_connection();
  if (const auto limit = cluster_->cluster().options().http.max_stream_duration; limit.count() > 0) {
    attempt_duration_.arm(limit);
  }
  response_headers_->clear();
  stream_->response_trailers().clear();
  const bool headers_only = request_ended_ && unsent_.empty() && !has_trailers_;
  if (!request_->send_headers(stream_->request_headers(), headers_only)) {
    request_->cancel();
    return reply(503, ResponseFlag::kUpstreamProtocolError, "", "filter_removed_required_request_headers");
  }
  if (!unsent_.empty()) {
    base::Buffer body(std::move(unsent_));
    request_->send_data(body, request_ended_ && !has_trailers_);
  }
  if (has_trailers_) request_->send_trailers(stream_->request_trailers());
  if (paused_request_) {
    paused_request_ = false;
    stream_->resume_request();
  }
  if (request_ended_) {
    info.last_tx = attempt_start_;
    arm_per_try_timers();
  }
}

// Access logs may name the upstream connection; it is kept until the stream's last line is written.
void HttpRouter::note_connection() {
  connection_info_ = request_->connection_info();
  stream_->info().upstream.connection = connection_info_.get();
  if (connection_info_ != nullptr) stream_->info().upstream.handshake_end = connection_info_->handshake_end;
}

HttpFilterStatus HttpRouter::on_request_data(base::Buffer& data, bool end_stream) {
  if (state_ == State::kDone || state_ == State::kIdle) {
    data.clear();
    return HttpFilterStatus::kStop;
  }
  request_ended_ = end_stream;
  body_bytes_ += data.size();
  if (replayable_) {
    if (replay_.size() + data.size() > retry_buffer_max_) {
      replayable_ = false;
      replay_.clear();
      if (retry_state_.enabled()) cluster_->stats().inc(cs::kRetryOrShadowAbandoned);
    } else {
      replay_.share(data);
    }
  }
  send_body(data, end_stream);
  if (end_stream && !stream_->over()) on_request_complete();
  return HttpFilterStatus::kStop;
}

void HttpRouter::send_body(base::Buffer& data, bool end_stream) {
  if (state_ == State::kActive || state_ == State::kResponding) return request_->send_data(data, end_stream);
  unsent_.move_from(data);
  if (!paused_request_ && !end_stream &&
      unsent_.size() > cluster_->cluster().options().per_connection_buffer_limit_bytes) {
    paused_request_ = true;
    stream_->pause_request();
  }
}

HttpFilterStatus HttpRouter::on_request_trailers(http::HeaderMap& trailers) {
  if (state_ == State::kDone || state_ == State::kIdle) return HttpFilterStatus::kStop;
  request_ended_ = true;
  has_trailers_ = true;
  if (state_ == State::kActive || state_ == State::kResponding) request_->send_trailers(trailers);
  on_request_complete();
  return HttpFilterStatus::kStop;
}

void HttpRouter::on_request_complete() {
  request_complete_at_ = worker_.loop.now();
  if (state_ == State::kDone) return;
  if (timeouts_.global.count() > 0 && !stream_->upgrade_requested()) timeout_.arm(timeouts_.global);
  if (state_ == State::kActive) {
    stream_->info().upstream.last_tx = request_complete_at_;
    arm_per_try_timers();
  }
}

void HttpRouter::arm_per_try_timers() {
  if (timeouts_.per_try.count() > 0) per_try_.arm(timeouts_.per_try);
  if (timeouts_.per_try_idle.count() > 0) per_try_idle_.arm(timeouts_.per_try_idle);
}

void HttpRouter::on_above_high_watermark(UpstreamRequest&) {
  if (upstream_full_ || stream_->over()) return;
  upstream_full_ = true;
  stream_->pause_request();
}

void HttpRouter::on_below_low_watermark(UpstreamRequest&) {
  if (!upstream_full_ || stream_->over()) return;
  upstream_full_ = false;
  stream_->resume_request();
}

// ---- the response

void HttpRouter::on_informational(UpstreamRequest&) { stream_->respond_informational(*response_headers_); }

void HttpRouter::on_headers(UpstreamRequest&, bool end_stream) {
  http::HeaderMap& headers = *response_headers_;
  unsigned status = 0;
  const std::string_view text = headers.get(Header::kStatus);
  std::from_chars(text.data(), text.data() + text.size(), status);
  const base::MonotonicTime now = worker_.loop.now();
  stream::StreamInfo& info = stream_->info();
  info.upstream.first_rx = now;
  disarm_attempt();
  count_response(status);

  if (retry_state_.enabled() && state_ == State::kActive) {
    const route::RetryVerdict verdict =
        retry_state_.on_response(headers, worker_.loop.system_now(), worker_.loop.prng());
    if (retry(verdict)) return;
    if (status < 500 && retried_) cluster_->stats().inc(cs::kUpstreamRqRetrySuccess);
  }
  state_ = State::kResponding;
  release_retry();
  replayable_ = false;
  replay_.clear();
  if (!options_.suppress_envoy_headers) {
    const base::MonotonicTime from = stream::is_set(request_complete_at_) ? request_complete_at_ : attempt_start_;
    set_number(headers, Header::kEnvoyUpstreamServiceTime, to_ms(now - from));
  }
  if (route_->virtual_host->options->include_attempt_count_in_response) {
    set_number(headers, Header::kEnvoyAttemptCount, attempts_);
  }
  info.response_code_details = "via_upstream";
  info.response_code = static_cast<uint16_t>(status);
  route::rewrite_response(*route_, choice_.weighted, headers, stream_->format_context());
  if (end_stream) {
    count_completed();
    info.upstream.last_rx = now;
  }
  if (downstream_full_ && !end_stream) request_->pause_reading();
  stream_->respond_headers(end_stream);
}

void HttpRouter::on_data(UpstreamRequest&, base::Buffer& data, bool end_stream) {
  stream_->info().upstream.last_rx = worker_.loop.now();
  if (per_try_idle_.armed()) per_try_idle_.arm(timeouts_.per_try_idle);
  if (end_stream) count_completed();
  stream_->respond_data(data, end_stream);
}

void HttpRouter::on_trailers(UpstreamRequest&) {
  count_completed();
  stream_->info().upstream.last_rx = worker_.loop.now();
  stream_->respond_trailers();
}

void HttpRouter::on_downstream_above_high_watermark() {
  if (downstream_full_) return;
  downstream_full_ = true;
  if (state_ == State::kResponding) request_->pause_reading();
}

void HttpRouter::on_downstream_below_low_watermark() {
  if (!downstream_full_) return;
  downstream_full_ = false;
  if (state_ == State::kResponding) request_->resume_reading();
}

void HttpRouter::count_response(unsigned status) {
  stats::StatShard& s = cluster_->stats();
  stats::count_response(s, kResponses, cs::kUpstreamRqCodes, status);
  if (stream_->request_headers().has(Header::kEnvoyInternal)) {
    stats::count_response(s, kInternalResponses, cs::kInternalUpstreamRqCodes, status);
  } else {
    stats::count_response(s, kExternalResponses, cs::kExternalUpstreamRqCodes, status);
  }
  upstream::HostCounters& host = cluster_->counters(*host_);
  (status >= 500 ? host.rq_error : host.rq_success).add();
}

void HttpRouter::count_failure(unsigned code) {
  stats::count_response(cluster_->stats(), kResponses, cs::kUpstreamRqCodes, code);
}

void HttpRouter::count_completed() {
  const base::MonotonicTime from = stream::is_set(request_complete_at_) ? request_complete_at_ : attempt_start_;
  cluster_->stats().record(cs::kUpstreamRqTime, to_ms(worker_.loop.now() - from));
}

// The request keeps the counts of its latest try, also of one that was cut; those of a stream before this one are
// not meant.
void HttpRouter::on_stream_complete() {
  stream::UpstreamInfo& info = stream_->info().upstream;
  if (!stream::is_set(info.pool_ready)) return;
  info.bytes.wire_sent = request_->wire_bytes_sent();
  info.bytes.wire_received = request_->wire_bytes_received();
  info.bytes.header_sent = request_->header_bytes_sent();
  info.bytes.header_received = request_->header_bytes_received();
  info.bytes.plain_header_sent = request_->plain_header_bytes_sent();
  info.bytes.plain_header_received = request_->plain_header_bytes_received();
}

}  // namespace millrace::router
