// One downstream HTTP/1 connection: bytes to requests, one at a time, responses to bytes. Pipelined requests wait in
// the connection's input until the one before is answered. After a 101, or a 2xx to CONNECT, bytes pass unparsed.
//
//   idle (no stream) --first byte--> reading a head --headers--> stream runs --both sides ended--> idle, or closing
//
// Every connection that may be HTTP/1 begins here; one whose ALPN or first bytes turn out to be HTTP/2 is handed over.
//
// Closing always flushes and then waits, up to delayed_close_timeout, for the client to end: closing on unread bytes
// would reset the connection and could take the answer with it.
#pragma once
#include <memory>

#include "base/list.h"
#include "fastpath/hop.h"
#include "filter/downstream_account.h"
#include "filter/hcm_worker.h"
#include "filter/http_stream.h"
#include "http/http1_parser.h"
#include "net/connection.h"

namespace millrace::filter {

class Http1Connection final : public net::ConnectionHandler,
                              public StreamCodec,
                              public io::Retired,
                              private base::ListHook<Http1Connection> {
 public:
  Http1Connection(HcmWorker& hcm, std::unique_ptr<net::Connection> connection, ConnectionObserver& observer);
  ~Http1Connection() override;

  void start();
  void drain();
  void close_now();

  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_above_high_watermark(net::Connection&) override;
  void on_below_low_watermark(net::Connection&) override;
  void on_error(net::Connection& connection, const base::Error& error) override;

  void encode_informational(HttpStream& stream, const http::HeaderMap& headers) override;
  void encode_headers(HttpStream& stream, http::HeaderMap& headers, bool end_stream) override;
  void encode_data(HttpStream& stream, base::Buffer& data, bool end_stream) override;
  void encode_trailers(HttpStream& stream, http::HeaderMap& trailers) override;
  void reset(HttpStream& stream) override;
  void pause_request(HttpStream& stream) override;
  void resume_request(HttpStream& stream) override;
  void on_stream_over(HttpStream& stream) override;
  const stream::ConnectionInfo& connection_info() const override { return account_.info(); }
  void close_after_stream() override { close_after_ = true; }

 private:
  friend class HcmWorker;
  friend class base::List<Http1Connection, Http1Connection>;
  friend class base::ListHook<Http1Connection>;

  enum class BodyFraming : uint8_t { kNone, kLength, kChunked, kUntilClose, kRaw };

  bool choose_codec(bool end_stream);
  void process();
  http::Http1Parser::Event parse(base::Buffer& in, http::HeaderMap& map, base::Buffer& body);
  bool parse_some();
  void wrote(HttpStream& stream, size_t before, bool head);
  bool take_end();
  void begin_stream();
  void drop_pristine_stream();
  void on_headers_complete();
  void on_parse_error();
  BodyFraming choose_framing(HttpStream& stream, http::HeaderMap& headers, bool end_stream);
  bool must_close(HttpStream& stream) const;
  void close(net::CloseMode mode, bool remote);
  void arm_idle();
  void on_idle();
  void on_header_timeout();
  void on_max_duration();

  HcmWorker& hcm_;
  std::unique_ptr<net::Connection> connection_;  // null once closed
  DownstreamAccount account_;
  fastpath::Hop hop_;
  http::Http1Parser parser_;
  std::unique_ptr<HttpStream> stream_;           // the request being read or answered
  uint32_t requests_ = 0;
  BodyFraming framing_ = BodyFraming::kNone;
  bool codec_known_ = false;      // it is HTTP/1
  bool stream_begun_ = false;     // its head is complete
  bool request_complete_ = false; // the parser saw the end of the request
  bool raw_ = false;              // upgraded: bytes pass unparsed
  bool upgrade_ = false;          // the current request asks for an upgrade
  bool close_after_ = false;
  bool close_said_ = false;       // the answer carried Connection: close
  bool paused_ = false;           // by the stream
  bool input_paused_ = false;     // too much pipelined input
  bool in_process_ = false;
  bool draining_ = false;
  io::TimerOf<&Http1Connection::on_idle> idle_;
  io::TimerOf<&Http1Connection::on_header_timeout> header_timer_;
  io::TimerOf<&Http1Connection::on_max_duration> max_duration_;
};

}  // namespace millrace::filter
