// envoy.filters.http.grpc_http1_reverse_bridge: lets gRPC clients call servers that know nothing of gRPC. The request
// gets another content-type, and without its frame if asked for; the response gets them back, and trailers with a
// grpc-status that follows from its HTTP status.
#pragma once
#include <string>

#include "filter/http_filter.h"
#include "route/options.h"

namespace millrace::filter {

struct GrpcReverseBridgeOptions {
  std::string content_type;
  bool withhold_grpc_frames = false;
  std::string response_size_header;  // lower case; empty: the response is collected to learn its size
};

// Of a route: not here.
struct GrpcReverseBridgeRoute final : route::PerFilterConfig {
  explicit GrpcReverseBridgeRoute(bool disabled_in) : disabled(disabled_in) {}
  const bool disabled;
};

class GrpcReverseBridgeConfig final : public HttpFilterConfig {
 public:
  explicit GrpcReverseBridgeConfig(GrpcReverseBridgeOptions options) : options_(std::move(options)) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.grpc_http1_reverse_bridge"; }
  const GrpcReverseBridgeOptions& options() const { return options_; }

 private:
  GrpcReverseBridgeOptions options_;
};

}  // namespace millrace::filter
