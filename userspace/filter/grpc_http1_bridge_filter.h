// envoy.filters.http.grpc_http1_bridge: lets HTTP/1.1 clients, which often cannot read trailers, call gRPC servers. The
// response is kept until its trailers are there; grpc-status and grpc-message go into its head, and a status other than
// 0 makes it a 503. With upgrade_protobuf_to_grpc, bodies of application/x-protobuf are framed on the way in and
// unframed on the way out.
#pragma once
#include "filter/http_filter.h"

namespace millrace::filter {

struct GrpcHttp1BridgeOptions {
  bool upgrade_protobuf_to_grpc = false;
  bool ignore_query_parameters = false;
};

class GrpcHttp1BridgeConfig final : public HttpFilterConfig {
 public:
  explicit GrpcHttp1BridgeConfig(const GrpcHttp1BridgeOptions& options) : options_(options) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.grpc_http1_bridge"; }
  const GrpcHttp1BridgeOptions& options() const { return options_; }

 private:
  GrpcHttp1BridgeOptions options_;
};

}  // namespace millrace::filter
