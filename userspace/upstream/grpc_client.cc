#include "upstream/grpc_client.h"

namespace millrace::upstream {
namespace {

enum : int64_t { kUnimplemented = 12, kInternal = 13 };

}  // namespace

// ---- one message each way

void GrpcUnaryCall::start(const GrpcCallOptions& options, base::Buffer& message) {
  reply_.clear();
  replies_ = 0;
  stream_.start(options);
  stream_.send(message, true);
}

void GrpcUnaryCall::start(const GrpcCallOptions& options, std::string_view message) {
  base::Buffer bytes;
  bytes.append(message);
  start(options, bytes);
}

void GrpcUnaryCall::on_message(GrpcStream&, base::Buffer& message) {
  if (++replies_ == 1) reply_.move_from(message);
}

void GrpcUnaryCall::on_closed(GrpcStream&, const GrpcStatus& status, const http::HeaderMap& trailers) {
  trailers_ = &trailers;
  base::Buffer reply(std::move(reply_));
  if (!status.ok()) {
    reply.clear();
    return handler_.on_reply(*this, status, reply);
  }
  if (replies_ == 1) return handler_.on_reply(*this, status, reply);
  reply.clear();
  handler_.on_reply(*this,
                    replies_ == 0 ? GrpcStatus{kInternal, "OK without a message"}
                                  : GrpcStatus{kUnimplemented, "more than one message"},
                    reply);
}

// ---- a stream that comes back

GrpcPersistentStream::GrpcPersistentStream(ThreadLocalCluster& cluster, Options options, Handler& handler)
    : options_(std::move(options)),
      handler_(handler),
      metadata_(options_.metadata.begin(), options_.metadata.end()),
      stream_(cluster, *this),
      back_off_(options_.back_off_base, options_.back_off_max),
      retry_timer_(cluster.loop().timers(), *this) {}

void GrpcPersistentStream::start() {
  if (wanted_) return;
  wanted_ = true;
  back_off_.reset();
  begin();
}

void GrpcPersistentStream::begin() {
  stream_.start({.path = options_.path,
                 .authority = options_.authority,
                 .metadata = metadata_,
                 .message_bytes_max = options_.message_bytes_max});
  handler_.on_begin(*this);
}

void GrpcPersistentStream::stop() {
  wanted_ = false;
  retry_timer_.disarm();
  stream_.cancel();
}

void GrpcPersistentStream::on_message(GrpcStream&, base::Buffer& message) {
  back_off_.reset();
  handler_.on_message(*this, message);
}

void GrpcPersistentStream::on_writable(GrpcStream&) { handler_.on_writable(*this); }

void GrpcPersistentStream::on_closed(GrpcStream&, const GrpcStatus& status, const http::HeaderMap&) {
  retry_timer_.arm(back_off_.next(stream_.cluster().loop().prng()));
  handler_.on_end(*this, status);
}

}  // namespace millrace::upstream
