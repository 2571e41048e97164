// Listener filters and the hand-over between listeners, on one worker over a fake network.
#include "server/worker_listener.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "filter/original_dst_filter.h"
#include "filter/tls_inspector.h"
#include "stats/names.h"
#include "stats/schema_listener.h"
#include "stats/schema_tls_inspector.h"
#include "support/toy_transport.h"
#include "unit/tls/hello_bytes.h"
#include "unit/upstream/fake_network.h"

namespace millrace::server {
namespace {

namespace ls = stats::listener;
using filter::ListenerFilterStatus;
using std::chrono::milliseconds;

net::Address address(std::string_view text) { return net::Address::parse_ip_port(text).value(); }

// Waits for so many bytes; takes some of them; refuses what begins with an x.
struct ByteFilter final : filter::ListenerFilter {
  ByteFilter(size_t wanted_in, size_t taken_in) : wanted(wanted_in), taken(taken_in) {}
  ListenerFilterStatus inspect(filter::AcceptedConnection& accepted) const override {
    base::Buffer& in = accepted.connection.input();
    if (in.to_string().starts_with("x")) return ListenerFilterStatus::kClose;
    if (in.size() < wanted) return ListenerFilterStatus::kWait;
    in.drain(taken);
    return ListenerFilterStatus::kContinue;
  }
  std::string_view type_name() const override { return "test"; }
  const size_t wanted, taken;
};

// A filter chain that takes in what comes.
struct Chain final : filter::NetworkFilterConfig {
  struct Host final : filter::ConnectionHost, net::ConnectionHandler {
    void accept(std::unique_ptr<net::Connection> connection, filter::ConnectionObserver& observer_in) override {
      observer = &observer_in;
      connection->set_handler(*this);
      connection->start();
      connections.push_back(std::move(connection));
    }
    void drain() override {}
    void close_all() override {
      while (!connections.empty()) {
        net::Connection::close(std::move(connections.back()), net::CloseMode::kNow);
        connections.pop_back();
        observer->on_connection_end(stream::StreamInfo());
      }
    }
    size_t active() const override { return connections.size(); }
    void on_data(net::Connection&, base::Buffer& data, bool end_stream) override {
      received += data.to_string() + (end_stream ? "$" : "");
      data.clear();
    }
    void on_error(net::Connection&, const base::Error&) override {}
    std::vector<std::unique_ptr<net::Connection>> connections;
    std::string received;
    filter::ConnectionObserver* observer = nullptr;
  };
  std::unique_ptr<filter::ConnectionHost> instantiate(filter::WorkerContext&,
                                                      const filter::ListenerFacts&) const override {
    auto made = std::make_unique<Host>();
    host = made.get();
    return made;
  }
  std::string_view type_name() const override { return "test"; }
  mutable Host* host = nullptr;
};

class WorkerListenerTest : public testing::Test {
 protected:
  struct Made {
    config::Listener options;
    SharedListener shared;
    std::unique_ptr<WorkerListener> listener;
    const Chain::Host& host(size_t chain = 0) const {
      return *static_cast<const Chain&>(*options.filter_chains.at(chain).filter).host;
    }
    uint64_t counter(uint16_t index) const { return shared.stats->counter(index); }
    int64_t gauge(uint16_t index) const { return shared.stats->gauge(index); }
  };

  WorkerListenerTest() {
    auto backend = std::make_unique<upstream::FakeNetwork>();
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
    worker = std::make_unique<filter::WorkerContext>(*loop, 0, files);
  }
  void TearDown() override {
    for (auto& one : listeners) {
      one->listener->stop_accepting();
      one->listener->close_all();
      turn();
      EXPECT_EQ(one->shared.connections, 0u) << one->options.name;
      EXPECT_EQ(one->gauge(ls::kDownstreamCxActive), 0);
      EXPECT_EQ(one->gauge(ls::kDownstreamPreCxActive), 0);
      one->listener.reset();
    }
    EXPECT_EQ(global.active, 0);
    EXPECT_EQ(network->open(), 0u) << "a socket was left open";
    turn();
  }
  void turn() {
    for (int i = 0; i < 4; ++i) loop->turn(base::nanoseconds(0));
  }
  void advance(milliseconds by) {
    network->advance(by);
    turn();
  }
  // A listener that is not started yet.
  Made& make(std::string_view where, bool bind = true) {
    Made& made = *listeners.emplace_back(std::make_unique<Made>());
    made.options.name = where;
    made.options.bind_to_port = bind;
    made.options.addresses = {address(where)};
    made.options.filter_chains.emplace_back().filter = std::make_unique<Chain>();
    (void)made.options.matcher.add({}, 0);
    made.shared.facts.resize(1);
    made.shared.options = &made.options;
    made.shared.bound = made.options.addresses;
    made.shared.stats = store.add_block(ls::kSchema, stats::listener_name(where));
    made.shared.worker_stats.push_back(
        store.add_block(stats::listener_worker::kSchema, stats::listener_worker_name(where, 0)));
    return made;
  }
  void start(Made& made) {
    std::vector<int> fds;
    if (made.options.bind_to_port) fds.push_back(network->listen());
    made.listener = std::make_unique<WorkerListener>(*worker, made.shared, global, directory, fds);
    directory.add(*made.listener);
    made.listener->start();
  }
  // One more filter chain, behind the one that every listener has here.
  config::FilterChain& add_chain(Made& made, const filter::FilterChainMatch& match) {
    config::FilterChain& chain = made.options.filter_chains.emplace_back();
    chain.filter = std::make_unique<Chain>();
    (void)made.options.matcher.add(match, made.options.filter_chains.size() - 1);
    made.shared.facts.resize(made.options.filter_chains.size());
    return chain;
  }
  void inspect_tls(Made& made) {
    filter::TlsInspectorOptions options;
    options.stats = store.add_block(stats::tls_inspector::kSchema, stats::plain_name("tls_inspector."));
    made.options.listener_filters.push_back(std::make_unique<filter::TlsInspector>(options));
  }
  void log_to(Made& made, const std::string& path, std::string_view format) {
    stream::AccessLogOptions log;
    log.path = path;
    log.format = std::string(format);
    made.options.access_logs.push_back(std::move(*stream::AccessLog::compile(log, &files)));
  }
  std::string logged(const std::string& path) {
    worker->access_log.flush(false);
    EXPECT_TRUE(files.drain(base::seconds(5)));
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    std::filesystem::remove(path);
    return text.str();
  }
  static std::string log_path() {
    return testing::TempDir() + "millrace_server_log_" + std::to_string(getpid());
  }
  void wait_for_bytes(Made& made, size_t wanted, size_t taken = 0) {
    made.options.listener_filters.push_back(std::make_unique<ByteFilter>(wanted, taken));
  }
  void restore_destination(Made& made) {
    made.options.listener_filters.push_back(std::make_unique<filter::OriginalDstFilter>());
    made.options.use_original_dst = true;
  }
  upstream::FakeNetwork::Peer& client(std::string_view local, std::string_view before_nat = {}) {
    const size_t n = network->arrive(address(local), before_nat.empty() ? net::Address() : address(before_nat));
    turn();
    return network->peer(n);
  }

  stats::Store store{1};
  stream::AccessLogFiles files;
  upstream::FakeNetwork* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<filter::WorkerContext> worker;
  GlobalConnections global;
  ListenerDirectory directory;
  std::vector<std::unique_ptr<Made>> listeners;
};

TEST_F(WorkerListenerTest, GivesTheChainWhatListenerFiltersLeft) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  wait_for_bytes(made, 5, 2);
  start(made);
  auto& peer = client("127.0.0.1:80");
  EXPECT_EQ(made.gauge(ls::kDownstreamPreCxActive), 1);
  EXPECT_EQ(made.counter(ls::kDownstreamCxTotal), 0u);
  EXPECT_EQ(made.listener->active(), 1u) << "a drain waits for it";
  peer.says.push_back("abc");
  turn();
  EXPECT_EQ(made.host().active(), 0u) << "the second filter wants more";
  peer.says.push_back("def");
  turn();
  EXPECT_EQ(made.host().active(), 1u);
  EXPECT_EQ(made.host().received, "cdef");
  EXPECT_EQ(made.gauge(ls::kDownstreamPreCxActive), 0);
  EXPECT_EQ(made.counter(ls::kDownstreamCxTotal), 1u);
  advance(milliseconds(20'000));
  EXPECT_EQ(made.counter(ls::kDownstreamPreCxTimeout), 0u);
  peer.says.push_back("g");
  turn();
  EXPECT_EQ(made.host().received, "cdefg");
}

TEST_F(WorkerListenerTest, GivesTheChainAnEndThatCameWithTheLastBytes) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  start(made);
  auto& peer = client("127.0.0.1:80");
  peer.says.push_back("abc");
  peer.ends = true;
  turn();
  EXPECT_EQ(made.host().received, "abc$");
}

TEST_F(WorkerListenerTest, ClosesWhatListenerFiltersWaitForTooLong) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  start(made);
  auto& peer = client("127.0.0.1:80");
  peer.says.push_back("ab");
  advance(milliseconds(14'990));
  EXPECT_FALSE(peer.closed);
  advance(milliseconds(20));
  EXPECT_TRUE(peer.closed);
  EXPECT_EQ(made.counter(ls::kDownstreamPreCxTimeout), 1u);
  EXPECT_EQ(made.counter(ls::kDownstreamCxTotal), 0u);
}

TEST_F(WorkerListenerTest, GoesOnAfterTheTimeoutWhenToldTo) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  made.options.listener_filters_timeout = milliseconds(10);
  made.options.continue_on_listener_filters_timeout = true;
  start(made);
  auto& peer = client("127.0.0.1:80");
  peer.says.push_back("ab");
  turn();
  advance(milliseconds(11));
  EXPECT_EQ(made.host().received, "ab");
  EXPECT_EQ(made.counter(ls::kDownstreamPreCxTimeout), 1u);
}

TEST_F(WorkerListenerTest, WaitsForeverWithoutATimeout) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  made.options.listener_filters_timeout = milliseconds(0);
  start(made);
  auto& peer = client("127.0.0.1:80");
  advance(std::chrono::hours(24));
  EXPECT_FALSE(peer.closed);
}

TEST_F(WorkerListenerTest, CountsWhyAConnectionEndedBeforeItsChain) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  start(made);
  client("127.0.0.1:80").ends = true;
  turn();
  EXPECT_EQ(made.counter(ls::kDownstreamListenerFilterRemoteClose), 1u);
  client("127.0.0.1:80").error = ECONNRESET;
  turn();
  EXPECT_EQ(made.counter(ls::kDownstreamListenerFilterError), 1u);
  client("127.0.0.1:80").says.push_back("x");
  turn();
  EXPECT_EQ(made.counter(ls::kDownstreamListenerFilterError), 2u);
  EXPECT_EQ(made.shared.connections, 0u);
  EXPECT_EQ(global.active, 0);
}

TEST_F(WorkerListenerTest, LogsAConnectionThatNeverCameToItsChain) {
  Made& made = make("127.0.0.1:80");
  wait_for_bytes(made, 3);
  const std::string path = log_path();
  log_to(made, path, "%DOWNSTREAM_LOCAL_ADDRESS% %ACCESS_LOG_TYPE%\n");
  start(made);
  client("127.0.0.1:80").ends = true;
  turn();
  EXPECT_EQ(logged(path), "127.0.0.1:80 NotSet\n");
}

// ---- filter chains and their transports

TEST_F(WorkerListenerTest, GivesAConnectionToTheChainThatItsHelloMatches) {
  Made& made = make("127.0.0.1:443");
  made.options.matcher = {};
  (void)made.options.matcher.add({.transport_protocol = "raw_buffer"}, 0);
  add_chain(made, {.server_names = {"*.test"}});
  inspect_tls(made);
  start(made);
  const std::string hello =
      tls::in_records(tls::hello_message(tls::numbers({0x1301}), tls::server_name("a.test")));
  client("127.0.0.1:443").says.push_back(hello);
  client("127.0.0.1:443").says.push_back("plain");
  turn();
  EXPECT_EQ(made.host(1).received, hello);
  EXPECT_EQ(made.host(0).received, "plain");
  EXPECT_EQ(made.listener->active(), 2u);
}

TEST_F(WorkerListenerTest, ClosesWhatNoChainMatchesUnlessThereIsADefault) {
  Made& made = make("127.0.0.1:80");
  made.options.matcher = {};
  made.options.filter_chains.clear();
  add_chain(made, {.destination_port = 81});
  const std::string path = log_path();
  log_to(made, path, "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n");
  start(made);
  EXPECT_TRUE(client("127.0.0.1:80").closed);
  EXPECT_EQ(made.counter(ls::kNoFilterChainMatch), 1u);
  EXPECT_EQ(made.counter(ls::kDownstreamCxTotal), 0u);
  EXPECT_EQ(logged(path), "NR filter_chain_not_found\n");
  made.options.default_filter_chain = 0;
  EXPECT_FALSE(client("127.0.0.1:80").closed);
  EXPECT_EQ(made.host().active(), 1u);
}

class SecuredListenerTest : public WorkerListenerTest {
 protected:
  static constexpr auto kHello = test::ToyTransport::Type::kHello;
  Made& make_secured(milliseconds timeout = milliseconds(0)) {
    Made& made = make("127.0.0.1:443");
    made.options.filter_chains[0].transport = factory;
    made.options.filter_chains[0].transport_connect_timeout = timeout;
    return made;
  }
  std::shared_ptr<test::ToyFactory> factory = std::make_shared<test::ToyFactory>(false);
};

TEST_F(SecuredListenerTest, TheChainGetsAConnectionOnceItIsEstablished) {
  Made& made = make_secured();
  start(made);
  auto& peer = client("127.0.0.1:443");
  EXPECT_EQ(made.host().active(), 0u);
  EXPECT_EQ(made.listener->active(), 1u);
  EXPECT_EQ(made.gauge(ls::kDownstreamCxActive), 1);
  peer.says.push_back(test::ToyTransport::record(kHello, "toy") +
                      test::ToyTransport::record(test::ToyTransport::Type::kData, "with it"));
  turn();
  turn();
  EXPECT_EQ(made.host().active(), 1u);
  EXPECT_EQ(made.host().connections[0]->negotiated_protocol(), "toy");
  EXPECT_EQ(made.host().received, "with it");
  EXPECT_EQ(made.counter(ls::kDownstreamCxTotal), 1u);
}

TEST_F(SecuredListenerTest, AFailedHandshakeIsLoggedWithItsReason) {
  Made& made = make_secured();
  const std::string path = log_path();
  log_to(made, path, "%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %ACCESS_LOG_TYPE%\n");
  start(made);
  auto& peer = client("127.0.0.1:443");
  peer.says.push_back(test::ToyTransport::record(kHello, "other"));
  turn();
  peer.ends = true;
  turn();
  EXPECT_TRUE(peer.closed);
  EXPECT_EQ(peer.received, test::ToyTransport::record(test::ToyTransport::Type::kAlert, "no such protocol"));
  EXPECT_EQ(made.gauge(ls::kDownstreamCxActive), 0);
  EXPECT_EQ(made.listener->active(), 0u);
  EXPECT_EQ(logged(path), "toy:_refused_other TcpConnectionEnd\n");
}

TEST_F(SecuredListenerTest, AHandshakeHasItsTimeout) {
  Made& made = make_secured(milliseconds(100));
  const std::string path = log_path();
  log_to(made, path, "%CONNECTION_TERMINATION_DETAILS%\n");
  start(made);
  auto& peer = client("127.0.0.1:443");
  advance(milliseconds(99));
  EXPECT_FALSE(peer.closed);
  advance(milliseconds(3));
  EXPECT_TRUE(peer.closed);
  EXPECT_EQ(made.counter(ls::kDownstreamCxTransportSocketConnectTimeout), 1u);
  EXPECT_EQ(logged(path), "transport socket timeout was reached\n");
}

TEST_F(SecuredListenerTest, WithoutASecretConnectionsAreClosed) {
  Made& made = make_secured();
  factory->empty = true;
  start(made);
  EXPECT_TRUE(client("127.0.0.1:443").closed);
  EXPECT_EQ(made.gauge(ls::kDownstreamCxActive), 0);
}

TEST_F(WorkerListenerTest, HandsRedirectedConnectionsToTheListenerOfTheirDestination) {
  Made& capture = make("127.0.0.1:15001");
  restore_destination(capture);
  start(capture);
  Made& exact = make("10.0.0.1:80", false);
  start(exact);
  Made& any = make("0.0.0.0:80", false);
  start(any);
  client("127.0.0.1:15001", "10.0.0.1:80");
  EXPECT_EQ(exact.host().active(), 1u);
  client("127.0.0.1:15001", "10.0.0.2:80");
  EXPECT_EQ(any.host().active(), 1u);
  client("127.0.0.1:15001", "10.0.0.2:81");
  client("127.0.0.1:15001");
  EXPECT_EQ(capture.host().active(), 2u);
  EXPECT_EQ(capture.shared.connections, 2u);
  EXPECT_EQ(exact.shared.connections, 1u);
  EXPECT_EQ(global.active, 4);
  EXPECT_EQ(any.host().connections[0]->local_address().to_string(), "10.0.0.2:80");
}

TEST_F(WorkerListenerTest, HandsOverOnceOnly) {
  Made& capture = make("127.0.0.1:15001");
  restore_destination(capture);
  start(capture);
  Made& second = make("0.0.0.0:80", false);
  restore_destination(second);
  wait_for_bytes(second, 1);
  start(second);
  Made& third = make("10.0.0.1:80", false);
  third.options.max_connections = 0;
  start(third);
  third.listener->stop_accepting();
  auto& peer = client("127.0.0.1:15001", "10.0.0.1:80");
  EXPECT_EQ(second.listener->active(), 1u) << "a listener that has stopped is not there";
  peer.says.push_back("a");
  turn();
  EXPECT_EQ(second.host().received, "a");
}

TEST_F(WorkerListenerTest, KeepsTheLimitOfTheListenerThatTakesOver) {
  Made& capture = make("127.0.0.1:15001");
  restore_destination(capture);
  start(capture);
  Made& target = make("0.0.0.0:80", false);
  target.options.max_connections = 1;
  start(target);
  EXPECT_FALSE(client("127.0.0.1:15001", "10.0.0.1:80").closed);
  EXPECT_TRUE(client("127.0.0.1:15001", "10.0.0.1:80").closed);
  EXPECT_EQ(target.counter(ls::kDownstreamCxOverflow), 1u);
  EXPECT_EQ(capture.shared.connections, 0u);
  EXPECT_EQ(global.active, 1);
}

TEST_F(WorkerListenerTest, LetsOneWildcardOfBothFamiliesStandInForIpv4) {
  Made& both = make("[::]:80", false);
  both.options.socket.ipv6_only = false;
  start(both);
  Made& six = make("[::]:81", false);
  start(six);
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kOwnNamespace), both.listener.get());
  EXPECT_EQ(directory.find(address("[fd00::1]:80"), kOwnNamespace), both.listener.get());
  EXPECT_EQ(directory.find(address("10.0.0.1:81"), kOwnNamespace), nullptr);
  Made& four = make("0.0.0.0:80", false);
  start(four);
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kOwnNamespace), four.listener.get());
  EXPECT_EQ(directory.find(address("[fd00::1]:80"), kOwnNamespace), both.listener.get());
}

TEST_F(WorkerListenerTest, AnswersForTheAddressesOfItsOwnNetworkNamespace) {
  constexpr uint64_t kPod = 7;
  Made& own = make("10.0.0.1:80", false);
  start(own);
  Made& pod = make("10.0.0.1:80", false);
  pod.shared.network_namespace = kPod;
  start(pod);
  Made& any = make("0.0.0.0:80", false);
  any.shared.network_namespace = kAnyNamespace;
  start(any);
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kOwnNamespace), own.listener.get());
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kPod), pod.listener.get());
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kPod + 1), any.listener.get());
  EXPECT_EQ(directory.find(address("10.0.0.2:80"), kPod), any.listener.get());
  Made& every = make("10.0.0.2:80", false);  // an exact address comes before a wildcard
  every.shared.network_namespace = kAnyNamespace;
  start(every);
  EXPECT_EQ(directory.find(address("10.0.0.2:80"), kPod), every.listener.get());
}

TEST_F(WorkerListenerTest, FindsStoppedListenersForThoseThatEmptyTheirQueueOnly) {
  Made& target = make("10.0.0.1:80", false);
  start(target);
  target.listener->stop_accepting();
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kOwnNamespace), nullptr);
  EXPECT_EQ(directory.find(address("10.0.0.1:80"), kOwnNamespace, true), target.listener.get());
}

}  // namespace
}  // namespace millrace::server
