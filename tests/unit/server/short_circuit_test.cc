#include "server/short_circuit.h"

#include <gmock/gmock.h>

#include "filter/hcm_worker.h"
#include "router/http_router.h"
#include "router/tcp_proxy.h"

namespace millrace::server {
namespace {

using testing::ElementsAre;

class ShortCircuitedTest : public testing::Test {
 protected:
  ShortCircuitedTest() {
    upstream::ClusterOptions options;
    options.name = "c";
    upstream::LocalityEndpoints locality;
    for (const char* ip : {"10.0.0.1", "10.0.0.2"}) {
      upstream::EndpointOptions endpoint;
      endpoint.address = *net::Address::parse_ip(ip, 80);
      locality.endpoints.push_back(std::move(endpoint));
    }
    options.endpoints.push_back(std::move(locality));
    cluster_ = std::make_unique<upstream::Cluster>(std::move(options), store_);
  }
  // Both lead to the cluster.
  std::unique_ptr<filter::NetworkFilterConfig> tcp_proxy() {
    router::TcpProxyOptions proxy;
    proxy.clusters.push_back({cluster_.get(), "c", 1});
    proxy.clusters.push_back({nullptr, "no such cluster", 1});
    return std::make_unique<router::TcpProxyConfig>(std::move(proxy));
  }
  std::unique_ptr<filter::NetworkFilterConfig> connection_manager() {
    router::HttpRouterOptions router;
    router.clusters = {nullptr, cluster_.get()};
    filter::HcmOptions options;
    options.filters.push_back(std::make_unique<router::HttpRouterConfig>(std::move(router)));
    return std::make_unique<filter::HcmConfig>(std::move(options));
  }
  void listen(const char* name, std::vector<net::Address> bound) { listen(name, std::move(bound), tcp_proxy()); }
  void listen(const char* name, std::vector<net::Address> bound, std::unique_ptr<filter::NetworkFilterConfig> end) {
    auto options = std::make_unique<config::Listener>();
    options->name = name;
    options->filter_chains.emplace_back().filter = std::move(end);
    auto listener = std::make_unique<SharedListener>();
    listener->options = options.get();
    listener->bound = std::move(bound);
    listeners_.push_back(std::move(listener));
    options_.push_back(std::move(options));
  }
  std::vector<std::string> of(std::vector<std::string> names) {
    config::FastPath::ShortCircuit options;
    options.listeners = std::move(names);
    std::vector<std::string> out;
    for (const net::Address& address : short_circuited(options, listeners_)) out.push_back(address.to_string());
    return out;
  }

  stats::Store store_{1};
  std::unique_ptr<upstream::Cluster> cluster_;
  std::vector<std::unique_ptr<config::Listener>> options_;
  std::vector<std::unique_ptr<SharedListener>> listeners_;
};

TEST_F(ShortCircuitedTest, AreTheAddressesOfTheListenerAndOfTheEndpointsBehindIt) {
  listen("a", {*net::Address::parse_ip("127.0.0.1", 1000), *net::Address::parse_ip("::1", 1000)});
  EXPECT_THAT(of({"a"}), ElementsAre("127.0.0.1:1000", "[::1]:1000", "10.0.0.1:80", "10.0.0.2:80"));
}

TEST_F(ShortCircuitedTest, AreAllOfThisMachineBehindAnOriginalDestination) {
  upstream::ClusterOptions options;
  options.name = "original";
  options.type = upstream::DiscoveryType::kOriginalDst;
  cluster_ = std::make_unique<upstream::Cluster>(std::move(options), store_);
  listen("a", {*net::Address::parse_ip("127.0.0.1", 1000)});
  EXPECT_THAT(of({"a"}), ElementsAre("127.0.0.1:1000", "0.0.0.0:0"));
}

TEST_F(ShortCircuitedTest, AreTheEndpointsThatTheRoutesOfAConnectionManagerLeadTo) {
  listen("a", {*net::Address::parse_ip("127.0.0.1", 1000)}, connection_manager());
  EXPECT_THAT(of({"a"}), ElementsAre("127.0.0.1:1000", "10.0.0.1:80", "10.0.0.2:80"));
}

TEST_F(ShortCircuitedTest, EachAddressOnceAndOnlyOfListenersThatAreNamed) {
  listen("a", {*net::Address::parse_ip("127.0.0.1", 1000)});
  listen("b", {*net::Address::parse_ip("127.0.0.1", 2000)});
  listen("c", {*net::Address::parse_ip("127.0.0.1", 3000)});
  EXPECT_THAT(of({"a", "c"}), ElementsAre("127.0.0.1:1000", "10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:3000"));
}

}  // namespace
}  // namespace millrace::server
