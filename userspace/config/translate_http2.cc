// Http2ProtocolOptions, which a connection manager and a cluster have alike.
#include "config/translator.h"
#include "envoy/config/core/v3/protocol.pb.h"

namespace millrace::config {

// RFC 9113 section 6.5.2, RFC 8441.
enum : uint16_t {
  kHeaderTableSize = 1, kEnablePush = 2, kMaxConcurrentStreams = 3, kInitialWindowSize = 4,
  kEnableConnectProtocol = 8,
};

void Translator::http2_setting(const core_v3::Http2ProtocolOptions& from, uint16_t id, uint32_t value,
                               http::Http2Options& to, Path path) {
  bool named = false;
  switch (id) {
    case kHeaderTableSize:
      named = from.has_hpack_table_size();
      to.hpack_table_size = value;
      break;
    case kMaxConcurrentStreams:
      named = from.has_max_concurrent_streams();
      to.max_concurrent_streams = value;
      break;
    case kInitialWindowSize:
      named = from.has_initial_stream_window_size();
      to.initial_stream_window_bytes = value;
      break;
    case kEnableConnectProtocol:
      named = from.allow_connect();
      to.allow_connect = value == 1;
      break;
    case kEnablePush:
      if (value != 0) error(path, "server push cannot be enabled", "remove it: no push is accepted or made");
      break;
    default:
      to.custom_settings.emplace_back(id, value);
      break;
  }
  if (named) error(path, fmt::format("SETTINGS parameter {} is set by its own field too", id), "keep one of them");
}

http::Http2Options Translator::http2(const core_v3::Http2ProtocolOptions& from, Path path) {
  http::Http2Options to;
  const auto set = [](bool has, const auto& value, uint32_t& field) {
    if (has) field = value.value();
  };
  set(from.has_hpack_table_size(), from.hpack_table_size(), to.hpack_table_size);
  set(from.has_max_concurrent_streams(), from.max_concurrent_streams(), to.max_concurrent_streams);
  set(from.has_initial_stream_window_size(), from.initial_stream_window_size(), to.initial_stream_window_bytes);
  set(from.has_initial_connection_window_size(), from.initial_connection_window_size(),
      to.initial_connection_window_bytes);
  to.allow_connect = from.allow_connect();
  set(from.has_max_outbound_frames(), from.max_outbound_frames(), to.max_outbound_frames);
  set(from.has_max_outbound_control_frames(), from.max_outbound_control_frames(), to.max_outbound_control_frames);
  set(from.has_max_consecutive_inbound_frames_with_empty_payload(),
      from.max_consecutive_inbound_frames_with_empty_payload(), to.max_consecutive_inbound_frames_with_empty_payload);
  set(from.has_max_inbound_priority_frames_per_stream(), from.max_inbound_priority_frames_per_stream(),
      to.max_inbound_priority_frames_per_stream);
  set(from.has_max_inbound_window_update_frames_per_data_frame_sent(),
      from.max_inbound_window_update_frames_per_data_frame_sent(),
      to.max_inbound_window_update_frames_per_data_frame_sent);
  to.stream_error_on_invalid_http_message = from.has_override_stream_error_on_invalid_http_message()
                                                ? from.override_stream_error_on_invalid_http_message().value()
                                                : from.stream_error_on_invalid_http_messaging();
  if (from.has_stream_reset_burst()) to.stream_reset_burst = from.stream_reset_burst().value();
  if (from.has_stream_reset_rate()) to.stream_reset_rate = from.stream_reset_rate().value();
  if (from.has_max_header_field_size_kb()) to.max_header_field_bytes = from.max_header_field_size_kb().value() * 1024;
  to.disallow_obs_text = from.disallow_obs_text().value();
  for (int i = 0; i < from.custom_settings_parameters_size(); ++i) {
    const auto& parameter = from.custom_settings_parameters(i);
    http2_setting(from, static_cast<uint16_t>(parameter.identifier().value()), parameter.value().value(), to,
                  fmt::format("{}.custom_settings_parameters[{}]", path, i));
  }
  const auto& keepalive = from.connection_keepalive();
  if (from.has_connection_keepalive()) {
    to.keepalive_interval = duration(keepalive.interval());
    to.keepalive_timeout = duration(keepalive.timeout());
    to.keepalive_connection_idle_interval = duration(keepalive.connection_idle_interval());
    if (keepalive.has_interval_jitter()) to.keepalive_interval_jitter_percent = keepalive.interval_jitter().value();
  }
  return to;
}

}  // namespace millrace::config
