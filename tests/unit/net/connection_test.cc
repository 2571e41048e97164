#include "net/connection.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "net/acceptor.h"
#include "stats/names.h"

namespace millrace::net {
namespace {

using base::milliseconds;

std::unique_ptr<io::Loop> make_loop(io::UringOptions options = {}) {
  base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend(options);
  if (!backend.ok()) {
    ADD_FAILURE() << backend.error().to_string();
    return nullptr;
  }
  return std::make_unique<io::Loop>(std::move(*backend));
}

// A side of a connection that records what it was told.
class Peer : public ConnectionHandler {
 public:
  std::unique_ptr<Connection> connection;
  std::string received;
  bool ended = false, connected = false, echo = false, drained = false;
  int above = 0, below = 0;
  std::optional<base::Error> error;

  void on_connected(Connection&) override { connected = true; }
  void on_data(Connection& c, base::Buffer& data, bool end_stream) override {
    received += data.to_string();
    if (echo) {
      c.write(data, end_stream);
    } else {
      data.clear();
    }
    ended |= end_stream;
  }
  void on_above_high_watermark(Connection&) override { ++above; }
  void on_below_low_watermark(Connection&) override { ++below; }
  void on_drained(Connection&) override { drained = true; }
  void on_error(Connection&, const base::Error& e) override { error = e; }
};

class ConnectionTest : public testing::Test {
 protected:
  void SetUp() override { listen({}); }

  void listen(io::UringOptions options) {
    stop();
    loop_ = make_loop(options);
    ASSERT_NE(loop_, nullptr);
    base::Result<int> fd = open_listen_socket(*Address::parse_ip("127.0.0.1", 0), {});
    ASSERT_TRUE(fd.ok());
    address_ = bound_address(*fd);
    acceptor_ = std::make_unique<Acceptor>(*loop_, *fd, [this](int accepted) {
      server_.connection = Connection::accepted(*loop_, accepted);
      server_.connection->set_handler(server_);
      server_.connection->start();
      ++accepted_;
    });
    acceptor_->start();
  }
  void TearDown() override { stop(); }
  void stop() {
    if (loop_ == nullptr) return;
    for (Peer* peer : {&client_, &server_}) {
      if (peer->connection) Connection::close(std::move(peer->connection), CloseMode::kNow);
    }
    if (acceptor_) Acceptor::stop(std::move(acceptor_));
    run_until([] { return Connection::alive() == 0; });
    run_for_turns(3);
    loop_.reset();
  }
  void run_until(const std::function<bool()>& done) {
    const base::MonotonicTime limit = base::Clock::now() + base::seconds(20);
    while (!done()) {
      ASSERT_LT(base::Clock::now(), limit) << "timed out";
      loop_->turn(milliseconds(100));
    }
  }
  void run_for_turns(int n) { for (int i = 0; i < n; ++i) loop_->turn(milliseconds(1)); }
  void connect(ConnectOptions options = {}) {
    client_.connection = Connection::connect(*loop_, address_, options, client_);
  }
  void connect_pair() {
    connect();
    run_until([&] { return client_.connected && accepted_ > 0; });
  }

  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<Acceptor> acceptor_;
  Address address_;
  Peer client_, server_;
  int accepted_ = 0;
};

TEST_F(ConnectionTest, CarriesBytesAndHalfClosesBothWays) {
  connect();
  client_.connection->write("before connected");
  run_until([&] { return server_.received == "before connected"; });
  base::Buffer last;
  last.append(" end");
  client_.connection->write(last, true);
  run_until([&] { return server_.ended; });
  EXPECT_EQ(server_.received, "before connected end");
  EXPECT_FALSE(client_.ended);
  server_.connection->write("answer after the peer's end");
  run_until([&] { return client_.received == "answer after the peer's end"; });
  Connection::close(std::move(server_.connection), CloseMode::kFlush);
  run_until([&] { return client_.ended; });
}

TEST_F(ConnectionTest, EchoesMegabytesUnchanged) {
  server_.echo = true;
  connect_pair();
  std::string sent;
  base::Prng prng(7);
  for (int i = 0; i < 400; ++i) {
    std::string part(1 + prng.below(40000), static_cast<char>('a' + prng.below(26)));
    sent += part;
    base::Buffer buffer;
    buffer.append(part);
    client_.connection->write(buffer, i == 399);
    if (i % 7 == 0) run_for_turns(1);
  }
  run_until([&] { return client_.ended; });
  EXPECT_EQ(client_.received.size(), sent.size());
  EXPECT_TRUE(client_.received == sent);
}

TEST_F(ConnectionTest, SurvivesAPoolThatRunsDry) {
  io::UringOptions options;
  options.buffer_bytes = 4096;
  options.ring_buffers = 4;
  options.buffer_bytes_max = 4 * 4096;
  listen(options);
  server_.echo = true;
  connect_pair();
  const std::string sent(1 << 20, 'z');
  base::Buffer buffer;
  buffer.append(sent);
  client_.connection->write(buffer, true);
  run_until([&] { return client_.ended; });
  EXPECT_EQ(client_.received.size(), sent.size());
  EXPECT_GT(loop_->backend().stats().buffers_exhausted, 0u);
}

TEST_F(ConnectionTest, StopsReadingWhilePausedAndLosesNothing) {
  connect_pair();
  server_.connection->pause_reading();
  const std::string sent(64 << 20, 'p');
  client_.connection->set_watermark(1 << 20);
  base::Buffer buffer;
  buffer.append(sent);
  client_.connection->write(buffer);
  EXPECT_EQ(client_.above, 1);
  for (int i = 0; i < 50; ++i) loop_->turn(milliseconds(2));
  EXPECT_EQ(server_.received.size(), 0u);
  // What the kernel had under way, not the whole.
  EXPECT_LT(server_.connection->input().size(), 4u << 20);
  EXPECT_GT(client_.connection->unsent(), 32u << 20);
  server_.connection->resume_reading();
  run_until([&] { return server_.received.size() == sent.size(); });
  EXPECT_EQ(client_.below, 1);
}

TEST(ListenSocket, TakesOptionsInTheirState) {
  // Each is there only if it was set after bind, or after listen: then the last one wins.
  for (const auto& [last, want] : {std::pair{SocketOption::State::kBound, 7}, {SocketOption::State::kListening, 8}}) {
    const auto option = [](int value, SocketOption::State state) {
      SocketOption out{IPPROTO_TCP, TCP_KEEPCNT, {}, state};
      out.value.resize(sizeof value);
      std::memcpy(out.value.data(), &value, sizeof value);
      return out;
    };
    ListenOptions options;
    options.socket_options = {option(want, last), option(6, SocketOption::State::kPrebind)};
    const base::Result<int> fd = open_listen_socket(*Address::parse_ip("127.0.0.1", 0), options);
    ASSERT_TRUE(fd.ok());
    int value = 0;
    socklen_t length = sizeof value;
    EXPECT_EQ(getsockopt(*fd, IPPROTO_TCP, TCP_KEEPCNT, &value, &length), 0);
    EXPECT_EQ(value, want);
    ::close(*fd);
  }
}

TEST_F(ConnectionTest, ReportsARefusedConnection) {
  const base::Result<int> fd = open_listen_socket(*Address::parse_ip("127.0.0.1", 0), {});
  ASSERT_TRUE(fd.ok());
  address_ = bound_address(*fd);
  ::close(*fd);
  connect();
  run_until([&] { return client_.error.has_value(); });
  EXPECT_EQ(client_.error->code, base::ErrorCode::kRefused);
}

TEST_F(ConnectionTest, TimesOutConnecting) {
  // A listener whose queue is full does not answer.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const Address any = *Address::parse_ip("127.0.0.1", 0);
  sockaddr_storage storage;
  const socklen_t length = any.to_sockaddr(storage);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&storage), length), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  address_ = bound_address(fd);
  ConnectOptions quick;
  quick.timeout = milliseconds(100);
  std::vector<std::unique_ptr<Peer>> fill;
  for (int i = 0; i < 4; ++i) {
    fill.push_back(std::make_unique<Peer>());
    fill.back()->connection = Connection::connect(*loop_, address_, quick, *fill.back());
  }
  run_until([&] {
    return std::any_of(fill.begin(), fill.end(), [](auto& p) { return p->error.has_value(); });
  });
  for (auto& peer : fill) {
    if (peer->error) { EXPECT_EQ(peer->error->code, base::ErrorCode::kTimeout); }
    Connection::close(std::move(peer->connection), CloseMode::kNow);
  }
  ::close(fd);
}

TEST_F(ConnectionTest, ResetIsSeenAsAReset) {
  connect_pair();
  Connection::close(std::move(server_.connection), CloseMode::kReset);
  run_until([&] { return client_.error.has_value(); });
  EXPECT_EQ(client_.error->code, base::ErrorCode::kReset);
}

TEST_F(ConnectionTest, DelayedCloseLetsTheAnswerArriveThoughThePeerStillSends) {
  connect_pair();
  server_.connection->write("bye");
  client_.connection->write(std::string(100000, 'x'));  // unread bytes would turn close() into RST
  Connection::close(std::move(server_.connection), CloseMode::kFlushDelay, milliseconds(5000));
  run_until([&] { return client_.ended; });
  EXPECT_EQ(client_.received, "bye");
  EXPECT_FALSE(client_.error.has_value());
}

namespace lingering {
#define MILLRACE_LINGERING_STATS(X) X(kTimeouts, "timeouts", kCounter, kNone)
MILLRACE_STAT_SCHEMA("lingering", MILLRACE_LINGERING_STATS)
}  // namespace lingering

TEST_F(ConnectionTest, ADelayedCloseCountsWhenItsTimerEndsItAndNotWhenThePeerDoes) {
  stats::Store store(1);
  stats::StatBlockPtr block = store.add_block(lingering::kSchema, stats::plain_name("net."));
  stats::StatShard shard = block->main_shard();
  DelayedCloseCounter counter(shard, lingering::kTimeouts);
  connect_pair();
  Connection::close(std::move(server_.connection), CloseMode::kFlushDelay, milliseconds(10), &counter);
  run_until([&] { return Connection::alive() == 1; });
  EXPECT_EQ(block->counter(lingering::kTimeouts), 1u);
  Connection::close(std::move(client_.connection), CloseMode::kNow);
  accepted_ = 0;
  connect_pair();
  Connection::close(std::move(server_.connection), CloseMode::kFlushDelay, milliseconds(10'000), &counter);
  run_until([&] { return client_.ended; });
  Connection::close(std::move(client_.connection), CloseMode::kNow);
  run_until([&] { return Connection::alive() == 0; });
  EXPECT_EQ(block->counter(lingering::kTimeouts), 1u);
}

TEST_F(ConnectionTest, ADelayedCloseMayOutliveItsCounter) {
  stats::Store store(1);
  stats::StatBlockPtr block = store.add_block(lingering::kSchema, stats::plain_name("net."));
  stats::StatShard shard = block->main_shard();
  auto counter = std::make_unique<DelayedCloseCounter>(shard, lingering::kTimeouts);
  connect_pair();
  Connection::close(std::move(server_.connection), CloseMode::kFlushDelay, milliseconds(10), counter.get());
  counter.reset();
  run_until([&] { return Connection::alive() == 1; });
  EXPECT_EQ(block->counter(lingering::kTimeouts), 0u);
}

TEST_F(ConnectionTest, AcceptsAgainAfterDescriptorsRanOut) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int probe = dup(0);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(probe) + 1;  // room for the client's socket alone
  ::close(probe);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  connect();
  run_until([&] { return client_.connected; });
  run_until([&] { return acceptor_->rests() > 0; });
  EXPECT_EQ(accepted_, 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  run_until([&] { return accepted_ == 1; });
}

}  // namespace
}  // namespace millrace::net
