#include "config/config_dump.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "unit/config/quick_start.h"
#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

const std::string kUrl = "type.googleapis.com/envoy.admin.v3.";

// Written in pieces; the longest.
struct Written {
  std::string text;
  size_t piece_bytes_max = 0;
};

Written written(const ConfigDump& dump, const ConfigDumpQuery& query = {}) {
  Written out;
  const auto text = dump.json(query);
  if (!text.ok()) {
    ADD_FAILURE() << text.error().what;
    return out;
  }
  for (bool more = true; more;) {
    const size_t before = out.text.size();
    more = (*text)->next(out.text);
    out.piece_bytes_max = std::max(out.piece_bytes_max, out.text.size() - before);
  }
  return out;
}

ConfigDump dump_of(std::string_view yaml) {
  const Loaded loaded = load_bootstrap_text(yaml, "a.yaml", ConfigFormat::kYaml);
  EXPECT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  return {loaded.bootstrap(), {}};
}

json configs(const ConfigDump& dump, const ConfigDumpQuery& query = {}) {
  const json parsed = json::parse(written(dump, query).text);
  return parsed.contains("configs") ? parsed["configs"] : json::array();
}

std::string error(const ConfigDump& dump, const ConfigDumpQuery& query, base::ErrorCode code) {
  const auto text = dump.json(query);
  if (text.ok()) return "no error";
  EXPECT_EQ(text.error().code, code);
  return text.error().what;
}

TEST(ConfigDump, HasTheShapeThatToolsRead) {
  const Translated t{std::string(kQuickStart)};
  ASSERT_TRUE(t.ok()) << t.messages();
  const json configs = json::parse(t.snapshot().config_dump->text()).at("configs");
  ASSERT_EQ(configs.size(), 4u);
  EXPECT_EQ(configs[0]["@type"], kUrl + "BootstrapConfigDump");
  EXPECT_EQ(configs[0]["bootstrap"]["admin"]["access_log_path"], "/tmp/admin_access.log");
  EXPECT_EQ(configs[1]["@type"], kUrl + "ClustersConfigDump");
  EXPECT_EQ(configs[1]["static_clusters"][0]["cluster"]["name"], "some_service");
  EXPECT_EQ(configs[2]["@type"], kUrl + "ListenersConfigDump");
  EXPECT_EQ(
      configs[2]["static_listeners"][0]["listener"]["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"],
      "ingress_http");
  EXPECT_EQ(configs[3]["@type"], kUrl + "RoutesConfigDump");
  EXPECT_EQ(configs[3]["static_route_configs"][0]["route_config"]["name"], "local_route");
  for (const auto& config : {configs[0], configs[1]["static_clusters"][0], configs[3]["static_route_configs"][0]}) {
    EXPECT_THAT(config["last_updated"].get<std::string>(), EndsWith("Z"));
  }
}

TEST(ConfigDump, RedactsWhatTheApiMarksAsSensitive) {
  // TLS is refused at load; the dump must not depend on that. A chain as long as this one is written in pieces.
  for (const size_t length : {10u, 10'000u}) {
    const std::string text = written(dump_of(R"(
static_resources:
  clusters:
  - name: a
    connect_timeout: 1s
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_certificates:
          - certificate_chain: {inline_string: )" +
                                             std::string(length, 's') + R"(}
            private_key: {inline_string: hidden}
            password: {filename: hidden}
)"))
                                 .text;
    EXPECT_THAT(text,
                AllOf(HasSubstr(std::string(length, 's')), HasSubstr("[redacted]"), testing::Not(HasSubstr("hidden"))));
    EXPECT_THAT(text, HasSubstr("1970-01-01T00:00:00Z"));
  }
}

std::string many_clusters(size_t count) {
  std::string yaml = "node: {id: me}\nstatic_resources:\n  clusters:\n";
  for (size_t i = 0; i < count; ++i) yaml += "  - {name: c" + std::to_string(i) + ", connect_timeout: 1.5s}\n";
  return yaml;
}

TEST(ConfigDump, IsWrittenInSmallPiecesHoweverLong) {
  const Written all = written(dump_of(many_clusters(2000)));
  EXPECT_LT(all.piece_bytes_max, 64u << 10);
  const json configs = json::parse(all.text).at("configs");
  EXPECT_EQ(configs[0]["bootstrap"]["node"]["id"], "me");
  for (const json& clusters :
       {configs[0]["bootstrap"]["static_resources"]["clusters"], configs[1]["static_clusters"]}) {
    ASSERT_EQ(clusters.size(), 2000u);
    for (size_t i = 0; i < clusters.size(); ++i) {
      const json& cluster = clusters[i].contains("cluster") ? clusters[i]["cluster"] : clusters[i];
      ASSERT_EQ(cluster["name"], "c" + std::to_string(i));
      ASSERT_EQ(cluster["connect_timeout"], "1.500s");
    }
  }
}

// The quick start with so many routes that the route table is written field by field, through the Anys that hold it.
TEST(ConfigDump, LongMessagesReadAsShortOnes) {
  std::string yaml{kQuickStart};
  const std::string route = "              - match: { prefix: \"/static\" }\n";
  const size_t at = yaml.find(route);
  ASSERT_NE(at, std::string::npos);
  std::string more;
  for (int i = 0; i < 1000; ++i)
    more += "              - {match: {prefix: /r" + std::to_string(i) + "}, route: {cluster: some_service}}\n";
  yaml.insert(at, more);
  const Written all = written(dump_of(yaml));
  EXPECT_LT(all.piece_bytes_max, 64u << 10);
  json long_one = json::parse(all.text);
  json short_one = json::parse(written(dump_of(kQuickStart)).text);
  auto routes_of = [](json& listener) -> json& {
    return listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"];
  };
  for (json* routes :
       {&routes_of(long_one["configs"][0]["bootstrap"]["static_resources"]["listeners"][0]),
        &routes_of(long_one["configs"][2]["static_listeners"][0]["listener"]),
        &long_one["configs"][3]["static_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"]}) {
    ASSERT_EQ(routes->size(), 1002u);
    EXPECT_EQ((*routes)[1]["match"]["prefix"], "/r0");
    routes->erase(routes->begin() + 1, routes->begin() + 1001);
  }
  EXPECT_EQ(long_one, short_one);
}

TEST(ConfigDump, ShowsTheItemsOfOneResource) {
  const ConfigDump dump = dump_of(kQuickStart);
  const json clusters = configs(dump, {.resource = "static_clusters"});
  ASSERT_EQ(clusters.size(), 1u);
  EXPECT_EQ(clusters[0]["@type"], kUrl + "ClustersConfigDump.StaticCluster");
  EXPECT_EQ(clusters[0]["cluster"]["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
  EXPECT_EQ(clusters[0]["cluster"]["name"], "some_service");
  EXPECT_EQ(configs(dump, {.resource = "static_route_configs"})[0]["route_config"]["name"], "local_route");
  EXPECT_TRUE(configs(dump, {.resource = "dynamic_active_clusters"}).empty());
  EXPECT_EQ(error(dump, {.resource = "nonsense"}, base::ErrorCode::kNotFound), "nonsense not found in config dump");
  EXPECT_EQ(error(dump, {.resource = "bootstrap"}, base::ErrorCode::kInvalidArgument),
            "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field");
}

TEST(ConfigDump, MasksReachIntoTheResource) {
  const ConfigDump dump = dump_of(kQuickStart);
  const auto masked = [&](const char* mask) {
    return configs(dump, {.resource = "static_clusters", .mask = mask}).at(0);
  };
  json named{{"@type", kUrl + "ClustersConfigDump.StaticCluster"},
             {"cluster", {{"@type", "type.googleapis.com/envoy.config.cluster.v3.Cluster"}, {"name", "some_service"}}}};
  EXPECT_EQ(masked("cluster.name"), named);
  named["last_updated"] = "1970-01-01T00:00:00Z";
  EXPECT_EQ(masked("cluster.name,last_updated"), named);
  EXPECT_EQ(masked("cluster.name,cluster")["cluster"]["lb_policy"], json());
  EXPECT_EQ(masked("cluster.load_assignment.cluster_name")["cluster"]["load_assignment"],
            json({{"cluster_name", "some_service"}}));
  for (const char* bad : {"nonsense", "cluster.nonsense", "cluster.load_assignment.endpoints.priority"}) {
    EXPECT_EQ(error(dump, {.resource = "static_clusters", .mask = bad}, base::ErrorCode::kInvalidArgument),
              "FieldMask paths: \"" + std::string(bad) + "\"\n could not be successfully used.");
  }
}

TEST(ConfigDump, MasksWithoutAResourcePickParts) {
  const ConfigDump dump = dump_of(kQuickStart);
  const json admin = configs(dump, {.mask = "bootstrap.admin.access_log_path"});
  ASSERT_EQ(admin.size(), 1u);
  EXPECT_EQ(admin[0]["bootstrap"], json({{"admin", {{"access_log_path", "/tmp/admin_access.log"}}}}));
  EXPECT_EQ(configs(dump, {.mask = "static_listeners"})[0]["static_listeners"][0]["listener"]["name"], "listener_0");
  // No mask reaches through a list.
  EXPECT_THAT(error(dump, {.mask = "static_clusters.cluster"}, base::ErrorCode::kInvalidArgument),
              EndsWith("could not be successfully applied to any configs."));
}

TEST(ConfigDump, NamesAreMatchedAsAWhole) {
  const ConfigDump dump = dump_of(many_clusters(12));
  const auto names = [&](const char* regex) {
    std::string found;
    for (const json& item : configs(dump, {.resource = "static_clusters", .name_regex = regex}))
      found += item["cluster"]["name"].get<std::string>() + " ";
    return found;
  };
  EXPECT_EQ(names("c1"), "c1 ");
  EXPECT_EQ(names("c1.*"), "c1 c10 c11 ");
  EXPECT_EQ(names("none"), "");
  const json parts = configs(dump, {.name_regex = "c3"});
  ASSERT_EQ(parts.size(), 4u) << "the bootstrap has no name and is shown";
  EXPECT_EQ(parts[1]["static_clusters"].size(), 1u);
  EXPECT_THAT(error(dump, {.name_regex = "("}, base::ErrorCode::kInvalidArgument),
              HasSubstr("Error while parsing name_regex from (: "));
}

}  // namespace
}  // namespace millrace::config
