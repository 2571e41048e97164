#include "filter/grpc_reverse_bridge_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "filter/http_stream.h"
#include "http/grpc_frame.h"
#include "stream/grpc_status.h"

namespace millrace::filter {
namespace {

using http::Header;

constexpr int64_t kInternal = 13;

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class GrpcReverseBridgeFilter final : public HttpFilter {
 public:
  explicit GrpcReverseBridgeFilter(const GrpcReverseBridgeOptions& options) : options_(options) {}

  void begin(HttpStream& stream) override {
    stream_ = &stream;
    bridges_ = responding_ = false;
    head_left_ = options_.withhold_grpc_frames ? http::kGrpcFrameHeadBytes : 0;
    size_.reset();
    body_bytes_ = 0;
  }
  void end() override {}

  HttpFilterStatus on_request_headers(http::HeaderMap& headers, bool end_stream) override {
    if (end_stream || !stream::is_grpc_request(&headers)) return HttpFilterStatus::kContinue;
    const auto* route = dynamic_cast<const GrpcReverseBridgeRoute*>(stream_->route_config(*this));
    if (route != nullptr && route->disabled) return HttpFilterStatus::kContinue;
    bridges_ = true;
    client_type_.assign(headers.get(Header::kContentType));
    headers.set_view(Header::kContentType, options_.content_type);
    headers.set_view(Header::kAccept, options_.content_type);
    if (options_.withhold_grpc_frames) {
      const auto length = number(headers.get(Header::kContentLength));
      if (length && *length >= http::kGrpcFrameHeadBytes) {
        headers.set(Header::kContentLength, std::to_string(*length - http::kGrpcFrameHeadBytes));
      }
    }
    stream_->clear_route();  // the new content-type may lead elsewhere
    return HttpFilterStatus::kContinue;
  }

  // The first frame loses its head; there is no second one, as the calls are unary.
  HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override {
    if (!bridges_ || head_left_ == 0) return HttpFilterStatus::kContinue;
    const size_t n = std::min(head_left_, data.size());
    data.drain(n);
    head_left_ -= n;
    return end_stream && head_left_ > 0 ? refuse_request() : HttpFilterStatus::kContinue;
  }
  HttpFilterStatus on_request_trailers(http::HeaderMap&) override {
    return bridges_ && head_left_ > 0 ? refuse_request() : HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_headers(http::HeaderMap& headers, bool end_stream) override {
    if (!bridges_ || stream_->local_reply()) return HttpFilterStatus::kContinue;
    const auto code = static_cast<uint16_t>(number(headers.get(Header::kStatus)).value_or(0));
    const std::string_view type = headers.get(Header::kContentType);
    // An upstream 200 is a success here, which it is not to a gRPC client.
    status_ = code == 200 ? stream::kGrpcOk : stream::grpc_status_of_http(code);
    if (type != options_.content_type) {
      return fail(fmt::format("envoy reverse bridge: upstream responded with unsupported content-type {}, "
                              "status code {}", type, code),
                  code == 200 ? stream::kGrpcUnknown : status_, "grpc_bridge_content_type_wrong");
    }
    responding_ = true;
    headers.set(Header::kContentType, client_type_);
    headers.set_view(Header::kStatus, "200");
    if (!options_.withhold_grpc_frames) {
      if (end_stream) end_with_status();
      return HttpFilterStatus::kContinue;
    }
    headers.remove(Header::kContentLength);  // trailers follow
    if (options_.response_size_header.empty() || end_stream) {
      if (!end_stream) return HttpFilterStatus::kCollect;
      base::Buffer nothing, frame;
      http::append_grpc_frame(nothing, frame);
      stream_->add_response_body(frame);
      end_with_status();
      return HttpFilterStatus::kContinue;
    }
    size_ = number(headers.get(options_.response_size_header));
    if (!size_) {
      return fail("envoy reverse bridge: upstream did not set the content length", kInternal,
                  "grpc_bridge_content_length_missing");
    }
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_data(base::Buffer& data, bool end_stream) override {
    if (!responding_) return HttpFilterStatus::kContinue;
    if (!options_.withhold_grpc_frames) {
      if (end_stream) end_with_status();
      return HttpFilterStatus::kContinue;
    }
    if (size_) return stream_sized(data, end_stream);
    if (!end_stream) return HttpFilterStatus::kCollect;
    stream_->collected_response(*this).move_from(data);
    frame_collected();
    end_with_status();
    return HttpFilterStatus::kContinue;
  }

  HttpFilterStatus on_response_trailers(http::HeaderMap& trailers) override {
    if (!responding_) return HttpFilterStatus::kContinue;
    trailers.set(Header::kGrpcStatus, std::to_string(status_));
    if (!options_.withhold_grpc_frames) return HttpFilterStatus::kContinue;
    if (!size_) {
      frame_collected();
    } else if (body_bytes_ != *size_) {
      stream_->reset_response("grpc_bridge_content_length_wrong");
      return HttpFilterStatus::kStop;
    } else if (body_bytes_ == 0) {
      base::Buffer nothing, frame;
      http::append_grpc_frame(nothing, frame);
      stream_->add_response_body(frame);
    }
    return HttpFilterStatus::kContinue;
  }

 private:
  HttpFilterStatus refuse_request() {
    stream_->send_local_reply(200, "invalid request body", "grpc_bridge_data_too_small", {}, false,
                              stream::kGrpcUnknown);
    return HttpFilterStatus::kStop;
  }
  HttpFilterStatus fail(const std::string& why, int64_t status, std::string_view details) {
    stream_->send_local_reply(200, why, details, {}, false, status);
    return HttpFilterStatus::kStop;
  }

  // The upstream says how long its body is going to be.
  HttpFilterStatus stream_sized(base::Buffer& data, bool end_stream) {
    const bool first = body_bytes_ == 0 && (!data.empty() || end_stream);
    body_bytes_ += data.size();
    if (body_bytes_ > *size_ || (end_stream && body_bytes_ != *size_)) {
      stream_->reset_response("grpc_bridge_content_length_wrong");
      return HttpFilterStatus::kStop;
    }
    if (first) {
      const http::GrpcFrameHead head = http::grpc_frame_head(0, *size_);
      base::Buffer framed;
      framed.append(head.data(), head.size());
      framed.move_from(data);
      data.move_from(framed);
    }
    if (end_stream) end_with_status();
    return HttpFilterStatus::kContinue;
  }

  void frame_collected() {
    base::Buffer& body = stream_->collected_response(*this);
    base::Buffer frame;
    http::append_grpc_frame(body, frame);
    body.move_from(frame);
  }

  void end_with_status() {
    stream_->response_trailers().set(Header::kGrpcStatus, std::to_string(status_));
    stream_->add_response_trailers();
  }

  const GrpcReverseBridgeOptions& options_;
  HttpStream* stream_ = nullptr;
  bool bridges_ = false;
  bool responding_ = false;
  std::string client_type_;
  size_t head_left_ = 0;          // bytes of the request's frame head to take away
  std::optional<uint32_t> size_;  // of the response, as the upstream said
  uint64_t body_bytes_ = 0;
  int64_t status_ = 0;
};

}  // namespace

std::unique_ptr<HttpFilter> GrpcReverseBridgeConfig::instantiate(WorkerContext&) const {
  return std::make_unique<GrpcReverseBridgeFilter>(options_);
}

}  // namespace millrace::filter
