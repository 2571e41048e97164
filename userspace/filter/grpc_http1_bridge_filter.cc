#include "filter/grpc_http1_bridge_filter.h"

#include <string>

#include "filter/http_stream.h"
#include "http/grpc_frame.h"
#include "stream/grpc_status.h"

namespace millrace::filter {
namespace {

using http::Header;

constexpr std::string_view kProtobuf = "application/x-protobuf";

class GrpcHttp1BridgeFilter final : public HttpFilter {
 public:
  explicit GrpcHttp1BridgeFilter(const GrpcHttp1BridgeOptions& options) : options_(options) {}

  void begin(HttpStream& stream) override {
    stream_ = &stream;
    bridges_ = frames_ = false;
  }
  void end() override {}

  HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool end_stream) override {
    const stream::Protocol protocol = stream_->info().protocol;
    if (protocol != stream::Protocol::kHttp10 && protocol != stream::Protocol::kHttp11) {
      return HttpFilterStatus::kContinue;
    }
    frames_ = options_.upgrade_protobuf_to_grpc && headers.get(Header::kContentType) == kProtobuf;
    bridges_ = frames_ || stream::is_grpc_request(&headers);
    if (!bridges_) return HttpFilterStatus::kContinue;
    if (options_.ignore_query_parameters) drop_query(headers);
    if (!frames_) return HttpFilterStatus::kContinue;
    headers.set_view(Header::kContentType, "application/grpc");
    headers.set_view(Header::kTe, "trailers");
    if (!end_stream) return HttpFilterStatus::kCollect;
    base::Buffer nothing, frame;
    http::append_grpc_frame(nothing, frame);
    headers.set_view(Header::kContentLength, "5");
    stream_->add_request_body(frame);
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override {
    if (!frames_) return HttpFilterStatus::kContinue;
    if (!end_stream) return HttpFilterStatus::kCollect;
    stream_->collected_request(*this).move_from(data);
    frame_request();
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_request_trailers(http::HeaderMap&) override {
    if (frames_) frame_request();
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_headers(http::HeaderMap& headers, bool end_stream) override {
    if (!bridges_) return HttpFilterStatus::kContinue;
    if (!end_stream) return HttpFilterStatus::kCollect;
    take_status(headers);  // trailers only
    return HttpFilterStatus::kContinue;
  }

  // Without trailers nothing is known of the call: the response is left as it is.
  HttpFilterStatus on_response_data(base::Buffer&, bool end_stream) override {
    return !bridges_ || end_stream ? HttpFilterStatus::kContinue : HttpFilterStatus::kCollect;
  }

  HttpFilterStatus on_response_trailers(http::HeaderMap& trailers) override {
    if (!bridges_) return HttpFilterStatus::kContinue;
    http::HeaderMap& headers = stream_->response_headers();
    take_status(trailers);
    base::Buffer& body = stream_->collected_response(*this);
    if (frames_) {
      if (body.size() >= http::kGrpcFrameHeadBytes) body.drain(http::kGrpcFrameHeadBytes);
      headers.set_view(Header::kContentType, kProtobuf);
    }
    headers.set(Header::kContentLength, std::to_string(body.size()));
    trailers.clear();
    return HttpFilterStatus::kContinue;
  }

 private:
  static void drop_query(http::HeaderMap& headers) {
    const std::string_view path = headers.get(Header::kPath);
    const size_t question = path.find('?');
    if (question != std::string_view::npos) headers.set_view(Header::kPath, path.substr(0, question));
  }

  void frame_request() {
    base::Buffer& body = stream_->collected_request(*this);
    base::Buffer frame;
    http::append_grpc_frame(body, frame);
    body.move_from(frame);
    stream_->request_headers().set(Header::kContentLength, std::to_string(body.size()));
  }

  // from: the trailers, or the head when there is nothing else.
  void take_status(http::HeaderMap& from) {
    http::HeaderMap& headers = stream_->response_headers();
    if (!from.has(Header::kGrpcStatus)) return;
    const int64_t status = stream::grpc_status(nullptr, &from, 0).value_or(stream::kGrpcInvalidCode);
    if (status != stream::kGrpcOk) headers.set_view(Header::kStatus, "503");
    if (&from == &headers) return;
    headers.set(Header::kGrpcStatus, from.get(Header::kGrpcStatus));
    if (from.has(Header::kGrpcMessage)) headers.set(Header::kGrpcMessage, from.get(Header::kGrpcMessage));
  }

  const GrpcHttp1BridgeOptions& options_;
  HttpStream* stream_ = nullptr;
  bool bridges_ = false;
  bool frames_ = false;  // the client sends and gets messages without frames
};

}  // namespace

std::unique_ptr<HttpFilter> GrpcHttp1BridgeConfig::instantiate(WorkerContext&) const {
  return std::make_unique<GrpcHttp1BridgeFilter>(options_);
}

}  // namespace millrace::filter
