#include <memory>

#include "unit/upstream/http2_peer.h"
#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using Start = HttpPool::Start;

// A transport that protects nothing and needs no handshake; the server has chosen a protocol.
class ChosenTransport final : public net::Transport {
 public:
  explicit ChosenTransport(std::string_view protocol) : protocol_(protocol) {}
  base::Result<void> start(base::Buffer&) override {
    established_ = true;
    return {};
  }
  base::Result<void> receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer&) override {
    plain_out.move_from(wire_in);
    return {};
  }
  base::Result<void> send(base::Buffer& plain_in, base::Buffer& wire_out, size_t) override {
    wire_out.move_from(plain_in);
    return {};
  }
  void close_notify(base::Buffer&) override {}
  bool established() const override { return established_; }
  bool ended() const override { return false; }
  bool announces_end() const override { return false; }
  std::string_view protocol() const override { return protocol_; }
  std::shared_ptr<const net::TransportFacts> facts() const override { return nullptr; }

 private:
  const std::string_view protocol_;
  bool established_ = false;
};

struct ChosenFactory final : net::TransportFactory {
  explicit ChosenFactory(std::string_view protocol_in) : protocol(protocol_in) {}
  std::unique_ptr<net::Transport> create(const Ask& ask) const override {
    offered.assign(ask.alpn_fallback.begin(), ask.alpn_fallback.end());
    return std::make_unique<ChosenTransport>(protocol);
  }
  const std::string_view protocol;
  mutable std::vector<std::string> offered;
};

class AlpnTest : public PoolTest {
 protected:
  void begin_with(std::string_view chosen, HttpProtocol protocol = HttpProtocol::kAuto) {
    factory = std::make_shared<ChosenFactory>(chosen);
    ClusterOptions options = cluster_options({1});
    options.http.protocol = protocol;
    options.transport = factory;
    begin(std::move(options));
  }
  std::shared_ptr<ChosenFactory> factory;
};

TEST_F(AlpnTest, SpeaksHttp2WhenTheServerChoseIt) {
  begin_with("h2");
  Client a(pool()), b(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  ASSERT_EQ(b.start(), Start::kPending);
  EXPECT_EQ(factory->offered, (std::vector<std::string>{"h2", "http/1.1"}));
  network->accept_connection(0);
  Http2Peer peer(*network, 0);
  for (int i = 0; i < 3; ++i) {
    turn();
    peer.pump();
  }
  ASSERT_EQ(peer.requests(), 2u);
  peer.answer(0);
  peer.answer(1);
  peer.write();
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_EQ(network->opened(), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxHttp2Total), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxTotal), 1u);
}

TEST_F(AlpnTest, SpeaksHttp1OtherwiseAndRemembersIt) {
  begin_with("http/1.1");
  Client a(pool()), b(pool()), c(pool());
  for (Client* client : {&a, &b}) ASSERT_EQ(client->start(), Start::kPending);
  EXPECT_EQ(network->opened(), 1u) << "it may be HTTP/2, which has room for both";
  network->accept_connection(0);
  turn();
  EXPECT_EQ(network->peer(0).received, "GET / HTTP/1.1\r\nhost: test\r\n\r\n");
  EXPECT_EQ(network->opened(), 2u) << "it was not";
  ASSERT_EQ(c.start(), Start::kPending);
  EXPECT_EQ(network->opened(), 3u);
  network->peer(0).says.push_back(kOk);
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_EQ(a.request.state(), UpstreamRequest::State::kIdle);
  EXPECT_EQ(counter(stat::kUpstreamCxHttp1Total), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxHttp2Total), 0u);
  EXPECT_EQ(host().cx_active(), 3u);
}

TEST_F(AlpnTest, OffersTheOneProtocolThatIsConfigured) {
  begin_with("h2", HttpProtocol::kHttp2);
  Client a(pool());
  ASSERT_EQ(a.start(), Start::kPending);
  network->accept_connection(0);
  turn();
  EXPECT_EQ(factory->offered, std::vector<std::string>{"h2"});
}

}  // namespace
}  // namespace millrace::upstream
