#include "filter/grpc_stats_filter.h"

#include <algorithm>

#include "filter/http_stream.h"
#include "stream/grpc_status.h"

namespace millrace::filter {

namespace gs = stats::grpc;

namespace {

class GrpcStatsFilter final : public HttpFilter {
 public:
  GrpcStatsFilter(const GrpcStatsConfig& config, WorkerContext& worker) : config_(config), worker_(worker) {}

  void begin(HttpStream& stream) override {
    stream_ = &stream;
    counts_ = false;
    request_.reset();
    response_.reset();
  }
  void end() override {}

  HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool) override {
    if (!stream::is_grpc_request(&headers)) return HttpFilterStatus::kContinue;
    const route::Route* route = stream_->route();
    if (route == nullptr || route->action() != route::ActionKind::kRoute) return HttpFilterStatus::kContinue;
    const route::ClusterChoice cluster = route->choose_cluster(headers, stream_->random());
    if (cluster.name.empty()) return HttpFilterStatus::kContinue;
    GrpcMethod method = grpc_method(headers.get(http::Header::kPath));
    if (!config_.listed(method)) method = {};
    shard_ = config_.stats().find(worker_.index, cluster.name, method);
    counts_ = true;
    return HttpFilterStatus::kContinue;
  }
  HttpFilterStatus on_request_data(base::Buffer& data, bool) override {
    if (counts_) count(gs::kRequestMessageCount, request_.feed(data));
    return HttpFilterStatus::kContinue;
  }
  // A grpc-status in the head is that of a response without messages.
  HttpFilterStatus on_response_headers(http::HeaderMap& headers, bool) override {
    if (counts_) GrpcMethodStats::count_status(shard_, headers);
    return HttpFilterStatus::kContinue;
  }
  HttpFilterStatus on_response_data(base::Buffer& data, bool) override {
    if (counts_) count(gs::kResponseMessageCount, response_.feed(data));
    return HttpFilterStatus::kContinue;
  }
  HttpFilterStatus on_response_trailers(http::HeaderMap& trailers) override {
    if (counts_) GrpcMethodStats::count_status(shard_, trailers);
    return HttpFilterStatus::kContinue;
  }
  // From the last byte of the request to the last one of the response.
  void on_stream_complete() override {
    const stream::StreamInfo& info = stream_->info();
    if (!counts_ || !config_.options().enable_upstream_stats || !stream::is_set(info.request_end) ||
        !stream::is_set(info.upstream.last_rx) || info.upstream.last_rx < info.request_end) {
      return;
    }
    const auto taken = std::chrono::duration_cast<base::milliseconds>(info.upstream.last_rx - info.request_end);
    shard_.record(gs::kUpstreamRqTime, static_cast<uint64_t>(taken.count()));
  }

 private:
  void count(uint16_t counter, uint64_t messages) {
    if (messages > 0) shard_.inc(counter, messages);
  }

  const GrpcStatsConfig& config_;
  WorkerContext& worker_;
  HttpStream* stream_ = nullptr;
  stats::StatShard shard_;
  bool counts_ = false;
  http::GrpcMessageCounter request_, response_;
};

}  // namespace

bool GrpcStatsConfig::listed(const GrpcMethod& method) const {
  if (options_.all_methods || !method) return true;
  return std::any_of(options_.allowlist.begin(), options_.allowlist.end(), [&](const GrpcStatsOptions::Service& s) {
    return s.name == method.service && std::find(s.methods.begin(), s.methods.end(), method.method) != s.methods.end();
  });
}

std::unique_ptr<HttpFilter> GrpcStatsConfig::instantiate(WorkerContext& worker) const {
  return std::make_unique<GrpcStatsFilter>(*this, worker);
}

}  // namespace millrace::filter
