// envoy.filters.http.grpc_json_transcoder: HTTP clients that speak JSON call gRPC methods, as the google.api.http
// annotations of the methods say. Which request is which method, and all of JSON, is JsonTranscoding's business; the
// filter moves bytes, turns grpc-status into an HTTP status and keeps the limits.
#pragma once
#include <memory>
#include <optional>

#include "filter/http_filter.h"
#include "filter/json_transcoding.h"
#include "route/options.h"

namespace millrace::filter {

struct GrpcJsonTranscoderOptions {
  std::shared_ptr<const JsonTranscoding> transcoding;  // null: no service is named, nothing is transcoded
  bool match_incoming_request_route = false;
  bool convert_grpc_status = false;
  bool reject_unknown_method = false;
  bool reject_unknown_query_parameters = false;
  std::optional<size_t> request_body_bytes_max, response_body_bytes_max;  // unset: the stream's buffer limit
};

// Of a route, in place of the filter's own.
struct GrpcJsonTranscoderRoute final : route::PerFilterConfig {
  explicit GrpcJsonTranscoderRoute(GrpcJsonTranscoderOptions options_in) : options(std::move(options_in)) {}
  const GrpcJsonTranscoderOptions options;
};

class GrpcJsonTranscoderConfig final : public HttpFilterConfig {
 public:
  explicit GrpcJsonTranscoderConfig(GrpcJsonTranscoderOptions options) : options_(std::move(options)) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const override;
  std::string_view name() const override { return "envoy.filters.http.grpc_json_transcoder"; }
  const GrpcJsonTranscoderOptions& options() const { return options_; }

 private:
  GrpcJsonTranscoderOptions options_;
};

}  // namespace millrace::filter
