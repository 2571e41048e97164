// envoy.filters.http.grpc_web: lets browsers, which see no trailers, speak to gRPC servers (grpc/doc/PROTOCOL-WEB.md).
// Requests of content-type application/grpc-web become application/grpc; the trailers of the response become a last
// frame of its body. application/grpc-web-text is the same in base64, both ways as asked for. A response that is not
// gRPC becomes a gRPC status with the body as its message.
#pragma once
#include "filter/grpc_method_stats.h"
#include "filter/http_filter.h"

namespace millrace::filter {

class GrpcWebConfig final : public HttpFilterConfig {
 public:
  explicit GrpcWebConfig(stats::Store& store) : stats_(store, "grpc-web", false) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.grpc_web"; }
  const GrpcMethodStats& stats() const { return stats_; }

 private:
  GrpcMethodStats stats_;
};

}  // namespace millrace::filter
