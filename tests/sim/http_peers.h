// Simulated HTTP/1 clients and servers that follow a Plan and check every byte they are given against it.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

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

// A client with a list of requests, one connection at a time.
class HttpClient final : public PacedPeer {
 public:
  HttpClient(Scenery& scenery, std::vector<Plan*> plans, uint32_t depth, bool slow);
  void start();
  bool over() const { return over_; }
  uint32_t connections() const { return connections_; }

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
  void check_local(const Exchange& exchange);
  void check_whole(const Exchange& exchange);
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

}  // namespace millrace::sim
