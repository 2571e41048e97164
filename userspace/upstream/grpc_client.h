// What Millrace's own gRPC clients are made of: a call with one message each way, and a stream that comes back after it
// has ended. Owned by their users, on the worker of the cluster. Handlers are called as GrpcStream's are.
#pragma once
#include <string>
#include <vector>

#include "upstream/back_off.h"
#include "upstream/grpc_stream.h"

namespace millrace::upstream {

class GrpcUnaryCall final : private GrpcStreamHandler {
 public:
  class Handler {
   public:
    // message is empty unless the status is OK. The call may be started again from here, or destroyed.
    virtual void on_reply(GrpcUnaryCall& call, const GrpcStatus& status, base::Buffer& message) = 0;

   protected:
    ~Handler() = default;
  };

  GrpcUnaryCall(ThreadLocalCluster& cluster, Handler& handler) : handler_(handler), stream_(cluster, *this) {}

  void start(const GrpcCallOptions& options, base::Buffer& message);
  void start(const GrpcCallOptions& options, std::string_view message);
  void cancel() { stream_.cancel(); }
  bool idle() const { return stream_.idle(); }
  // The metadata of the server, during on_reply().
  const http::HeaderMap& trailers() const { return *trailers_; }

 private:
  void on_message(GrpcStream& stream, base::Buffer& message) override;
  void on_closed(GrpcStream& stream, const GrpcStatus& status, const http::HeaderMap& trailers) override;

  Handler& handler_;
  GrpcStream stream_;
  base::Buffer reply_;
  uint32_t replies_ = 0;
  const http::HeaderMap* trailers_ = nullptr;
};

// A stream that is meant to be there always (xDS, log services): begun again after a back-off, whatever its status was.
// The back-off begins anew once a message has come.
class GrpcPersistentStream final : private GrpcStreamHandler {
 public:
  class Handler {
   public:
    // A new stream: what is sent comes first on it.
    virtual void on_begin(GrpcPersistentStream& stream) = 0;
    virtual void on_message(GrpcPersistentStream& stream, base::Buffer& message) = 0;
    virtual void on_writable(GrpcPersistentStream&) {}
    // It ended; another one follows, unless stop() is called here. What was sent and not received is lost.
    virtual void on_end(GrpcPersistentStream& stream, const GrpcStatus& status) = 0;

   protected:
    ~Handler() = default;
  };
  struct Options {
    std::string path;
    std::string authority;  // empty: the cluster's name
    std::vector<std::pair<std::string, std::string>> metadata;
    uint32_t message_bytes_max = 64 << 20;
    base::milliseconds back_off_base{500};
    base::milliseconds back_off_max{30'000};
  };

  GrpcPersistentStream(ThreadLocalCluster& cluster, Options options, Handler& handler);

  // Begins the first stream; on_begin() is called from within.
  void start();
  // Ends it, and no other follows until start().
  void stop();
  // Dropped while there is no stream.
  void send(std::string_view message) { stream_.send(message); }
  void send(base::Buffer& message) { stream_.send(message); }
  bool writable() const { return !stream_.idle() && stream_.writable(); }
  void pause_reading() { stream_.pause_reading(); }
  void resume_reading() { stream_.resume_reading(); }
  bool has_stream() const { return !stream_.idle(); }

 private:
  void on_message(GrpcStream& stream, base::Buffer& message) override;
  void on_writable(GrpcStream& stream) override;
  void on_closed(GrpcStream& stream, const GrpcStatus& status, const http::HeaderMap& trailers) override;
  void begin();

  const Options options_;
  Handler& handler_;
  std::vector<std::pair<std::string_view, std::string_view>> metadata_;
  GrpcStream stream_;
  BackOff back_off_;
  bool wanted_ = false;
  io::TimerOf<&GrpcPersistentStream::begin> retry_timer_;
};

}  // namespace millrace::upstream
