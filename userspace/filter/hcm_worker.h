// The HTTP connection manager on one worker: its connections, the streams kept for reuse, its statistics.
#pragma once
#include <memory>
#include <vector>

#include "base/list.h"
#include "filter/hcm_options.h"
#include "filter/http_stream.h"
#include "filter/network_filter.h"

namespace millrace::filter {

class DownstreamAccount;
class Http1Connection;
class Http2Connection;
class Http2ServerStream;

class HcmWorker final : public ConnectionHost {
 public:
  HcmWorker(const HcmOptions& options, WorkerContext& worker, const ListenerFacts& listener);
  ~HcmWorker() override;

  void accept(std::unique_ptr<net::Connection> connection, ConnectionObserver& observer) override;
  void drain() override;
  void close_all() override;
  size_t active() const override { return active_; }

  // A stream for the caller to begin; the connection owns it until recycle().
  std::unique_ptr<HttpStream> acquire();
  void recycle(std::unique_ptr<HttpStream> stream);
  void forget(Http1Connection& connection);
  // The same for what an HTTP/2 connection has of each stream.
  std::unique_ptr<Http2ServerStream> acquire_http2();
  void recycle(std::unique_ptr<Http2ServerStream> stream);
  // reading: it has begun to read, and what came, unread, is HTTP/2.
  void serve_http2(std::unique_ptr<net::Connection> connection, DownstreamAccount account, bool reading);
  void forget(Http2Connection& connection);

  const HcmOptions& options() const { return options_; }
  const ListenerFacts& listener() const { return listener_; }
  WorkerContext& worker() { return worker_; }
  stats::StatShard& stats() { return stats_; }
  stats::StatShard& listener_stats() { return listener_stats_; }
  stats::StatShard& codec_stats() { return codec_stats_; }
  stats::StatShard& http2_stats() { return http2_stats_; }
  net::DelayedCloseCounter& delayed_closes() { return delayed_closes_; }
  bool draining() const { return worker_.draining || draining_; }

 private:
  static constexpr size_t kIdleStreamsMax = 1024;  // about 4 KiB each, made by load only
  void on_turn_end();

  const HcmOptions& options_;
  const ListenerFacts& listener_;
  WorkerContext& worker_;
  stats::StatShard stats_, listener_stats_, codec_stats_, http2_stats_;
  net::DelayedCloseCounter delayed_closes_;
  base::List<Http1Connection, Http1Connection> connections_;
  base::List<Http2Connection, Http2Connection> http2_connections_;
  size_t active_ = 0;
  bool draining_ = false;
  std::vector<std::unique_ptr<HttpStream>> idle_streams_;
  std::vector<std::unique_ptr<HttpStream>> over_;  // until the end of the turn
  std::vector<std::unique_ptr<Http2ServerStream>> idle_http2_streams_, over_http2_;
  io::HookOf<&HcmWorker::on_turn_end> turn_end_{*this};
};

class HcmConfig final : public NetworkFilterConfig {
 public:
  explicit HcmConfig(HcmOptions options) : options_(std::move(options)) {}
  std::unique_ptr<ConnectionHost> instantiate(WorkerContext& worker, const ListenerFacts& listener) const override {
    return std::make_unique<HcmWorker>(options_, worker, listener);
  }
  std::string_view type_name() const override { return "envoy.filters.network.http_connection_manager"; }
  const HcmOptions& options() const { return options_; }

 private:
  HcmOptions options_;
};

}  // namespace millrace::filter
