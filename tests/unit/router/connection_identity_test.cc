// What the router asks of connections besides a host: server names and names to verify, and whose request it is.
#include <gmock/gmock.h>

#include "net/proxy_transport.h"
#include "unit/router/router_fixture.h"

namespace millrace::router {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

// Writes down what it is asked for; sends a PROXY header, which with an unknown source says so.
struct Recorder final : net::TransportFactory {
  std::unique_ptr<net::Transport> create(const Ask& ask) const override {
    asked.push_back(std::string(ask.server_name) + "," + std::string(ask.verify_name));
    return proxy.create(ask);
  }
  bool tells_source() const override { return tells; }
  mutable std::vector<std::string> asked;
  bool tells = false;
  net::ProxyTransportFactory proxy{net::ProxyVersion::kV1, nullptr};
};

class ConnectionIdentityTest : public RouterTest {
 protected:
  void begin_with(const std::function<void(upstream::HttpOptions&)>& change) {
    upstream::ClusterOptions cluster = cluster_of("backend", {&upstream});
    cluster.transport = recorder;
    change(cluster.http);
    add_cluster(std::move(cluster));
    begin();
  }
  // A request for this host, answered on the n-th connection.
  void get(const std::string& host, size_t n, const std::string& more = "") {
    client.send("GET / HTTP/1.1\r\nhost: " + host + "\r\n" + more + "\r\n");
    answer(request_at(n, "\r\n\r\n"), "200 OK", "ok");
    client_got("ok");
  }
  const std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
};

TEST_F(ConnectionIdentityTest, TheHostWithoutItsPortIsTheServerName) {
  begin_with([](upstream::HttpOptions& http) { http.auto_sni = true; });
  get("a.test", 0);
  get("b.test:8443", 1);
  get("a.test:80", 0);
  get("127.0.0.1", 2);
  get("[::1]:80", 2);
  EXPECT_THAT(recorder->asked, ElementsAre("a.test,", "b.test,", ","));
}

TEST_F(ConnectionIdentityTest, TheCertificateHasToNameTheHostBeItAnAddress) {
  begin_with([](upstream::HttpOptions& http) { http.auto_sni = http.auto_san_validation = true; });
  get("a.test:80", 0);
  get("127.0.0.1:80", 1);
  get("[::1]:80", 2);
  EXPECT_THAT(recorder->asked, ElementsAre("a.test,a.test", ",127.0.0.1", ",::1"));
}

TEST_F(ConnectionIdentityTest, AHeaderIsHeededInPlaceOfTheHostUnlessItIsEmpty) {
  begin_with([](upstream::HttpOptions& http) {
    http.auto_sni = true;
    http.override_auto_sni_header = "x-server";
  });
  get("a.test", 0, "x-server: b.test\r\n");
  get("a.test", 1, "x-server:\r\n");
  get("b.test", 0);
  EXPECT_THAT(recorder->asked, ElementsAre("b.test,", "a.test,"));
}

TEST_F(ConnectionIdentityTest, TheNameIsWhatTheRouteMakesOfTheHost) {
  route().route.host_rewrite.kind = route::HostRewrite::Kind::kLiteral;
  route().route.host_rewrite.value = "new.test";
  begin_with([](upstream::HttpOptions& http) { http.auto_sni = true; });
  get("a.test", 0);
  get("b.test", 0);
  EXPECT_THAT(recorder->asked, ElementsAre("new.test,"));
}

TEST_F(ConnectionIdentityTest, AHostThatIsToldItsClientSharesNoConnectionAmongClients) {
  recorder->tells = true;
  begin_with([](upstream::HttpOptions&) {});
  get("a.test", 0);
  get("b.test", 0);
  client.close();
  client = connect();
  client.send(kGet);
  EXPECT_THAT(request_at(1).received, StartsWith("PROXY "));
  answer(upstream.connections[1], "200 OK", "ok");
  client_got("ok");
  EXPECT_EQ(recorder->asked.size(), 2u);
}

TEST_F(ConnectionIdentityTest, WithoutAskingForItConnectionsAreShared) {
  begin_with([](upstream::HttpOptions&) {});
  get("a.test", 0);
  get("b.test", 0);
  EXPECT_THAT(recorder->asked, ElementsAre(","));
}

}  // namespace
}  // namespace millrace::router
