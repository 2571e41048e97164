// A worker with an HTTP connection manager over real sockets, and clients that are plain descriptors. Everything runs
// on the test's thread: turn the loop until what is waited for has happened. At the end every gauge has to be back at
// zero.
#pragma once
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "filter/hcm_worker.h"
#include "stats/names.h"
#include "stats/schema_http.h"
#include "unit/route/support.h"

namespace millrace::filter {

namespace hs = stats::http;
using base::milliseconds;

// A TCP socket of the test: blocking to connect, never to read.
class TestSocket {
 public:
  TestSocket() = default;
  explicit TestSocket(int fd) : fd_(fd) {}
  TestSocket(TestSocket&& other) noexcept : received(std::move(other.received)), ended(other.ended),
      reset(other.reset), fd_(std::exchange(other.fd_, -1)) {}
  TestSocket& operator=(TestSocket&& other) noexcept {
    close();
    received = std::move(other.received);
    ended = other.ended;
    reset = other.reset;
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~TestSocket() { close(); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) break;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    EXPECT_TRUE(bytes.empty()) << "the socket took not everything";
  }
  // As much as the socket takes.
  size_t send_some(std::string_view bytes) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  void poll(size_t at_most = SIZE_MAX) {
    char bytes[65536];
    while (fd_ >= 0 && !ended && !reset && at_most > 0) {
      const ssize_t n = ::recv(fd_, bytes, std::min(sizeof bytes, at_most), MSG_DONTWAIT);
      if (n > 0) {
        received.append(bytes, static_cast<size_t>(n));
        at_most -= static_cast<size_t>(n);
      } else if (n == 0) {
        ended = true;
      } else if (errno == EAGAIN) {
        return;
      } else {
        reset = true;
      }
    }
  }
  void shutdown() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // RST instead of FIN.
  void abort() {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  std::string received;
  bool ended = false, reset = false;

 private:
  int fd_ = -1;
};

// A listening socket of the test on 127.0.0.1.
class TestListener {
 public:
  explicit TestListener(int receive_buffer = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t length = sizeof address_;
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &length), 0);
  }
  TestListener(const TestListener&) = delete;
  ~TestListener() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void shrink_queue() { EXPECT_EQ(::listen(fd_, 0), 0); }
  int accept() { return ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }
  int connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_), 0);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  uint16_t port() const { return ntohs(address_.sin_port); }
  net::Address address() const { return *net::Address::parse_ip("127.0.0.1", port()); }

 private:
  int fd_ = -1;
  sockaddr_in address_{};
};

class WorkerTest : public testing::Test, public ConnectionObserver {
 protected:
  WorkerTest() {
    base::Result<std::unique_ptr<io::Backend>> backend =
        io::make_uring_backend({.entries = 64, .buffer_bytes = 16 * 1024, .ring_buffers = 32});
    if (!backend.ok()) {
      ADD_FAILURE() << backend.error().to_string();
      return;
    }
    loop = std::make_unique<io::Loop>(std::move(*backend));
    loop->seed(11);
    worker = std::make_unique<WorkerContext>(*loop, uint16_t{0}, files);
    facts.name = "test";
    facts.stat_address = "127.0.0.1_1";
    facts.filter_chain_name = "chain";
  }
  // Ends everything; for TearDown().
  void end_host() {
    host.reset();
    turn_until([] { return net::Connection::alive() == 0; });
    turn(3);
  }
  void end_loop() {
    worker.reset();
    loop.reset();
    if (!log_path_.empty()) std::filesystem::remove(log_path_);
  }
  void on_connection_end(const stream::StreamInfo&) override { ++ended_connections; }

  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) loop->turn(milliseconds(1));
  }
  void turn_until(const std::function<bool()>& done, const std::vector<TestSocket*>& sockets = {}) {
    const base::MonotonicTime limit = base::Clock::now() + base::seconds(10);
    while (true) {
      for (TestSocket* s : sockets) s->poll();
      if (done()) return;
      ASSERT_LT(base::Clock::now(), limit) << "timed out" << (sockets.empty() ? "" : "; got: " + sockets[0]->received);
      loop->turn(milliseconds(2));
    }
  }
  TestSocket connect() {
    TestSocket client(listener.connect());
    const int fd = listener.accept();
    EXPECT_GE(fd, 0);
    host->accept(net::Connection::accepted(*loop, fd), *this);
    ++accepted;
    return client;
  }
  // Until the client has received a text that ends so.
  void read_until(TestSocket& client, std::string_view end) {
    turn_until([&] { return client.received.ends_with(end); }, {&client});
  }
  void read_to_end(TestSocket& client) {
    turn_until([&] { return client.ended || client.reset; }, {&client});
  }
  // Sends a request, waits for an answer that ends so, returns and forgets what came.
  std::string exchange(TestSocket& client, std::string_view request, std::string_view end) {
    client.send(request);
    read_until(client, end);
    return std::exchange(client.received, "");
  }

  stream::AccessLog access_log(std::string format) {
    log_path_ = testing::TempDir() + "millrace_log_" + std::to_string(getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name();
    stream::AccessLogOptions options;
    options.path = log_path_;
    options.format = format + "\n";
    return std::move(*stream::AccessLog::compile(options, &files));
  }
  std::string logged() {
    worker->access_log.flush(false);
    EXPECT_TRUE(files.drain(base::seconds(5)));
    std::ostringstream text;
    text << std::ifstream(log_path_).rdbuf();
    return text.str();
  }

  stream::AccessLogFiles files;
  stats::Store store{1};
  TestListener listener;
  ListenerFacts facts;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<WorkerContext> worker;
  std::unique_ptr<ConnectionHost> host;
  int accepted = 0, ended_connections = 0;

 private:
  std::string log_path_;
};

// The connection manager with the filters of the test.
class HcmTest : public WorkerTest {
 protected:
  HcmTest() {
    options.stat_prefix = "test";
    options.routes = route::compiled(route::table_of({route::prefix("/", "backend")}));
    options.generate_request_id = false;
    options.delayed_close_timeout = milliseconds(50);
  }
  // After the options and filters are as they should be.
  void start() {
    options.stats = store.add_block(hs::kSchema, stats::http_name("test"));
    options.listener_stats =
        store.add_block(stats::listener_http::kSchema, stats::listener_http_name("127.0.0.1_1", "test"));
    host = std::make_unique<HcmWorker>(options, *worker, facts);
  }
  void TearDown() override {
    if (loop == nullptr) return;
    end_host();
    if (options.stats != nullptr) {
      for (uint16_t gauge : {hs::kDownstreamCxActive, hs::kDownstreamCxHttp1Active, hs::kDownstreamRqActive,
                             hs::kDownstreamCxUpgradesActive}) {
        EXPECT_EQ(options.stats->gauge(gauge), 0) << hs::kStats[gauge].name;
      }
      EXPECT_EQ(counter(hs::kDownstreamCxTotal), static_cast<uint64_t>(accepted));
      EXPECT_EQ(counter(hs::kDownstreamCxDestroy), static_cast<uint64_t>(accepted));
      EXPECT_EQ(ended_connections, accepted);
    }
    end_loop();
  }
  uint64_t counter(uint16_t index) const { return options.stats->counter(index); }

  HcmOptions options;
};

}  // namespace millrace::filter
