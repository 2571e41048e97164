// The list of HTTP filters, what routes say for them, and the options of each kind but the router.
#include <gmock/gmock.h>

#include "filter/grpc_http1_bridge_filter.h"
#include "filter/grpc_reverse_bridge_filter.h"
#include "filter/grpc_stats_filter.h"
#include "filter/grpc_web_filter.h"
#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kBridge = "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config";
constexpr const char* kReverse = "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig";
constexpr const char* kReverseRoute = "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute";
constexpr const char* kStats = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
constexpr const char* kWeb = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
constexpr const char* kLua = "envoy.extensions.filters.http.lua.v3.Lua";
constexpr const char* kFilterConfig = "envoy.config.route.v3.FilterConfig";

std::string item(const std::string& name, const std::string& type, const Fields& fields = {},
                 const std::string& more = "") {
  return "{name: " + name + ", typed_config: " + typed(type, fields) + more + "}, ";
}
TestConfig with_filters(const std::string& items) {
  TestConfig config;
  config.hcm["http_filters"] = "[" + items + "{name: envoy.filters.http.router}]";
  return config;
}
std::vector<std::string> names(const Translated& t) {
  std::vector<std::string> out;
  for (const filter::HcmFilter& one : t.hcm().filters) out.emplace_back(one.config->name());
  return out;
}
template <class Config>
const auto& options_of(const Translated& t) {
  return dynamic_cast<const Config&>(*t.hcm().filters.at(0).config).options();
}

TEST(TranslateHttpFilters, KeepsTheOrderAndMarksTheDisabled) {
  const Translated t(with_filters(item("w", kWeb) + item("s", kStats, {}, ", disabled: true") + item("b", kBridge)));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_THAT(names(t), ElementsAre("envoy.filters.http.grpc_web", "envoy.filters.http.grpc_stats",
                                    "envoy.filters.http.grpc_http1_bridge", "envoy.filters.http.router"));
  EXPECT_EQ(t.hcm().disabled_filters, 2u);
  EXPECT_THAT(t.routes().filters, ElementsAre("w", "s", "b", "envoy.filters.http.router"));
}

TEST(TranslateHttpFilters, RefusesWhatIsNotSupportedUnlessItIsOptional) {
  const Translated refused(with_filters(item("l", kLua)));
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.messages(), HasSubstr("envoy.extensions.filters.http.lua.v3.Lua"));
  const Translated t(with_filters(item("l", kLua, {}, ", is_optional: true") + item("w", kWeb)));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_THAT(names(t), ElementsAre("envoy.filters.http.grpc_web", "envoy.filters.http.router"));
  EXPECT_THAT(t.routes().filters, ElementsAre("w", "envoy.filters.http.router"));
  ASSERT_FALSE(t.loaded().ignored.empty());
  EXPECT_THAT(t.loaded().ignored[0].path, HasSubstr("http_filters[0]"));
}

TEST(TranslateHttpFilters, TheRouterCannotBeDisabled) {
  TestConfig config;
  config.hcm["http_filters"] = "[{name: envoy.filters.http.router, disabled: true}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("the router cannot be disabled"));
}

TEST(TranslateHttpFilters, RoutesSwitchAndConfigureThem) {
  TestConfig config = with_filters(item("r", kReverse, {{"content_type", "a/b"}}));
  const std::string off = typed(kFilterConfig, {{"disabled", "true"}});
  config.virtual_host["typed_per_filter_config"] = "{r: " + off + "}";
  config.route["typed_per_filter_config"] = "{r: " + typed(kReverseRoute, {{"disabled", "true"}}) + "}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_TRUE(t.virtual_host().filter_overrides.at(0).disabled);
  const route::FilterOverrideOptions& own = t.route().filter_overrides.at(0);
  EXPECT_FALSE(own.disabled);
  EXPECT_TRUE(dynamic_cast<const filter::GrpcReverseBridgeRoute&>(*own.config).disabled);
  // A FilterConfig may hold the same.
  config.route["typed_per_filter_config"] =
      "{r: " + typed(kFilterConfig, {{"config", typed(kReverseRoute, {{"disabled", "true"}})}}) + "}";
  const Translated wrapped(config);
  ASSERT_TRUE(wrapped.ok()) << wrapped.messages();
  EXPECT_NE(wrapped.route().filter_overrides.at(0).config, nullptr);
}

TEST(TranslateHttpFilters, WeightedClustersConfigureThemToo) {
  TestConfig config = with_filters(item("w", kWeb));
  config.action = {{"weighted_clusters", "{clusters: [{name: c, weight: 1, typed_per_filter_config: {w: " +
                                             typed(kFilterConfig, {{"disabled", "true"}}) + "}}]}"}};
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_TRUE(t.action().weighted_clusters.at(0).filter_overrides.at(0).disabled);
}

TEST(TranslateHttpFilters, RefusesConfigurationsOfTheWrongKind) {
  TestConfig config = with_filters(item("w", kWeb));
  config.route["typed_per_filter_config"] = "{w: " + typed(kReverseRoute, {}) + "}";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("filter 'w' takes no envoy.extensions.filters.http.grpc_http1_reverse_bridge"));
  config.route["typed_per_filter_config"] = "{x: " + typed(kFilterConfig, {{"disabled", "true"}}) + "}";
  const Translated t(config);
  EXPECT_TRUE(t.ok());
  EXPECT_THAT(t.messages(), HasSubstr("http_filters has no filter 'x'"));
}

TEST(TranslateHttpFilters, ReadsTheHttp1Bridge) {
  const Translated t(with_filters(
      item("b", kBridge, {{"upgrade_protobuf_to_grpc", "true"}, {"ignore_query_parameters", "true"}})));
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_TRUE(options_of<filter::GrpcHttp1BridgeConfig>(t).upgrade_protobuf_to_grpc);
  EXPECT_TRUE(options_of<filter::GrpcHttp1BridgeConfig>(t).ignore_query_parameters);
  const Translated plain(with_filters(item("b", kBridge)));
  EXPECT_FALSE(options_of<filter::GrpcHttp1BridgeConfig>(plain).upgrade_protobuf_to_grpc);
  EXPECT_FALSE(options_of<filter::GrpcHttp1BridgeConfig>(plain).ignore_query_parameters);
}

TEST(TranslateHttpFilters, ReadsTheReverseBridge) {
  const Translated t(with_filters(item(
      "r", kReverse, {{"content_type", "a/b"}, {"withhold_grpc_frames", "true"}, {"response_size_header", "X-Size"}})));
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& o = options_of<filter::GrpcReverseBridgeConfig>(t);
  EXPECT_EQ(o.content_type, "a/b");
  EXPECT_TRUE(o.withhold_grpc_frames);
  EXPECT_EQ(o.response_size_header, "x-size");
  EXPECT_FALSE(Translated(with_filters(item("r", kReverse))).ok());
}

TEST(TranslateHttpFilters, ReadsGrpcStats) {
  const Translated t(with_filters(item(
      "s", kStats, {{"individual_method_stats_allowlist", "{services: [{name: p.S, method_names: [A, B]}]}"},
                    {"enable_upstream_stats", "true"}})));
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& o = options_of<filter::GrpcStatsConfig>(t);
  EXPECT_FALSE(o.all_methods);
  EXPECT_TRUE(o.enable_upstream_stats);
  EXPECT_EQ(o.allowlist.at(0).name, "p.S");
  EXPECT_THAT(o.allowlist.at(0).methods, ElementsAre("A", "B"));
  const Translated all(with_filters(
      item("s", kStats, {{"stats_for_all_methods", "true"}, {"replace_dots_in_grpc_service_name", "true"}})));
  ASSERT_TRUE(all.ok()) << all.messages();
  EXPECT_TRUE(options_of<filter::GrpcStatsConfig>(all).all_methods);
  EXPECT_TRUE(options_of<filter::GrpcStatsConfig>(all).replace_dots_in_service);
  EXPECT_FALSE(Translated(with_filters(item("s", kStats, {{"emit_filter_state", "true"}}))).ok());
}

}  // namespace
}  // namespace millrace::config
