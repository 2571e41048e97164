// The contract of HTTP filters. A chain of them stands between the codec and the last one, the router. Requests pass
// first to last, responses last to first. A filter serves one stream at a time and is reused for the next: begin() and
// end() bracket a stream. A filter that the route disables sees nothing of the stream. Every filter sees every part of
// a message once. Thread: the worker's.
//
// What a filter says to a part:
//   kContinue  the part goes on to the next filter, with what the filter made of it. An emptied body that is not the
//              last goes nowhere. Releases what was collected.
//   kStop      the message waits here, unseen from now on, until HttpStream::continue_request() or _response(); the
//              other side is asked to send no more.
//   kCollect   the part waits here and the following parts are shown as they come, until the filter says kContinue to
//              one of them (or continue_...()): then the head goes on, and the collected body with that part.
//              A collected body beyond the stream's buffer limit ends the stream: 413, or 500 for a response.
// What a filter may do to a message besides editing it in place: see "for filters" in http_stream.h.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/buffer.h"
#include "http/header_map.h"

namespace millrace::filter {

class FilterChain;
class HttpStream;
struct WorkerContext;

enum class HttpFilterStatus : uint8_t { kContinue, kStop, kCollect };

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
  // Also of answers to requests that this filter has not seen: an earlier one answered.
  virtual HttpFilterStatus on_response_headers(http::HeaderMap&, bool /*end_stream*/) {
    return HttpFilterStatus::kContinue;
  }
  virtual HttpFilterStatus on_response_data(base::Buffer&, bool /*end_stream*/) { return HttpFilterStatus::kContinue; }
  virtual HttpFilterStatus on_response_trailers(http::HeaderMap&) { return HttpFilterStatus::kContinue; }
  // The downstream's output filled up, or emptied again: stop or resume what produces the response.
  virtual void on_downstream_above_high_watermark() {}
  virtual void on_downstream_below_low_watermark() {}

  // Its place in http_filters.
  size_t index() const { return index_; }

 private:
  friend class FilterChain;
  size_t index_ = 0;
};

// Immutable configuration of one filter, part of the Snapshot.
class HttpFilterConfig {
 public:
  virtual ~HttpFilterConfig() = default;
  virtual std::unique_ptr<HttpFilter> instantiate(WorkerContext& worker) const = 0;
  virtual std::string_view name() const = 0;
};

}  // namespace millrace::filter
