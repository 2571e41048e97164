// The last HTTP filter: takes a request to an upstream host and brings the response back, with retries and timeouts.
//
//   kIdle --request headers--> kWaiting (for a connection) --ready--> kActive --response headers--> kResponding -->
//   kDone
//              |                     |___________reset____________________|
//              |                     v retry allowed
//              |                 kBackOff --timer--> kWaiting
//              |___ direct response, redirect, no route, no host ...: a local reply, kDone
//
// The body goes to the upstream as it comes. While another attempt is still possible it is also kept, by reference and
// up to the buffer limit; beyond that the request is not tried again. One attempt at a time; one instance per stream,
// reused.
#pragma once
#include <string>
#include <vector>

#include "filter/http_filter.h"
#include "filter/http_stream.h"
#include "io/timer.h"
#include "route/rewrite.h"
#include "route/table.h"
#include "upstream/thread_local_cluster.h"
#include "upstream/upstream_request.h"

namespace millrace::router {

struct HttpRouterOptions {
  bool suppress_envoy_headers = false;
  bool respect_expected_rq_timeout = false;
  uint32_t retry_buffer_bytes_max = 1 << 20;      // unless the route says otherwise
  // By RouteTable cluster id; null: no such cluster.
  std::vector<upstream::Cluster*> clusters;
};

class HttpRouterConfig final : public filter::HttpFilterConfig {
 public:
  explicit HttpRouterConfig(HttpRouterOptions options) : options_(std::move(options)) {}
  std::unique_ptr<filter::HttpFilter> instantiate(filter::WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.router"; }
  const HttpRouterOptions& options() const { return options_; }

 private:
  HttpRouterOptions options_;
};

class HttpRouter final : public filter::HttpFilter, public upstream::UpstreamHandler {
 public:
  HttpRouter(const HttpRouterOptions& options, filter::WorkerContext& worker);
  ~HttpRouter() override;

  void begin(filter::HttpStream& stream) override;
  void on_stream_complete() override;
  void end() override;
  filter::HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool end_stream) override;
  filter::HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override;
  filter::HttpFilterStatus on_request_trailers(http::HeaderMap& trailers) override;
  void on_downstream_above_high_watermark() override;
  void on_downstream_below_low_watermark() override;

 private:
  static constexpr uint32_t kStaleRetriesMax = 3;
  enum class State : uint8_t { kIdle, kWaiting, kActive, kResponding, kBackOff, kDone };

  void on_pool_ready(upstream::UpstreamRequest& request) override;
  void on_informational(upstream::UpstreamRequest& request) override;
  void on_headers(upstream::UpstreamRequest& request, bool end_stream) override;
  void on_data(upstream::UpstreamRequest& request, base::Buffer& data, bool end_stream) override;
  void on_trailers(upstream::UpstreamRequest& request) override;
  void on_reset(upstream::UpstreamRequest& request, const upstream::Reset& reset) override;
  void on_above_high_watermark(upstream::UpstreamRequest& request) override;
  void on_below_low_watermark(upstream::UpstreamRequest& request) override;

  bool answer_without_upstream(const route::Route* route);
  bool choose_cluster();
  // For auto_sni and auto_san_validation, which do not heed auto_host_rewrite, as in Envoy.
  void note_host_name(const http::HeaderMap& headers);
  upstream::HttpPool* pool();
  void start_attempt();
  void send_request();
  void note_connection();
  void send_body(base::Buffer& data, bool end_stream);
  void on_request_complete();
  void arm_per_try_timers();
  // Whether another attempt is on its way.
  bool retry(const route::RetryVerdict& verdict);
  bool retry_stale(const upstream::Reset& reset);
  void begin_retry(base::milliseconds back_off);
  void on_back_off_over();
  void fail(const upstream::Reset& reset);
  void reply(unsigned code, stream::ResponseFlag flag, std::string_view body, std::string_view details,
             bool overloaded = false);
  void on_timeout();
  void on_per_try_timeout();
  void on_per_try_idle();
  void on_attempt_duration();
  void per_try_expired(uint16_t counter, std::string_view details);
  void count_response(unsigned status);
  // A try that ended without a response counts as the 5xx that we answer for it.
  void count_failure(unsigned code);
  void count_completed();
  void release_retry();
  void disarm_attempt();
  bool idempotent() const;
  upstream::ResourcePriority priority() const;
  const route::RouteAction& action() const { return route_->options->route; }

  const HttpRouterOptions& options_;
  filter::WorkerContext& worker_;
  filter::HttpStream* stream_ = nullptr;
  const route::Route* route_ = nullptr;
  upstream::ThreadLocalCluster* cluster_ = nullptr;
  route::ClusterChoice choice_;
  upstream::Host* host_ = nullptr;
  std::shared_ptr<upstream::Host> host_hold_;  // until the stream's last access log line, if host_ is not listed
  State state_ = State::kIdle;
  std::unique_ptr<upstream::UpstreamRequest> request_;
  http::HeaderMap* response_headers_ = nullptr;
  upstream::ConnectionIdentity identity_;  // where the host's transport asks for one
  std::shared_ptr<const upstream::UpstreamConnectionInfo> connection_info_;  // only with access logs
  route::RetryState retry_state_;
  route::Timeouts timeouts_;
  base::Buffer unsent_;        // what came while there was no connection
  base::Buffer replay_;        // everything so far, for another attempt
  std::vector<const upstream::Host*> tried_;
  base::MonotonicTime request_complete_at_{};
  base::MonotonicTime attempt_start_{};
  uint64_t body_bytes_ = 0;
  uint32_t attempts_ = 0;
  uint32_t stale_retries_ = 0;
  uint32_t retry_buffer_max_ = 0;
  bool request_ended_ = false;
  bool has_trailers_ = false;
  bool replayable_ = false;
  bool holds_retry_ = false;       // a slot of the retry breaker
  bool retried_ = false;           // by policy
  bool paused_request_ = false;    // we stopped the client: too much waits for a connection
  bool upstream_full_ = false;     // we stopped the client: the upstream takes no more
  bool downstream_full_ = false;
  bool timed_out_ = false;         // so did the latest try end
  bool fresh_ = false;             // the next attempt takes no idle connection
  io::TimerOf<&HttpRouter::on_timeout> timeout_;
  io::TimerOf<&HttpRouter::on_per_try_timeout> per_try_;
  io::TimerOf<&HttpRouter::on_per_try_idle> per_try_idle_;
  io::TimerOf<&HttpRouter::on_attempt_duration> attempt_duration_;
  io::TimerOf<&HttpRouter::on_back_off_over> back_off_;
};

}  // namespace millrace::router
