#include <gmock/gmock.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using upstream::DiscoveryType;
using upstream::DnsFamily;
using upstream::DnsOptions;

constexpr const char* kCares = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
constexpr const char* kDnsCluster = "envoy.extensions.clusters.dns.v3.DnsCluster";

constexpr const char* kServers = "[{socket_address: {address: 10.0.0.53, port_value: 53}}]";

std::string named(const std::string& name, int port, const std::string& more = {}) {
  return "{endpoint: {address: {socket_address: {address: " + name + ", port_value: " + std::to_string(port) + "}}}" +
         more + "}";
}
std::string assignment(const std::string& endpoints, const std::string& more = {}) {
  return "{cluster_name: c, endpoints: [{lb_endpoints: [" + endpoints + "]" + more + "}]}";
}
TestConfig config_of(const std::string& type, const std::string& endpoints = named("web.example.com", 80)) {
  TestConfig config;
  config.cluster["type"] = type;
  config.cluster["load_assignment"] = assignment(endpoints);
  return config;
}
std::string resolver(const Fields& fields) {
  return "{name: envoy.network.dns_resolver.cares, typed_config: " + typed(kCares, fields) + "}";
}

TEST(TranslateDns, EndpointsOfStrictDnsAreTargets) {
  TestConfig config = config_of("STRICT_DNS");
  config.cluster["load_assignment"] =
      assignment(named("a.example.com", 80, ", load_balancing_weight: 3, health_status: DRAINING") + "," +
                     named("10.0.0.1", 81),
                 ", locality: {zone: z}");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.cluster_options().type, DiscoveryType::kStrictDns);
  const DnsOptions& dns = *t.cluster_options().dns;
  ASSERT_EQ(dns.targets.size(), 2u);
  EXPECT_EQ(dns.targets[0].name, "a.example.com");
  EXPECT_EQ(dns.targets[0].endpoint.address.port(), 80);
  EXPECT_EQ(dns.targets[0].endpoint.weight, 3u);
  EXPECT_EQ(dns.targets[0].endpoint.health_status, upstream::HealthStatus::kDraining);
  EXPECT_EQ(dns.targets[0].locality.zone, "z");
  EXPECT_FALSE(dns.targets[0].services);
  EXPECT_EQ(dns.targets[1].name, "10.0.0.1");
  EXPECT_EQ(dns.refresh_rate, std::chrono::seconds(5));
  EXPECT_EQ(dns.family, DnsFamily::kAuto);
  EXPECT_FALSE(dns.respect_ttl);
  EXPECT_FALSE(dns.failure_refresh_base);
  EXPECT_TRUE(t.cluster().hosts().empty());
}

TEST(TranslateDns, ReadsHowToAsk) {
  TestConfig config = config_of("STRICT_DNS");
  config.cluster["dns_refresh_rate"] = "7s";
  config.cluster["dns_jitter"] = "0.5s";
  config.cluster["respect_dns_ttl"] = "true";
  config.cluster["dns_lookup_family"] = "ALL";
  config.cluster["dns_failure_refresh_rate"] = "{base_interval: 2s}";
  config.cluster["typed_dns_resolver_config"] = resolver(
      {{"resolvers", "[{socket_address: {address: 10.0.0.53, port_value: 0}}]"},
       {"use_resolvers_as_fallback", "true"},
       {"dns_resolver_options", "{use_tcp_for_dns_lookups: true, no_default_search_domain: true}"},
       {"query_timeout_seconds", "3"},
       {"query_tries", "2"},
       {"rotate_nameservers", "true"}});
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const DnsOptions& dns = *t.cluster_options().dns;
  EXPECT_EQ(dns.refresh_rate, std::chrono::seconds(7));
  EXPECT_EQ(dns.jitter, std::chrono::milliseconds(500));
  EXPECT_TRUE(dns.respect_ttl);
  EXPECT_EQ(dns.family, DnsFamily::kAll);
  EXPECT_EQ(dns.failure_refresh_base, std::chrono::seconds(2));
  EXPECT_EQ(dns.failure_refresh_max, std::chrono::seconds(20));
  ASSERT_EQ(dns.resolver.servers.size(), 1u);
  EXPECT_EQ(dns.resolver.servers[0].to_string(), "10.0.0.53:53");
  EXPECT_TRUE(dns.resolver.servers_as_fallback);
  EXPECT_TRUE(dns.resolver.use_tcp);
  EXPECT_TRUE(dns.resolver.no_search_domain);
  EXPECT_TRUE(dns.resolver.rotate_servers);
  EXPECT_EQ(dns.resolver.query_timeout, std::chrono::seconds(3));
  EXPECT_EQ(dns.resolver.query_tries, 2u);
}

TEST(TranslateDns, ReadsTheOlderWaysToNameServers) {
  TestConfig config = config_of("STRICT_DNS");
  config.cluster["dns_resolution_config"] =
      "{resolvers: [{socket_address: {address: 10.0.0.1, port_value: 5353}}], "
      "dns_resolver_options: {no_default_search_domain: true}}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.cluster_options().dns->resolver.servers[0].to_string(), "10.0.0.1:5353");
  EXPECT_TRUE(t.cluster_options().dns->resolver.no_search_domain);

  TestConfig older = config_of("STRICT_DNS");
  older.cluster["dns_resolvers"] = "[{socket_address: {address: 10.0.0.2, port_value: 53}}]";
  older.cluster["use_tcp_for_dns_lookups"] = "true";
  const Translated u(older);
  ASSERT_TRUE(u.ok()) << u.messages();
  EXPECT_EQ(u.cluster_options().dns->resolver.servers[0].to_string(), "10.0.0.2:53");
  EXPECT_TRUE(u.cluster_options().dns->resolver.use_tcp);
}

TEST(TranslateDns, ReadsTheExtension) {
  TestConfig config = config_of("STRICT_DNS");
  config.cluster.erase("type");
  const auto extension = [&](const Fields& fields) {
    config.cluster["cluster_type"] = "{name: envoy.clusters.dns, typed_config: " + typed(kDnsCluster, fields) + "}";
    return Translated(config);
  };
  const Translated t = extension({{"dns_refresh_rate", "9s"},
                                  {"dns_failure_refresh_rate", "{base_interval: 1s, max_interval: 3s}"},
                                  {"respect_dns_ttl", "true"},
                                  {"dns_jitter", "0.1s"},
                                  {"dns_min_refresh_rate", "4s"},
                                  {"dns_lookup_family", "V6_ONLY"},
                                  {"typed_dns_resolver_config",
                                   resolver({{"resolvers", kServers}, {"query_tries", "9"}})}});
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.cluster_options().type, DiscoveryType::kStrictDns);
  const DnsOptions& dns = *t.cluster_options().dns;
  EXPECT_EQ(dns.refresh_rate, std::chrono::seconds(9));
  EXPECT_EQ(dns.failure_refresh_max, std::chrono::seconds(3));
  EXPECT_EQ(dns.min_refresh_rate, std::chrono::seconds(4));
  EXPECT_EQ(dns.jitter, std::chrono::milliseconds(100));
  EXPECT_EQ(dns.family, DnsFamily::kV6Only);
  EXPECT_EQ(dns.resolver.query_tries, 9u);
  EXPECT_EQ(dns.targets.size(), 1u);
  EXPECT_EQ(extension({{"all_addresses_in_single_endpoint", "true"}}).cluster_options().type,
            DiscoveryType::kLogicalDns);
}

TEST(TranslateDns, SrvNamesNeedNoPortOthersDo) {
  const Translated t(config_of("STRICT_DNS", named("_http._tcp.example.com", 0)));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_TRUE(t.cluster_options().dns->targets[0].services);
  EXPECT_FALSE(Translated(config_of("STRICT_DNS", named("_http._tcp.example.com", 80)))
                   .cluster_options().dns->targets[0].services);
  const Translated none(config_of("STRICT_DNS", named("web.example.com", 0)));
  EXPECT_FALSE(none.ok());
  EXPECT_THAT(none.messages(), HasSubstr("0 is not a port to connect to"));
  EXPECT_THAT(none.messages(), HasSubstr("SRV records have ports"));
}

TEST(TranslateDns, RefusesWhatCannotBe) {
  const Translated two(config_of("LOGICAL_DNS", named("a", 1) + "," + named("b", 1)));
  EXPECT_FALSE(two.ok());
  EXPECT_THAT(two.messages(), HasSubstr("a LOGICAL_DNS cluster has one endpoint, not 2"));
  const Translated pipe(config_of("STRICT_DNS", "{endpoint: {address: {pipe: {path: /tmp/x}}}}"));
  EXPECT_FALSE(pipe.ok());
  EXPECT_THAT(pipe.messages(), HasSubstr("a name to resolve is missing"));
  const Translated address(config_of("STATIC"));
  EXPECT_FALSE(address.ok());
  EXPECT_THAT(address.messages(), HasSubstr("STRICT_DNS or LOGICAL_DNS"));
}

TEST(TranslateDns, SaysOfAStaticClusterWhatNobodyReads) {
  TestConfig config;
  config.cluster["dns_refresh_rate"] = "5s";
  config.cluster["dns_lookup_family"] = "V4_ONLY";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  std::vector<std::string> paths;
  for (const SupportNote& note : t.loaded().ignored) paths.push_back(note.path);
  EXPECT_THAT(paths, ElementsAre(HasSubstr("dns_refresh_rate"), HasSubstr("dns_lookup_family")));
}

}  // namespace
}  // namespace millrace::config
