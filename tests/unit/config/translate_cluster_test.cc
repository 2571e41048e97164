#include <gmock/gmock.h>
#include <netinet/in.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;
using upstream::ClusterOptions;

constexpr const char* kHttpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
constexpr const char* kPolicies = "envoy.extensions.load_balancing_policies.";

template <class Get>
auto of_cluster(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.cluster_options())); };
}

std::string endpoint(int port, const std::string& more = {}) {
  return "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: " + std::to_string(port) + "}}}" +
         more + "}";
}
std::string locality(const std::string& endpoints, const std::string& more = {}) {
  return "{lb_endpoints: [" + endpoints + "]" + more + "}";
}
std::string assignment(const std::string& localities, const std::string& more = {}) {
  return "{cluster_name: c, endpoints: [" + localities + "]" + more + "}";
}
std::string policy(const std::string& type, const Fields& fields = {}) {
  return "{policies: [{typed_extension_config: {name: p, typed_config: " + typed(kPolicies + type, fields) + "}}]}";
}

std::vector<FieldCase> cluster_cases() {
  using C = ClusterOptions;
  return {
      {"name", "d", "d", of_cluster(&C::name)},
      {"alt_stat_name", "a", "a", [](const Translated& t) { return std::string(t.cluster().stat_name()); }},
      {"connect_timeout", "0.25s", "250ms", of_cluster(&C::connect_timeout)},
      {"per_connection_buffer_limit_bytes", "4096", "4096", of_cluster(&C::per_connection_buffer_limit_bytes)},
      {"load_assignment", assignment(locality(endpoint(1) + "," + endpoint(2))), "2",
       [](const Translated& t) { return text_of(t.cluster().hosts().size()); }},
      {"lb_policy", "RANDOM", text_of(upstream::LbPolicy::kRandom), of_cluster(&C::lb_policy)},
      {"load_balancing_policy", policy("least_request.v3.LeastRequest"), text_of(upstream::LbPolicy::kLeastRequest),
       of_cluster(&C::lb_policy)},
      {"common_lb_config", "{healthy_panic_threshold: {value: 10}}", "10.0",
       of_cluster([](const C& c) { return c.common_lb.healthy_panic_threshold_percent; })},
      {"circuit_breakers", "{thresholds: [{max_connections: 3}]}", "3",
       of_cluster([](const C& c) { return c.circuit_breakers.thresholds[0].max_connections; })},
      {"typed_extension_protocol_options",
       "{" + std::string(kHttpOptions) + ": " +
           typed(kHttpOptions, {{"explicit_http_config", "{http_protocol_options: {enable_trailers: true}}"}}) + "}",
       "true", of_cluster([](const C& c) { return c.http.enable_trailers; })},
      {"max_requests_per_connection", "3", "3",
       of_cluster([](const C& c) { return c.http.max_requests_per_connection; })},
      {"common_http_protocol_options", "{idle_timeout: 3s}", "3000ms",
       of_cluster([](const C& c) { return c.http.idle_timeout; })},
      {"http_protocol_options", "{send_fully_qualified_url: true}", "true",
       of_cluster([](const C& c) { return c.http.send_fully_qualified_url; })},
      {"http2_protocol_options", "{max_concurrent_streams: 7}", "7",
       of_cluster([](const C& c) { return c.http.http2.max_concurrent_streams; })},
      {"protocol_selection", "USE_DOWNSTREAM_PROTOCOL", "2",
       of_cluster([](const C& c) { return static_cast<uint32_t>(c.http.protocol); })},
      {"upstream_http_protocol_options", "{auto_sni: true}", "true",
       of_cluster([](const C& c) { return c.http.auto_sni; })},
      {"upstream_connection_options", "{tcp_keepalive: {keepalive_time: 5}}", "5",
       of_cluster([](const C& c) { return c.tcp_keepalive ? text_of(c.tcp_keepalive->time_s) : "none"; })},
      {"upstream_bind_config", "{source_address: {address: 127.0.0.2, port_value: 0}}", "127.0.0.2:0",
       of_cluster([](const C& c) { return c.bind_address.empty() ? "" : c.bind_address.to_string(); })},
  };
}

TEST(TranslateCluster, ReadsEveryFieldThatTheTableCallsHonoured) {
  TestConfig config;
  config.hcm["route_config"] = "{validate_clusters: false, virtual_hosts: []}";
  for (const FieldCase& one : cluster_cases()) expect_field(one, config, &TestConfig::cluster);
  // The first two have one value, which is what is done anyway; the settings of a policy are tested below.
  expect_table_agrees(
      "envoy.config.cluster.v3.Cluster", cluster_cases(),
      {"type", "transport_socket", "transport_socket_matches", "round_robin_lb_config", "least_request_lb_config",
       "original_dst_lb_config", "cleanup_interval",
       // translate_dns_test.cc
       "cluster_type", "dns_refresh_rate", "dns_failure_refresh_rate", "dns_jitter", "respect_dns_ttl",
       "dns_lookup_family", "dns_resolvers", "use_tcp_for_dns_lookups", "dns_resolution_config",
       "typed_dns_resolver_config"});
}

TestConfig original_dst_config(const std::string& settings = {}) {
  TestConfig config;
  config.cluster = {{"name", "c"}, {"type", "ORIGINAL_DST"}, {"lb_policy", "CLUSTER_PROVIDED"}};
  if (!settings.empty()) config.cluster["original_dst_lb_config"] = settings;
  return config;
}

TEST(TranslateCluster, ReadsOriginalDestinationClusters) {
  const Translated plain(original_dst_config());
  ASSERT_TRUE(plain.ok()) << plain.messages();
  EXPECT_EQ(plain.cluster_options().type, upstream::DiscoveryType::kOriginalDst);
  EXPECT_EQ(plain.cluster_options().lb_policy, upstream::LbPolicy::kClusterProvided);
  EXPECT_EQ(plain.cluster_options().original_dst.header_name, "");
  EXPECT_FALSE(plain.cluster_options().original_dst.port_override);
  EXPECT_EQ(plain.cluster_options().original_dst.cleanup_interval, std::chrono::seconds(5));
  EXPECT_NE(plain.cluster().original_dst_hosts(), nullptr);

  TestConfig config = original_dst_config("{use_http_header: true, upstream_port_override: 8080}");
  config.cluster["cleanup_interval"] = "0.5s";
  const Translated set(config);
  ASSERT_TRUE(set.ok()) << set.messages();
  EXPECT_EQ(set.cluster_options().original_dst.header_name, "x-envoy-original-dst-host");
  EXPECT_EQ(set.cluster_options().original_dst.port_override, 8080);
  EXPECT_EQ(set.cluster_options().original_dst.cleanup_interval, std::chrono::milliseconds(500));
  config = original_dst_config("{use_http_header: true, http_header_name: X-To}");
  EXPECT_EQ(Translated(config).cluster_options().original_dst.header_name, "x-to");
}

TEST(TranslateCluster, RefusesAnOriginalDestinationClusterThatChoosesOtherwise) {
  TestConfig config = original_dst_config();
  config.cluster.erase("lb_policy");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("lb_policy: an ORIGINAL_DST cluster chooses hosts by itself"));
  config = original_dst_config();
  config.cluster["load_assignment"] = assignment(locality(endpoint(1)));
  EXPECT_THAT(Translated(config).messages(), HasSubstr("load_assignment: an ORIGINAL_DST cluster has no endpoints"));
  config = original_dst_config("{http_header_name: x-to}");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("http_header_name: is read with use_http_header only"));
  config = original_dst_config("{metadata_key: {key: a, path: [{key: b}]}}");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("metadata_key: known to Envoy, not supported"));
}

TEST(TranslateCluster, RefusesClusterProvidedWhereTheClusterProvidesNothing) {
  TestConfig config;
  config.cluster["lb_policy"] = "CLUSTER_PROVIDED";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("CLUSTER_PROVIDED: a STATIC cluster brings no load balancer"));
  config = {};
  config.cluster["original_dst_lb_config"] = "{use_http_header: true}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.loaded().ignored.size(), 1u);
  EXPECT_EQ(t.loaded().ignored[0].path, "static_resources.clusters[0].original_dst_lb_config");
}

TEST(TranslateCluster, HasEnvoysDefaults) {
  TestConfig config;
  config.cluster.erase("connect_timeout");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const ClusterOptions& c = t.cluster_options();
  EXPECT_EQ(c.connect_timeout, std::chrono::seconds(5));
  EXPECT_EQ(c.per_connection_buffer_limit_bytes, 1024u * 1024);
  EXPECT_EQ(c.lb_policy, upstream::LbPolicy::kRoundRobin);
  EXPECT_EQ(c.common_lb.healthy_panic_threshold_percent, 50.0);
  EXPECT_EQ(c.common_lb.overprovisioning_factor_percent, 140u);
  EXPECT_EQ(c.http.idle_timeout, std::chrono::hours(1));
  EXPECT_EQ(c.http.max_headers_count, 100u);
  for (const upstream::Thresholds& limits : c.circuit_breakers.thresholds) {
    EXPECT_EQ(limits.max_connections, 1024u);
    EXPECT_EQ(limits.max_pending_requests, 1024u);
    EXPECT_EQ(limits.max_requests, 1024u);
    EXPECT_EQ(limits.max_retries, 3u);
    EXPECT_FALSE(limits.retry_budget);
  }
}

TEST(TranslateCluster, ReadsCircuitBreakersByPriority) {
  TestConfig config;
  config.cluster["circuit_breakers"] =
      "{thresholds: [{priority: HIGH, max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4, "
      "max_connection_pools: 5, track_remaining: true, retry_budget: {budget_percent: {value: 25}, "
      "min_retry_concurrency: 6}}], "
      "per_host_thresholds: [{max_connections: 7}]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& breakers = t.cluster_options().circuit_breakers;
  const upstream::Thresholds& high = breakers.thresholds[1];
  EXPECT_EQ(high.max_connections, 1u);
  EXPECT_EQ(high.max_pending_requests, 2u);
  EXPECT_EQ(high.max_requests, 3u);
  EXPECT_EQ(high.max_retries, 4u);
  EXPECT_EQ(high.max_connection_pools, 5u);
  EXPECT_TRUE(high.track_remaining);
  ASSERT_TRUE(high.retry_budget);
  EXPECT_EQ(high.retry_budget->budget_percent, 25.0);
  EXPECT_EQ(high.retry_budget->min_retry_concurrency, 6u);
  EXPECT_EQ(breakers.thresholds[0].max_connections, 1024u);
  EXPECT_EQ(breakers.per_host_max_connections, 7u);
}

TEST(TranslateCluster, ReadsEndpoints) {
  TestConfig config;
  config.cluster["load_assignment"] = assignment(
      locality(endpoint(1,
                        ", load_balancing_weight: 3, health_status: UNHEALTHY, metadata: {filter_metadata: {envoy.lb: "
                        "{canary: true}}}") +
                   "," + endpoint(2),
               ", locality: {region: r, zone: z, sub_zone: s}") +
          "," + locality(endpoint(3), ", priority: 1"),
      ", policy: {overprovisioning_factor: 200}");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.cluster().hosts().size(), 3u);
  EXPECT_EQ(t.cluster().hosts()[2]->priority(), 1u);
  const upstream::Host& host = *t.cluster().hosts()[0];
  EXPECT_EQ(host.address().to_string(), "127.0.0.1:1");
  EXPECT_EQ(host.weight(), 3u);
  EXPECT_TRUE(host.canary());
  EXPECT_EQ(host.locality().zone, "z");
  EXPECT_EQ(t.cluster_options().common_lb.overprovisioning_factor_percent, 200u);
}

TEST(TranslateCluster, RefusesGapsInPrioritiesAndPortZero) {
  TestConfig config;
  config.cluster["load_assignment"] = assignment(locality(endpoint(1)) + "," + locality(endpoint(2), ", priority: 2"));
  EXPECT_THAT(Translated(config).messages(), HasSubstr("load_assignment.endpoints: priority 2 is used, but not 1"));
  config.cluster["load_assignment"] = assignment(locality(endpoint(0)));
  EXPECT_THAT(Translated(config).messages(), HasSubstr("port_value: port 0 cannot be connected to"));
}

TEST(TranslateCluster, KnowsEveryPolicy) {
  const auto choose = [](const Fields& fields) {
    TestConfig config;
    for (const auto& [name, value] : fields) config.cluster[name] = value;
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << t.messages();
    return t.ok() ? t.cluster_options() : ClusterOptions();
  };
  using upstream::LbPolicy;
  EXPECT_EQ(choose({{"lb_policy", "ROUND_ROBIN"}}).lb_policy, LbPolicy::kRoundRobin);
  EXPECT_EQ(choose({{"lb_policy", "least_request"}}).lb_policy, LbPolicy::kLeastRequest);
  const ClusterOptions least = choose(
      {{"lb_policy", "LEAST_REQUEST"},
       {"least_request_lb_config", "{choice_count: 5, active_request_bias: {default_value: 0.5, runtime_key: k}}"}});
  EXPECT_EQ(least.least_request.choice_count, 5u);
  EXPECT_EQ(least.least_request.active_request_bias, 0.5);
  const ClusterOptions full =
      choose({{"load_balancing_policy", policy("least_request.v3.LeastRequest", {{"selection_method", "FULL_SCAN"}})}});
  EXPECT_TRUE(full.least_request.full_scan);
  // load_balancing_policy is stronger than lb_policy.
  EXPECT_EQ(choose({{"lb_policy", "RANDOM"}, {"load_balancing_policy", policy("round_robin.v3.RoundRobin")}}).lb_policy,
            LbPolicy::kRoundRobin);
  EXPECT_EQ(
      choose({{"lb_policy", "LOAD_BALANCING_POLICY_CONFIG"}, {"load_balancing_policy", policy("random.v3.Random")}})
          .lb_policy,
      LbPolicy::kRandom);
}

TEST(TranslateCluster, RefusesAPolicyThatIsNotThere) {
  TestConfig config;
  config.cluster["lb_policy"] = "LOAD_BALANCING_POLICY_CONFIG";
  const Translated t(config);
  EXPECT_EQ(t.loaded().errors, 1u);
  EXPECT_THAT(t.messages(),
              HasSubstr("clusters[0].lb_policy: LOAD_BALANCING_POLICY_CONFIG asks for load_balancing_policy"));
}

TEST(TranslateCluster, HostsOfAllLocalitiesOfAPriorityAreOneSet) {
  TestConfig config;
  config.cluster["load_assignment"] = assignment(
      locality(endpoint(1) + "," + endpoint(2), ", locality: {zone: a}, load_balancing_weight: 9") + "," +
      locality(endpoint(3), ", locality: {zone: b}, load_balancing_weight: 1") + "," +
      locality(endpoint(4), ", locality: {zone: a}, priority: 1"));
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  std::string first;
  for (const auto& host : t.cluster().hosts()) {
    if (host->priority() == 0) first += std::to_string(host->address().port()) + host->locality().zone + " ";
  }
  EXPECT_EQ(first, "1a 2a 3b ");
  EXPECT_EQ(t.cluster().hosts().size(), 4u);
  ASSERT_EQ(t.loaded().ignored.size(), 2u);
  EXPECT_THAT(t.loaded().ignored[0].path, HasSubstr("load_assignment.endpoints[0].load_balancing_weight"));
}

TEST(TranslateCluster, WeighsLocalitiesOnlyWhereThereIsNothingToChoose) {
  const std::string two = locality(endpoint(1)) + "," + locality(endpoint(2), ", priority: 1");
  const std::string same = locality(endpoint(1)) + "," + locality(endpoint(2));
  const Fields localities = {{"locality_lb_config", "{locality_weighted_lb_config: {}}"}};
  const std::vector<std::pair<std::string, std::string>> ways = {
      {"common_lb_config", "{locality_weighted_lb_config: {}}"},
      {"load_balancing_policy", policy("least_request.v3.LeastRequest", localities)},
      {"load_balancing_policy", policy("round_robin.v3.RoundRobin", localities)},
  };
  for (const auto& [field, value] : ways) {
    SCOPED_TRACE(value);
    TestConfig config;
    config.cluster[field] = value;
    config.cluster["load_assignment"] = assignment(two);
    EXPECT_TRUE(Translated(config).ok()) << Translated(config).messages();
    config.cluster["load_assignment"] = assignment(same);
    EXPECT_THAT(Translated(config).messages(),
                HasSubstr("locality_weighted_lb_config: several localities of priority 0"));
  }
}

TEST(TranslateCluster, ReadsTheBindConfig) {
  TestConfig config;
  config.cluster["upstream_bind_config"] =
      "{source_address: {address: '::1', port_value: 0}, freebind: true, socket_options: [{level: 1, name: 2, "
      "int_value: 3}]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& options = t.cluster_options().socket_options;
  ASSERT_EQ(options.size(), 2u);
  EXPECT_EQ(options[0].level, 1);
  EXPECT_EQ(options[0].name, 2);
  EXPECT_EQ(options[1].level, IPPROTO_IPV6);
  EXPECT_EQ(options[1].name, IPV6_FREEBIND);

  config.cluster["upstream_bind_config"] =
      "{socket_options: [{level: 1, name: 2, int_value: 3, state: STATE_LISTENING}]}";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("upstream_bind_config.socket_options[0].state: STATE_LISTENING is known to Envoy, not "
                        "supported by Millrace yet"));
}

TEST(TranslateCluster, BindsAsTheClusterManagerSaysUnlessItSaysItself) {
  TestConfig config;
  config.bootstrap["cluster_manager"] = "{upstream_bind_config: {source_address: {address: 127.0.0.3, port_value: 0}}}";
  EXPECT_EQ(Translated(config).cluster_options().bind_address.to_string(), "127.0.0.3:0");
  config.cluster["upstream_bind_config"] = "{source_address: {address: 127.0.0.4, port_value: 0}}";
  EXPECT_EQ(Translated(config).cluster_options().bind_address.to_string(), "127.0.0.4:0");
}

TEST(TranslateCluster, RefusesWhatOnlyListenersHonour) {
  TestConfig config;
  config.cluster["http_protocol_options"] = "{allow_chunked_length: true}";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("clusters[0].http_protocol_options.allow_chunked_length: known to Envoy"));
}

TEST(TranslateCluster, ReadsTheHttpOptions) {
  using C = ClusterOptions;
  const std::vector<FieldCase> cases = {
      {"max_connection_duration", "6s", "6000ms",
       of_cluster([](const C& c) { return c.http.max_connection_duration; })},
      {"max_stream_duration", "7s", "7000ms", of_cluster([](const C& c) { return c.http.max_stream_duration; })},
      {"max_headers_count", "8", "8", of_cluster([](const C& c) { return c.http.max_headers_count; })},
      {"max_response_headers_kb", "9", "9", of_cluster([](const C& c) { return c.http.max_response_headers_kb; })},
      {"max_requests_per_connection", "10", "10",
       of_cluster([](const C& c) { return c.http.max_requests_per_connection; })},
  };
  for (FieldCase one : cases) {
    const std::string common = "{" + one.field + ": " + one.yaml + "}";
    one.yaml =
        "{" + std::string(kHttpOptions) + ": " +
        typed(kHttpOptions, {{"common_http_protocol_options", common}, {"use_downstream_protocol_config", "{}"}}) + "}";
    one.field = "typed_extension_protocol_options";
    expect_field(one, {}, &TestConfig::cluster);
  }
}

TEST(TranslateCluster, KnowsWhichProtocolIsSpoken) {
  using upstream::HttpProtocol;
  const auto protocol = [](const std::string& name, const std::string& value) {
    TestConfig config;
    config.cluster["typed_extension_protocol_options"] =
        "{" + std::string(kHttpOptions) + ": " + typed(kHttpOptions, {{name, value}}) + "}";
    return Translated(config).cluster_options().http.protocol;
  };
  EXPECT_EQ(protocol("explicit_http_config", "{http_protocol_options: {}}"), HttpProtocol::kHttp1);
  EXPECT_EQ(protocol("explicit_http_config", "{http2_protocol_options: {}}"), HttpProtocol::kHttp2);
  EXPECT_EQ(protocol("use_downstream_protocol_config", "{}"), HttpProtocol::kDownstream);
  TestConfig old;
  EXPECT_EQ(Translated(old).cluster_options().http.protocol, HttpProtocol::kHttp1);
  old.cluster["http2_protocol_options"] = "{}";
  EXPECT_EQ(Translated(old).cluster_options().http.protocol, HttpProtocol::kHttp2);
}

TEST(TranslateCluster, ReadsTheHttp2OptionsWhereverTheyStand) {
  for (const std::string name : {"explicit_http_config", "use_downstream_protocol_config"}) {
    TestConfig config;
    config.cluster["typed_extension_protocol_options"] =
        "{" + std::string(kHttpOptions) + ": " +
        typed(kHttpOptions, {{name, "{http2_protocol_options: {max_concurrent_streams: 7}}"}}) + "}";
    EXPECT_EQ(Translated(config).cluster_options().http.http2.max_concurrent_streams, 7u) << name;
  }
}

}  // namespace
}  // namespace millrace::config
