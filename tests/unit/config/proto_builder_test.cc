#include "config/proto_builder.h"

#include <gmock/gmock.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include "config/loader.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/listener/v3/listener_components.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"

namespace millrace::config {
namespace {

using ::testing::HasSubstr;
namespace cluster = envoy::config::cluster::v3;
namespace core = envoy::config::core::v3;
namespace route = envoy::config::route::v3;
using envoy::config::listener::v3::Filter;
using envoy::extensions::filters::http::router::v3::Router;

// Builds a message of the type; the rules are not the subject here and are left out of the complaints.
template <class Message>
Message build(std::string_view yaml, std::string* said = nullptr, const BuildOptions& options = {}) {
  Document document;
  Diagnostics diagnostics;
  const uint16_t file = diagnostics.add_file("t.yaml");
  Message message;
  if (parse_yaml(yaml, file, document, diagnostics)) {
    build_message(*document.root(), ApiPool::get(), options, message, diagnostics.positions(), diagnostics);
  }
  if (said == nullptr) {
    EXPECT_EQ(diagnostics.to_string(), "");
  } else {
    *said = diagnostics.to_string();
  }
  return message;
}

template <class Message>
std::string complaints(std::string_view yaml) {
  std::string said;
  build<Message>(yaml, &said);
  return said;
}

TEST(ProtoBuilder, TakesSnakeCaseAndCamelCaseNames) {
  EXPECT_EQ(build<cluster::Cluster>("connect_timeout: 5s").connect_timeout().seconds(), 5);
  EXPECT_EQ(build<cluster::Cluster>("connectTimeout: 5s").connect_timeout().seconds(), 5);
  EXPECT_EQ(complaints<cluster::Cluster>("connect_timeout: 1s\nconnectTimeout: 1s"),
            "t.yaml:2:1: connect_timeout: set twice, under two spellings\n");
}

TEST(ProtoBuilder, TakesEnumNamesInAnyCaseAndNumbers) {
  EXPECT_EQ(build<cluster::Cluster>("lb_policy: random").lb_policy(), cluster::Cluster::RANDOM);
  EXPECT_EQ(build<cluster::Cluster>("lb_policy: Least-Request").lb_policy(), cluster::Cluster::LEAST_REQUEST);
  EXPECT_EQ(build<cluster::Cluster>("lb_policy: 3").lb_policy(), cluster::Cluster::RANDOM);
  EXPECT_THAT(
      complaints<cluster::Cluster>("lb_policy: RADNOM"),
      HasSubstr("t.yaml:1:12: lb_policy: 'RADNOM' is not a value of LbPolicy; did you mean 'RANDOM'?"));
  EXPECT_THAT(complaints<cluster::Cluster>("dns_lookup_family: zz"),
              HasSubstr("one of AUTO, V4_ONLY, V6_ONLY"));
}

TEST(ProtoBuilder, TakesOneItemWhereAListIsDeclared) {
  const auto host = build<route::VirtualHost>("domains: example.com\nroutes: {name: only}");
  ASSERT_EQ(host.domains_size(), 1);
  EXPECT_EQ(host.domains(0), "example.com");
  ASSERT_EQ(host.routes_size(), 1);
  EXPECT_EQ(host.routes(0).name(), "only");
}

TEST(ProtoBuilder, RefusesAListWhereOneMessageIsDeclared) {
  EXPECT_EQ(complaints<route::Route>("match: [{prefix: /}]"),
            "t.yaml:1:8: match: a list, where one RouteMatch is expected; remove the '-' or the brackets\n");
  EXPECT_EQ(complaints<cluster::Cluster>("name: [a]"),
            "t.yaml:1:7: name: a single value is expected, not a list\n");
  EXPECT_EQ(complaints<cluster::Cluster>("name: {a: b}"),
            "t.yaml:1:7: name: a single value is expected, not a mapping\n");
}

TEST(ProtoBuilder, ReadsNullAsUnset) {
  const auto built =
      build<cluster::Cluster>("name: ~\nconnect_timeout: null\nload_assignment:\nhealth_checks:\n");
  EXPECT_EQ(built.SerializeAsString(), "");
  EXPECT_EQ(complaints<cluster::Cluster>("health_checks:\n- {timeout: 1s}\n-\n"),
            "t.yaml:3:1: health_checks[1]: an empty list item; remove it or fill it in\n");
}

TEST(ProtoBuilder, RefusesTwoMembersOfAOneof) {
  EXPECT_EQ(
      complaints<route::RouteMatch>("prefix: /\npath: /a\n"),
      "t.yaml:2:1: path: 'prefix' is set as well, and only one of them can be; they are alternatives of "
      "'path_specifier'\n");
  EXPECT_EQ(build<route::RouteMatch>("prefix: ~\npath: /a\n").path(), "/a");
}

TEST(ProtoBuilder, ReadsDurations) {
  const auto timeout = [](std::string_view text) {
    const auto duration = build<cluster::Cluster>("connect_timeout: " + std::string(text)).connect_timeout();
    return std::pair(duration.seconds(), duration.nanos());
  };
  EXPECT_EQ(timeout("0.25s"), std::pair(int64_t{0}, 250'000'000));
  EXPECT_EQ(timeout("\"90s\""), std::pair(int64_t{90}, 0));
  EXPECT_EQ(timeout("-1.5s"), std::pair(int64_t{-1}, -500'000'000));
  EXPECT_EQ(timeout("1.000000001s"), std::pair(int64_t{1}, 1));
  EXPECT_EQ(timeout("{seconds: 3, nanos: 4}"), std::pair(int64_t{3}, 4));
  for (const char* wrong :
       {"5", "250ms", "1m", "s", "1.s", ".s", "1.0000000001s", "--1s", "1 s", "400000000000s", "1e3s"}) {
    EXPECT_THAT(complaints<cluster::Cluster>("connect_timeout: " + std::string(wrong)),
                HasSubstr("a duration is expected"))
        << wrong;
  }
}

TEST(ProtoBuilder, ReadsIntegersOfEverySpelling) {
  const auto limit = [](std::string_view text) {
    return build<cluster::Cluster>("per_connection_buffer_limit_bytes: " + std::string(text))
        .per_connection_buffer_limit_bytes()
        .value();
  };
  EXPECT_EQ(limit("32768"), 32768u);
  EXPECT_EQ(limit("\"32768\""), 32768u);
  EXPECT_EQ(limit("0x10"), 16u);
  EXPECT_EQ(limit("010"), 8u);
  EXPECT_EQ(limit("\"010\""), 10u);
  EXPECT_EQ(limit("08"), 8u);
  EXPECT_EQ(limit("1e3"), 1000u);
  EXPECT_EQ(limit("5.0"), 5u);
  EXPECT_EQ(limit("4294967295"), 4294967295u);
  EXPECT_EQ(limit("{value: 7}"), 7u);
  for (const char* wrong :
       {"4294967296", "-1", "1.5", "many", "true", "''", "1_000", "99999999999999999999999"}) {
    EXPECT_NE(complaints<cluster::Cluster>("per_connection_buffer_limit_bytes: " + std::string(wrong)), "")
        << wrong;
  }
  EXPECT_EQ(complaints<cluster::Cluster>("per_connection_buffer_limit_bytes: 4294967296"),
            "t.yaml:1:36: per_connection_buffer_limit_bytes: 4294967296 is out of range, 0 to 4294967295\n");
}

TEST(ProtoBuilder, ReadsSixtyFourBitsExactlyInTextAndAsANumber) {
  EXPECT_EQ(build<google::protobuf::UInt64Value>("value: 18446744073709551615").value(),
            18446744073709551615u);
  EXPECT_EQ(build<google::protobuf::UInt64Value>("value: \"18446744073709551615\"").value(),
            18446744073709551615u);
  EXPECT_EQ(build<google::protobuf::Int64Value>("value: -9223372036854775808").value(), INT64_MIN);
  EXPECT_NE(complaints<google::protobuf::Int64Value>("value: 9223372036854775808"), "");
}

TEST(ProtoBuilder, ReadsFloatingPoint) {
  EXPECT_EQ(build<google::protobuf::DoubleValue>("value: 1.5").value(), 1.5);
  EXPECT_EQ(build<google::protobuf::DoubleValue>("value: \"-2e-3\"").value(), -2e-3);
  EXPECT_EQ(build<google::protobuf::DoubleValue>("value: .inf").value(), HUGE_VAL);
  EXPECT_EQ(build<google::protobuf::DoubleValue>("value: -Infinity").value(), -HUGE_VAL);
  EXPECT_EQ(build<google::protobuf::DoubleValue>("value: 0x20").value(), 32.0);
  EXPECT_NE(complaints<google::protobuf::FloatValue>("value: 1e39"), "");
  EXPECT_NE(complaints<google::protobuf::DoubleValue>("value: 1e999"), "");
}

TEST(ProtoBuilder, ReadsBooleansAsYamlDoes) {
  for (const char* yes : {"true", "True", "TRUE", "yes", "on", "y", "\"true\""}) {
    EXPECT_TRUE(build<google::protobuf::BoolValue>("value: " + std::string(yes)).value()) << yes;
  }
  for (const char* no : {"false", "no", "Off", "n"}) {
    EXPECT_FALSE(build<google::protobuf::BoolValue>("value: " + std::string(no)).value()) << no;
  }
  for (const char* wrong : {"1", "\"yes\"", "tRue", "maybe"}) {
    EXPECT_THAT(complaints<google::protobuf::BoolValue>("value: " + std::string(wrong)),
                HasSubstr("true or false is expected"))
        << wrong;
  }
}

TEST(ProtoBuilder, NeverTakesANumberForAString) {
  EXPECT_EQ(build<cluster::Cluster>("name: \"80\"").name(), "80");
  EXPECT_EQ(build<cluster::Cluster>("name: !!str 80").name(), "80");
  EXPECT_EQ(complaints<cluster::Cluster>("name: 80"),
            "t.yaml:1:7: name: a string is expected, not the number 80; put it in quotes: \"80\"\n");
  EXPECT_EQ(complaints<cluster::Cluster>("name: yes"),
            "t.yaml:1:7: name: a string is expected, not the boolean yes; put it in quotes: \"yes\"\n");
  // Envoy's loader keeps fractions and what exceeds 32 bits as text.
  EXPECT_EQ(build<cluster::Cluster>("name: 1.10").name(), "1.10");
  EXPECT_EQ(build<cluster::Cluster>("name: 3000000000").name(), "3000000000");
}

TEST(ProtoBuilder, ReadsBytesInBothBase64Alphabets) {
  EXPECT_EQ(build<core::DataSource>("inline_bytes: aGVsbG8=").inline_bytes(), "hello");
  EXPECT_EQ(build<core::DataSource>("inline_bytes: aGVsbG8").inline_bytes(), "hello");
  EXPECT_EQ(build<core::DataSource>("inline_bytes: \"+/-_\"").inline_bytes(), "\xfb\xff\xbf");
  EXPECT_THAT(complaints<core::DataSource>("inline_bytes: \"a b*\""), HasSubstr("base64 is expected"));
}

TEST(ProtoBuilder, BuildsStructsAsEnvoyDoes) {
  const auto metadata = build<core::Metadata>(
      "filter_metadata:\n  envoy.lb: {canary: true, version: \"1\", weight: 5, ratio: 1.5, none: ~, list: "
      "[a, {b: c}]}\n");
  const auto& fields = metadata.filter_metadata().at("envoy.lb").fields();
  EXPECT_TRUE(fields.at("canary").bool_value());
  EXPECT_EQ(fields.at("version").string_value(), "1");
  EXPECT_EQ(fields.at("weight").number_value(), 5);
  EXPECT_EQ(fields.at("ratio").string_value(), "1.5");
  EXPECT_TRUE(fields.at("none").has_null_value());
  ASSERT_EQ(fields.at("list").list_value().values_size(), 2);
  EXPECT_EQ(fields.at("list").list_value().values(1).struct_value().fields().at("b").string_value(), "c");
  EXPECT_THAT(complaints<core::Metadata>("filter_metadata: {x: [1]}"),
              HasSubstr("t.yaml:1:22: filter_metadata[\"x\"]: a mapping is expected, not a list"));
}

TEST(ProtoBuilder, BuildsStructsFromJsonWithItsTypes) {
  const Loaded loaded =
      load_message_text("google.protobuf.Struct", R"({"ratio": 1.5, "big": 3000000000, "no": null})",
                        "t.json", ConfigFormat::kJson);
  ASSERT_TRUE(loaded.ok());
  google::protobuf::Struct built;
  ASSERT_TRUE(built.ParseFromString(loaded.message().SerializeAsString()));
  EXPECT_EQ(built.fields().at("ratio").number_value(), 1.5);
  EXPECT_EQ(built.fields().at("big").number_value(), 3e9);
  EXPECT_TRUE(built.fields().at("no").has_null_value());
}

TEST(ProtoBuilder, ReadsTimestampsAndFieldMasks) {
  const auto loaded = [](std::string_view type, std::string_view text) {
    return load_message_text(type, text, "t.yaml", ConfigFormat::kYaml);
  };
  const Loaded stamp =
      loaded("envoy.admin.v3.UpdateFailureState", "last_update_attempt: 2024-01-31T12:00:00.5Z");
  ASSERT_TRUE(stamp.ok()) << stamp.diagnostics().to_string();
  EXPECT_THAT(stamp.message().DebugString(), HasSubstr("seconds: 1706702400"));
  EXPECT_THAT(stamp.message().DebugString(), HasSubstr("nanos: 500000000"));
  EXPECT_THAT(
      loaded("envoy.admin.v3.UpdateFailureState", "last_update_attempt: yesterday").diagnostics().to_string(),
      HasSubstr("a timestamp is expected, not the text 'yesterday'"));
}

TEST(ProtoBuilder, PacksExtensionsByTypeUrl) {
  const auto filter = build<Filter>(
      "typed_config:\n  \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
      "  dynamic_stats: false\n");
  EXPECT_EQ(filter.typed_config().type_url(),
            "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router");
  Router router;
  ASSERT_TRUE(filter.typed_config().UnpackTo(&router));
  EXPECT_TRUE(router.has_dynamic_stats());
  EXPECT_FALSE(router.dynamic_stats().value());
}

TEST(ProtoBuilder, PacksTypesThatHaveNoGeneratedClass) {
  const auto filter = build<Filter>(
      "typed_config:\n  \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer\n"
      "  max_request_bytes: 1024\n");
  // Field 1 of Buffer holds a UInt32Value, whose field 1 is 1024.
  EXPECT_EQ(filter.typed_config().value(), std::string("\x0a\x03\x08\x80\x08"));
}

TEST(ProtoBuilder, PacksTypesWithAJsonFormOfTheirOwn) {
  const auto filter =
      build<Filter>("typed_config: {\"@type\": type.googleapis.com/google.protobuf.Duration, value: 2s}\n");
  google::protobuf::Duration duration;
  ASSERT_TRUE(filter.typed_config().UnpackTo(&duration));
  EXPECT_EQ(duration.seconds(), 2);
  EXPECT_THAT(complaints<Filter>("typed_config: {\"@type\": type.googleapis.com/google.protobuf.Duration}\n"),
              HasSubstr("a Duration in an Any stands under 'value'"));
}

TEST(ProtoBuilder, UnwrapsTypedStructs) {
  for (const char* wrapper : {"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"}) {
    const auto filter =
        build<Filter>("typed_config:\n  \"@type\": type.googleapis.com/" + std::string(wrapper) +
                      "\n  type_url: type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
                      "  value:\n    suppressEnvoyHeaders: true\n");
    Router router;
    ASSERT_TRUE(filter.typed_config().UnpackTo(&router)) << wrapper;
    EXPECT_TRUE(router.suppress_envoy_headers());
  }
  const std::string head = "typed_config:\n  \"@type\": type.googleapis.com/xds.type.v3.TypedStruct\n";
  const std::string url = "  type_url: type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n";
  EXPECT_TRUE(build<Filter>(head + url).typed_config().Is<Router>());
  EXPECT_THAT(
      complaints<Filter>(head + url + "  value:\n    dynamic_stat: true\n"),
      HasSubstr(
          "t.yaml:5:5: typed_config.dynamic_stat: unknown field of Router; did you mean 'dynamic_stats'?"));
  EXPECT_THAT(complaints<Filter>(head + url + "  values: {}\n"),
              HasSubstr("unknown field 'values' of TypedStruct"));
  EXPECT_THAT(complaints<Filter>(head + "  type_url: type.googleapis.com/envoy.Nothing\n"),
              HasSubstr("t.yaml:3:13: typed_config.@type: unknown type 'type.googleapis.com/envoy.Nothing'"));
}

TEST(ProtoBuilder, SuggestsTypeUrls) {
  const auto said = [](std::string_view url) {
    return complaints<Filter>("typed_config:\n  \"@type\": " + std::string(url) + "\n");
  };
  EXPECT_EQ(said("type.googleapis.com/envoy.extensions.filters.http.router.v3.Ruoter"),
            "t.yaml:2:12: typed_config.@type: unknown type "
            "'type.googleapis.com/envoy.extensions.filters.http.router.v3.Ruoter'; did you mean "
            "'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'?\n");
  EXPECT_THAT(
      said(
          "type.googleapis.com/envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager"),
      HasSubstr("did you mean 'type.googleapis.com/"
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'?"));
  EXPECT_THAT(
      said("type.googleapis.com/envoy.config.filter.http.router.v2.Router"),
      HasSubstr("did you mean 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'?"));
  EXPECT_THAT(said("envoy.extensions.filters.http.router.v3.Router"), HasSubstr("not a type URL"));
  EXPECT_THAT(said("type.googleapis.com/acme.erlang.v3.Config"), Not(HasSubstr("did you mean")));
}

TEST(ProtoBuilder, AsksForATypeWhereAnExtensionHasNone) {
  EXPECT_FALSE(build<Filter>("typed_config: {}").typed_config().type_url().size());
  EXPECT_THAT(complaints<Filter>("typed_config: {stat_prefix: x}"),
              HasSubstr("t.yaml:1:15: typed_config: no '@type' says what this configures"));
  EXPECT_THAT(complaints<Filter>("typed_config: envoy.router"), HasSubstr("not the text 'envoy.router'"));
  EXPECT_THAT(complaints<Filter>("typed_config: {\"@type\": [x]}"),
              HasSubstr("'@type' is a list, not a type URL"));
  EXPECT_THAT(complaints<cluster::Cluster>("\"@type\": x"),
              HasSubstr("'@type' belongs to extensions, Cluster is none"));
}

TEST(ProtoBuilder, BuildsMapsOfMessages) {
  const auto built = build<route::VirtualHost>(
      "typed_per_filter_config:\n  envoy.filters.http.router:\n"
      "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n  80:\n");
  ASSERT_EQ(built.typed_per_filter_config().size(), 1u);
  EXPECT_TRUE(built.typed_per_filter_config().at("envoy.filters.http.router").Is<Router>());
  EXPECT_THAT(complaints<route::VirtualHost>("typed_per_filter_config: [a]"),
              HasSubstr("a mapping of names to values is expected, not a list"));
  EXPECT_THAT(complaints<route::VirtualHost>("typed_per_filter_config: {a.b: {x: 1}}"),
              HasSubstr("typed_per_filter_config[\"a.b\"]: no '@type'"));
}

TEST(ProtoBuilder, KeepsWhatFitsBesidesWhatDoesNot) {
  std::string said;
  const auto built = build<cluster::Cluster>("name: a\nconnect_timeout: soon\nlb_policy: RANDOM\n", &said);
  EXPECT_EQ(built.name(), "a");
  EXPECT_EQ(built.lb_policy(), cluster::Cluster::RANDOM);
  EXPECT_NE(said, "");
}

TEST(ProtoBuilder, SharesAnchorsAndMergesMappings) {
  const auto built = build<route::VirtualHost>(
      "name: x\nroutes:\n- &base\n  match: {prefix: /}\n  name: one\n- <<: *base\n  name: two\n- *base\n");
  ASSERT_EQ(built.routes_size(), 3);
  EXPECT_EQ(built.routes(1).name(), "two");
  EXPECT_EQ(built.routes(1).match().prefix(), "/");
  EXPECT_EQ(built.routes(2).name(), "one");
}

TEST(ProtoBuilder, CallsTemplatesByTheirName) {
  EXPECT_THAT(complaints<core::SocketAddress>("port_value: \"{{ port }}\""),
              HasSubstr("'{{ port }}' is a placeholder, an integer belongs here"));
  EXPECT_THAT(complaints<cluster::Cluster>("load_assignment: <endpoints>"),
              HasSubstr("'<endpoints>' is a placeholder, ClusterLoadAssignment belongs here"));
}

}  // namespace
}  // namespace millrace::config
