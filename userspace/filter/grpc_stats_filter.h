// envoy.filters.http.grpc_stats: counts gRPC calls, by their status, and their messages, in the cluster's statistics.
// Changes nothing. Messages are counted as their first byte passes, so one that is cut counts.
#pragma once
#include <string>
#include <vector>

#include "filter/grpc_method_stats.h"
#include "filter/http_filter.h"
#include "http/grpc_frame.h"

namespace millrace::filter {

struct GrpcStatsOptions {
  struct Service {
    std::string name;
    std::vector<std::string> methods;
  };
  bool all_methods = false;
  std::vector<Service> allowlist;  // methods with statistics of their own, unless all have them
  bool enable_upstream_stats = false;
  bool replace_dots_in_service = false;  // has an effect with all_methods only
};

class GrpcStatsConfig final : public HttpFilterConfig {
 public:
  GrpcStatsConfig(GrpcStatsOptions options, stats::Store& store)
      : options_(std::move(options)),
        stats_(store, "grpc", options_.all_methods && options_.replace_dots_in_service) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.grpc_stats"; }
  const GrpcStatsOptions& options() const { return options_; }
  const GrpcMethodStats& stats() const { return stats_; }
  // Whether the method has statistics of its own.
  bool listed(const GrpcMethod& method) const;

 private:
  GrpcStatsOptions options_;
  GrpcMethodStats stats_;
};

}  // namespace millrace::filter
