// Simulated clients and servers, of HTTP/1 and of HTTP/2, that follow a Plan and check every byte they are given
// against it.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "http/http2_session.h"
#include "sim/bytes.h"
#include "sim/http_plan.h"
#include "sim/message.h"
#include "sim/network.h"

namespace millrace::sim {

// What is true of the whole run.
struct Scenery {
  Network& network;
  Plans& plans;
  net::Address front;
  bool troubled = false;       // the network breaks connections, or breakers are tight
  bool tight_breakers = false;
  bool silent_closes = false;  // servers close kept connections without a word
  bool idle_closes = false;    // the proxy closes idle connections, also by draining
};

// Of peers: beyond so much that the network has not taken, they wait before they write on.
inline constexpr size_t kUnsentMax = 64 * 1024;

// Of a peer that speaks HTTP/2: small windows for every other one.
inline http::Http2Options draw_http2_options(base::Prng& prng) {
  http::Http2Options options;
  if (prng.below(2) == 0) {
    options.initial_stream_window_bytes = static_cast<uint32_t>(1 + prng.below(70'000));
    options.initial_connection_window_bytes = static_cast<uint32_t>(65'535 + prng.below(70'000));
  }
  return options;
}

// Reads at its own pace, and hands on what it read.
class PacedPeer : public Peer {
 public:
  PacedPeer(Scenery& scenery, bool slow) : scenery_(scenery), prng_(scenery.network.prng().next()), slow_(slow) {}
  void on_readable() override;

 protected:
  virtual void take(std::string bytes) = 0;
  virtual bool attached() const = 0;
  Network& network() const { return scenery_.network; }

  Scenery& scenery_;
  base::Prng prng_;
  Network::Socket socket_ = 0;

 private:
  const bool slow_;
  bool reading_ = false;
};

// One connection of an upstream server.
class HttpServer final : public PacedPeer {
 public:
  HttpServer(Scenery& scenery, Network::Socket socket);
  void on_end() override;
  void on_reset() override { over_ = true; }

 private:
  void take(std::string bytes) override;
  bool attached() const override { return !over_; }
  void on_head();
  void on_request_end();
  void answer();
  void answer_whole(int status);
  void write_pieces();
  void finish_response();
  void leave(bool reset);
  void later(uint64_t us, void (HttpServer::*what)());

  MessageReader reader_{false};
  Plan* plan_ = nullptr;      // of the request being read or answered
  uint64_t request_read_ = 0;
  bool answering_ = false, request_done_ = false, response_done_ = false;
  bool over_ = false;
  uint64_t body_left_ = 0, body_sent_ = 0, cut_at_ = UINT64_MAX;
  uint32_t generation_ = 0;   // callbacks of an earlier exchange do nothing
};

// One HTTP/2 connection of an upstream server. What would break a connection breaks a stream here, and one that is
// said to close says GOAWAY.
class Http2Server final : public PacedPeer, public http::Http2Handler {
 public:
  Http2Server(Scenery& scenery, Network::Socket socket);
  ~Http2Server();
  void on_end() override;
  void on_reset() override;

 private:
  struct Exchange final : http::Http2Stream {
    Plan* plan = nullptr;
    http::HeaderMap request, end;
    uint64_t read = 0, sent = 0, left = 0, cut_at = UINT64_MAX;
    bool answering = false;
  };
  using Step = void (Http2Server::*)(Exchange&);
  void take(std::string bytes) override;
  bool attached() const override { return !over_; }
  http::Http2Stream* on_stream_begin() override;
  void on_headers(http::Http2Stream& stream, bool end_stream) override;
  void on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) override;
  void on_trailers(http::Http2Stream& stream) override;
  void on_stream_closed(http::Http2Stream& stream, http::Http2Code code) override;

  std::shared_ptr<Exchange> find(const Exchange& exchange);
  void later(uint64_t us, Exchange& exchange, Step step);
  void on_request_end(Exchange& exchange);
  void answer(Exchange& exchange);
  void answer_whole(Exchange& exchange, int status);
  void write_pieces(Exchange& exchange);
  void break_off(Exchange& exchange);
  void say_goodbye();
  void flush();

  http::Http2Options options_;
  std::unique_ptr<http::Http2Session> session_;
  std::vector<std::shared_ptr<Exchange>> open_;
  bool over_ = false, goodbye_ = false;
};

// A whole response, against its plan.
void check_whole(const Scenery& scenery, const Plan& plan, int status, uint64_t read);
// One that no server gave.
void check_local(const Scenery& scenery, const Plan& plan, int status, std::string_view location,
                 const std::string& body);

// A client with a list of requests, one connection at a time.
class Client : public PacedPeer {
 public:
  using PacedPeer::PacedPeer;
  virtual void start() = 0;
  virtual bool over() const = 0;
};

class HttpClient final : public Client {
 public:
  HttpClient(Scenery& scenery, std::vector<Plan*> plans, uint32_t depth, bool slow);
  void start() override;
  bool over() const override { return over_; }

  void on_connected() override;
  void on_end() override;
  void on_reset() override;

 private:
  struct Exchange {
    Plan* plan = nullptr;
    uint64_t body_sent = 0;
    bool written = false;    // the whole request
    bool head_seen = false;
    uint64_t read = 0;
    std::string local_body;
  };
  void take(std::string bytes) override;
  bool attached() const override { return connected_; }
  void fill();
  void begin_request(Exchange& exchange);
  void write_body();
  void end_request(Exchange& exchange);
  void on_head();
  void on_body();
  void on_response_end();
  void connection_over(bool said_close);
  void reconnect_if_needed();
  void abort();

  MessageReader reader_{true};
  std::deque<Plan*> todo_;
  std::deque<Exchange> open_;   // written or being written, in order
  const uint32_t depth_;
  bool connected_ = false, over_ = false, writing_ = false, close_seen_ = false, local_ = false;
  uint32_t connections_ = 0;
};

// Many requests at a time over HTTP/2.
class Http2Client final : public Client, public http::Http2Handler {
 public:
  Http2Client(Scenery& scenery, std::vector<Plan*> plans, uint32_t depth, bool slow);
  ~Http2Client() override;
  void start() override;
  bool over() const override { return over_; }

  void on_connected() override;
  void on_end() override;
  void on_reset() override;

 private:
  struct Exchange final : http::Http2Stream {
    Plan* plan = nullptr;
    http::HeaderMap response, end;
    uint64_t body_sent = 0, read = 0;
    bool head_seen = false, local = false, ended = false;
    int status = 0;
    std::string local_body;
  };
  void take(std::string bytes) override;
  bool attached() const override { return connected_; }
  void on_headers(http::Http2Stream& stream, bool end_stream) override;
  void on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) override;
  void on_trailers(http::Http2Stream& stream) override { static_cast<Exchange&>(stream).ended = true; }
  void on_stream_closed(http::Http2Stream& stream, http::Http2Code code) override;
  void on_goaway(int32_t, http::Http2Code code) override { goaway_ = static_cast<uint32_t>(code); }

  // Runs later, unless the exchange or the connection is over by then.
  void later(uint64_t us, const std::shared_ptr<Exchange>& exchange, void (Http2Client::*what)(Exchange&));
  std::shared_ptr<Exchange> find(const Exchange& exchange);
  void fill();
  void begin_request(Plan& plan);
  void write_body(Exchange& exchange);
  void abort(Exchange& exchange);
  void finish(Exchange& exchange);
  void again(Plan& plan);
  void flush();
  void connection_over();

  http::Http2Options options_;
  std::unique_ptr<http::Http2Session> session_;
  std::deque<Plan*> todo_;
  std::vector<std::shared_ptr<Exchange>> open_;
  const uint32_t depth_;
  bool connected_ = false, over_ = false;
  uint32_t connections_ = 0, goaway_ = 0;
};

}  // namespace millrace::sim
