#include "filter/grpc_json_transcoder_filter.h"

#include <fmt/format.h>

#include "filter/http_stream.h"
#include "http/base64.h"
#include "http/codes.h"
#include "stream/grpc_status.h"

namespace millrace::filter {
namespace {

using http::Header;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kFailure = "grpc_json_transcode_failure";

class GrpcJsonTranscoderFilter final : public HttpFilter {
 public:
  explicit GrpcJsonTranscoderFilter(const GrpcJsonTranscoderOptions& options) : own_options_(options) {}

  void begin(HttpStream& stream) override {
    stream_ = &stream;
    options_ = &own_options_;
    responding_ = false;
    request_bytes_ = response_bytes_ = 0;
  }
  void end() override {
    call_.reset();
    frames_.reset();
    message_.bytes.clear();
    body_.clear();
  }

  HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool end_stream) override;
  HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override;
  HttpFilterStatus on_request_trailers(http::HeaderMap& trailers) override;
  HttpFilterStatus on_response_headers(http::HeaderMap& headers, bool end_stream) override;
  HttpFilterStatus on_response_data(base::Buffer& data, bool end_stream) override;
  HttpFilterStatus on_response_trailers(http::HeaderMap& trailers) override;

 private:
  bool request_too_large();
  HttpFilterStatus refuse_request(std::string_view what);
  HttpFilterStatus answer(unsigned code, std::string_view what, std::string_view details);
  HttpFilterStatus fail_response(std::string_view what);
  // The end of a request that came without a last piece of body.
  HttpFilterStatus end_request();
  // from: the trailers, or the head of a response that has nothing else.
  void take_status(http::HeaderMap& from, bool whole_response);
  bool status_to_json(http::HeaderMap& from, int64_t status);
  // The head has gone, or goes, before the body is complete.
  bool streams() const { return call_->server_streaming() && !call_->raw_response(); }

  const GrpcJsonTranscoderOptions& own_options_;
  const GrpcJsonTranscoderOptions* options_ = nullptr;  // the route's, if it has its own
  HttpStream* stream_ = nullptr;
  std::unique_ptr<TranscodedCall> call_;
  http::GrpcFrameDecoder frames_;
  http::GrpcMessage message_;
  base::Buffer body_;       // of a response whose head waits
  bool responding_ = false; // with something that is to become JSON
  uint64_t request_bytes_ = 0, response_bytes_ = 0;
};

HttpFilterStatus GrpcJsonTranscoderFilter::on_request_headers(http::HeaderMap& headers, bool end_stream) {
  if (const auto* route = dynamic_cast<const GrpcJsonTranscoderRoute*>(stream_->route_config(*this))) {
    options_ = &route->options;
  }
  if (options_->transcoding == nullptr || stream::is_grpc_request(&headers)) return HttpFilterStatus::kContinue;
  const std::string_view method = headers.get(Header::kMethod), path = headers.get(Header::kPath);
  JsonTranscoding::Match match = options_->transcoding->match(method, path, headers.get(Header::kContentType));
  switch (match.answer) {
    case JsonTranscoding::Answer::kUnknown:
      if (match.unknown_parameter && options_->reject_unknown_query_parameters) return refuse_request(match.what);
      if (match.unknown_parameter || !options_->reject_unknown_method) return HttpFilterStatus::kContinue;
      stream_->send_local_reply(404, match.what, kFailure);
      return HttpFilterStatus::kStop;
    case JsonTranscoding::Answer::kBadRequest: return refuse_request(match.what);
    case JsonTranscoding::Answer::kCall: break;
  }
  call_ = std::move(match.call);
  headers.remove(Header::kContentLength);
  headers.set_view(Header::kContentType, "application/grpc");
  headers.set_view(Header::kTe, "trailers");
  headers.set(Header::kEnvoyOriginalPath, path);
  headers.set("x-envoy-original-method", method);
  headers.set_view(Header::kMethod, "POST");
  headers.set_view(Header::kPath, call_->grpc_path());
  if (!options_->match_incoming_request_route) stream_->clear_route();
  if (end_stream) return end_request();
  // The upstream sees a request whose body may still turn out to be ill-formed only when bodies are streams.
  return call_->client_streaming() ? HttpFilterStatus::kContinue : HttpFilterStatus::kCollect;
}

bool GrpcJsonTranscoderFilter::request_too_large() {
  const size_t limit = options_->request_body_bytes_max.value_or(stream_->buffer_limit_bytes());
  return !call_->client_streaming() && request_bytes_ > limit;
}

HttpFilterStatus GrpcJsonTranscoderFilter::refuse_request(std::string_view what) {
  return answer(400, what, kFailure);
}

// To the client, who does not speak gRPC, past what would make an upstream's answer of it.
HttpFilterStatus GrpcJsonTranscoderFilter::answer(unsigned code, std::string_view what, std::string_view details) {
  call_.reset();
  responding_ = false;
  stream_->request_headers().set_view(Header::kContentType, kJson);
  stream_->send_local_reply(code, what, details);
  return HttpFilterStatus::kStop;
}

HttpFilterStatus GrpcJsonTranscoderFilter::end_request() {
  base::Buffer body, grpc;
  if (const auto done = call_->request(body, true, grpc); !done.ok()) return refuse_request(done.error().what);
  stream_->add_request_body(grpc);
  return HttpFilterStatus::kContinue;
}

HttpFilterStatus GrpcJsonTranscoderFilter::on_request_data(base::Buffer& data, bool end_stream) {
  if (call_ == nullptr) return HttpFilterStatus::kContinue;
  request_bytes_ += data.size();
  if (request_too_large()) {
    return answer(413, http::status_text(413), "request_payload_too_large");
  }
  if (!call_->client_streaming()) {
    body_.move_from(data);  // the limit that counts is checked above
    if (!end_stream) return HttpFilterStatus::kCollect;
    data.move_from(body_);
  }
  base::Buffer grpc;
  if (const auto done = call_->request(data, end_stream, grpc); !done.ok()) return refuse_request(done.error().what);
  data.clear();
  data.move_from(grpc);
  return HttpFilterStatus::kContinue;
}

HttpFilterStatus GrpcJsonTranscoderFilter::on_request_trailers(http::HeaderMap&) {
  if (call_ == nullptr) return HttpFilterStatus::kContinue;
  base::Buffer body(std::move(body_)), grpc;
  if (const auto done = call_->request(body, true, grpc); !done.ok()) return refuse_request(done.error().what);
  stream_->add_request_body(grpc);
  return HttpFilterStatus::kContinue;
}

HttpFilterStatus GrpcJsonTranscoderFilter::on_response_headers(http::HeaderMap& headers, bool end_stream) {
  if (call_ == nullptr) return HttpFilterStatus::kContinue;
  const bool grpc = end_stream ? headers.has(Header::kGrpcStatus)
                               : headers.get(Header::kContentType).starts_with("application/grpc");
  if (!grpc) return HttpFilterStatus::kContinue;  // not from a gRPC server: as it is
  responding_ = true;
  body_.clear();
  if (end_stream) {
    if (call_->server_streaming()) headers.set_view(Header::kContentType, kJson);
    take_status(headers, true);
    stream_->add_response_body(body_);
    return HttpFilterStatus::kContinue;
  }
  headers.remove(Header::kContentLength);
  headers.set_view(Header::kContentType, kJson);
  return streams() ? HttpFilterStatus::kContinue : HttpFilterStatus::kCollect;
}

HttpFilterStatus GrpcJsonTranscoderFilter::fail_response(std::string_view what) {
  return answer(500, what, kFailure);  // or a reset, when the head has gone
}

HttpFilterStatus GrpcJsonTranscoderFilter::on_response_data(base::Buffer& data, bool end_stream) {
  if (!responding_) return HttpFilterStatus::kContinue;
  response_bytes_ += data.size();
  const size_t limit = options_->response_body_bytes_max.value_or(stream_->buffer_limit_bytes());
  if (!call_->server_streaming() && response_bytes_ > limit) return fail_response(http::status_text(500));
  base::Buffer out;
  while (true) {
    const base::Result<bool> got = frames_.next(data, message_);
    if (!got.ok()) return fail_response(got.error().what);
    if (frames_.held_bytes() > limit) return fail_response("a message of the response is too large");
    if (!*got) break;
    if (const auto done = call_->response(message_, out); !done.ok()) return fail_response(done.error().what);
  }
  data.clear();
  if (streams()) {
    if (end_stream) call_->response_end(out);
    data.move_from(out);
    return HttpFilterStatus::kContinue;
  }
  // The head waits for its status, or, with raw bodies that stream, for their type.
  body_.move_from(out);
  if (call_->server_streaming() && !body_.empty()) {
    stream_->response_headers().set(Header::kContentType, call_->content_type());
    data.move_from(body_);
    return HttpFilterStatus::kContinue;
  }
  if (!end_stream) return HttpFilterStatus::kCollect;
  // No trailers, so no grpc-status.
  return fail_response("the upstream's response has no grpc-status");
}

HttpFilterStatus GrpcJsonTranscoderFilter::on_response_trailers(http::HeaderMap& trailers) {
  if (!responding_) return HttpFilterStatus::kContinue;
  call_->response_end(body_);
  if (!stream_->response_started()) {
    take_status(trailers, false);
  }
  stream_->add_response_body(body_);
  trailers.clear();
  return HttpFilterStatus::kContinue;
}

bool GrpcJsonTranscoderFilter::status_to_json(http::HeaderMap& from, int64_t status) {
  if (!options_->convert_grpc_status || !body_.empty() || status <= stream::kGrpcOk) return false;
  std::string details;
  http::decode_base64(from.get("grpc-status-details-bin"), &details);
  const std::string json =
      call_->status(status, stream::grpc_message_decoded(from.get(Header::kGrpcMessage)), details);
  if (json.empty()) return false;
  body_.append(json);
  from.remove("grpc-status-details-bin");
  return true;
}

void GrpcJsonTranscoderFilter::take_status(http::HeaderMap& from, bool whole_response) {
  http::HeaderMap& headers = stream_->response_headers();
  const int64_t status = stream::grpc_status(nullptr, &from, 0).value_or(stream::kGrpcInvalidCode);
  headers.set(Header::kStatus, fmt::to_string(stream::http_status_of_grpc(status)));
  if (status_to_json(from, status)) {
    headers.set_view(Header::kContentType, kJson);
    headers.remove(Header::kGrpcStatus);
    headers.remove(Header::kGrpcMessage);
  } else if (!whole_response) {
    if (!body_.empty()) headers.set(Header::kContentType, call_->content_type());
    if (from.has(Header::kGrpcStatus)) headers.set(Header::kGrpcStatus, from.get(Header::kGrpcStatus));
    if (from.has(Header::kGrpcMessage)) headers.set(Header::kGrpcMessage, from.get(Header::kGrpcMessage));
  }
  if (whole_response && call_->server_streaming()) call_->response_end(body_);
  headers.set(Header::kContentLength, fmt::to_string(body_.size()));
}

}  // namespace

std::unique_ptr<HttpFilter> GrpcJsonTranscoderConfig::instantiate(WorkerContext&) const {
  return std::make_unique<GrpcJsonTranscoderFilter>(options_);
}

}  // namespace millrace::filter
