#include <gmock/gmock.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;

using O = http::Http2Options;

template <class Get>
auto of_http2(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.hcm().http2)); };
}

std::vector<FieldCase> http2_cases() {
  return {
      {"hpack_table_size", "8192", "8192", of_http2(&O::hpack_table_size)},
      {"max_concurrent_streams", "7", "7", of_http2(&O::max_concurrent_streams)},
      {"initial_stream_window_size", "65535", "65535", of_http2(&O::initial_stream_window_bytes)},
      {"initial_connection_window_size", "65536", "65536", of_http2(&O::initial_connection_window_bytes)},
      {"allow_connect", "true", "true", of_http2(&O::allow_connect)},
      {"max_outbound_frames", "11", "11", of_http2(&O::max_outbound_frames)},
      {"max_outbound_control_frames", "12", "12", of_http2(&O::max_outbound_control_frames)},
      {"max_consecutive_inbound_frames_with_empty_payload", "13", "13",
       of_http2(&O::max_consecutive_inbound_frames_with_empty_payload)},
      {"max_inbound_priority_frames_per_stream", "14", "14", of_http2(&O::max_inbound_priority_frames_per_stream)},
      {"max_inbound_window_update_frames_per_data_frame_sent", "15", "15",
       of_http2(&O::max_inbound_window_update_frames_per_data_frame_sent)},
      {"stream_error_on_invalid_http_messaging", "true", "true",
       of_http2(&O::stream_error_on_invalid_http_message)},
      {"override_stream_error_on_invalid_http_message", "true", "true",
       of_http2(&O::stream_error_on_invalid_http_message)},
      {"custom_settings_parameters", "[{identifier: 77, value: 78}]", "77 78", of_http2([](const O& o) {
         return o.custom_settings.empty() ? std::string() : text_of(o.custom_settings[0].first) + " " +
                                                                 text_of(o.custom_settings[0].second);
       })},
      {"connection_keepalive", "{timeout: 3s}", "3000ms", of_http2(&O::keepalive_timeout)},
      {"stream_reset_burst", "16", "16", of_http2(&O::stream_reset_burst)},
      {"stream_reset_rate", "17", "17", of_http2(&O::stream_reset_rate)},
      {"max_header_field_size_kb", "64", "65536", of_http2(&O::max_header_field_bytes)},
      {"disallow_obs_text", "true", "true", of_http2(&O::disallow_obs_text)},
  };
}

TEST(TranslateHttp2, ReadsEveryFieldThatTheTableCallsHonoured) {
  for (FieldCase one : http2_cases()) {
    one.yaml = "{" + one.field + ": " + one.yaml + "}";
    one.field = "http2_protocol_options";
    expect_field(one, {}, &TestConfig::hcm);
  }
  expect_table_agrees("envoy.config.core.v3.Http2ProtocolOptions", http2_cases(),
                      {"allow_metadata", "enable_huffman_encoding"});
}

TEST(TranslateHttp2, ReadsTheKeepalive) {
  TestConfig config;
  config.hcm["http2_protocol_options"] =
      "{connection_keepalive: {interval: 5s, timeout: 1s, interval_jitter: {value: 3}, connection_idle_interval: 2s}}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const O& o = t.hcm().http2;
  EXPECT_EQ(o.keepalive_interval, std::chrono::seconds(5));
  EXPECT_EQ(o.keepalive_timeout, std::chrono::seconds(1));
  EXPECT_EQ(o.keepalive_interval_jitter_percent, 3);
  EXPECT_EQ(o.keepalive_connection_idle_interval, std::chrono::seconds(2));
}

TEST(TranslateHttp2, HasEnvoysDefaults) {
  const Translated t{TestConfig()};
  ASSERT_TRUE(t.ok()) << t.messages();
  const O& o = t.hcm().http2;
  EXPECT_EQ(t.hcm().codec, filter::Codec::kAuto);
  EXPECT_EQ(o.hpack_table_size, 4096u);
  EXPECT_EQ(o.max_concurrent_streams, 1024u);
  EXPECT_EQ(o.initial_stream_window_bytes, 16u << 20);
  EXPECT_EQ(o.initial_connection_window_bytes, 24u << 20);
  EXPECT_EQ(o.max_outbound_frames, 10'000u);
  EXPECT_EQ(o.max_outbound_control_frames, 1'000u);
  EXPECT_EQ(o.max_consecutive_inbound_frames_with_empty_payload, 1u);
  EXPECT_EQ(o.max_inbound_priority_frames_per_stream, 100u);
  EXPECT_EQ(o.max_inbound_window_update_frames_per_data_frame_sent, 10u);
  EXPECT_EQ(o.keepalive_interval_jitter_percent, 15);
  EXPECT_FALSE(o.stream_error_on_invalid_http_message);
  EXPECT_FALSE(o.allow_connect);
}

TEST(TranslateHttp2, CustomSettingsMeanWhatTheFieldOfThatParameterMeans) {
  TestConfig config;
  config.hcm["http2_protocol_options"] =
      "{custom_settings_parameters: [{identifier: 3, value: 5}, {identifier: 8, value: 1}, {identifier: 1, value: 0}, "
      "{identifier: 4, value: 70000}]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const O& o = t.hcm().http2;
  EXPECT_EQ(o.max_concurrent_streams, 5u);
  EXPECT_TRUE(o.allow_connect);
  EXPECT_EQ(o.hpack_table_size, 0u);
  EXPECT_EQ(o.initial_stream_window_bytes, 70'000u);
  EXPECT_TRUE(o.custom_settings.empty());
}

TEST(TranslateHttp2, RefusesSettingsThatContradictAFieldOrEnablePush) {
  TestConfig config;
  config.hcm["http2_protocol_options"] =
      "{max_concurrent_streams: 4, custom_settings_parameters: [{identifier: 3, value: 5}]}";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("custom_settings_parameters[0]: SETTINGS parameter 3 is set by its own field too"));
  config.hcm["http2_protocol_options"] = "{custom_settings_parameters: [{identifier: 2, value: 1}]}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("server push cannot be enabled"));
}

}  // namespace
}  // namespace millrace::config
