#include "filter/grpc_web_filter.h"

#include <algorithm>
#include <charconv>

#include "filter/http_stream.h"
#include "http/base64.h"
#include "http/grpc_frame.h"
#include "stream/grpc_status.h"

namespace millrace::filter {
namespace {

using http::Header;

// A page of an error, given as grpc-message.
constexpr size_t kMessageBytesMax = 16 * 1024;

bool is_web(std::string_view type) {
  return type == "application/grpc-web" || type == "application/grpc-web+proto";
}
bool is_web_text(std::string_view type) {
  return type == "application/grpc-web-text" || type == "application/grpc-web-text+proto";
}

class GrpcWebFilter final : public HttpFilter {
 public:
  GrpcWebFilter(const GrpcWebConfig& config, WorkerContext& worker) : config_(config), worker_(worker) {}

  void begin(HttpStream& stream) override {
    stream_ = &stream;
    web_ = text_request_ = text_response_ = foreign_response_ = false;
    shard_ = {};
    request_base64_.reset();
    frames_.reset();
  }
  void end() override {
    frames_.reset();
    message_.bytes.clear();
  }

  HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool) override {
    const std::string_view type = headers.get(Header::kContentType);
    text_request_ = is_web_text(type);
    if (!text_request_ && !is_web(type)) return HttpFilterStatus::kContinue;
    web_ = true;
    text_response_ = is_web_text(headers.get(Header::kAccept));
    resolve_stats(headers);
    headers.remove(Header::kContentLength);
    headers.set_view(Header::kContentType, "application/grpc");
    headers.set_view(Header::kTe, "trailers");
    headers.set("grpc-accept-encoding", "identity");
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override {
    if (!text_request_) return HttpFilterStatus::kContinue;
    base::Buffer bytes;
    if (!request_base64_.feed(data, bytes) || (end_stream && !request_base64_.complete())) {
      stream_->send_local_reply(400, "Bad gRPC-web request, invalid base64 data.", "grpc_base_64_decode_failed");
      return HttpFilterStatus::kStop;
    }
    data.clear();
    data.move_from(bytes);
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_headers(http::HeaderMap& headers, bool end_stream) override {
    if (!web_) return HttpFilterStatus::kContinue;
    GrpcMethodStats::count_status(shard_, headers);
    // Trailers-only responses of some servers have no content-type.
    foreign_response_ = !is_grpc(headers.get(Header::kContentType)) && !headers.has(Header::kGrpcStatus);
    headers.set_view(Header::kContentType,
                     text_response_ ? "application/grpc-web-text+proto" : "application/grpc-web+proto");
    if (foreign_response_) {
      if (!end_stream) return HttpFilterStatus::kCollect;
      explain_foreign({});
    } else if (!end_stream) {
      headers.remove(Header::kContentLength);  // trailers join the body
    }
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_data(base::Buffer& data, bool end_stream) override {
    if (!web_) return HttpFilterStatus::kContinue;
    if (foreign_response_) {
      if (!end_stream) return HttpFilterStatus::kCollect;
      base::Buffer& whole = stream_->collected_response(*this);
      whole.move_from(data);
      explain_foreign(whole.linearize(std::min(whole.size(), kMessageBytesMax)));
      whole.clear();
      return HttpFilterStatus::kContinue;
    }
    if (!text_response_) return HttpFilterStatus::kContinue;
    // A message is encoded when it is whole: each encoding is padded, and clients take messages apart by that.
    base::Buffer text;
    while (true) {
      const base::Result<bool> got = frames_.next(data, message_);
      if (!got.ok()) {
        stream_->reset_response("grpc_web_invalid_frame");
        return HttpFilterStatus::kStop;
      }
      if (!*got) break;
      base::Buffer frame;
      http::append_grpc_frame(message_.bytes, frame, message_.flags);
      http::append_base64(frame, text);
    }
    data.clear();
    data.move_from(text);
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_trailers(http::HeaderMap& trailers) override {
    if (!web_) return HttpFilterStatus::kContinue;
    GrpcMethodStats::count_status(shard_, trailers);
    if (foreign_response_) {
      base::Buffer& whole = stream_->collected_response(*this);
      explain_foreign(whole.linearize(std::min(whole.size(), kMessageBytesMax)));
      whole.clear();
      trailers.clear();
      return HttpFilterStatus::kContinue;
    }
    std::string block;
    trailers.for_each([&](const http::HeaderMap::Entry& e) {
      block.append(e.name).append(":").append(e.value).append("\r\n");
    });
    base::Buffer frame;
    http::append_grpc_frame(block, frame, http::kGrpcWebTrailers);
    if (text_response_) {
      base::Buffer text;
      http::append_base64(frame, text);
      frame.move_from(text);
    }
    stream_->add_response_body(frame);
    trailers.clear();
    return HttpFilterStatus::kContinue;
  }

 private:
  static bool is_grpc(std::string_view type) { return type.starts_with("application/grpc"); }

  void resolve_stats(const http::HeaderMap& headers) {
    const route::Route* route = stream_->route();
    if (route == nullptr || route->action() != route::ActionKind::kRoute) return;
    const route::ClusterChoice cluster = route->choose_cluster(headers, stream_->random());
    const GrpcMethod method = grpc_method(headers.get(Header::kPath));
    if (!cluster.name.empty() && method) shard_ = config_.stats().find(worker_.index, cluster.name, method);
  }

  void explain_foreign(std::string_view body) {
    http::HeaderMap& headers = stream_->response_headers();
    unsigned code = 0;
    const std::string_view status = headers.get(Header::kStatus);
    std::from_chars(status.data(), status.data() + status.size(), code);
    headers.set(Header::kGrpcStatus, std::to_string(stream::grpc_status_of_http(static_cast<uint16_t>(code))));
    if (!body.empty()) headers.set(Header::kGrpcMessage, stream::grpc_message_encoded(body));
    headers.set_view(Header::kStatus, "200");
    headers.set_view(Header::kContentLength, "0");
    headers.remove(Header::kContentEncoding);
  }

  const GrpcWebConfig& config_;
  WorkerContext& worker_;
  HttpStream* stream_ = nullptr;
  stats::StatShard shard_;
  bool web_ = false, text_request_ = false, text_response_ = false;
  bool foreign_response_ = false;  // not gRPC
  http::Base64Decoder request_base64_;
  http::GrpcFrameDecoder frames_;
  http::GrpcMessage message_;
};

}  // namespace

std::unique_ptr<HttpFilter> GrpcWebConfig::instantiate(WorkerContext& worker) const {
  return std::make_unique<GrpcWebFilter>(*this, worker);
}

}  // namespace millrace::filter
