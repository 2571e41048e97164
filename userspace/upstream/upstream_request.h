// One request on its way to a host: waits for a connection of a pool, then has it, or a stream on it, until the
// response and the request are whole. Embedded in its owner (an attempt of the HTTP router), used again for the next
// attempt; nothing is allocated. Destroying it cancels it. Calls to the handler come from the loop; from within the
// methods here comes only on_above_high_watermark(), out of send_headers() and send_data().
//
//   kIdle --pool.start()--> kPending --connection--> kActive --response whole, reset or cancel()--> kIdle
//                 \___________idle connection___________/
//
// Back to kIdle before the last call of the handler, so that it may start again from there.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "base/error.h"
#include "base/list.h"
#include "http/header_map.h"
#include "net/connection.h"
#include "stream/stream_info.h"

namespace millrace::http {
class Http2Stream;
}

namespace millrace::upstream {

class Host;
class HttpClient;
class HttpPool;
class UpstreamRequest;
struct UpstreamConnectionInfo;

enum class ResetReason : uint8_t {
  kLocalConnectionFailure,   // no socket, no port (UF)
  kRemoteConnectionFailure,  // refused, unreachable (UF)
  kConnectionTimeout,        // not connected within connect_timeout (UF)
  kConnectionTermination,    // the upstream went away before the response was whole (UC)
  kRemoteReset,              // the upstream reset the stream (UR)
  kRemoteRefusedStream,      // ... and says that it has done nothing for the request (UR)
  kProtocolError,            // the response breaks HTTP (UPE)
  kOverflow,                 // a circuit breaker (UO)
  kLocalReset,               // the pool was closed under the request (LR)
};
// Envoy's words, as in "reset reason: connection termination".
std::string_view name(ResetReason reason);
// Of an attempt to connect that failed.
ResetReason connect_failure_reason(const base::Error& error);

struct Reset {
  ResetReason reason;
  // The request met a connection that had carried another one and that ended without a byte of response, or said by
  // GOAWAY that it has not looked at this one: the upstream had most likely closed it already. Trying again on a fresh
  // connection is right when the method allows it.
  bool stale_connection = false;
  bool response_started = false;         // some byte of a response had come
  const base::Error* error = nullptr;    // what the socket said; lives during the call
  std::string_view detail = {};          // kProtocolError: the parser's response code detail
};

class UpstreamHandler {
 public:
  // After Start::kPending: a connection is there, send_headers() may be called.
  virtual void on_pool_ready(UpstreamRequest& request) = 0;
  // 1xx other than 101, in the response header map; another head follows.
  virtual void on_informational(UpstreamRequest&) {}
  // The response header map is filled. end_stream: no body; the request is idle again.
  virtual void on_headers(UpstreamRequest& request, bool end_stream) = 0;
  // Takes the bytes; what it leaves in data is dropped.
  virtual void on_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) = 0;
  // The response trailer map is filled; ends the response.
  virtual void on_trailers(UpstreamRequest& request) = 0;
  virtual void on_reset(UpstreamRequest& request, const Reset& reset) = 0;
  // More than per_connection_buffer_limit_bytes wait to be sent: stop send_data() until below.
  virtual void on_above_high_watermark(UpstreamRequest&) {}
  virtual void on_below_low_watermark(UpstreamRequest&) {}

 protected:
  ~UpstreamHandler() = default;
};

class UpstreamRequest : private base::ListHook<UpstreamRequest> {
 public:
  enum class State : uint8_t { kIdle, kPending, kActive };

  // The maps are the owner's, filled for each response.
  UpstreamRequest(UpstreamHandler& handler, http::HeaderMap& response_headers, http::HeaderMap& response_trailers)
      : handler_(handler), headers_(response_headers), trailers_(response_trailers) {}
  UpstreamRequest(const UpstreamRequest&) = delete;
  UpstreamRequest& operator=(const UpstreamRequest&) = delete;
  ~UpstreamRequest() { cancel(); }

  State state() const { return state_; }
  http::HeaderMap& response_headers() { return headers_; }
  http::HeaderMap& response_trailers() { return trailers_; }

  // While kActive; later calls are ignored: the response was complete first, or the connection is gone. A body is sent
  // with the content-length of the headers, else chunked; bytes of an upgrade or CONNECT go as they are.
  // False: the headers cannot stand in a message of the protocol; nothing was sent, cancel().
  [[nodiscard]] bool send_headers(const http::HeaderMap& headers, bool end_stream);
  void send_data(base::Buffer& data, bool end_stream);
  void send_trailers(const http::HeaderMap& trailers);
  // Leaves the queue, or closes the connection (HTTP/1) or the stream. No call to the handler follows.
  void cancel();

  // The response is read slower than it comes. Nested.
  void pause_reading();
  void resume_reading();

  // What it is sent by, while kActive.
  stream::Protocol protocol() const;
  // The connection while kActive, else null.
  net::Connection* connection() const;
  // For access logs; null unless kActive.
  std::shared_ptr<const UpstreamConnectionInfo> connection_info() const;
  bool reused_connection() const;
  bool request_complete() const { return request_ended_; }
  // Of this attempt: bytes on the wire, and those of heads.
  uint64_t wire_bytes_sent() const { return wire_bytes_sent_; }
  uint64_t wire_bytes_received() const { return wire_bytes_received_; }
  uint64_t header_bytes_sent() const { return header_bytes_sent_; }
  uint64_t header_bytes_received() const { return header_bytes_received_; }
  // Names and values, before compression; 0: there is none.
  uint64_t plain_header_bytes_sent() const { return plain_header_bytes_sent_; }
  uint64_t plain_header_bytes_received() const { return plain_header_bytes_received_; }

 private:
  friend class HttpClient;
  friend class Http1Client;
  friend class Http2Client;
  friend class HttpPool;
  friend class base::List<UpstreamRequest, UpstreamRequest>;
  friend class base::ListHook<UpstreamRequest>;

  UpstreamHandler& handler_;
  http::HeaderMap& headers_;
  http::HeaderMap& trailers_;
  HttpPool* pool_ = nullptr;      // kPending
  HttpClient* client_ = nullptr;  // kActive
  http::Http2Stream* stream_ = nullptr;  // kActive, on HTTP/2
  State state_ = State::kIdle;
  bool request_ended_ = false;
  uint16_t pauses_ = 0;
  uint64_t wire_bytes_sent_ = 0, wire_bytes_received_ = 0;
  uint64_t header_bytes_sent_ = 0, header_bytes_received_ = 0;
  uint64_t plain_header_bytes_sent_ = 0, plain_header_bytes_received_ = 0;
};

}  // namespace millrace::upstream
