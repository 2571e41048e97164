// An admin server and its clients on one loop of the test's thread, over loopback sockets.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/server.h"
#include "http/http1_parser.h"
#include "io/loop.h"
#include "net/connection.h"
#include "stats/stats.h"
#include "upstream/cluster.h"

namespace millrace::admin {

struct Answer {
  unsigned status = 0;
  std::map<std::string, std::string, std::less<>> headers;
  std::string body;
};

// Sends bytes, collects the answers.
class Client final : public net::ConnectionHandler {
 public:
  Client(io::Loop& loop, const net::Address& to) : parser_(options()) {
    connection = net::Connection::connect(loop, to, {}, *this);
  }
  ~Client() { close(); }
  void close() {
    if (connection) net::Connection::close(std::move(connection), net::CloseMode::kNow);
  }
  void send(std::string_view bytes) { connection->write(bytes); }
  void request(std::string_view target, std::string_view method = "GET", std::string_view headers = "") {
    if (method == "HEAD") parser_.set_request_method("HEAD");
    send(std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nhost: admin\r\n");
    send(std::string(headers) + "\r\n");
  }

  std::unique_ptr<net::Connection> connection;
  std::vector<Answer> answers;
  bool ended = false, failed = false;
  size_t received = 0;

 private:
  static http::ParserOptions options() {
    http::ParserOptions options;
    options.kind = http::MessageKind::kResponse;
    return options;
  }
  void on_data(net::Connection&, base::Buffer& data, bool end_stream) override {
    received += data.size();
    for (bool more = true; more;) {
      base::Buffer body;
      using Event = http::Http1Parser::Event;
      switch (parser_.next(data, map_, body)) {
        case Event::kNeedMore: more = false; break;
        case Event::kHeaders:
          if (parser_.informational()) break;
          current_ = {};
          current_.status = parser_.status();
          map_.for_each([this](const auto& e) { current_.headers[std::string(e.name)] = e.value; });
          break;
        case Event::kData: current_.body += body.to_string(); break;
        case Event::kTrailers: break;
        case Event::kComplete:
          if (!parser_.informational()) answers.push_back(current_);
          break;
        case Event::kError:
          ADD_FAILURE() << "bad answer: " << parser_.reason();
          data.clear();
          more = false;
      }
    }
    if (!end_stream) return;
    ended = true;
    if (parser_.on_eof() == http::Http1Parser::Event::kComplete) answers.push_back(current_);
  }
  void on_error(net::Connection&, const base::Error&) override { failed = true; }

  http::Http1Parser parser_;
  http::HeaderMap map_;
  Answer current_;
};

class AdminTest : public testing::Test {
 protected:
  void SetUp() override {
    base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend({});
    ASSERT_TRUE(backend.ok()) << backend.error().to_string();
    loop_ = std::make_unique<io::Loop>(std::move(*backend));
    context_.state = [this] { return state_; };
    options_.address = *net::Address::parse_ip("127.0.0.1", 0);
  }
  void TearDown() override {
    clients_.clear();
    server_.reset();
    run_until([] { return net::Connection::alive() == 0; });
    for (int i = 0; i < 3; ++i) loop_->turn(base::milliseconds(1));
    loop_.reset();
  }

  void serve() {
    base::Result<std::unique_ptr<AdminServer>> server = AdminServer::create(*loop_, options_, context_);
    ASSERT_TRUE(server.ok()) << server.error().to_string();
    server_ = std::move(*server);
    server_->start();
  }
  void run_until(const std::function<bool()>& done) {
    const base::MonotonicTime limit = base::Clock::now() + base::seconds(20);
    while (!done()) {
      ASSERT_LT(base::Clock::now(), limit) << "timed out";
      loop_->turn(base::milliseconds(100));
    }
  }
  Client& client() {
    if (server_ == nullptr) serve();
    return *clients_.emplace_back(std::make_unique<Client>(*loop_, server_->address()));
  }
  // On a connection of its own.
  Answer get(std::string_view target, std::string_view method = "GET", std::string_view headers = "") {
    Client& c = client();
    c.request(target, method, headers);
    run_until([&] { return !c.answers.empty() || c.ended || c.failed; });
    c.close();
    return c.answers.empty() ? Answer{} : c.answers.front();
  }
  Answer post(std::string_view target) { return get(target, "POST"); }

  // Clusters "c0", "c1", ... of that many hosts each.
  void make_clusters(size_t clusters, size_t hosts) {
    std::vector<std::shared_ptr<upstream::Cluster>> all;
    for (size_t i = 0; i < clusters; ++i) {
      upstream::ClusterOptions options;
      options.name = "c" + std::to_string(i);
      options.endpoints.emplace_back();
      options.endpoints[0].locality = {"r", "z", ""};
      for (size_t h = 0; h < hosts; ++h) {
        upstream::EndpointOptions endpoint;
        endpoint.address = *net::Address::parse_ip("127.0.0.1", static_cast<uint16_t>(1 + h));
        options.endpoints[0].endpoints.push_back(endpoint);
      }
      all.push_back(std::make_shared<upstream::Cluster>(std::move(options), store_));
    }
    auto set = std::make_shared<const upstream::ClusterSet>(std::move(all));
    context_.clusters = [set] { return set; };
  }

  std::unique_ptr<io::Loop> loop_;
  stats::Store store_{1};
  ServerState state_ = ServerState::kLive;
  AdminContext context_{.store = store_};
  AdminOptions options_;
  std::unique_ptr<AdminServer> server_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace millrace::admin
