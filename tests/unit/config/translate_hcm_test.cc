#include <gmock/gmock.h>

#include "router/http_router.h"
#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;

// What a test sees of the connection manager's options.
template <class Get>
auto of_hcm(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.hcm())); };
}

using O = filter::HcmOptions;

std::vector<FieldCase> hcm_cases() {
  return {
      {"stat_prefix", "other", "other", of_hcm(&O::stat_prefix)},
      {"access_log",
       "[{name: a, typed_config: " + typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", {}) + "}]", "1",
       of_hcm([](const O& o) { return o.access_logs.size(); })},
      {"common_http_protocol_options", "{max_headers_count: 7}", "7", of_hcm(&O::max_headers_count)},
      {"http_protocol_options", "{accept_http_10: true}", "true", of_hcm(&O::accept_http_10)},
      {"codec_type", "HTTP2", text_of(filter::Codec::kHttp2), of_hcm(&O::codec)},
      {"http2_protocol_options", "{allow_connect: true}", "true",
       of_hcm([](const O& o) { return o.http2.allow_connect; })},
      {"stream_error_on_invalid_http_message", "true", "true",
       of_hcm([](const O& o) { return o.http2.stream_error_on_invalid_http_message; })},
      {"max_request_headers_kb", "96", "96", of_hcm(&O::max_request_headers_kb)},
      {"stream_idle_timeout", "0s", "0ms", of_hcm(&O::stream_idle_timeout)},
      {"request_timeout", "1.5s", "1500ms", of_hcm(&O::request_timeout)},
      {"request_headers_timeout", "10s", "10000ms", of_hcm(&O::request_headers_timeout)},
      {"drain_timeout", "1s", "1000ms", of_hcm(&O::drain_timeout)},
      {"delayed_close_timeout", "0s", "0ms", of_hcm(&O::delayed_close_timeout)},
      {"server_name", "mill", "mill", of_hcm(&O::server_name)},
      {"server_header_transformation", "PASS_THROUGH", text_of(filter::ServerHeader::kPassThrough),
       of_hcm(&O::server_header_transformation)},
      {"scheme_header_transformation", "{scheme_to_overwrite: https}", "https", of_hcm(&O::scheme_to_overwrite)},
      {"via", "v", "v", of_hcm(&O::via)},
      {"use_remote_address", "true", "true", of_hcm(&O::use_remote_address)},
      {"xff_num_trusted_hops", "2", "2", of_hcm(&O::xff_num_trusted_hops)},
      {"skip_xff_append", "true", "true", of_hcm(&O::skip_xff_append)},
      {"forward_client_cert_details", "SANITIZE_SET", text_of(filter::ForwardClientCert::kSanitizeSet),
       of_hcm(&O::forward_client_cert)},
      {"set_current_client_cert_details", "{dns: true}", "true",
       of_hcm([](const O& o) { return o.client_cert_details.dns; })},
      {"append_x_forwarded_port", "true", "true", of_hcm(&O::append_x_forwarded_port)},
      {"internal_address_config", "{unix_sockets: true}", "true", of_hcm(&O::internal_unix_sockets)},
      {"generate_request_id", "false", "false", of_hcm(&O::generate_request_id)},
      {"preserve_external_request_id", "true", "true", of_hcm(&O::preserve_external_request_id)},
      {"always_set_request_id_in_response", "true", "true", of_hcm(&O::always_set_request_id_in_response)},
      {"proxy_100_continue", "true", "true", of_hcm(&O::proxy_100_continue)},
      {"normalize_path", "true", "true", of_hcm([](const O& o) { return o.path.normalize; })},
      {"merge_slashes", "true", "true", of_hcm([](const O& o) { return o.path.merge_slashes; })},
      {"path_with_escaped_slashes_action", "REJECT_REQUEST", text_of(http::EscapedSlashes::kReject),
       of_hcm([](const O& o) { return o.path.escaped_slashes; })},
      {"strip_matching_host_port", "true", "true", of_hcm(&O::strip_matching_host_port)},
      {"strip_any_host_port", "true", "true", of_hcm(&O::strip_any_host_port)},
      {"strip_trailing_host_dot", "true", "true", of_hcm(&O::strip_trailing_host_dot)},
      {"upgrade_configs", "[{upgrade_type: WebSocket, enabled: false}]", "websocket false", of_hcm([](const O& o) {
         return o.upgrades.empty() ? "" : o.upgrades[0].type + " " + text_of(o.upgrades[0].enabled);
       })},
  };
}

TEST(TranslateHcm, ReadsEveryFieldThatTheTableCallsHonoured) {
  for (const FieldCase& one : hcm_cases()) expect_field(one, {}, &TestConfig::hcm);
  // The routes and the filters are what every test here stands on.
  expect_table_agrees(kHcmType, hcm_cases(), {"route_config", "http_filters"});
}

std::vector<FieldCase> common_cases() {
  return {
      {"idle_timeout", "5s", "5000ms", of_hcm(&O::idle_timeout)},
      {"max_connection_duration", "6s", "6000ms", of_hcm(&O::max_connection_duration)},
      {"max_stream_duration", "7s", "7000ms", of_hcm(&O::max_stream_duration)},
      {"max_headers_count", "8", "8", of_hcm(&O::max_headers_count)},
      {"max_requests_per_connection", "9", "9", of_hcm(&O::max_requests_per_connection)},
      {"headers_with_underscores_action", "DROP_HEADER", text_of(filter::UnderscoreHeaders::kDrop),
       of_hcm(&O::headers_with_underscores)},
  };
}

TEST(TranslateHcm, ReadsTheProtocolOptions) {
  for (FieldCase one : common_cases()) {
    one.yaml = "{" + one.field + ": " + one.yaml + "}";
    one.field = "common_http_protocol_options";
    expect_field(one, {}, &TestConfig::hcm);
  }
  const std::vector<FieldCase> http1 = {
      {"allow_absolute_url", "false", "false", of_hcm(&O::allow_absolute_url)},
      {"default_host_for_http_10", "h.example", "h.example", of_hcm(&O::default_host_for_http_10)},
      {"header_key_format", "{proper_case_words: {}}", "true", of_hcm(&O::proper_case_headers)},
      {"enable_trailers", "true", "true", of_hcm(&O::enable_trailers)},
      {"allow_chunked_length", "true", "true", of_hcm(&O::allow_chunked_length)},
      {"allow_custom_methods", "true", "true", of_hcm(&O::allow_custom_methods)},
  };
  for (FieldCase one : http1) {
    one.yaml = "{" + one.field + ": " + one.yaml + "}";
    one.field = "http_protocol_options";
    expect_field(one, {}, &TestConfig::hcm);
  }
}

TEST(TranslateHcm, HasEnvoysDefaults) {
  const Translated t{TestConfig()};
  ASSERT_TRUE(t.ok()) << t.messages();
  const O& o = t.hcm();
  EXPECT_EQ(o.max_request_headers_kb, 60u);
  EXPECT_EQ(o.max_headers_count, 100u);
  EXPECT_EQ(o.idle_timeout, std::chrono::hours(1));
  EXPECT_EQ(o.stream_idle_timeout, std::chrono::minutes(5));
  EXPECT_EQ(o.request_timeout.count(), 0);
  EXPECT_EQ(o.delayed_close_timeout, std::chrono::seconds(1));
  EXPECT_EQ(o.drain_timeout, std::chrono::seconds(5));
  EXPECT_EQ(o.server_name, "envoy");
  EXPECT_TRUE(o.generate_request_id);
  EXPECT_FALSE(o.use_remote_address);
  EXPECT_FALSE(o.path.normalize);
  EXPECT_FALSE(o.path.merge_slashes);
  EXPECT_FALSE(o.accept_http_10);
  EXPECT_FALSE(o.scheme_to_overwrite);
  EXPECT_EQ(o.server_header_transformation, filter::ServerHeader::kOverwrite);
}

TEST(TranslateHcm, KnowsEveryEnumerator) {
  const auto seen = [](const char* field, const char* value, auto get) {
    TestConfig config;
    config.hcm[field] = value;
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << value << t.messages();
    return t.ok() ? std::invoke(get, t.hcm()) : std::invoke(get, O());
  };
  EXPECT_EQ(seen("server_header_transformation", "OVERWRITE", &O::server_header_transformation),
            filter::ServerHeader::kOverwrite);
  EXPECT_EQ(seen("server_header_transformation", "append_if_absent", &O::server_header_transformation),
            filter::ServerHeader::kAppendIfAbsent);
  const auto slashes = [](const O& o) { return o.path.escaped_slashes; };
  const char* const action = "path_with_escaped_slashes_action";
  EXPECT_EQ(seen(action, "KEEP_UNCHANGED", slashes), http::EscapedSlashes::kKeep);
  EXPECT_EQ(seen(action, "IMPLEMENTATION_SPECIFIC_DEFAULT", slashes), http::EscapedSlashes::kKeep);
  EXPECT_EQ(seen(action, "UNESCAPE_AND_REDIRECT", slashes), http::EscapedSlashes::kUnescapeAndRedirect);
  EXPECT_EQ(seen(action, "UNESCAPE_AND_FORWARD", slashes), http::EscapedSlashes::kUnescapeAndForward);
  const char* const common = "common_http_protocol_options";
  EXPECT_EQ(seen(common, "{headers_with_underscores_action: ALLOW}", &O::headers_with_underscores),
            filter::UnderscoreHeaders::kAllow);
  EXPECT_EQ(seen(common, "{headers_with_underscores_action: REJECT_REQUEST}", &O::headers_with_underscores),
            filter::UnderscoreHeaders::kReject);
}

TEST(TranslateHcm, ReadsTheRangesOfInternalAddresses) {
  TestConfig config;
  config.hcm["internal_address_config"] = "{cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.hcm().internal_ranges.size(), 1u);
  config.hcm["internal_address_config"] = "{cidr_ranges: [{address_prefix: ten, prefix_len: 8}]}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("internal_address_config.cidr_ranges[0].address_prefix"));
}

TEST(TranslateHcm, TakesTheRouterByItsNameWithAWarning) {
  const Translated t{TestConfig()};
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(t.loaded().warnings, 1u);
  EXPECT_THAT(t.messages(), HasSubstr("filter without typed_config is taken by its name"));
  EXPECT_EQ(t.hcm().filters.size(), 1u);
}

TEST(TranslateHcm, ReadsTheRoutersOptions) {
  TestConfig config;
  const auto options = [&](const char* field) {
    const Fields fields = field == nullptr ? Fields() : Fields{{field, "true"}};
    config.hcm["http_filters"] =
        "[{name: r, typed_config: " + typed("envoy.extensions.filters.http.router.v3.Router", fields) + "}]";
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << t.messages();
    const auto& o = dynamic_cast<const router::HttpRouterConfig&>(*t.hcm().filters.at(0).config).options();
    return std::pair(o.suppress_envoy_headers, o.respect_expected_rq_timeout);
  };
  EXPECT_EQ(options(nullptr), std::pair(false, false));
  EXPECT_EQ(options("suppress_envoy_headers"), std::pair(true, false));
  EXPECT_EQ(options("respect_expected_rq_timeout"), std::pair(false, true));
}

TEST(TranslateHcm, WantsTheRouterLast) {
  TestConfig config;
  config.hcm["http_filters"] = "[]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("http_filters is empty"));
  config.hcm["http_filters"] = "[{name: envoy.filters.http.router}, {name: envoy.filters.http.router}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("http_filters[0]: the router must be the last HTTP filter"));
  config.hcm["http_filters"] = "[{name: envoy.filters.http.lua}, {name: envoy.filters.http.router}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("filter 'envoy.filters.http.lua' has no typed_config"));
}

TEST(TranslateHcm, SaysOnceThatRoutesFromAServerAreNotSupported) {
  TestConfig config;
  config.hcm["route_config"] = "";
  config.hcm.erase("route_config");
  std::string yaml = config.yaml();
  const size_t at = yaml.find("route_config: ");
  ASSERT_NE(at, std::string::npos);
  yaml = yaml.substr(0, at) + "rds: {route_config_name: r, config_source: {ads: {}}}" +
         yaml.substr(yaml.find(", stat_prefix: h", at));
  const Translated t(yaml);
  EXPECT_EQ(t.loaded().errors, 1u) << t.messages();
  EXPECT_THAT(t.messages(), HasSubstr("typed_config.rds: known to Envoy, not supported by Millrace yet"));
}

}  // namespace
}  // namespace millrace::config
