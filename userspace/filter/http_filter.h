// The contract of HTTP filters. A chain of them stands between the codec and the last one, the router. Requests pass
// first to last, responses last to first. A filter serves one stream at a time and is reused for the next: begin() and
// end() bracket a stream. kStop, at any part of a message, holds it at this filter: it goes on with
// HttpStream::continue_request() (or continue_response()), and what arrives meanwhile waits in the stream. Every filter
// sees every part once. Thread: the worker's.
#pragma once
#include <memory>

#include "base/buffer.h"
#include "http/header_map.h"

namespace millrace::filter {

class HttpStream;
struct WorkerContext;

enum class HttpFilterStatus : uint8_t { kContinue, kStop };

class HttpFilter {
 public:
  virtual ~HttpFilter() = default;
  virtual void begin(HttpStream& stream) = 0;
  // The stream is over, however it ended: the last chance to put facts into its StreamInfo before the access logs are
  // written. Nothing may be sent or answered any more.
  virtual void on_stream_complete() {}
  // Follows; whatever is under way for the stream must be given up.
  virtual void end() = 0;

  virtual HttpFilterStatus on_request_headers(http::HeaderMap&, bool /*end_stream*/) {
    return HttpFilterStatus::kContinue;
  }
  virtual HttpFilterStatus on_request_data(base::Buffer&, bool /*end_stream*/) { return HttpFilterStatus::kContinue; }
  virtual HttpFilterStatus on_request_trailers(http::HeaderMap&) { return HttpFilterStatus::kContinue; }
  virtual HttpFilterStatus on_response_headers(http::HeaderMap&, bool /*end_stream*/) {
    return HttpFilterStatus::kContinue;
  }
  virtual HttpFilterStatus on_response_data(base::Buffer&, bool /*end_stream*/) { return HttpFilterStatus::kContinue; }
  virtual HttpFilterStatus on_response_trailers(http::HeaderMap&) { return HttpFilterStatus::kContinue; }
  // The downstream's output filled up, or emptied again: stop or resume what produces the response.
  virtual void on_downstream_above_high_watermark() {}
  virtual void on_downstream_below_low_watermark() {}
};

// Immutable configuration of one filter, part of the Snapshot.
class HttpFilterConfig {
 public:
  virtual ~HttpFilterConfig() = default;
  virtual std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const = 0;
  virtual std::string_view name() const = 0;
};

}  // namespace millrace::filter
