// net::Connection over a transport: both ends on one loop, over the kernel's loopback.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <functional>
#include <list>
#include <optional>

#include "base/prng.h"
#include "net/acceptor.h"
#include "net/connection.h"
#include "support/toy_transport.h"

namespace millrace::net {
namespace {

using base::milliseconds;
using test::ToyFactory;
using test::ToyTransport;

struct Side : ConnectionHandler {
  void on_connected(Connection& c) override {
    connected = true;
    protocol = c.negotiated_protocol();
  }
  void on_data(Connection& c, base::Buffer& data, bool end_stream) override {
    EXPECT_TRUE(connected) << "bytes before the handshake was over";
    received += data.to_string();
    ended |= end_stream;
    if (echo) c.write(data, end_stream);
    else data.clear();
    truncated = c.read_truncated();
  }
  void on_above_high_watermark(Connection&) override { ++above; }
  void on_below_low_watermark(Connection&) override { ++below; }
  void on_error(Connection&, const base::Error& e) override {
    error = e;
    Connection::close(std::move(connection), CloseMode::kNow);
  }
  std::unique_ptr<Connection> connection;
  std::string received, protocol;
  bool connected = false, ended = false, truncated = false, echo = false;
  int above = 0, below = 0;
  std::optional<base::Error> error;
};

class ConnectionSecurityTest : public testing::Test {
 protected:
  void SetUp() override {
    base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend({});
    ASSERT_TRUE(backend.ok());
    loop_ = std::make_unique<io::Loop>(std::move(*backend));
    base::Result<int> fd = open_listen_socket(*Address::parse_ip("127.0.0.1", 0), {});
    ASSERT_TRUE(fd.ok());
    address_ = bound_address(*fd);
    acceptor_ = std::make_unique<Acceptor>(*loop_, *fd, [this](int accepted) {
      Side& side = servers_.emplace_back();
      side.echo = echo_;
      side.connection = Connection::accepted(*loop_, accepted);
      side.connection->set_handler(side);
      if (server_secure_) side.connection->secure(server_factory_.create({}), handshake_timeout_);
      else side.connected = true;
      side.connection->start();
    });
    acceptor_->start();
  }
  void TearDown() override {
    for (auto* sides : {&servers_, &clients_}) {
      for (Side& side : *sides) {
        if (side.connection) Connection::close(std::move(side.connection), CloseMode::kNow);
      }
    }
    Acceptor::stop(std::move(acceptor_));
    run_until([] { return Connection::alive() == 0; });
    for (int i = 0; i < 3; ++i) loop_->turn(milliseconds(1));
  }
  void run_until(const std::function<bool()>& done) {
    const base::MonotonicTime limit = base::Clock::now() + base::seconds(20);
    while (!done()) {
      ASSERT_LT(base::Clock::now(), limit) << "timed out";
      loop_->turn(milliseconds(100));
    }
  }
  Side& connect(bool secure = true, milliseconds timeout = milliseconds(5000)) {
    ConnectOptions options;
    options.timeout = timeout;
    if (secure) options.transport = &client_factory_;
    Side& side = clients_.emplace_back();
    side.connection = Connection::connect(*loop_, address_, options, side);
    return side;
  }
  Side& server() { return servers_.front(); }
  void connect_pair() {
    connect();
    run_until([&] { return !servers_.empty() && server().connected && clients_.front().connected; });
  }

  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<Acceptor> acceptor_;
  Address address_;
  ToyFactory client_factory_{true}, server_factory_{false};
  bool server_secure_ = true, echo_ = false;
  milliseconds handshake_timeout_{0};
  std::list<Side> servers_, clients_;
};

TEST_F(ConnectionSecurityTest, IsConnectedWhenEstablishedAndKnowsTheProtocol) {
  Side& client = connect();
  EXPECT_TRUE(client.connection->connecting());
  client.connection->write("early");
  run_until([&] { return !servers_.empty() && server().received == "early"; });
  EXPECT_TRUE(client.connected);
  EXPECT_EQ(client.protocol, "toy");
  EXPECT_EQ(server().protocol, "toy");
  EXPECT_TRUE(server().connection->secured());
  EXPECT_EQ(server().connection->bytes_received(), 5u);
  EXPECT_EQ(client.connection->bytes_sent(), 5u);
}

TEST_F(ConnectionSecurityTest, EchoesMegabytesUnchangedAndEndsBothWays) {
  echo_ = true;
  Side& client = connect();
  std::string sent;
  base::Prng prng(11);
  for (int i = 0; i < 200; ++i) {
    base::Buffer part;
    part.append(std::string(1 + prng.below(30'000), static_cast<char>('a' + prng.below(26))));
    sent += part.to_string();
    client.connection->write(part, i == 199);
    if (i % 5 == 0) loop_->turn(milliseconds(1));
  }
  run_until([&] { return client.ended; });
  EXPECT_TRUE(client.received == sent);
  EXPECT_FALSE(client.truncated);
  EXPECT_TRUE(server().ended);
  EXPECT_EQ(client.connection->bytes_sent(), sent.size());
  EXPECT_EQ(client.connection->bytes_received(), sent.size());
}

TEST_F(ConnectionSecurityTest, WatermarksCountCipherBytesToo) {
  connect_pair();
  Side& client = clients_.front();
  server().connection->pause_reading();
  client.connection->set_watermark(64 * 1024);
  const std::string part(32 * 1024, 'x');
  uint64_t sent = 0;
  while (client.above == 0) {
    client.connection->write(part);
    sent += part.size();
    loop_->turn(milliseconds(1));
    ASSERT_LT(sent, 64u << 20) << "a reader that takes nothing never stops its writer";
  }
  EXPECT_EQ(client.below, 0);
  EXPECT_TRUE(server().received.empty());
  server().connection->resume_reading();
  run_until([&] { return server().received.size() == sent; });
  EXPECT_EQ(client.below, 1);
}

TEST_F(ConnectionSecurityTest, AnEndWithoutCloseNotifyIsToldApart) {
  Side& client = connect(false);
  client.connection->write(ToyTransport::record(ToyTransport::Type::kHello, "toy"));
  base::Buffer last;
  last.append(ToyTransport::record(ToyTransport::Type::kData, "cut sho"));
  client.connection->write(last, true);
  run_until([&] { return !servers_.empty() && server().ended; });
  EXPECT_EQ(server().received, "cut sho");
  EXPECT_TRUE(server().truncated);
}

TEST_F(ConnectionSecurityTest, ARefusedHandshakeReachesThePeerAsAnAlert) {
  server_factory_.options.refuse = true;
  Side& client = connect();
  client.connection->write(std::string(100'000, 'e'));
  run_until([&] { return client.error && !servers_.empty() && server().error; });
  EXPECT_EQ(server().error->what, "toy: refused toy");
  EXPECT_EQ(server().error->code, base::ErrorCode::kProtocol);
  EXPECT_EQ(client.error->what, "toy: alert: no such protocol");
  EXPECT_FALSE(client.connected || server().connected);
}

TEST_F(ConnectionSecurityTest, ClosingAtOnceStillSaysGoodbye) {
  connect_pair();
  Connection::close(std::move(server().connection), CloseMode::kNow);
  run_until([&] { return clients_.front().ended; });
  EXPECT_FALSE(clients_.front().truncated);
}

TEST_F(ConnectionSecurityTest, AFlushingCloseSendsEverythingFirst) {
  connect_pair();
  const std::string answer(3'000'000, 'y');
  server().connection->write(answer);
  Connection::close(std::move(server().connection), CloseMode::kFlushDelay);
  run_until([&] { return clients_.front().ended; });
  EXPECT_TRUE(clients_.front().received == answer);
  EXPECT_FALSE(clients_.front().truncated);
}

TEST_F(ConnectionSecurityTest, ConnectTimeoutCoversTheHandshake) {
  server_factory_.options.mute = true;
  Side& client = connect(true, milliseconds(60));
  run_until([&] { return client.error.has_value(); });
  EXPECT_EQ(client.error->code, base::ErrorCode::kTimeout);
  EXPECT_FALSE(client.connected);
}

TEST_F(ConnectionSecurityTest, AServerGivesUpOnASilentClient) {
  handshake_timeout_ = milliseconds(40);
  connect(false);
  run_until([&] { return !servers_.empty() && server().error; });
  EXPECT_EQ(server().error->code, base::ErrorCode::kTimeout);
}

TEST_F(ConnectionSecurityTest, AClientThatLeavesInTheHandshakeIsAnError) {
  Side& client = connect(false);
  base::Buffer part;
  part.append(ToyTransport::record(ToyTransport::Type::kHello, "toy").substr(0, 4));
  client.connection->write(part, true);
  run_until([&] { return !servers_.empty() && server().error; });
  EXPECT_EQ(server().error->what, "connection closed during the handshake");
}

TEST_F(ConnectionSecurityTest, BytesReadBeforeTheTransportAreItsFirst) {
  server_secure_ = false;
  Side& client = connect();
  // As a listener filter that looks and takes nothing: the hello stays in the input.
  struct Looker : ConnectionHandler {
    void on_data(Connection&, base::Buffer& data, bool) override { seen = data.size(); }
    void on_error(Connection&, const base::Error&) override {}
    size_t seen = 0;
  } looker;
  run_until([&] { return !servers_.empty(); });
  server().connection->set_handler(looker);
  server().connected = false;
  run_until([&] { return looker.seen >= 6; });
  server().connection->secure(server_factory_.create({}), milliseconds(0));
  server().connection->set_handler(server());
  server().connection->start();
  run_until([&] { return client.connected && server().connected; });
}

TEST_F(ConnectionSecurityTest, WithoutASecretNothingIsConnected) {
  client_factory_.empty = true;
  Side& client = connect();
  run_until([&] { return client.error.has_value(); });
  EXPECT_EQ(client.error->code, base::ErrorCode::kNotFound);
}

TEST_F(ConnectionSecurityTest, AFloodOfHandshakesDoesNotStallAnotherConnection) {
  connect_pair();
  Side& quick = clients_.front();
  server().echo = true;
  // Each step burns half a millisecond.
  server_factory_.options.on_step = [] {
    const base::MonotonicTime until = base::Clock::now() + base::microseconds(500);
    while (base::Clock::now() < until) {
    }
  };
  constexpr size_t kFlood = 60;
  for (size_t i = 0; i < kFlood; ++i) connect();
  const auto done = [&] {
    size_t n = 0;
    for (const Side& side : clients_) n += side.connected ? 1 : 0;
    return n == kFlood + 1;
  };
  size_t round_trips = 0;
  run_until([&] {
    if (quick.received.size() == round_trips) {
      quick.connection->write("!");
      ++round_trips;
    }
    return done();
  });
  // At least 15 turns go to the handshakes, each of which serves the others too: a round trip takes a few turns.
  EXPECT_GE(round_trips, 4u);
}

}  // namespace
}  // namespace millrace::net
