// HTTP statistics, with Envoy's names (configuration/http/http_conn_man/stats and http_filters/router_filter):
// http             http.<stat_prefix>.  the connection manager's and its router's
// listener_http    listener.<address>.http.<stat_prefix>.
// http1_codec      http1. downstream, cluster.<name>.http1. upstream
// http2_codec      http2. downstream, cluster.<name>.http2. upstream
// grpc             cluster.<name>.grpc.[<service>.<method>.], and grpc-web in place of grpc: of the filters grpc_stats
//                  and grpc_web
// virtual_cluster  vhost.<name>.vcluster.<name>. and vhost.<name>.route.<stat_prefix>.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_HTTP_STATS(X) \
  X(kDownstreamRqTotal, "downstream_rq_total", kCounter, kNone) \
  X(kDownstreamRqActive, "downstream_rq_active", kGauge, kNone) \
  X(kDownstreamRqCompleted, "downstream_rq_completed", kCounter, kNone) \
  X(kDownstreamRq2xx, "downstream_rq_2xx", kCounter, kNone) \
  X(kDownstreamRqHttp1Total, "downstream_rq_http1_total", kCounter, kNone) \
  X(kDownstreamRqHttp2Total, "downstream_rq_http2_total", kCounter, kNone) \
  X(kDownstreamRqTime, "downstream_rq_time", kHistogram, kMilliseconds) \
  X(kRqTotal, "rq_total", kCounter, kNone) \
  X(kDownstreamCxRxBytesTotal, "downstream_cx_rx_bytes_total", kCounter, kBytes) \
  X(kDownstreamCxTxBytesTotal, "downstream_cx_tx_bytes_total", kCounter, kBytes) \
  X(kDownstreamCxTotal, "downstream_cx_total", kCounter, kNone) \
  X(kDownstreamCxActive, "downstream_cx_active", kGauge, kNone) \
  X(kDownstreamCxHttp1Total, "downstream_cx_http1_total", kCounter, kNone) \
  X(kDownstreamCxHttp1Active, "downstream_cx_http1_active", kGauge, kNone) \
  X(kDownstreamCxHttp2Total, "downstream_cx_http2_total", kCounter, kNone) \
  X(kDownstreamCxHttp2Active, "downstream_cx_http2_active", kGauge, kNone) \
  X(kDownstreamCxLengthMs, "downstream_cx_length_ms", kHistogram, kMilliseconds) \
  X(kDownstreamCxDestroy, "downstream_cx_destroy", kCounter, kNone) \
  X(kDownstreamCxDestroyRemote, "downstream_cx_destroy_remote", kCounter, kNone) \
  X(kDownstreamCxDestroyLocal, "downstream_cx_destroy_local", kCounter, kNone) \
  X(kDownstreamCxSslTotal, "downstream_cx_ssl_total", kCounter, kNone) \
  X(kDownstreamCxSslActive, "downstream_cx_ssl_active", kGauge, kNone) \
  X(kDownstreamRq1xx, "downstream_rq_1xx", kCounter, kNone) \
  X(kDownstreamRq3xx, "downstream_rq_3xx", kCounter, kNone) \
  X(kDownstreamRq4xx, "downstream_rq_4xx", kCounter, kNone) \
  X(kDownstreamRq5xx, "downstream_rq_5xx", kCounter, kNone) \
  X(kDownstreamRqRxReset, "downstream_rq_rx_reset", kCounter, kNone) \
  X(kDownstreamRqTxReset, "downstream_rq_tx_reset", kCounter, kNone) \
  X(kRqDirectResponse, "rq_direct_response", kCounter, kNone) \
  X(kRqRedirect, "rq_redirect", kCounter, kNone) \
  X(kNoRoute, "no_route", kCounter, kNone) \
  X(kNoCluster, "no_cluster", kCounter, kNone) \
  X(kDownstreamRqResponseBeforeRqComplete, "downstream_rq_response_before_rq_complete", kCounter, kNone) \
  X(kDownstreamCxIdleTimeout, "downstream_cx_idle_timeout", kCounter, kNone) \
  X(kDownstreamCxDrainClose, "downstream_cx_drain_close", kCounter, kNone) \
  X(kDownstreamCxDestroyActiveRq, "downstream_cx_destroy_active_rq", kCounter, kNone) \
  X(kDownstreamCxDestroyLocalActiveRq, "downstream_cx_destroy_local_active_rq", kCounter, kNone) \
  X(kDownstreamCxDestroyRemoteActiveRq, "downstream_cx_destroy_remote_active_rq", kCounter, kNone) \
  X(kDownstreamCxDelayedCloseTimeout, "downstream_cx_delayed_close_timeout", kCounter, kNone) \
  X(kDownstreamCxProtocolError, "downstream_cx_protocol_error", kCounter, kNone) \
  X(kDownstreamCxRxBytesBuffered, "downstream_cx_rx_bytes_buffered", kGauge, kBytes) \
  X(kDownstreamCxTxBytesBuffered, "downstream_cx_tx_bytes_buffered", kGauge, kBytes) \
  X(kDownstreamFlowControlPausedReadingTotal, "downstream_flow_control_paused_reading_total", kCounter, kNone) \
  X(kDownstreamFlowControlResumedReadingTotal, \
    "downstream_flow_control_resumed_reading_total", kCounter, kNone) \
  X(kDownstreamCxUpgradesTotal, "downstream_cx_upgrades_total", kCounter, kNone) \
  X(kDownstreamCxUpgradesActive, "downstream_cx_upgrades_active", kGauge, kNone) \
  X(kDownstreamRqIdleTimeout, "downstream_rq_idle_timeout", kCounter, kNone) \
  X(kDownstreamRqTimeout, "downstream_rq_timeout", kCounter, kNone) \
  X(kDownstreamRqHeaderTimeout, "downstream_rq_header_timeout", kCounter, kNone) \
  X(kDownstreamRqMaxDurationReached, "downstream_rq_max_duration_reached", kCounter, kNone) \
  X(kDownstreamCxMaxDurationReached, "downstream_cx_max_duration_reached", kCounter, kNone) \
  X(kDownstreamCxMaxRequestsReached, "downstream_cx_max_requests_reached", kCounter, kNone) \
  X(kDownstreamCxOverloadDisableKeepalive, "downstream_cx_overload_disable_keepalive", kCounter, kNone) \
  X(kDownstreamRqOverloadClose, "downstream_rq_overload_close", kCounter, kNone) \
  X(kDownstreamRqTooLarge, "downstream_rq_too_large", kCounter, kNone) \
  X(kDownstreamRqNonRelativePath, "downstream_rq_non_relative_path", kCounter, kNone) \
  X(kDownstreamRqFailedPathNormalization, "downstream_rq_failed_path_normalization", kCounter, kNone) \
  X(kDownstreamRqRedirectedWithNormalizedPath, \
    "downstream_rq_redirected_with_normalized_path", kCounter, kNone) \
  X(kDownstreamRqRejectedViaIpDetection, "downstream_rq_rejected_via_ip_detection", kCounter, kNone) \
  X(kDownstreamRqTooManyPrematureResets, "downstream_rq_too_many_premature_resets", kCounter, kNone) \
  X(kDownstreamRqWsOnNonWsRoute, "downstream_rq_ws_on_non_ws_route", kCounter, kNone) \
  X(kRsTooLarge, "rs_too_large", kCounter, kNone) \
  X(kRqOverloadLocalReply, "rq_overload_local_reply", kCounter, kNone) \
  X(kRqResetAfterDownstreamResponseStarted, "rq_reset_after_downstream_response_started", kCounter, kNone) \
  X(kPassthroughInternalRedirectBadLocation, "passthrough_internal_redirect_bad_location", kCounter, kNone) \
  X(kPassthroughInternalRedirectNoRoute, "passthrough_internal_redirect_no_route", kCounter, kNone) \
  X(kPassthroughInternalRedirectPredicate, "passthrough_internal_redirect_predicate", kCounter, kNone) \
  X(kPassthroughInternalRedirectTooManyRedirects, \
    "passthrough_internal_redirect_too_many_redirects", kCounter, kNone) \
  X(kPassthroughInternalRedirectUnsafeScheme, "passthrough_internal_redirect_unsafe_scheme", kCounter, kNone) \
  X(kDownstreamCxHttp3Total, "downstream_cx_http3_total", kCounter, kNone) \
  X(kDownstreamCxHttp3Active, "downstream_cx_http3_active", kGauge, kNone) \
  X(kDownstreamRqHttp3Total, "downstream_rq_http3_total", kCounter, kNone) \
  X(kTracingRandomSampling, "tracing.random_sampling", kCounter, kNone) \
  X(kTracingServiceForced, "tracing.service_forced", kCounter, kNone) \
  X(kTracingClientEnabled, "tracing.client_enabled", kCounter, kNone) \
  X(kTracingNotTraceable, "tracing.not_traceable", kCounter, kNone) \
  X(kTracingHealthCheck, "tracing.health_check", kCounter, kNone)

#define MILLRACE_LISTENER_HTTP_STATS(X) \
  X(kDownstreamRqCompleted, "downstream_rq_completed", kCounter, kNone) \
  X(kDownstreamRq1xx, "downstream_rq_1xx", kCounter, kNone) \
  X(kDownstreamRq2xx, "downstream_rq_2xx", kCounter, kNone) \
  X(kDownstreamRq3xx, "downstream_rq_3xx", kCounter, kNone) \
  X(kDownstreamRq4xx, "downstream_rq_4xx", kCounter, kNone) \
  X(kDownstreamRq5xx, "downstream_rq_5xx", kCounter, kNone)

#define MILLRACE_HTTP1_CODEC_STATS(X) \
  X(kDroppedHeadersWithUnderscores, "dropped_headers_with_underscores", kCounter, kNone) \
  X(kMetadataNotSupportedError, "metadata_not_supported_error", kCounter, kNone) \
  X(kRequestsRejectedWithUnderscoresInHeaders, \
    "requests_rejected_with_underscores_in_headers", kCounter, kNone) \
  X(kResponseFlood, "response_flood", kCounter, kNone)

#define MILLRACE_HTTP2_CODEC_STATS(X) \
  X(kStreamsActive, "streams_active", kGauge, kNone) \
  X(kPendingSendBytes, "pending_send_bytes", kGauge, kBytes) \
  X(kDeferredStreamClose, "deferred_stream_close", kGauge, kNone) \
  X(kOutboundFramesActive, "outbound_frames_active", kGauge, kNone) \
  X(kOutboundControlFramesActive, "outbound_control_frames_active", kGauge, kNone) \
  X(kRxReset, "rx_reset", kCounter, kNone) \
  X(kTxReset, "tx_reset", kCounter, kNone) \
  X(kTrailers, "trailers", kCounter, kNone) \
  X(kRxMessagingError, "rx_messaging_error", kCounter, kNone) \
  X(kGoawaySent, "goaway_sent", kCounter, kNone) \
  X(kHeaderOverflow, "header_overflow", kCounter, kNone) \
  X(kHeadersCbNoStream, "headers_cb_no_stream", kCounter, kNone) \
  X(kStreamRefusedErrors, "stream_refused_errors", kCounter, kNone) \
  X(kTxFlushTimeout, "tx_flush_timeout", kCounter, kNone) \
  X(kKeepaliveTimeout, "keepalive_timeout", kCounter, kNone) \
  X(kDroppedHeadersWithUnderscores, "dropped_headers_with_underscores", kCounter, kNone) \
  X(kRequestsRejectedWithUnderscoresInHeaders, \
    "requests_rejected_with_underscores_in_headers", kCounter, kNone) \
  X(kInboundEmptyFramesFlood, "inbound_empty_frames_flood", kCounter, kNone) \
  X(kInboundPriorityFramesFlood, "inbound_priority_frames_flood", kCounter, kNone) \
  X(kInboundWindowUpdateFramesFlood, "inbound_window_update_frames_flood", kCounter, kNone) \
  X(kMetadataEmptyFrames, "metadata_empty_frames", kCounter, kNone) \
  X(kOutboundControlFlood, "outbound_control_flood", kCounter, kNone) \
  X(kOutboundFlood, "outbound_flood", kCounter, kNone)

#define MILLRACE_GRPC_STATS(X) \
  X(kTotal, "total", kCounter, kNone, kOnceUsed) \
  X(kSuccess, "success", kCounter, kNone, kOnceUsed) \
  X(kFailure, "failure", kCounter, kNone, kOnceUsed) \
  X(kRequestMessageCount, "request_message_count", kCounter, kNone, kOnceUsed) \
  X(kResponseMessageCount, "response_message_count", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRqTime, "upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kStatus0, "0", kCounter, kNone, kOnceUsed) \
  X(kStatus1, "1", kCounter, kNone, kOnceUsed) \
  X(kStatus2, "2", kCounter, kNone, kOnceUsed) \
  X(kStatus3, "3", kCounter, kNone, kOnceUsed) \
  X(kStatus4, "4", kCounter, kNone, kOnceUsed) \
  X(kStatus5, "5", kCounter, kNone, kOnceUsed) \
  X(kStatus6, "6", kCounter, kNone, kOnceUsed) \
  X(kStatus7, "7", kCounter, kNone, kOnceUsed) \
  X(kStatus8, "8", kCounter, kNone, kOnceUsed) \
  X(kStatus9, "9", kCounter, kNone, kOnceUsed) \
  X(kStatus10, "10", kCounter, kNone, kOnceUsed) \
  X(kStatus11, "11", kCounter, kNone, kOnceUsed) \
  X(kStatus12, "12", kCounter, kNone, kOnceUsed) \
  X(kStatus13, "13", kCounter, kNone, kOnceUsed) \
  X(kStatus14, "14", kCounter, kNone, kOnceUsed) \
  X(kStatus15, "15", kCounter, kNone, kOnceUsed) \
  X(kStatus16, "16", kCounter, kNone, kOnceUsed)

#define MILLRACE_VIRTUAL_CLUSTER_STATS(X) \
  X(kUpstreamRqTotal, "upstream_rq_total", kCounter, kNone) \
  X(kUpstreamRqCompleted, "upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq1xx, "upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq2xx, "upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq3xx, "upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq4xx, "upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq5xx, "upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRqCodes, "upstream_rq_{code}", kCodes, kNone) \
  X(kUpstreamRqTime, "upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kUpstreamRqRetry, "upstream_rq_retry", kCounter, kNone) \
  X(kUpstreamRqRetryLimitExceeded, "upstream_rq_retry_limit_exceeded", kCounter, kNone) \
  X(kUpstreamRqRetryOverflow, "upstream_rq_retry_overflow", kCounter, kNone) \
  X(kUpstreamRqRetrySuccess, "upstream_rq_retry_success", kCounter, kNone) \
  X(kUpstreamRqTimeout, "upstream_rq_timeout", kCounter, kNone)
// clang-format on

namespace millrace::stats::http {
MILLRACE_STAT_SCHEMA("http", MILLRACE_HTTP_STATS)
}
namespace millrace::stats::listener_http {
MILLRACE_STAT_SCHEMA("listener_http", MILLRACE_LISTENER_HTTP_STATS)
}
namespace millrace::stats::http1_codec {
MILLRACE_STAT_SCHEMA("http1_codec", MILLRACE_HTTP1_CODEC_STATS)
}
namespace millrace::stats::http2_codec {
MILLRACE_STAT_SCHEMA("http2_codec", MILLRACE_HTTP2_CODEC_STATS)
}
namespace millrace::stats::grpc {
MILLRACE_STAT_SCHEMA("grpc", MILLRACE_GRPC_STATS)
}
namespace millrace::stats::virtual_cluster {
MILLRACE_STAT_SCHEMA("virtual_cluster", MILLRACE_VIRTUAL_CLUSTER_STATS)
}
