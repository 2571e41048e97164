// An HTTP/1.1 connection to a host and the codec on it: one request at a time, then idle in its pool, or closed. What
// makes a connection unfit for another request: the peer says close or ends its side, a response that comes before the
// request is whole, bytes nobody asked for, an upgrade, max_requests_per_connection, max_connection_duration, a drain.
// Allocated by its pool, retires itself when closed. One worker.
//
//   connecting --connected--> idle <--release / attach--> active
//        \______________________\_______________________/--close()--> gone
#pragma once
#include "base/list.h"
#include "fastpath/hop.h"
#include "http/http1_parser.h"
#include "http/http1_writer.h"
#include "io/loop.h"
#include "net/connection.h"
#include "upstream/connection_account.h"
#include "upstream/upstream_request.h"

namespace millrace::upstream {

class Http1Pool;

class Http1Client final : public io::Retired, private net::ConnectionHandler, public base::ListHook<Http1Client> {
 public:
  explicit Http1Client(Http1Pool& pool);
  ~Http1Client() override;

  void attach(UpstreamRequest& request);
  // No request after the one it has.
  void close_after_response() { last_request_ = true; }
  // Resets the request, if there is one and it is to hear of it, and closes.
  void abort(ResetReason reason, bool tell);
  void arm_idle_timer();

  [[nodiscard]] bool send_headers(const http::HeaderMap& headers, bool end_stream);
  void send_data(base::Buffer& data, bool end_stream);
  void send_trailers(const http::HeaderMap& trailers);
  net::Connection* connection() const { return connection_.get(); }
  std::shared_ptr<const UpstreamConnectionInfo> connection_info() { return account_.info(*connection_); }
  bool reused() const { return requests_ > 1; }

 private:
  void on_connected(net::Connection& connection) override;
  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_above_high_watermark(net::Connection& connection) override;
  void on_below_low_watermark(net::Connection& connection) override;
  void on_error(net::Connection& connection, const base::Error& error) override;
  void on_idle_timeout();
  void on_max_duration();

  http::Http1Parser::Event parse(base::Buffer& data, base::Buffer& body);
  bool deliver_headers(base::Buffer& data, bool end_stream);
  bool deliver_body(base::Buffer& data, base::Buffer& body, bool end_stream);
  void on_raw_data(base::Buffer& data, bool end_stream);
  void on_end_of_stream();
  UpstreamRequest& finish(bool reusable);
  void count_sent(size_t before, bool head);
  UpstreamRequest* detach();
  void fail(ResetReason reason, const base::Error* error, ConnectionAccount::EndedBy by, bool tell = true);
  void close(net::CloseMode mode, ConnectionAccount::EndedBy by);

  Http1Pool& pool_;
  ConnectionAccount account_;
  std::unique_ptr<net::Connection> connection_;  // null once closed
  UpstreamRequest* request_ = nullptr;
  fastpath::Hop hop_;
  http::Http1Parser parser_;
  http::Framing::Kind framing_ = http::Framing::Kind::kNone;  // of the request
  uint32_t requests_ = 0;
  uint16_t pauses_ = 0;             // by the request
  bool connected_ = false;
  bool last_request_ = false;
  bool headers_seen_ = false;       // of the final response
  bool raw_request_ = false;        // an upgrade was asked for: bytes go out as they are
  bool raw_response_ = false;       // and was granted
  io::TimerOf<&Http1Client::on_idle_timeout> idle_timer_;
  io::TimerOf<&Http1Client::on_max_duration> duration_timer_;
  friend class UpstreamRequest;
};

}  // namespace millrace::upstream
