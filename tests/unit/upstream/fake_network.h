// A backend without a kernel, for tests of pools and listeners: time stands still until advance(), the test plays every
// server and client. A connection is in the order in which it was opened: network.peer(0) is the first.
#pragma once
#include <cerrno>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/backend.h"
#include "io/loop.h"
#include "net/address.h"

namespace millrace::upstream {

class FakeNetwork final : public io::Backend {
 public:
  struct Peer {
    io::Operation* connecting = nullptr;
    io::Operation* receiving = nullptr;
    std::string received;          // what Millrace sent
    std::deque<std::string> says;  // what waits to be received by Millrace
    bool ends = false;             // the peer's side is shut
    int error = 0;                 // the peer's side is broken
    bool ended = false;            // Millrace's side is shut
    bool closed = false;           // Millrace closed the socket
    net::Address local;            // of an accepted socket
    net::Address before_nat;       // where it went before it was redirected, if it was
  };
  Peer& peer(size_t n) { return *peers_.at(n); }
  size_t opened() const { return peers_.size(); }
  size_t open() const {
    size_t n = 0;
    for (const auto& peer : peers_) n += !peer->closed;
    return n;
  }
  void accept_connection(size_t n) { post(peer(n).connecting, 0); }
  void refuse_connection(size_t n) { post(peer(n).connecting, -ECONNREFUSED); }
  void advance(base::nanoseconds by) { now_ += by; }
  // A socket to listen on.
  int listen() { return open_socket(AF_INET).value(); }
  // A client connects to it; returns the peer's number.
  size_t arrive(const net::Address& local, const net::Address& before_nat = {}) {
    const size_t n = peers_.size();
    peers_.push_back(std::make_unique<Peer>());
    peers_[n]->local = local;
    peers_[n]->before_nat = before_nat;
    done_.push_back({accepting_, static_cast<int32_t>(n), true});
    return n;
  }

  base::MonotonicTime now() override { return now_; }
  base::SystemTime system_now() override { return {}; }
  void accept(io::Operation& op, int fd) override {
    begin(op, fd, kAccept);
    accepting_ = &op;
  }
  int accept_now(int) override { return -EAGAIN; }
  void recv(io::Operation& op, int fd) override {
    begin(op, fd, kRecv);
    peer_of(fd).receiving = &op;
  }
  void send(io::Operation& op, int fd, std::span<const iovec> vectors, bool) override {
    begin(op, fd, kSend);
    int32_t n = 0;
    for (const iovec& v : vectors) {
      peer_of(fd).received.append(static_cast<const char*>(v.iov_base), v.iov_len);
      n += static_cast<int32_t>(v.iov_len);
    }
    post(&op, peer_of(fd).error != 0 ? -EPIPE : n);
  }
  void connect(io::Operation& op, int fd, const sockaddr*, socklen_t) override {
    begin(op, fd, kConnect);
    peer_of(fd).connecting = &op;
  }
  void poll(io::Operation&, int, uint32_t) override { abort(); }
  void cancel(io::Operation& op) override {
    Peer& peer = peer_of(fd_of(op));
    if (kind_of(op) == kRecv && peer.receiving == &op) {
      peer.receiving = nullptr;
      post(&op, -ECANCELED);
    } else if (kind_of(op) == kConnect && peer.connecting == &op) {
      peer.connecting = nullptr;
      post(&op, -ECANCELED);
    } else if (kind_of(op) == kAccept) {
      post(&op, -ECANCELED);
    }
  }
  base::Result<int> open_socket(int) override {
    peers_.push_back(std::make_unique<Peer>());
    return static_cast<int>(peers_.size()) - 1;
  }
  base::Result<void> bind(int, const sockaddr*, socklen_t) override { return {}; }
  void set_option(int, int, int, const void*, socklen_t) override {}
  socklen_t local_address(int fd, sockaddr_storage& address) override { return peer_of(fd).local.to_sockaddr(address); }
  socklen_t remote_address(int, sockaddr_storage&) override { return 0; }
  socklen_t original_destination(int fd, int family, sockaddr_storage& address) override {
    const net::Address& original = peer_of(fd).before_nat;
    return original.family() == family ? original.to_sockaddr(address) : 0;
  }
  void shutdown_write(int fd) override { peer_of(fd).ended = true; }
  void close(int fd, bool) override { peer_of(fd).closed = true; }
  void wait(base::nanoseconds) override {}
  void deliver() override {
    std::deque<Done> done;
    done.swap(done_);
    for (const Done& d : done) {
      base::Buffer none;
      complete(d.op, {.result = d.result, .more = d.more, .received = &none});
    }
    for (size_t i = 0; i < peers_.size(); ++i) deliver_bytes(*peers_[i]);
  }
  void wake() override {}
  const io::BackendStats& stats() const override { return stats_; }

 private:
  enum Kind : uint8_t { kRecv, kSend, kConnect, kAccept };
  struct Done {
    io::Operation* op;
    int32_t result;
    bool more = false;
  };
  Peer& peer_of(int fd) { return *peers_.at(static_cast<size_t>(fd)); }
  void post(io::Operation* op, int32_t result) {
    if (kind_of(*op) == kConnect) peer_of(fd_of(*op)).connecting = nullptr;
    done_.push_back({op, result});
  }
  void deliver_bytes(Peer& peer) {
    while (peer.receiving != nullptr && !peer.says.empty()) {
      base::Buffer bytes;
      bytes.append(peer.says.front());
      const int32_t n = static_cast<int32_t>(bytes.size());
      peer.says.pop_front();
      complete(peer.receiving, {.result = n, .more = true, .received = &bytes});
    }
    if (peer.receiving == nullptr || !(peer.ends || peer.error != 0)) return;
    base::Buffer none;
    io::Operation* op = std::exchange(peer.receiving, nullptr);
    complete(op, {.result = peer.error != 0 ? -peer.error : 0, .more = false, .received = &none});
  }

  base::MonotonicTime now_{std::chrono::hours(1)};
  std::vector<std::unique_ptr<Peer>> peers_;
  std::deque<Done> done_;
  io::Operation* accepting_ = nullptr;
  io::BackendStats stats_;
};

}  // namespace millrace::upstream
