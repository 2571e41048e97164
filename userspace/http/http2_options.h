// What the configuration says about HTTP/2 on one side of the proxy (envoy.config.core.v3.Http2ProtocolOptions), with
// Envoy's names and defaults; plain values, part of the Snapshot. A duration of zero is "off".
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace millrace::http {

struct Http2Options {
  uint32_t hpack_table_size = 4096;               // bytes, of either direction's dynamic table
  uint32_t max_concurrent_streams = 1024;         // downstream: that the peer may open; upstream: that we open
  uint32_t initial_stream_window_bytes = 16 << 20;
  uint32_t initial_connection_window_bytes = 24 << 20;
  bool allow_connect = false;                     // extended CONNECT, RFC 8441
  bool stream_error_on_invalid_http_message = false;  // otherwise a malformed message ends the connection

  // Floods: more than this ends the connection.
  uint32_t max_outbound_frames = 10'000;          // frames made and not sent
  uint32_t max_outbound_control_frames = 1'000;   // of these PING, SETTINGS and RST_STREAM
  uint32_t max_consecutive_inbound_frames_with_empty_payload = 1;
  uint32_t max_inbound_priority_frames_per_stream = 100;
  uint32_t max_inbound_window_update_frames_per_data_frame_sent = 10;
  // RST_STREAM of the peer: so many at once, and so many more a second. Zero: no limit.
  uint64_t stream_reset_burst = 0;
  uint64_t stream_reset_rate = 0;

  uint32_t max_header_field_bytes = 0;            // name and value of one field; 0: no limit of its own
  bool disallow_obs_text = false;                 // bytes above 0x7f in field values are malformed

  std::vector<std::pair<uint16_t, uint32_t>> custom_settings;

  base::milliseconds keepalive_interval{0};
  base::milliseconds keepalive_timeout{0};
  double keepalive_interval_jitter_percent = 15;
  base::milliseconds keepalive_connection_idle_interval{0};
};

}  // namespace millrace::http
