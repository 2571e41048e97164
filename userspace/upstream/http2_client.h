// An HTTP/2 connection to a host (RFC 9113), http::Http2Session over net::Connection: as many requests at once as the
// peer and max_concurrent_streams allow. What is written in a turn of the loop is framed and sent at its end. A request
// that is paused keeps the window of its stream; one that sends faster than the peer reads hears of the watermark. An
// HTTP/1 upgrade becomes an extended CONNECT (RFC 8441), and the answer 200 a 101 again, so that those before us need
// not know what is spoken here.
//
// GOAWAY ends what comes after it: streams that the peer has not seen are refused, the others are finished first.
// Pings (connection_keepalive) find a peer that is gone.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "http/http2_session.h"
#include "upstream/http_client.h"

namespace millrace::upstream {

class Http2Client final : public HttpClient, private http::Http2Handler {
 public:
  explicit Http2Client(HttpPool& pool);
  ~Http2Client() override;

  void attach(UpstreamRequest& request) override;
  void drain() override;
  void abort() override { fail(ResetReason::kLocalReset, nullptr, EndedBy::kLocal); }
  bool idle() const override { return used_ == 0; }

  [[nodiscard]] bool send_headers(UpstreamRequest& request, const http::HeaderMap& headers, bool end_stream) override;
  void send_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) override;
  void send_trailers(UpstreamRequest& request, const http::HeaderMap& trailers) override;
  void cancel(UpstreamRequest& request) override;
  void pause_reading(UpstreamRequest& request) override;
  void resume_reading(UpstreamRequest& request) override;
  stream::Protocol protocol() const override { return stream::Protocol::kHttp2; }

 private:
  struct Stream final : http::Http2Stream, base::ListHook<Stream> {
    using base::ListHook<Stream>::linked;
    using base::ListHook<Stream>::unlink;
    UpstreamRequest* request = nullptr;  // null: it is over; the session may still have to do with the stream
    uint64_t received_before = 0;        // by the connection
    size_t paused_bytes = 0;             // reported while the request was paused, and not consumed
    bool above_high = false;
    std::string upgrade;                 // what it asks to switch to; empty: nothing
  };

  void on_open() override;
  void on_broken(const base::Error& error) override;
  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_below_low_watermark(net::Connection& connection) override;

  void on_headers(http::Http2Stream& of, bool end_stream) override;
  void on_informational(http::Http2Stream& of) override;
  void on_data(http::Http2Stream& of, base::Buffer& data, bool end_stream) override;
  void on_trailers(http::Http2Stream& of) override;
  void on_stream_closed(http::Http2Stream& of, http::Http2Code code) override;
  void on_sent(http::Http2Stream& of) override;
  void on_goaway(int32_t last_stream, http::Http2Code code) override;
  void on_settings() override;
  void on_ping_ack(uint64_t opaque) override;

  static Stream& stream_of(UpstreamRequest& request) { return static_cast<Stream&>(*request.stream_); }
  static void count(const Stream& stream, UpstreamRequest& request);
  const http::HeaderMap* request_head(Stream& stream, const http::HeaderMap& headers);
  UpstreamRequest& detach(Stream& stream);
  UpstreamRequest& finish(Stream& stream);
  void recycle(Stream& stream);
  void settle();
  uint32_t streams_max() const;
  void update_room();
  void stop_requests();
  void end_session();
  void flush();
  void flush_later() { account_->cluster().loop().at_turn_end(flush_hook_); }
  void tell_drained();
  void on_protocol_error();
  void fail(ResetReason reason, const base::Error* error, EndedBy by, std::string_view detail = {});
  void ping();
  void arm_keepalive();
  void on_keepalive();
  void on_ping_timeout();

  std::vector<std::unique_ptr<Stream>> streams_;  // all ever made; the session goes before them
  std::vector<Stream*> free_;
  std::vector<Stream*> over_;     // free when neither session nor handler is on the stack
  std::vector<Stream*> drained_;  // fell below the low watermark in the running drain()
  base::List<Stream, Stream> active_;  // with a request
  stats::StatShard codec_stats_;
  http::Http2Session session_;
  std::unique_ptr<http::HeaderMap> scratch_;  // heads that differ from what we were given
  uint32_t used_ = 0;             // streams that are not free: the session knows them, or will
  bool settings_seen_ = false;
  bool settings_new_ = false;     // since settle()
  bool goaway_seen_ = false;
  base::MonotonicTime received_at_{};
  uint64_t pings_ = 0;
  io::HookOf<&Http2Client::flush> flush_hook_{*this};
  io::TimerOf<&Http2Client::on_keepalive> keepalive_timer_;
  io::TimerOf<&Http2Client::on_ping_timeout> ping_timer_;
};

}  // namespace millrace::upstream
