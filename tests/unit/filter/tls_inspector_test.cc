#include "filter/tls_inspector.h"

#include <gtest/gtest.h>

#include "stats/names.h"
#include "stats/schema_tls_inspector.h"
#include "unit/tls/hello_bytes.h"
#include "unit/upstream/fake_network.h"

namespace millrace::filter {
namespace {

namespace ts = stats::tls_inspector;

class TlsInspectorTest : public testing::Test {
 protected:
  TlsInspectorTest() {
    auto backend = std::make_unique<upstream::FakeNetwork>();
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
    options.stats = block;
    connection = net::Connection::accepted(*loop, network->listen());
  }
  ~TlsInspectorTest() override {
    net::Connection::close(std::move(connection), net::CloseMode::kNow);
    loop->turn(base::nanoseconds(0));
  }
  // What the filter says after the last of the pieces.
  ListenerFilterStatus inspect(std::string_view bytes, size_t piece = 100'000) {
    const TlsInspector filter(options);
    AcceptedConnection accepted{*connection, {}, nullptr, 0, memory};
    ListenerFilterStatus status = filter.inspect(accepted);
    EXPECT_EQ(status, ListenerFilterStatus::kWait) << "nothing came yet";
    while (!bytes.empty() && status == ListenerFilterStatus::kWait) {
      connection->input().append(bytes.substr(0, piece));
      bytes.remove_prefix(std::min(piece, bytes.size()));
      status = filter.inspect(accepted);
    }
    return status;
  }
  static std::string hello() {
    return tls::in_records(tls::hello_message(tls::numbers({0x1301}),
                                              tls::server_name("A.test") + tls::alpn({"h2", "http/1.1"})));
  }

  stats::Store store{1};
  stats::StatBlockPtr block = store.add_block(ts::kSchema, stats::plain_name("tls_inspector."));
  TlsInspectorOptions options;
  upstream::FakeNetwork* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<net::Connection> connection;
  std::unique_ptr<ListenerFilterMemory> memory;
};

TEST_F(TlsInspectorTest, FindsNamesAndProtocolsAndTakesNoByte) {
  EXPECT_EQ(inspect(hello() + "more"), ListenerFilterStatus::kContinue);
  EXPECT_EQ(connection->input().to_string(), hello() + "more");
  const net::ClientHints* hints = connection->client_hints();
  ASSERT_NE(hints, nullptr);
  EXPECT_EQ(hints->transport_protocol, "tls");
  EXPECT_EQ(hints->server_name, "a.test");
  EXPECT_EQ(hints->application_protocols, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(hints->ja3 + hints->ja4, "");
  EXPECT_EQ(block->counter(ts::kTlsFound), 1u);
  EXPECT_EQ(block->counter(ts::kSniFound), 1u);
  EXPECT_EQ(block->counter(ts::kAlpnFound), 1u);
  EXPECT_EQ(memory, nullptr) << "what came at once needs no memory";
}

TEST_F(TlsInspectorTest, ReadsAClientHelloThatComesByteByByte) {
  options.ja3 = options.ja4 = true;
  EXPECT_EQ(inspect(hello(), 1), ListenerFilterStatus::kContinue);
  EXPECT_EQ(connection->client_hints()->server_name, "a.test");
  EXPECT_EQ(connection->client_hints()->ja3.size(), 32u);
  EXPECT_EQ(connection->client_hints()->ja4.substr(0, 4), "t12d");
}

TEST_F(TlsInspectorTest, LetsPlainTextPass) {
  EXPECT_EQ(inspect("GET / HTTP/1.1\r\n"), ListenerFilterStatus::kContinue);
  EXPECT_EQ(connection->client_hints(), nullptr);
  EXPECT_EQ(block->counter(ts::kTlsNotFound), 1u);
}

TEST_F(TlsInspectorTest, ClosesABrokenHelloOnlyWhenToldTo) {
  const std::string broken = tls::in_records(tls::number(2, 1) + tls::with_length("no hello", 3));
  EXPECT_EQ(inspect(broken), ListenerFilterStatus::kContinue);
  options.close_on_parsing_errors = true;
  connection->input().clear();
  EXPECT_EQ(inspect(broken), ListenerFilterStatus::kClose);
  connection->input().clear();
  EXPECT_EQ(inspect("GET /"), ListenerFilterStatus::kContinue);
}

TEST_F(TlsInspectorTest, BoundsTheClientHello) {
  options.client_hello_bytes_max = 300;
  const std::string large =
      tls::in_records(tls::hello_message(tls::numbers({0x1301}), tls::extension(21, std::string(500, '\0'))));
  EXPECT_EQ(inspect(large), ListenerFilterStatus::kClose);
  EXPECT_EQ(block->counter(ts::kClientHelloTooBig), 1u);
}

TEST_F(TlsInspectorTest, CountsAHelloWithoutNames) {
  EXPECT_EQ(inspect(tls::in_records(tls::hello_message(tls::numbers({0x1301}), ""))), ListenerFilterStatus::kContinue);
  EXPECT_EQ(block->counter(ts::kSniNotFound), 1u);
  EXPECT_EQ(block->counter(ts::kAlpnNotFound), 1u);
}

}  // namespace
}  // namespace millrace::filter
