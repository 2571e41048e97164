// One connection of the admin server, from accept to close; answers its requests one after the other.
//
//   kReading --request whole--> kWriting --last slice--> kReading, or kClosed
//                                       \--somebody waits for it--> kDraining --sent--> kReading, or kClosed
//
// Owned by the server's list until close(), which retires it. Main thread.
#pragma once
#include <memory>
#include <string>

#include "admin/exchange.h"
#include "base/list.h"
#include "http/header_map.h"
#include "http/http1_parser.h"
#include "io/loop.h"
#include "net/connection.h"
#include "stream/stream_info.h"

namespace millrace::admin {

class AdminServer;
class SessionOfServer;
class SessionWaiting;

class Session final : public io::Retired,
                      public base::ListHook<SessionOfServer>,
                      public base::ListHook<SessionWaiting>,
                      private net::ConnectionHandler {
 public:
  Session(AdminServer& server, int fd);
  ~Session() override = default;

  void start();
  // Between requests, with nothing of one read.
  bool idle() const;
  // A turn of its own: the next slice, or the next request that was read ahead.
  void take_turn();
  void close(net::CloseMode mode);

 private:
  enum class State : uint8_t { kReading, kWriting, kDraining, kClosed };
  enum class Timing : uint8_t { kIdle, kRequest, kWrite };

  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_below_low_watermark(net::Connection& connection) override;
  void on_drained(net::Connection& connection) override;
  void on_error(net::Connection& connection, const base::Error& error) override;
  void on_timer();

  void read();
  void on_headers();
  void on_request();
  void on_input_end();
  void refuse(unsigned status, std::string reason);
  void respond(Response response);
  void write_head(const Response& response, bool chunked);
  void write_slice();
  void end_response();
  void end_exchange();
  void run_after();
  void time(Timing timing);
  void count_status(unsigned status);
  void begin_info();
  void write_access_log();

  AdminServer& server_;
  std::unique_ptr<net::Connection> connection_;
  io::TimerOf<&Session::on_timer> timer_;
  State state_ = State::kReading;
  Timing timing_ = Timing::kIdle;
  bool paused_ = false;
  bool input_ended_ = false;
  bool in_request_ = false;
  bool close_after_ = false;   // this response is the connection's last
  bool http_10_ = false;
  bool chunked_ = false;
  bool head_request_ = false;
  http::Http1Parser parser_;
  http::HeaderMap headers_, trailers_;
  base::Buffer request_body_;
  Request request_;
  std::unique_ptr<Body> body_;
  std::function<void()> after_;
  stream::ConnectionInfo connection_info_;
  stream::StreamInfo info_;         // of the exchange
  http::HeaderMap response_headers_;
};

}  // namespace millrace::admin
