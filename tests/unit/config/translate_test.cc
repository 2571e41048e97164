#include <gmock/gmock.h>

#include <cstdio>
#include <fstream>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "unit/config/quick_start.h"
#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out(text);
  const size_t at = out.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return out.replace(at, what.size(), by);
}

TEST(LoadSnapshot, RunsTheUsualQuickStart) {
  const Translated t{std::string(kQuickStart)};
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().admin.address->to_string(), "127.0.0.1:9901");
  EXPECT_EQ(t.snapshot().admin.access_logs.size(), 1u);
  ASSERT_EQ(t.virtual_host().routes.size(), 2u);
  const route::RetryPolicy& retry = *t.virtual_host().routes[0].route.retry_policy;
  EXPECT_EQ(retry.retry_on, route::retry_on::k5xx | route::retry_on::kGatewayError);
  EXPECT_EQ(retry.num_retries, 3u);
  EXPECT_TRUE(retry.previous_hosts);
  EXPECT_EQ(t.virtual_host().routes[1].match.path.value, "/static");
  EXPECT_EQ(t.virtual_host().routes[1].route.prefix_rewrite, "/");
  const upstream::Thresholds& high = t.cluster_options().circuit_breakers.thresholds[1];
  EXPECT_EQ(high.max_connections, 100u);
  EXPECT_EQ(high.max_pending_requests, 200u);
  EXPECT_EQ(high.max_requests, 300u);
  EXPECT_EQ(t.cluster_options().connect_timeout, std::chrono::milliseconds(250));
  EXPECT_TRUE(t.loaded().ignored.empty());
}

TEST(LoadSnapshot, ReadsAFileAndNamesItInErrors) {
  const std::string path = testing::TempDir() + "translate_test.yaml";
  std::ofstream(path) << replaced(kQuickStart, "route: { cluster: some_service, prefix",
                                  "route: { cluster: other, prefix");
  stats::Store store(1);
  BuildContext context;
  context.store = &store;
  const LoadedSnapshot loaded = load_snapshot({path, "", false}, context);
  std::remove(path.c_str());
  EXPECT_EQ(loaded.snapshot, nullptr);
  EXPECT_EQ(loaded.errors, 1u);
  EXPECT_THAT(loaded.messages, AllOf(HasSubstr(path + ":"), HasSubstr("a route names the unknown cluster 'other'")));
}

TEST(LoadSnapshot, SaysSoWhenThereIsNoConfiguration) {
  stats::Store store(1);
  BuildContext context;
  context.store = &store;
  EXPECT_THAT(load_snapshot({}, context).messages, HasSubstr("no configuration"));
  EXPECT_EQ(load_snapshot({"/nonexistent/a.yaml", "", false}, context).snapshot, nullptr);
}

TEST(LoadSnapshot, NamesTheLineOfADomainOfTwoVirtualHosts) {
  const std::string two =
      replaced(kQuickStart, "          http_filters:\n",
               "            - name: again\n              domains: [\"*\"]\n          http_filters:\n");
  const Translated t(two);
  EXPECT_EQ(t.loaded().errors, 1u);
  EXPECT_THAT(t.messages(), AllOf(HasSubstr("--config-yaml:34:25: "), HasSubstr("virtual_hosts[1].domains[0]: "),
                                  HasSubstr("\"*\"")));
}

TEST(LoadSnapshot, NamesTheLineOfAnAddressThatIsAString) {
  const Translated t(replaced(kQuickStart, "  address:\n    socket_address: { address: 127.0.0.1, port_value: 9901 }\n",
                              "  address: \":9901\"\n"));
  EXPECT_EQ(t.loaded().errors, 1u) << t.messages();
  EXPECT_THAT(t.messages(), HasSubstr("--config-yaml:3:12: admin.address: "));
}

TEST(LoadSnapshot, NamesTheLineOfAPlaceholder) {
  const Translated field(replaced(kQuickStart, "    type: STATIC\n", "    type: STATIC\n    ...\n"));
  EXPECT_FALSE(field.ok());
  EXPECT_THAT(field.messages(), HasSubstr("--config-yaml:39:5: '...' is a placeholder"));
  const Translated value(replaced(kQuickStart, "port_value: 1234", "port_value: ..."));
  EXPECT_EQ(value.loaded().errors, 1u) << value.messages();
  EXPECT_THAT(value.messages(), AllOf(HasSubstr("--config-yaml:52:"), HasSubstr("port_value: '...' is a placeholder")));
  const Translated list(replaced(kQuickStart, "          - name: envoy.filters.http.router\n", "          - ...\n"));
  EXPECT_FALSE(list.ok());
  EXPECT_THAT(list.messages(), HasSubstr("--config-yaml:33:"));
}

TEST(LoadSnapshot, RefusesTwoOfAName) {
  TestConfig config;
  std::string yaml = config.yaml();
  yaml = replaced(yaml, "clusters: [", "clusters: [" + flow(config.cluster) + ", ");
  EXPECT_THAT(Translated(yaml).messages(), HasSubstr("clusters[1].name: cluster 'c' is defined twice"));
}

TEST(LoadSnapshot, TellsTheNodeAndLetsTheCommandLineWin) {
  TestConfig config;
  config.bootstrap["node"] = "{id: i, cluster: c, locality: {region: r, zone: z, sub_zone: s}}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().node.id, "i");
  EXPECT_EQ(t.snapshot().node.sub_zone, "s");
  stats::Store store(1);
  BuildContext context;
  context.store = &store;
  context.service_node = "given";
  context.service_zone = "here";
  const LoadedSnapshot loaded = load_snapshot({"", config.yaml(), false}, context);
  EXPECT_EQ(loaded.snapshot->node.id, "given");
  EXPECT_EQ(loaded.snapshot->node.cluster, "c");
  EXPECT_EQ(loaded.snapshot->node.zone, "here");
}

// ---- layered_runtime

TestConfig with_runtime(const std::string& layer) {
  TestConfig config;
  config.bootstrap["layered_runtime"] =
      "{layers: [{name: static, static_layer: " + layer + "}, {name: admin, admin_layer: {}}]}";
  return config;
}

TEST(Runtime, FlattensKeysAndListsWhatNothingReads) {
  const Translated t(with_runtime("{a: {b: 1, c: {d: text}}, e.f: true, g: {numerator: 5}}"));
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.snapshot().runtime_layers.size(), 2u);
  EXPECT_EQ(t.snapshot().runtime_layers[1].name, "admin");
  EXPECT_THAT(t.snapshot().runtime_layers[0].values, ElementsAre(Pair("a.b", "1"), Pair("a.c.d", "text"),
                                                                 Pair("e.f", "true"), Pair("g", "{\"numerator\":5}")));
  std::vector<std::string> said;
  for (const SupportNote& note : t.loaded().ignored) said.push_back(note.what);
  EXPECT_THAT(said, testing::IsSupersetOf({"nothing reads the runtime key a.b", "nothing reads the runtime key g"}));
}

TEST(Runtime, LimitsTheConnectionsOfAListenerAndOfTheProcess) {
  const Translated t(with_runtime(
      "{envoy.resource_limits.listener.l.connection_limit: 7, overload.global_downstream_max_connections: 9}"));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().max_connections, 7u);
  EXPECT_EQ(t.snapshot().connections_max, 9);
  const Translated none{TestConfig()};
  EXPECT_EQ(none.listener().max_connections, UINT32_MAX);
  EXPECT_EQ(none.snapshot().connections_max, INT64_MAX);
}

TEST(Runtime, ReplacesTheDefaultOfWhatNamesAKey) {
  TestConfig config = with_runtime(
      "{share: 20, exact: {numerator: 7, denominator: TEN_THOUSAND}, bias: 2.5, circuit_breakers.c.high.max_requests: "
      "11, "
      "w.c: 3, upstream.healthy_panic_threshold: 5}");
  config.route["match"] = "{prefix: /, runtime_fraction: {default_value: {numerator: 50}, runtime_key: share}}";
  config.cluster["lb_policy"] = "LEAST_REQUEST";
  config.cluster["least_request_lb_config"] = "{active_request_bias: {default_value: 1, runtime_key: bias}}";
  config.action = {{"weighted_clusters", "{runtime_key_prefix: w, clusters: [{name: c, weight: 1}]}"}};
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.route().match.runtime_fraction->numerator, 20u);
  EXPECT_EQ(t.cluster_options().least_request.active_request_bias, 2.5);
  EXPECT_EQ(t.cluster_options().circuit_breakers.thresholds[1].max_requests, 11u);
  EXPECT_EQ(t.cluster_options().common_lb.healthy_panic_threshold_percent, 5.0);
  EXPECT_EQ(t.action().weighted_clusters.at(0).weight, 3u);
  config.route["match"] = "{prefix: /, runtime_fraction: {default_value: {numerator: 50}, runtime_key: exact}}";
  EXPECT_EQ(Translated(config).route().match.runtime_fraction->denominator, 10'000u);
  config.route["match"] = "{prefix: /, runtime_fraction: {default_value: {numerator: 50}, runtime_key: absent}}";
  EXPECT_EQ(Translated(config).route().match.runtime_fraction->numerator, 50u);
}

TEST(Runtime, RefusesListsAndTwoLayersOfAName) {
  EXPECT_THAT(Translated(with_runtime("{a: [1]}")).messages(), HasSubstr("static_layer[\"a\"]: a runtime value is"));
  TestConfig config;
  config.bootstrap["layered_runtime"] = "{layers: [{name: a, static_layer: {}}, {name: a, static_layer: {}}]}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("layers[1].name: layer 'a' is there twice"));
}

}  // namespace
}  // namespace millrace::config
