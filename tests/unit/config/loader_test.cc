#include "config/loader.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "unit/config/quick_start.h"

namespace millrace::config {
namespace {

using ::testing::HasSubstr;
using Hcm = envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

Loaded load(std::string_view yaml, const LoadOptions& options = {}) {
  return load_bootstrap_text(yaml, "envoy.yaml", ConfigFormat::kYaml, options);
}

// What is said about the text, one line for each.
std::string complaints(std::string_view yaml, const LoadOptions& options = {}) {
  return load(yaml, options).diagnostics().to_string();
}

Hcm hcm_of(const Loaded& loaded) {
  Hcm hcm;
  loaded.bootstrap().static_resources().listeners(0).filter_chains(0).filters(0).typed_config().UnpackTo(
      &hcm);
  return hcm;
}

TEST(Loader, ReadsTheQuickStart) {
  const Loaded loaded = load(kQuickStart);
  ASSERT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  const auto& resources = loaded.bootstrap().static_resources();
  ASSERT_EQ(resources.listeners_size(), 1);
  EXPECT_EQ(resources.listeners(0).address().socket_address().port_value(), 10000u);
  const Hcm hcm = hcm_of(loaded);
  EXPECT_EQ(hcm.route_config().virtual_hosts(0).domains(0), "*");
  EXPECT_EQ(hcm.http_filters(0).name(), "envoy.filters.http.router");
  EXPECT_FALSE(hcm.http_filters(0).has_typed_config());
  ASSERT_EQ(resources.clusters_size(), 1);
  EXPECT_EQ(resources.clusters(0).connect_timeout().nanos(), 250'000'000);
}

TEST(Loader, KnowsWhereEveryFieldWasWritten) {
  const Loaded loaded = load(kQuickStart);
  const auto line = [&](std::string_view path) { return loaded.position_of(path).line; };
  EXPECT_EQ(line("static_resources"), 5u);
  EXPECT_EQ(line("static_resources.listeners[0]"), 7u);
  EXPECT_EQ(line("static_resources.listeners[0].filter_chains[0].filters[0].name"), 12u);
  const std::string hcm = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.";
  EXPECT_EQ(line(hcm + "stat_prefix"), 15u);
  EXPECT_EQ(line(hcm + "route_config.virtual_hosts[0].domains[0]"), 21u);
  EXPECT_EQ(line(hcm + "route_config.virtual_hosts[0].routes[0].route.cluster"), 25u);
  EXPECT_EQ(loaded.position_of(hcm + "route_config.virtual_hosts[0].domains[0]").column, 25);
}

TEST(Loader, FindsTheLongestKnownPrefixOfAPath) {
  Loaded loaded = load(kQuickStart);
  EXPECT_EQ(loaded.position_of("static_resources.clusters[0].health_checks[3]").line, 36u);
  EXPECT_EQ(loaded.position_of("static_resources.clusters[9]").line, 35u);
  EXPECT_EQ(loaded.position_of("no_such_field").line, 1u);
  loaded.diagnostics().error("static_resources.clusters[0].lb_policy", "not that one", "take another");
  EXPECT_EQ(loaded.diagnostics().to_string(),
            "envoy.yaml:39:16: static_resources.clusters[0].lb_policy: not that one; take another\n");
  EXPECT_FALSE(loaded.ok());
}

TEST(Loader, ReadsJsonYamlAndProtobufAlike) {
  const Loaded yaml = load(kQuickStart);
  std::string json;
  // No Any in it: the printer knows only linked types.
  envoy::config::bootstrap::v3::Bootstrap plain = yaml.bootstrap();
  plain.mutable_static_resources()->clear_listeners();
  google::protobuf::util::MessageToJsonString(plain, &json);
  const auto same = [&](std::string_view text, ConfigFormat format) {
    const Loaded loaded = load_bootstrap_text(text, "envoy", format);
    EXPECT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
    EXPECT_EQ(loaded.message().SerializeAsString(), plain.SerializeAsString());
  };
  same(json, ConfigFormat::kJson);
  same(json, ConfigFormat::kYaml);
  same(plain.SerializeAsString(), ConfigFormat::kProtobuf);
  same(plain.DebugString(), ConfigFormat::kProtobufText);
}

TEST(Loader, ChoosesTheFormatByTheEndingOfTheName) {
  EXPECT_EQ(format_of("a/b.json"), ConfigFormat::kJson);
  EXPECT_EQ(format_of("a/b.pb"), ConfigFormat::kProtobuf);
  EXPECT_EQ(format_of("a/b.pb_text"), ConfigFormat::kProtobufText);
  EXPECT_EQ(format_of("a/b.yml"), ConfigFormat::kYaml);
  EXPECT_EQ(format_of("b"), ConfigFormat::kYaml);
}

TEST(Loader, ReadsAFile) {
  const std::string path = ::testing::TempDir() + "loader_test.yaml";
  std::ofstream(path) << kQuickStart;
  const Loaded loaded = load_bootstrap({path, "", false});
  std::remove(path.c_str());
  EXPECT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  EXPECT_EQ(loaded.bootstrap().static_resources().clusters_size(), 1);
}

TEST(Loader, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(load_bootstrap({"/nonexistent/envoy.yaml", "", false}).diagnostics().to_string(),
            "/nonexistent/envoy.yaml: cannot be read: No such file or directory\n");
  EXPECT_THAT(load_bootstrap({"/", "", false}).diagnostics().to_string(), HasSubstr("Is a directory"));
  EXPECT_THAT(load_bootstrap({}).diagnostics().to_string(), HasSubstr("no configuration"));
}

TEST(Loader, MergesConfigYamlOverTheFile) {
  LoadOptions options;
  options.config_yaml =
      "admin: {address: {socket_address: {address: ::1, port_value: 9902}}}\n"
      "static_resources:\n  clusters: [{name: second, connect_timeout: 1s}]\n";
  const Loaded loaded = load(kQuickStart, options);
  ASSERT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  EXPECT_THAT(loaded.bootstrap().admin().DebugString(), HasSubstr("/tmp/admin_access.log"));
  EXPECT_EQ(loaded.bootstrap().admin().address().socket_address().port_value(), 9902u);
  ASSERT_EQ(loaded.bootstrap().static_resources().clusters_size(), 2);
  EXPECT_EQ(loaded.bootstrap().static_resources().clusters(1).name(), "second");
}

TEST(Loader, KeepsThePlacesOfBothSidesOfAMerge) {
  LoadOptions options;
  options.config_yaml =
      "admin: {address: {socket_address: {address: ::1, port_value: 9902}}}\n"
      "static_resources:\n  clusters: [{name: second, connect_timeout: 1s}]\n";
  Loaded loaded = load(kQuickStart, options);
  const auto complaint_at = [&](std::string_view path) {
    Diagnostics diagnostics = loaded.diagnostics();
    diagnostics.error(path, "x");
    return diagnostics.to_string();
  };
  EXPECT_THAT(complaint_at("static_resources.clusters[0].name"), HasSubstr("envoy.yaml:36:11:"));
  EXPECT_THAT(complaint_at("static_resources.clusters[1].name"), HasSubstr("--config-yaml:3:21:"));
  EXPECT_THAT(complaint_at("admin.address.socket_address.port_value"), HasSubstr("--config-yaml:1:62:"));
  EXPECT_THAT(complaint_at("admin.access_log_path"), HasSubstr("envoy.yaml:2:20:"));
}

TEST(Loader, TakesConfigYamlAlone) {
  LoadOptions options;
  options.config_yaml = "admin: {}";
  const Loaded loaded = load_bootstrap(options);
  EXPECT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  EXPECT_TRUE(loaded.bootstrap().has_admin());
  options.config_yaml = "admin: {adress: 1}";
  EXPECT_THAT(load_bootstrap(options).diagnostics().to_string(),
              HasSubstr("--config-yaml:1:9: admin.adress: unknown field of Admin; did you mean 'address'?"));
}

TEST(Loader, ReportsEverythingThatIsWrongAtOnce) {
  const std::string said = complaints(R"(admin:
  address: ":9001"
static_resource: {}
static_resources:
  clusters:
  - name: ""
    connect_timeout: 5
    lb_policy: ROUND_ROBBIN
)");
  EXPECT_EQ(said,
            "envoy.yaml:2:12: admin.address: a mapping (Address) is expected, not the text ':9001'; it has "
            "the fields "
            "socket_address, pipe, envoy_internal_address\n"
            "envoy.yaml:3:1: static_resource: unknown field of Bootstrap; did you mean 'static_resources'?\n"
            "envoy.yaml:6:11: static_resources.clusters[0].name: must not be empty\n"
            "envoy.yaml:7:22: static_resources.clusters[0].connect_timeout: a duration is expected, not the "
            "number 5; a "
            "duration is a number of seconds and an s: \"0.25s\", \"90s\"\n"
            "envoy.yaml:8:16: static_resources.clusters[0].lb_policy: 'ROUND_ROBBIN' is not a value of "
            "LbPolicy; did you "
            "mean 'ROUND_ROBIN'?\n");
}

TEST(Loader, RefusesAnUnknownFieldUnlessToldNotTo) {
  EXPECT_FALSE(load("nodes: {}\n").ok());
  LoadOptions lenient;
  lenient.allow_unknown_static_fields = true;
  const Loaded loaded = load("nodes: {}\nnode: {id: x}\n", lenient);
  EXPECT_TRUE(loaded.ok());
  EXPECT_EQ(loaded.diagnostics().to_string(),
            "envoy.yaml:1:1: warning: nodes: unknown field of Bootstrap; did you mean 'node'?\n");
  EXPECT_EQ(loaded.bootstrap().node().id(), "x");
}

TEST(Loader, PointsAtAPlaceholder) {
  EXPECT_EQ(complaints("static_resources:\n  listeners:\n  - ...\n"),
            "envoy.yaml:3:5: static_resources.listeners[0]: '...' is a placeholder, Listener belongs here; "
            "it has the "
            "fields name, address, additional_addresses, stat_prefix, filter_chains, filter_chain_matcher, "
            "use_original_dst, default_filter_chain, per_connection_buffer_limit_bytes, metadata, ...\n");
  EXPECT_THAT(complaints("static_resources:\n  listeners:\n  - name: x\n    ...\n"),
              HasSubstr("envoy.yaml:4:5: static_resources.listeners[0]: '...' is a placeholder"));
  EXPECT_THAT(complaints("static_resources:\n  listeners: ...\n"), HasSubstr("envoy.yaml:2:14: "));
}

TEST(Loader, PointsIntoThePackedConfigurationOfAFilter) {
  std::string yaml(kQuickStart);
  yaml.replace(yaml.find("domains: [\"*\"]"), 14, "domain: [\"*\"] ");
  EXPECT_THAT(
      complaints(yaml),
      HasSubstr(
          "envoy.yaml:21:15: static_resources.listeners[0].filter_chains[0].filters[0].typed_config."
          "route_config.virtual_hosts[0].domain: unknown field of VirtualHost; did you mean 'domains'?"));
}

TEST(Loader, SaysThatTheV2WayToConfigureIsGone) {
  EXPECT_THAT(
      complaints("static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n"
                 "      - name: envoy.filters.network.http_connection_manager\n        config: {}\n"),
      HasSubstr(
          "envoy.yaml:6:9: static_resources.listeners[0].filter_chains[0].filters[0].config: 'config' is the "
          "v2 way to configure an extension, which Envoy v3 has not; write typed_config with an '@type'"));
}

TEST(Loader, GuessesWrongIndentation) {
  EXPECT_THAT(
      complaints("static_resources:\n  clusters:\n  - name: a\n    load_assignment:\n      cluster_name: a\n"
                 "      lb_policy: RANDOM\n"),
      HasSubstr(
          "lb_policy: unknown field of ClusterLoadAssignment; 'lb_policy' is a field of Cluster around it: "
          "look at the indentation"));
}

TEST(Loader, ReadsTextFormatWithItsLines) {
  const Loaded loaded = load_bootstrap_text("node {\n  id: \"n\"\n}\nadmin {\n  profile_path: \"p\"\n}\n",
                                            "b.pb_text", ConfigFormat::kProtobufText);
  ASSERT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  EXPECT_EQ(loaded.position_of("node.id").line, 2u);
  EXPECT_EQ(loaded.position_of("admin.profile_path").line, 5u);
  const Loaded wrong = load_bootstrap_text("node {\n  idd: 3\n}\n", "b.pb_text", ConfigFormat::kProtobufText);
  EXPECT_THAT(wrong.diagnostics().to_string(), HasSubstr("b.pb_text:2:6: "));
}

TEST(Loader, RefusesBytesThatAreNoBootstrap) {
  EXPECT_THAT(
      load_bootstrap_text("\xff\xff\xff\xff", "b.pb", ConfigFormat::kProtobuf).diagnostics().to_string(),
      HasSubstr("b.pb: not a Bootstrap in protobuf's wire format"));
}

}  // namespace
}  // namespace millrace::config
