// The list of HTTP filters, what routes say for them, and the options of each kind but the router.
#include <gmock/gmock.h>

#include "base/buffer.h"
#include "filter/grpc_http1_bridge_filter.h"
#include "filter/grpc_json_transcoder_filter.h"
#include "filter/grpc_reverse_bridge_filter.h"
#include "filter/grpc_stats_filter.h"
#include "filter/grpc_web_filter.h"
#include "http/base64.h"
#include "unit/config/translated.h"
#include "unit/transcode/proto_set.h"

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

// ---- grpc_json_transcoder

constexpr const char* kTranscoder = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder";

Fields transcoder() {
  base::Buffer set, text;
  set.append(transcode::descriptor_set_of(R"(
syntax = "proto3";
package t;
import "google/api/annotations.proto";
message M { string a = 1; string b_c = 2; }
service S {
  rpc Get(M) returns (M) { option (google.api.http) = {
    get: "/get/{a=x/**}" additional_bindings { post: "/post" body: "*" } }; }
  rpc Plain(stream M) returns (stream M);
}
)"));
  http::append_base64(set, text);
  return {{"proto_descriptor_bin", text.to_string()}, {"services", "[t.S]"}};
}

class TranscoderOptions {
 public:
  explicit TranscoderOptions(const Fields& more) {
    Fields fields = transcoder();
    for (const auto& [name, value] : more) fields[name] = value;
    translated_ = std::make_unique<Translated>(with_filters(item("t", kTranscoder, fields)));
    EXPECT_TRUE(translated_->ok()) << translated_->messages();
  }
  const filter::GrpcJsonTranscoderOptions* operator->() const {
    return &options_of<filter::GrpcJsonTranscoderConfig>(*translated_);
  }
  // The messages of a request; or how it was not taken.
  std::string request(std::string_view method, std::string_view target, std::string_view body = "") {
    auto match = (*this)->transcoding->match(method, target, "");
    if (match.call == nullptr) return match.unknown_parameter ? "parameter" : "unknown";
    call = std::move(match.call);
    base::Buffer in, out;
    in.append(body);
    return call->request(in, true, out).ok() ? out.to_string() : "wrong";
  }
  std::string response(std::string_view message) {
    http::GrpcMessage in;
    in.bytes.append(message);
    base::Buffer out;
    EXPECT_TRUE(call->response(in, out).ok());
    return out.to_string();
  }
  std::unique_ptr<filter::TranscodedCall> call;

 private:
  std::unique_ptr<Translated> translated_;
};

TranscoderOptions with(const Fields& more) { return TranscoderOptions(more); }

TEST(TranslateTranscoder, ReadsWhatTheFilterDoes) {
  TranscoderOptions plain = with({});
  EXPECT_FALSE(plain->match_incoming_request_route || plain->convert_grpc_status || plain->reject_unknown_method);
  EXPECT_FALSE(plain->reject_unknown_query_parameters || plain->request_body_bytes_max ||
               plain->response_body_bytes_max);
  TranscoderOptions t = with({{"match_incoming_request_route", "true"}, {"convert_grpc_status", "true"},
                       {"max_request_body_size", "5"}, {"max_response_body_size", "6"},
                       {"request_validation_options",
                        "{reject_unknown_method: true, reject_unknown_query_parameters: true}"}});
  EXPECT_TRUE(t->match_incoming_request_route && t->convert_grpc_status && t->reject_unknown_method &&
              t->reject_unknown_query_parameters);
  EXPECT_EQ(t->request_body_bytes_max, 5u);
  EXPECT_EQ(t->response_body_bytes_max, 6u);
}

TEST(TranslateTranscoder, ReadsWhatTheEngineDoes) {
  TranscoderOptions plain = with({});
  EXPECT_THAT(plain.request("GET", "/get/x/%2fb"), testing::EndsWith("x/%2fb"));
  EXPECT_EQ(plain.response("\x12\x01y"), R"({"bC":"y"})");
  EXPECT_EQ(plain.request("GET", "/get/x?nope=1"), "parameter");
  EXPECT_EQ(plain.request("POST", "/t.S/Plain", "[]"), "unknown");
  EXPECT_EQ(plain.request("POST", "/post?a=1", R"({"a":"2"})"), std::string("\0\0\0\0\3\x0a\1" "2", 8));
  EXPECT_THAT(plain.request("GET", "/get/x?b_c=1+2"), testing::EndsWith("1+2"));
  EXPECT_THAT(plain.request("GET", "/get/x/y:go"), testing::EndsWith("x/y:go"));
  EXPECT_EQ(with({{"auto_mapping", "true"}}).request("POST", "/t.S/Plain", "[]"), "");
  EXPECT_NE(with({{"ignored_query_parameters", "[nope]"}}).request("GET", "/get/x?nope=1"), "parameter");
  EXPECT_NE(with({{"ignore_unknown_query_parameters", "true"}}).request("GET", "/get/x?nope=1"),
            "parameter");
  EXPECT_THAT(with({{"url_unescape_spec", "ALL_CHARACTERS"}}).request("GET", "/get/x/%2fb"),
              testing::EndsWith("x//b"));
  EXPECT_THAT(with({{"url_unescape_spec", "ALL_CHARACTERS_EXCEPT_SLASH"}}).request("GET", "/get/x/%2f%23"),
              testing::EndsWith("x/%2f#"));
  EXPECT_THAT(with({{"query_param_unescape_plus", "true"}}).request("GET", "/get/x?b_c=1+2"),
              testing::EndsWith("1 2"));
  EXPECT_EQ(with({{"match_unregistered_custom_verb", "true"}}).request("GET", "/get/x/y:go"), "unknown");
  EXPECT_EQ(with({{"request_validation_options", "{reject_binding_body_field_collisions: true}"}})
                .request("POST", "/post?a=1", R"({"a":"2"})"), "wrong");
  TranscoderOptions print =
      with({{"print_options", "{preserve_proto_field_names: true, always_print_primitive_fields: true}"}});
  print.request("GET", "/get/x");
  EXPECT_EQ(print.response(""), R"({"a":"","b_c":""})");
  TranscoderOptions space = with({{"print_options", "{add_whitespace: true}"}});
  space.request("GET", "/get/x");
  EXPECT_THAT(space.response("\x12\x01y"), HasSubstr("\n"));
  TranscoderOptions lines = with({{"print_options", "{stream_newline_delimited: true}"}, {"auto_mapping", "true"}});
  lines.request("POST", "/t.S/Plain", "[]");
  EXPECT_EQ(lines.response(""), "{}\n");
}

TEST(TranslateTranscoder, SaysWhatIsWrong) {
  Fields fields = transcoder();
  fields["services"] = "[t.None]";
  EXPECT_THAT(Translated(with_filters(item("t", kTranscoder, fields))).messages(), HasSubstr("no service 't.None'"));
  fields.erase("proto_descriptor_bin");
  fields["proto_descriptor"] = "/nowhere/there.pb";
  EXPECT_THAT(Translated(with_filters(item("t", kTranscoder, fields))).messages(), HasSubstr("/nowhere/there.pb"));
  EXPECT_FALSE(Translated(with_filters(item("t", kTranscoder, {}))).ok());
  fields = transcoder();
  fields["services"] = "[]";
  const Translated off(with_filters(item("t", kTranscoder, fields)));
  ASSERT_TRUE(off.ok()) << off.messages();
  EXPECT_EQ(options_of<filter::GrpcJsonTranscoderConfig>(off).transcoding, nullptr);
}

TEST(TranslateTranscoder, RoutesMayHaveTheirOwn) {
  TestConfig config = with_filters(item("t", kTranscoder, transcoder()));
  config.route["typed_per_filter_config"] = "{t: " + typed(kTranscoder, transcoder()) + "}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto& own = dynamic_cast<const filter::GrpcJsonTranscoderRoute&>(*t.route().filter_overrides.at(0).config);
  EXPECT_NE(own.options.transcoding, nullptr);
}

}  // namespace
}  // namespace millrace::config
