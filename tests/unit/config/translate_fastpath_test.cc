#include <gmock/gmock.h>
#include <netinet/in.h>

#include "fastpath/splice.h"
#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A TCP listener 'l' on port 10000 to the cluster 'c', and a fast path of these fields.
TestConfig with(Fields fast_path) {
  TestConfig config;
  config.tcp = {{"stat_prefix", "t"}, {"cluster", "c"}};
  config.bootstrap["bootstrap_extensions"] =
      "[{name: millrace.fastpath, typed_config: " + typed("millrace.fastpath.v1.FastPath", std::move(fast_path)) + "}]";
  return config;
}

TEST(TranslateFastPath, IsOffUnlessItIsThere) {
  TestConfig config;
  EXPECT_FALSE(Translated(config).snapshot().fast_path.has_value());
}

TEST(TranslateFastPath, ReadsWhereThingsAre) {
  const Translated t(with({{"pin_directory", "/sys/fs/bpf/x"}, {"cgroups", "[/a, /b]"}, {"daemon_cgroup", "/d"},
                           {"on_unavailable", "FAIL"}, {"worker_steering", "{}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const FastPath& to = *t.snapshot().fast_path;
  EXPECT_EQ(to.steering.pin_dir, "/sys/fs/bpf/x");
  EXPECT_THAT(to.steering.cgroups, ElementsAre("/a", "/b"));
  EXPECT_EQ(to.steering.daemon_cgroup, "/d");
  EXPECT_TRUE(to.fail_when_unavailable);
  EXPECT_TRUE(to.worker_steering);
  EXPECT_FALSE(to.steering.capture || to.steering.services || to.short_circuit);
}

TEST(TranslateFastPath, ReadsCapture) {
  const Translated t(with({{"capture", "{listeners: [l], include_cgroups: [/a], exclude_cgroups: [/a/b], "
                                       "include_users: [7], exclude_users: [8, 9], "
                                       "include_ports: [{start: 80, end: 81}], "
                                       "exclude_ports: [{start: 0, end: 65536}], "
                                       "include_addresses: [{address_prefix: 10.0.0.0, prefix_len: 8}], "
                                       "exclude_addresses: [{address_prefix: '::', prefix_len: 0}], loopback: true, "
                                       "on_dead_listener: REFUSE, so_original_dst_cgroups: [/p], "
                                       "connections_max: 64}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const FastPath& to = *t.snapshot().fast_path;
  const fastpath::CaptureOptions& capture = *to.steering.capture;
  EXPECT_THAT(to.capture_listeners, ElementsAre("l"));
  EXPECT_THAT(capture.include_cgroups, ElementsAre("/a"));
  EXPECT_THAT(capture.exclude_cgroups, ElementsAre("/a/b"));
  EXPECT_THAT(capture.include_users, ElementsAre(7u));
  EXPECT_THAT(capture.exclude_users, ElementsAre(8u, 9u));
  ASSERT_EQ(capture.include_ports.size(), 1u);
  EXPECT_EQ(capture.include_ports[0].first, 80);
  EXPECT_EQ(capture.include_ports[0].last, 80);
  EXPECT_EQ(capture.exclude_ports.at(0).last, 65535);
  EXPECT_EQ(capture.include_addresses.at(0).length, 8u);
  EXPECT_EQ(capture.exclude_addresses.at(0).prefix.kind(), net::Address::Kind::kIpv6);
  EXPECT_TRUE(capture.loopback);
  EXPECT_TRUE(capture.refuse_when_dead);
  EXPECT_THAT(to.steering.original_dst_cgroups, ElementsAre("/p"));
  EXPECT_EQ(to.steering.flows_max, 64u);
}

TEST(TranslateFastPath, ReadsServices) {
  const Translated t(with({{"connect_time", "{listeners: [l], udp_services: [{address: {address: 127.0.0.1, "
                                            "port_value: 53}, cluster: c}], on_no_endpoint: REFUSE, "
                                            "reset_connections: true, services_max: 5, endpoints_max: 6, "
                                            "udp_flows_max: 16}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const FastPath& to = *t.snapshot().fast_path;
  ASSERT_EQ(to.services.size(), 2u);
  EXPECT_EQ(to.services[0].listener, "l");
  EXPECT_EQ(to.services[0].protocol, IPPROTO_TCP);
  EXPECT_EQ(to.services[0].cluster, &t.cluster());
  EXPECT_EQ(to.services[1].address.to_string(), "127.0.0.1:53");
  EXPECT_EQ(to.services[1].protocol, IPPROTO_UDP);
  const fastpath::ServicesOptions wanted{.datagrams = true, .refuse_when_empty = true, .reset_removed = true,
                                         .services_max = 5, .slots_max = 6, .answers_max = 16};
  EXPECT_TRUE(*to.steering.services == wanted);
}

TEST(TranslateFastPath, ReadsInboundByNamespace) {
  const std::string entry = "listener: l, ports: [{start: 80, end: 81}, {start: 8000, end: 9000}], "
                            "addresses: [{address_prefix: 10.1.0.0, prefix_len: 16}], on_dead_listener: PASS";
  const Translated t(with({{"inbound", "[{" + entry + "}, {" + entry + "}, {network_namespace: /run/netns/a, " + entry +
                                           ", loopback: true}]"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& places = t.snapshot().fast_path->steering.inbound;
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].rules.size(), 4u);
  EXPECT_FALSE(places[0].drop_when_missing);
  EXPECT_EQ(places[1].netns, "/run/netns/a");
  EXPECT_EQ(places[1].rules.at(1).ports.last, 8999);
  EXPECT_EQ(places[1].rules.at(1).socket, 2u);
  EXPECT_TRUE(places[1].loopback);
}

TEST(TranslateFastPath, ReadsShortCircuit) {
  const Translated t(with({{"short_circuit", "{cgroups: [/a], listeners: [l], unread_bytes_max: 4096, "
                                             "one_way_bytes_max: 8192, policy: ALWAYS}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const FastPath::ShortCircuit& to = *t.snapshot().fast_path->short_circuit;
  EXPECT_THAT(to.cgroups, ElementsAre("/a"));
  EXPECT_THAT(to.listeners, ElementsAre("l"));
  EXPECT_EQ(to.unread_bytes_max, 4096u);
  EXPECT_EQ(to.one_way_bytes_max, 8192u);
  EXPECT_EQ(to.policy, fastpath::SplicePolicy::kAlways);
}

TEST(TranslateFastPath, ShortCircuitHasTheLimitsThatCostNoSpeed) {
  const Translated t(with({{"short_circuit", "{cgroups: [/a], listeners: [l]}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  const FastPath::ShortCircuit& to = *t.snapshot().fast_path->short_circuit;
  EXPECT_EQ(to.unread_bytes_max, fastpath::SpliceOptions{}.budget_bytes);
  EXPECT_EQ(to.one_way_bytes_max, fastpath::SpliceOptions{}.bulk_bytes);
  EXPECT_EQ(to.policy, fastpath::SplicePolicy::kAuto);
}

TEST(TranslateFastPath, ShortCircuitMayDecideWithoutMeasuring) {
  const Translated t(with({{"short_circuit", "{cgroups: [/a], listeners: [l], policy: FIXED}"}}));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().fast_path->short_circuit->policy, fastpath::SplicePolicy::kFixed);
}

TEST(TranslateFastPath, ShortCircuitsListenersWithATcpProxyOrAConnectionManager) {
  TestConfig config = with({{"short_circuit", "{cgroups: [/a], listeners: [l]}"}});
  EXPECT_TRUE(Translated(config).ok());
  config.tcp.clear();  // the connection manager instead
  const Translated http(config);
  ASSERT_TRUE(http.ok()) << http.messages();
  EXPECT_THAT(http.snapshot().fast_path->short_circuit->listeners, ElementsAre("l"));
}

TEST(TranslateFastPath, SaysWhatIsWrongWhere) {
  const std::pair<Fields, std::string> cases[] = {
      {{{"capture", "{listeners: [nobody]}"}}, "capture.listeners[0]: there is no listener 'nobody'"},
      {{{"capture", "{listeners: [l, l]}"}}, "is a second capture address of its family"},
      {{{"capture", "{listeners: [l], include_ports: [{start: 80, end: 80}]}"}}, "80 to 80 is not a range of ports"},
      {{{"capture", "{listeners: [l], include_addresses: [{address_prefix: 10.0.0.0, prefix_len: 33}]}"}},
       "33 bits are more than the address has"},
      {{{"connect_time", "{udp_services: [{address: {address: 127.0.0.1, port_value: 53}, cluster: x}]}"}},
       "there is no cluster 'x'"},
      {{{"pin_directory", "bpf"}}, "'bpf' is not an absolute path"},
      {{{"inbound", "[{listener: l, ports: [{start: 1, end: 2}], addresses: [{address_prefix: '::'}]}, {listener: l, "
                    "ports: [{start: 1, end: 2}], addresses: [{address_prefix: '::'}], loopback: true}]"}},
       "an entry before this one differs"},
      {{{"speed", "fast"}}, "unknown field"},
  };
  for (const auto& [fields, message] : cases) {
    const Translated t(with(fields));
    EXPECT_FALSE(t.ok()) << message;
    EXPECT_THAT(t.messages(), HasSubstr(message));
  }
}

TEST(TranslateFastPath, AServiceHasOneAddress) {
  TestConfig config = with({{"connect_time", "{listeners: [l]}"}});
  config.listener["address"] = "{socket_address: {address: 0.0.0.0, port_value: 10000}}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("0.0.0.0:10000 cannot be balanced inside connect()"));
}

TEST(TranslateFastPath, SaysWhichEndpointsAServiceCannotReach) {
  TestConfig config = with({{"connect_time", "{listeners: [l]}"}});
  config.listener["address"] = "{socket_address: {address: '::1', port_value: 10000}}";
  const Translated t(config);
  EXPECT_TRUE(t.ok());
  EXPECT_THAT(t.messages(), HasSubstr("is of another family than [::1]:10000"));
}

TEST(TranslateFastPath, OnlyPlainL4BecomesAService) {
  TestConfig config = with({{"connect_time", "{listeners: [l]}"}});
  config.tcp.clear();  // the connection manager instead
  EXPECT_THAT(Translated(config).messages(), HasSubstr("'l' is not plain L4"));
}

}  // namespace
}  // namespace millrace::config
