// One downstream HTTP/2 connection: an Http2Session between the socket and many requests, each an HttpStream.
//
//   open --drain, limits, idle--> notice (GOAWAY for all streams) --drain_timeout--> going away --last stream--> closed
//
// A PING follows the notice: once that is answered, what the client sends is sent in knowledge of it, and a connection
// without streams need not wait for drain_timeout (RFC 9113 section 6.8).
//
// Bytes are written once a turn, after everything that arrived in it was answered. What waits to be sent waits in the
// streams, not in the connection's output, so that streams take turns and each slows down its own source alone.
#pragma once
#include <memory>

#include "base/list.h"
#include "filter/downstream_account.h"
#include "filter/hcm_worker.h"
#include "filter/http_stream.h"
#include "http/http2_session.h"
#include "net/connection.h"

namespace millrace::filter {

class Http2Connection;

// One stream: the codec of its HttpStream, and that of the session. Lives until both have come to their end, then rests
// with the HcmWorker for the next.
class Http2ServerStream final : public StreamCodec,
                                public http::Http2Stream,
                                private base::ListHook<Http2ServerStream> {
 public:
  explicit Http2ServerStream(HcmWorker& hcm);
  ~Http2ServerStream();

  void begin(Http2Connection& connection);

  // From the session.
  void on_headers(bool end_stream);
  void on_data(base::Buffer& data, bool end_stream);
  void on_trailers();
  void on_closed();
  void on_sent();
  // From the connection: it ends, and this with it.
  void end(stream::ResponseFlag flag, std::string_view details);
  void on_header_timeout();
  void deliver_waiting();

  void encode_informational(HttpStream& stream, const http::HeaderMap& headers) override;
  void encode_headers(HttpStream& stream, http::HeaderMap& headers, bool end_stream) override;
  void encode_data(HttpStream& stream, base::Buffer& data, bool end_stream) override;
  void encode_trailers(HttpStream& stream, http::HeaderMap& trailers) override;
  void reset(HttpStream& stream) override;
  void pause_request(HttpStream& stream) override;
  void resume_request(HttpStream& stream) override;
  void on_stream_over(HttpStream& stream) override;
  void count_bytes(HttpStream& stream) override;
  const stream::ConnectionInfo& connection_info() const override;
  void close_after_stream() override;

 private:
  friend class Http2Connection;
  friend class base::List<Http2ServerStream, Http2ServerStream>;
  friend class base::ListHook<Http2ServerStream>;

  bool check_underscores();
  void count_received();
  void release();
  void on_flush_timeout();

  HcmWorker& hcm_;
  Http2Connection* connection_ = nullptr;
  std::unique_ptr<HttpStream> http_;  // null once over
  base::Buffer waiting_;              // received while paused
  bool waiting_end_ = false, waiting_trailers_ = false;
  bool resumed_ = false;              // deliver_waiting() is due
  bool paused_ = false, above_high_ = false;
  bool extended_connect_ = false, upgraded_ = false;
  bool cut_by_client_ = false;        // by a reset, or by what made the session reset it
  bool bodyless_ = false;             // what the response says of a body, it has none
  io::TimerOf<&Http2ServerStream::on_flush_timeout> flush_timer_;
};

class Http2Connection final : public net::ConnectionHandler,
                              public http::Http2Handler,
                              public io::Retired,
                              private base::ListHook<Http2Connection> {
 public:
  Http2Connection(HcmWorker& hcm, std::unique_ptr<net::Connection> connection, DownstreamAccount account);
  ~Http2Connection() override;

  // reading: it reads already, and what came is in its input.
  void start(bool reading);
  void drain();
  void close_now();

  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_below_low_watermark(net::Connection&) override { schedule_write(); }
  void on_error(net::Connection& connection, const base::Error& error) override;

  http::Http2Stream* on_stream_begin() override;
  void on_headers(http::Http2Stream& stream, bool end_stream) override;
  void on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) override;
  void on_trailers(http::Http2Stream& stream) override;
  void on_stream_closed(http::Http2Stream& stream, http::Http2Code code) override;
  void on_sent(http::Http2Stream& stream) override;
  void on_ping_ack(uint64_t opaque) override;

 private:
  friend class HcmWorker;
  friend class Http2ServerStream;
  friend class base::List<Http2Connection, Http2Connection>;
  friend class base::ListHook<Http2Connection>;
  enum class Drain : uint8_t { kNone, kNotice, kPinged, kHeard, kGoingAway };

  void schedule_write() {
    if (connection_ != nullptr) hcm_.worker().loop.at_turn_end(turn_end_);
  }
  void on_turn_end();
  void write();
  void frame_ahead();
  void write_ahead();
  void start_drain();
  void stream_ended(HttpStream& stream, bool cut_by_client);
  void protocol_error();
  void too_many_resets();
  void end_streams(stream::ResponseFlag flag, std::string_view details);
  void close(net::CloseMode mode, bool remote, stream::ResponseFlag flag = stream::ResponseFlag::kCount,
             std::string_view details = {});
  size_t stream_watermark() const;
  void arm_idle();
  void arm_keepalive();
  void on_idle();
  void on_header_timeout();
  void on_max_duration();
  void on_drain_timeout();
  void on_keepalive();
  void on_keepalive_timeout();

  HcmWorker& hcm_;
  std::unique_ptr<net::Connection> connection_;  // null once closed
  DownstreamAccount account_;
  http::Http2Session session_;
  http::HeaderMap unwanted_;                     // heads and trailers of streams that are over
  base::List<Http2ServerStream, Http2ServerStream> streams_;  // all, owned
  std::vector<Http2ServerStream*> resumed_;
  Http2ServerStream* reading_head_ = nullptr;    // its header block has begun: no other frame can come before its end
  size_t active_ = 0;
  uint64_t requests_ = 0, ended_requests_ = 0, premature_resets_ = 0;
  Drain drain_ = Drain::kNone;
  bool too_many_resets_ = false;
  bool framed_ = false;  // frames are in the output that the connection was not told of
  io::HookOf<&Http2Connection::on_turn_end> turn_end_{*this};
  io::TimerOf<&Http2Connection::on_idle> idle_;
  io::TimerOf<&Http2Connection::on_header_timeout> header_timer_;
  io::TimerOf<&Http2Connection::on_max_duration> max_duration_;
  io::TimerOf<&Http2Connection::on_drain_timeout> drain_timer_;
  io::TimerOf<&Http2Connection::on_keepalive> keepalive_;
  io::TimerOf<&Http2Connection::on_keepalive_timeout> keepalive_timeout_;
};

}  // namespace millrace::filter
