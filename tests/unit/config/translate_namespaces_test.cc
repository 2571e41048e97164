// Listeners in other network namespaces (SocketAddress.network_namespace_filepath).
#include <gmock/gmock.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;

std::string at(const std::string& netns, const std::string& ip = "127.0.0.1", int port = 10000) {
  Fields address{{"address", "'" + ip + "'"}, {"port_value", std::to_string(port)}};
  if (!netns.empty()) address["network_namespace_filepath"] = netns;
  return "{socket_address: " + flow(address) + "}";
}

// Listeners "a" and "b" at these addresses, to one cluster or one each, and a fast path of these fields.
TestConfig two(const std::string& a, const std::string& b, const Fields& fast_path, const std::string& cluster = "c") {
  TestConfig config;
  config.tcp = {{"stat_prefix", "t"}, {"cluster", "c"}};
  config.listener = {{"name", "a"}, {"address", a}};
  const Fields proxy{{"stat_prefix", "t"}, {"cluster", cluster}};
  const Fields filter{{"name", "f"}, {"typed_config", typed(kTcpProxyType, proxy)}};
  config.more_listeners = {
      {{"name", "b"}, {"address", b}, {"filter_chains", "[{filters: [" + flow(filter) + "]}]"}}};
  config.more_clusters = {{{"name", "d"}, {"connect_timeout", "1s"}}};
  if (!fast_path.empty()) {
    config.bootstrap["bootstrap_extensions"] =
        "[{name: millrace.fastpath, typed_config: " + typed("millrace.fastpath.v1.FastPath", fast_path) + "}]";
  }
  return config;
}

TEST(TranslateNamespaces, AListenerIsInOne) {
  TestConfig config;
  config.listener["address"] = at("/run/netns/a");
  config.listener["additional_addresses"] = "[{address: " + at("/run/netns/a", "::1") + "}]";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().network_namespace, "/run/netns/a");
  EXPECT_EQ(t.listener().addresses.size(), 2u);
  for (const std::string other : {"", "/run/netns/b"}) {
    config.listener["additional_addresses"] = "[{address: " + at(other, "::1") + "}]";
    EXPECT_THAT(Translated(config).messages(),
                HasSubstr("network_namespace_filepath: differs from that of another address of this listener"));
  }
}

TEST(TranslateNamespaces, OneAddressMayBeThereOnceInEach) {
  EXPECT_TRUE(Translated(two(at("/a"), at("/b"), {})).ok());
  EXPECT_TRUE(Translated(two(at("/a"), at(""), {})).ok());
  EXPECT_THAT(Translated(two(at("/a"), at("/a"), {})).messages(),
              HasSubstr("listener 'a' has the address 127.0.0.1:10000 already"));
}

TEST(TranslateNamespaces, ListenersWithoutANameAreNamedAfterTheirPlace) {
  TestConfig config;
  config.listener["name"] = "''";
  config.listener["address"] = at("/a");
  EXPECT_EQ(Translated(config).listener().name, "127.0.0.1:10000@/a");
}

TEST(TranslateNamespaces, OnlyListenersMayBeInAnother) {
  TestConfig config;
  config.bootstrap["admin"] = "{address: " + at("/a") + "}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("admin.address.socket_address.network_namespace_filepath: only "
                                                       "the addresses of listeners"));
  config = {};
  config.cluster["load_assignment"] = "{cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: " +
                                      at("/a") + "}}]}]}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("only the addresses of listeners"));
  config = {};
  config.cluster["upstream_bind_config"] =
      "{source_address: {address: 127.0.0.1, port_value: 0, network_namespace_filepath: /a}}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("only the addresses of listeners"));
}

TEST(TranslateNamespaces, CaptureHasOneAddressInAllOfThem) {
  const Fields capture{{"capture", "{listeners: [a, b]}"}};
  const Translated t(two(at("/a"), at("/b"), capture));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().fast_path->capture_listeners.size(), 2u);
  EXPECT_TRUE(Translated(two(at("/a"), at("/b", "::1"), capture)).ok());  // another family
  EXPECT_THAT(Translated(two(at("/a"), at("/b", "127.0.0.1", 10001), capture)).messages(),
              HasSubstr("'b' captures at 127.0.0.1:10001, other listeners in other network namespaces at "
                        "127.0.0.1:10000"));
  EXPECT_THAT(Translated(two(at("/a", "127.0.0.1", 0), at("/b", "127.0.0.1", 0), capture)).messages(),
              HasSubstr("the same address and a port other than 0"));
  EXPECT_THAT(Translated(two(at("/a"), at("/a", "127.0.0.2"), capture)).messages(),
              HasSubstr("is a second capture address of its family"));
}

TEST(TranslateNamespaces, AServiceHasOneClusterInAllOfThem) {
  const Fields services{{"connect_time", "{listeners: [a, b]}"}};
  EXPECT_TRUE(Translated(two(at("/a"), at("/b"), services)).ok());
  EXPECT_THAT(Translated(two(at("/a"), at("/b"), services, "d")).messages(),
              HasSubstr("127.0.0.1:10000 is a service already, of cluster 'c'"));
}

TEST(TranslateNamespaces, InboundSteeringIsInThatOfItsListener) {
  const Fields inbound{{"inbound", "[{listener: b, ports: [{start: 80, end: 81}], "
                                   "addresses: [{address_prefix: 10.1.0.0, prefix_len: 16}]}]"}};
  const Translated t(two(at(""), at("/b"), inbound));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().fast_path->steering.inbound.at(0).netns, "/b");
}

TEST(TranslateNamespaces, WarnsThatTheShortCircuitStaysInTheDaemonsOwn) {
  const Fields short_circuit{{"short_circuit", "{cgroups: [/x], listeners: [a, b]}"}};
  EXPECT_THAT(Translated(two(at(""), at("/b"), short_circuit)).messages(),
              HasSubstr("short_circuit.listeners[1]: 'b' is in another network namespace"));
}

}  // namespace
}  // namespace millrace::config
