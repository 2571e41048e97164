// Upstream statistics, with Envoy's names (configuration/upstream/cluster_manager/cluster_stats):
// cluster          cluster.<name>.
// health_check     cluster.<name>.health_check.
// outlier          cluster.<name>.outlier_detection.
// cluster_manager  cluster_manager.
// The first two chunks of a cluster are what requests and connections write, the third what the main thread writes when
// membership changes; the rest a healthy cluster never touches.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_CLUSTER_STATS(X) \
  X(kUpstreamRqTotal, "upstream_rq_total", kCounter, kNone) \
  X(kUpstreamRqActive, "upstream_rq_active", kGauge, kNone) \
  X(kUpstreamRqCompleted, "upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRqCodes, "upstream_rq_{code}", kCodes, kNone) \
  X(kUpstreamRq2xx, "upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRqTime, "upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kUpstreamRqPendingTotal, "upstream_rq_pending_total", kCounter, kNone) \
  X(kUpstreamRqPendingActive, "upstream_rq_pending_active", kGauge, kNone) \
  X(kUpstreamCxRxBytesTotal, "upstream_cx_rx_bytes_total", kCounter, kBytes) \
  X(kUpstreamCxTxBytesTotal, "upstream_cx_tx_bytes_total", kCounter, kBytes) \
  X(kUpstreamCxTotal, "upstream_cx_total", kCounter, kNone) \
  X(kUpstreamCxActive, "upstream_cx_active", kGauge, kNone) \
  X(kUpstreamCxHttp1Total, "upstream_cx_http1_total", kCounter, kNone) \
  X(kUpstreamCxHttp2Total, "upstream_cx_http2_total", kCounter, kNone) \
  X(kUpstreamCxConnectMs, "upstream_cx_connect_ms", kHistogram, kMilliseconds) \
  X(kUpstreamRqPerCx, "upstream_rq_per_cx", kHistogram, kNone) \
  X(kUpstreamCxLengthMs, "upstream_cx_length_ms", kHistogram, kMilliseconds) \
  X(kUpstreamCxDestroy, "upstream_cx_destroy", kCounter, kNone) \
  X(kUpstreamCxDestroyLocal, "upstream_cx_destroy_local", kCounter, kNone) \
  X(kUpstreamCxDestroyRemote, "upstream_cx_destroy_remote", kCounter, kNone) \
  X(kUpstreamCxCloseNotify, "upstream_cx_close_notify", kCounter, kNone) \
  X(kUpstreamCxIdleTimeout, "upstream_cx_idle_timeout", kCounter, kNone) \
  X(kUpstreamRq1xx, "upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq3xx, "upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq4xx, "upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRq5xx, "upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kUpstreamRqRxReset, "upstream_rq_rx_reset", kCounter, kNone) \
  X(kUpstreamRqTxReset, "upstream_rq_tx_reset", kCounter, kNone) \
  X(kUpstreamRqTimeout, "upstream_rq_timeout", kCounter, kNone) \
  X(kUpstreamRqCancelled, "upstream_rq_cancelled", kCounter, kNone) \
  X(kUpstreamCxConnectFail, "upstream_cx_connect_fail", kCounter, kNone) \
  X(kUpstreamCxConnectTimeout, "upstream_cx_connect_timeout", kCounter, kNone) \
  X(kMembershipTotal, "membership_total", kGaugeNeverImport, kNone) \
  X(kMembershipHealthy, "membership_healthy", kGaugeNeverImport, kNone) \
  X(kMembershipDegraded, "membership_degraded", kGaugeNeverImport, kNone) \
  X(kMembershipExcluded, "membership_excluded", kGaugeNeverImport, kNone) \
  X(kMembershipChange, "membership_change", kCounter, kNone) \
  X(kMaxHostWeight, "max_host_weight", kGaugeNeverImport, kNone) \
  X(kUpdateAttempt, "update_attempt", kCounter, kNone) \
  X(kUpdateSuccess, "update_success", kCounter, kNone) \
  X(kUpdateFailure, "update_failure", kCounter, kNone) \
  X(kUpdateEmpty, "update_empty", kCounter, kNone) \
  X(kUpdateNoRebuild, "update_no_rebuild", kCounter, kNone) \
  X(kUpdateDuration, "update_duration", kHistogram, kMilliseconds, kOnceUsed) \
  X(kVersion, "version", kGaugeNeverImport, kNone) \
  X(kWarmingState, "warming_state", kGaugeNeverImport, kNone) \
  X(kConfigReload, "config_reload", kCounter, kNone, kOnceUsed) \
  X(kAssignmentStale, "assignment_stale", kCounter, kNone) \
  X(kAssignmentTimeoutReceived, "assignment_timeout_received", kCounter, kNone) \
  X(kAssignmentUseCached, "assignment_use_cached", kCounter, kNone) \
  X(kUpstreamRqRetry, "upstream_rq_retry", kCounter, kNone) \
  X(kUpstreamRqRetrySuccess, "upstream_rq_retry_success", kCounter, kNone) \
  X(kUpstreamRqRetryBackoffExponential, "upstream_rq_retry_backoff_exponential", kCounter, kNone) \
  X(kUpstreamRqRetryBackoffRatelimited, "upstream_rq_retry_backoff_ratelimited", kCounter, kNone) \
  X(kUpstreamRqRetryLimitExceeded, "upstream_rq_retry_limit_exceeded", kCounter, kNone) \
  X(kUpstreamRqRetryOverflow, "upstream_rq_retry_overflow", kCounter, kNone) \
  X(kUpstreamRqPerTryTimeout, "upstream_rq_per_try_timeout", kCounter, kNone) \
  X(kUpstreamRqPerTryIdleTimeout, "upstream_rq_per_try_idle_timeout", kCounter, kNone) \
  X(kUpstreamRqPendingFailureEject, "upstream_rq_pending_failure_eject", kCounter, kNone) \
  X(kUpstreamRqPendingOverflow, "upstream_rq_pending_overflow", kCounter, kNone) \
  X(kUpstreamRqActiveOverflow, "upstream_rq_active_overflow", kCounter, kNone) \
  X(kUpstreamCxOverflow, "upstream_cx_overflow", kCounter, kNone) \
  X(kUpstreamCxPoolOverflow, "upstream_cx_pool_overflow", kCounter, kNone) \
  X(kUpstreamCxNoneHealthy, "upstream_cx_none_healthy", kCounter, kNone) \
  X(kUpstreamFlowControlPausedReadingTotal, "upstream_flow_control_paused_reading_total", kCounter, kNone) \
  X(kUpstreamFlowControlResumedReadingTotal, "upstream_flow_control_resumed_reading_total", kCounter, kNone) \
  X(kUpstreamFlowControlBackedUpTotal, "upstream_flow_control_backed_up_total", kCounter, kNone) \
  X(kUpstreamFlowControlDrainedTotal, "upstream_flow_control_drained_total", kCounter, kNone) \
  X(kUpstreamCxRxBytesBuffered, "upstream_cx_rx_bytes_buffered", kGauge, kBytes) \
  X(kUpstreamCxTxBytesBuffered, "upstream_cx_tx_bytes_buffered", kGauge, kBytes) \
  X(kUpstreamCxMaxRequests, "upstream_cx_max_requests", kCounter, kNone) \
  X(kUpstreamCxMaxDurationReached, "upstream_cx_max_duration_reached", kCounter, kNone) \
  X(kUpstreamCxProtocolError, "upstream_cx_protocol_error", kCounter, kNone) \
  X(kUpstreamCxConnectAttemptsExceeded, "upstream_cx_connect_attempts_exceeded", kCounter, kNone) \
  X(kUpstreamCxDestroyWithActiveRq, "upstream_cx_destroy_with_active_rq", kCounter, kNone) \
  X(kUpstreamCxDestroyLocalWithActiveRq, "upstream_cx_destroy_local_with_active_rq", kCounter, kNone) \
  X(kUpstreamCxDestroyRemoteWithActiveRq, "upstream_cx_destroy_remote_with_active_rq", kCounter, kNone) \
  X(kBindErrors, "bind_errors", kCounter, kNone) \
  X(kLbHealthyPanic, "lb_healthy_panic", kCounter, kNone) \
  X(kRetryOrShadowAbandoned, "retry_or_shadow_abandoned", kCounter, kNone) \
  X(kCircuitBreakersDefaultCxOpen, "circuit_breakers.default.cx_open", kGauge, kNone) \
  X(kCircuitBreakersDefaultCxPoolOpen, "circuit_breakers.default.cx_pool_open", kGauge, kNone) \
  X(kCircuitBreakersDefaultRqOpen, "circuit_breakers.default.rq_open", kGauge, kNone) \
  X(kCircuitBreakersDefaultRqPendingOpen, "circuit_breakers.default.rq_pending_open", kGauge, kNone) \
  X(kCircuitBreakersDefaultRqRetryOpen, "circuit_breakers.default.rq_retry_open", kGauge, kNone) \
  X(kCircuitBreakersHighCxOpen, "circuit_breakers.high.cx_open", kGauge, kNone) \
  X(kCircuitBreakersHighCxPoolOpen, "circuit_breakers.high.cx_pool_open", kGauge, kNone) \
  X(kCircuitBreakersHighRqOpen, "circuit_breakers.high.rq_open", kGauge, kNone) \
  X(kCircuitBreakersHighRqPendingOpen, "circuit_breakers.high.rq_pending_open", kGauge, kNone) \
  X(kCircuitBreakersHighRqRetryOpen, "circuit_breakers.high.rq_retry_open", kGauge, kNone) \
  X(kUpstreamRqMaxDurationReached, "upstream_rq_max_duration_reached", kCounter, kNone) \
  X(kUpstreamRqMaintenanceMode, "upstream_rq_maintenance_mode", kCounter, kNone) \
  X(kUpstreamRqRxResetNoError, "upstream_rq_rx_reset_no_error", kCounter, kNone) \
  X(kOriginalDstHostInvalid, "original_dst_host_invalid", kCounter, kNone) \
  X(kUpstreamInternalRedirectFailedTotal, "upstream_internal_redirect_failed_total", kCounter, kNone) \
  X(kUpstreamInternalRedirectSucceededTotal, "upstream_internal_redirect_succeeded_total", kCounter, kNone) \
  X(kCircuitBreakersDefaultRemainingCx, "circuit_breakers.default.remaining_cx", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersDefaultRemainingCxPools, \
    "circuit_breakers.default.remaining_cx_pools", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersDefaultRemainingPending, \
    "circuit_breakers.default.remaining_pending", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersDefaultRemainingRetries, \
    "circuit_breakers.default.remaining_retries", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersDefaultRemainingRq, "circuit_breakers.default.remaining_rq", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersHighRemainingCx, "circuit_breakers.high.remaining_cx", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersHighRemainingCxPools, \
    "circuit_breakers.high.remaining_cx_pools", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersHighRemainingPending, "circuit_breakers.high.remaining_pending", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersHighRemainingRetries, "circuit_breakers.high.remaining_retries", kGauge, kNone, kOnceUsed) \
  X(kCircuitBreakersHighRemainingRq, "circuit_breakers.high.remaining_rq", kGauge, kNone, kOnceUsed) \
  X(kUpstreamCxHttp3Total, "upstream_cx_http3_total", kCounter, kNone) \
  X(kUpstreamCxConnectWith0Rtt, "upstream_cx_connect_with_0_rtt", kCounter, kNone) \
  X(kUpstreamRq0rtt, "upstream_rq_0rtt", kCounter, kNone) \
  X(kUpstreamHttp3Broken, "upstream_http3_broken", kCounter, kNone) \
  X(kUpstreamCxPreconnectBlocked, "upstream_cx_preconnect_blocked", kCounter, kNone) \
  X(kUpstreamCxPreconnectSkipped, "upstream_cx_preconnect_skipped", kCounter, kNone) \
  X(kUpstreamCxPreconnectStarted, "upstream_cx_preconnect_started", kCounter, kNone) \
  X(kLbLocalClusterNotOk, "lb_local_cluster_not_ok", kCounter, kNone) \
  X(kLbRecalculateZoneStructures, "lb_recalculate_zone_structures", kCounter, kNone) \
  X(kLbZoneClusterTooSmall, "lb_zone_cluster_too_small", kCounter, kNone) \
  X(kLbZoneNoCapacityLeft, "lb_zone_no_capacity_left", kCounter, kNone) \
  X(kLbZoneRoutingAllDirectly, "lb_zone_routing_all_directly", kCounter, kNone) \
  X(kLbZoneRoutingCrossZone, "lb_zone_routing_cross_zone", kCounter, kNone) \
  X(kLbZoneRoutingSampled, "lb_zone_routing_sampled", kCounter, kNone) \
  X(kLbSubsetsActive, "lb_subsets_active", kGauge, kNone) \
  X(kLbSubsetsCreated, "lb_subsets_created", kCounter, kNone) \
  X(kLbSubsetsFallback, "lb_subsets_fallback", kCounter, kNone) \
  X(kLbSubsetsFallbackPanic, "lb_subsets_fallback_panic", kCounter, kNone) \
  X(kLbSubsetsRemoved, "lb_subsets_removed", kCounter, kNone) \
  X(kLbSubsetsSelected, "lb_subsets_selected", kCounter, kNone) \
  X(kInternalUpstreamRqCompleted, "internal.upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRq1xx, "internal.upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRq2xx, "internal.upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRq3xx, "internal.upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRq4xx, "internal.upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRq5xx, "internal.upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kInternalUpstreamRqCodes, "internal.upstream_rq_{code}", kCodes, kNone) \
  X(kInternalUpstreamRqTime, "internal.upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kExternalUpstreamRqCompleted, "external.upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRq1xx, "external.upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRq2xx, "external.upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRq3xx, "external.upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRq4xx, "external.upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRq5xx, "external.upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kExternalUpstreamRqCodes, "external.upstream_rq_{code}", kCodes, kNone) \
  X(kExternalUpstreamRqTime, "external.upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kCanaryUpstreamRqCompleted, "canary.upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRq1xx, "canary.upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRq2xx, "canary.upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRq3xx, "canary.upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRq4xx, "canary.upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRq5xx, "canary.upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kCanaryUpstreamRqCodes, "canary.upstream_rq_{code}", kCodes, kNone) \
  X(kCanaryUpstreamRqTime, "canary.upstream_rq_time", kHistogram, kMilliseconds, kOnceUsed) \
  X(kRetryUpstreamRq, "retry.upstream_rq", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRqCompleted, "retry.upstream_rq_completed", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRq1xx, "retry.upstream_rq_1xx", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRq2xx, "retry.upstream_rq_2xx", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRq3xx, "retry.upstream_rq_3xx", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRq4xx, "retry.upstream_rq_4xx", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRq5xx, "retry.upstream_rq_5xx", kCounter, kNone, kOnceUsed) \
  X(kRetryUpstreamRqCodes, "retry.upstream_rq_{code}", kCodes, kNone) \
  X(kUpstreamRqHeadersSize, "upstream_rq_headers_size", kHistogram, kBytes, kOnceUsed) \
  X(kUpstreamRqHeadersCount, "upstream_rq_headers_count", kHistogram, kNone, kOnceUsed) \
  X(kUpstreamRqBodySize, "upstream_rq_body_size", kHistogram, kBytes, kOnceUsed) \
  X(kUpstreamRsHeadersSize, "upstream_rs_headers_size", kHistogram, kBytes, kOnceUsed) \
  X(kUpstreamRsHeadersCount, "upstream_rs_headers_count", kHistogram, kNone, kOnceUsed) \
  X(kUpstreamRsBodySize, "upstream_rs_body_size", kHistogram, kBytes, kOnceUsed) \
  X(kUpstreamRqTimeoutBudgetPercentUsed, \
    "upstream_rq_timeout_budget_percent_used", kHistogram, kNone, kOnceUsed) \
  X(kUpstreamRqTimeoutBudgetPerTryPercentUsed, \
    "upstream_rq_timeout_budget_per_try_percent_used", kHistogram, kNone, kOnceUsed)

#define MILLRACE_HEALTH_CHECK_STATS(X) \
  X(kAttempt, "attempt", kCounter, kNone) \
  X(kSuccess, "success", kCounter, kNone) \
  X(kFailure, "failure", kCounter, kNone) \
  X(kPassiveFailure, "passive_failure", kCounter, kNone) \
  X(kNetworkFailure, "network_failure", kCounter, kNone) \
  X(kVerifyCluster, "verify_cluster", kCounter, kNone) \
  X(kHealthy, "healthy", kGauge, kNone) \
  X(kDegraded, "degraded", kGauge, kNone)

#define MILLRACE_OUTLIER_STATS(X) \
  X(kEjectionsActive, "ejections_active", kGauge, kNone) \
  X(kEjectionsEnforcedTotal, "ejections_enforced_total", kCounter, kNone) \
  X(kEjectionsOverflow, "ejections_overflow", kCounter, kNone) \
  X(kEjectionsTotal, "ejections_total", kCounter, kNone) \
  X(kEjectionsConsecutive5xx, "ejections_consecutive_5xx", kCounter, kNone) \
  X(kEjectionsDetectedConsecutive5xx, "ejections_detected_consecutive_5xx", kCounter, kNone) \
  X(kEjectionsEnforcedConsecutive5xx, "ejections_enforced_consecutive_5xx", kCounter, kNone) \
  X(kEjectionsDetectedConsecutiveGatewayFailure, \
    "ejections_detected_consecutive_gateway_failure", kCounter, kNone) \
  X(kEjectionsEnforcedConsecutiveGatewayFailure, \
    "ejections_enforced_consecutive_gateway_failure", kCounter, kNone) \
  X(kEjectionsDetectedSuccessRate, "ejections_detected_success_rate", kCounter, kNone) \
  X(kEjectionsEnforcedSuccessRate, "ejections_enforced_success_rate", kCounter, kNone) \
  X(kEjectionsDetectedFailurePercentage, "ejections_detected_failure_percentage", kCounter, kNone) \
  X(kEjectionsEnforcedFailurePercentage, "ejections_enforced_failure_percentage", kCounter, kNone) \
  X(kEjectionsDetectedConsecutiveLocalOriginFailure, \
    "ejections_detected_consecutive_local_origin_failure", kCounter, kNone) \
  X(kEjectionsEnforcedConsecutiveLocalOriginFailure, \
    "ejections_enforced_consecutive_local_origin_failure", kCounter, kNone) \
  X(kEjectionsDetectedLocalOriginSuccessRate, "ejections_detected_local_origin_success_rate", kCounter, kNone) \
  X(kEjectionsEnforcedLocalOriginSuccessRate, "ejections_enforced_local_origin_success_rate", kCounter, kNone) \
  X(kEjectionsDetectedLocalOriginFailurePercentage, \
    "ejections_detected_local_origin_failure_percentage", kCounter, kNone) \
  X(kEjectionsEnforcedLocalOriginFailurePercentage, \
    "ejections_enforced_local_origin_failure_percentage", kCounter, kNone)

#define MILLRACE_CLUSTER_MANAGER_STATS(X) \
  X(kClusterAdded, "cluster_added", kCounter, kNone) \
  X(kClusterModified, "cluster_modified", kCounter, kNone) \
  X(kClusterRemoved, "cluster_removed", kCounter, kNone) \
  X(kClusterUpdated, "cluster_updated", kCounter, kNone) \
  X(kClusterUpdatedViaMerge, "cluster_updated_via_merge", kCounter, kNone) \
  X(kUpdateMergeCancelled, "update_merge_cancelled", kCounter, kNone) \
  X(kUpdateOutOfMergeWindow, "update_out_of_merge_window", kCounter, kNone) \
  X(kActiveClusters, "active_clusters", kGaugeNeverImport, kNone) \
  X(kWarmingClusters, "warming_clusters", kGaugeNeverImport, kNone)
// clang-format on

namespace millrace::stats::cluster {
MILLRACE_STAT_SCHEMA("cluster", MILLRACE_CLUSTER_STATS)
}
namespace millrace::stats::health_check {
MILLRACE_STAT_SCHEMA("health_check", MILLRACE_HEALTH_CHECK_STATS)
}
namespace millrace::stats::outlier {
MILLRACE_STAT_SCHEMA("outlier_detection", MILLRACE_OUTLIER_STATS)
}
namespace millrace::stats::cluster_manager {
MILLRACE_STAT_SCHEMA("cluster_manager", MILLRACE_CLUSTER_MANAGER_STATS)
}
