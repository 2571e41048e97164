// One gRPC call of Millrace itself (health checks, xDS, rate limits, logs) to a host of a cluster, over the cluster's
// HTTP/2 connections: any number of messages both ways (grpc/doc/PROTOCOL-HTTP2.md). Messages are bytes; who calls
// knows what is in them. GrpcUnaryCall and GrpcPersistentStream (grpc_client.h) are made of it.
//
//   kIdle --start()--> kWaiting (for a connection) --ready--> kOpen --status, reset, deadline--> kIdle, on_closed()
//                         \__________failure_____________________/         cancel(): kIdle, and no call follows
//
// Owned by its user, on the worker of its cluster; used again after on_closed(). Destroying it cancels the call. The
// handler is never called from within start() or send(); it may start(), cancel() or destroy the stream from
// on_closed(), and cancel() it from the others.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/buffer.h"
#include "http/grpc_frame.h"
#include "http/header_map.h"
#include "io/loop.h"
#include "upstream/thread_local_cluster.h"
#include "upstream/upstream_request.h"

namespace millrace::upstream {

class GrpcStream;

// stream/grpc_status.h names the codes.
struct GrpcStatus {
  int64_t code = 0;
  std::string message;
  bool ok() const { return code == 0; }
};

struct GrpcCallOptions {
  std::string_view path;                 // "/package.Service/Method"
  std::string_view authority = {};       // empty: the cluster's name, as in Envoy
  base::milliseconds deadline{0};        // from start() to the status; 0: none
  // Names in lower case; values of names that end in "-bin" are base64 already.
  std::span<const std::pair<std::string_view, std::string_view>> metadata = {};
  uint32_t message_bytes_max = 64 << 20;  // of a message that is received
};

class GrpcStreamHandler {
 public:
  // The server's initial metadata; not of a call that ends with its headers.
  virtual void on_headers(GrpcStream&, const http::HeaderMap& /*headers*/) {}
  virtual void on_message(GrpcStream& stream, base::Buffer& message) = 0;
  // writable() again.
  virtual void on_writable(GrpcStream&) {}
  // The call is over. trailers: those of the server, empty if there were none.
  virtual void on_closed(GrpcStream& stream, const GrpcStatus& status, const http::HeaderMap& trailers) = 0;

 protected:
  ~GrpcStreamHandler() = default;
};

class GrpcStream final : private UpstreamHandler {
 public:
  GrpcStream(ThreadLocalCluster& cluster, GrpcStreamHandler& handler);
  ~GrpcStream();
  GrpcStream(const GrpcStream&) = delete;
  GrpcStream& operator=(const GrpcStream&) = delete;

  // While idle. What options refers to is copied.
  void start(const GrpcCallOptions& options);
  // Takes the message; end: no other follows. Not taken beyond that, nor while idle.
  void send(base::Buffer& message, bool end = false);
  void send(std::string_view message, bool end = false);
  void end();
  // False: more than the cluster's per_connection_buffer_limit_bytes wait to be sent. Taken all the same.
  bool writable() const { return !above_high_; }
  void cancel();
  // No message is delivered; the server is told to stop once its window is used up. Nested.
  void pause_reading();
  void resume_reading();

  bool idle() const { return state_ == State::kIdle; }
  ThreadLocalCluster& cluster() const { return cluster_; }

 private:
  enum class State : uint8_t { kIdle, kWaiting, kOpen };

  void on_pool_ready(UpstreamRequest& request) override;
  void on_headers(UpstreamRequest& request, bool end_stream) override;
  void on_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) override;
  void on_trailers(UpstreamRequest& request) override;
  void on_reset(UpstreamRequest& request, const Reset& reset) override;
  void on_above_high_watermark(UpstreamRequest&) override { above_high_ = true; }
  void on_below_low_watermark(UpstreamRequest& request) override;

  void fill_headers(const GrpcCallOptions& options);
  void connect();
  void open();
  void give(base::Buffer& framed, bool end);
  void deliver();
  void end_response();
  void finish_later(int64_t code, std::string message);
  void close();
  void on_deadline();
  size_t unsent_max() const { return cluster_.cluster().options().per_connection_buffer_limit_bytes; }

  ThreadLocalCluster& cluster_;
  GrpcStreamHandler& handler_;
  std::shared_ptr<Host> host_hold_;  // before the request, which needs it
  Host* host_ = nullptr;
  http::HeaderMap request_headers_, headers_, trailers_;
  UpstreamRequest request_{*this, headers_, trailers_};
  http::GrpcFrameDecoder decoder_{http::GrpcFrameDecoder::kUnlimited, 0};
  base::Buffer unsent_;         // framed, waits for the connection
  base::Buffer received_;       // waits for the reader
  base::MonotonicTime deadline_{};
  GrpcStatus status_;
  State state_ = State::kIdle;
  uint32_t calls_ = 0;          // grows with each start() and cancel(): whether a handler's call has changed what we do
  uint16_t pauses_ = 0;
  bool ended_ = false;          // our side
  bool over_ = false;           // status_ is known, and told after the last message
  bool above_high_ = false;
  io::HookOf<&GrpcStream::deliver> deliver_hook_{*this};
  io::TimerOf<&GrpcStream::on_deadline> deadline_timer_;
};

}  // namespace millrace::upstream
