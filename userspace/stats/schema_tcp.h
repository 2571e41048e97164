// TCP proxy statistics, with Envoy's names (configuration/listeners/network_filters/tcp_proxy_filter):
// tcp  tcp.<stat_prefix>.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_TCP_STATS(X) \
  X(kDownstreamCxTotal, "downstream_cx_total", kCounter, kNone) \
  X(kDownstreamCxRxBytesTotal, "downstream_cx_rx_bytes_total", kCounter, kBytes) \
  X(kDownstreamCxTxBytesTotal, "downstream_cx_tx_bytes_total", kCounter, kBytes) \
  X(kDownstreamCxRxBytesBuffered, "downstream_cx_rx_bytes_buffered", kGauge, kBytes) \
  X(kDownstreamCxTxBytesBuffered, "downstream_cx_tx_bytes_buffered", kGauge, kBytes) \
  X(kDownstreamFlowControlPausedReadingTotal, "downstream_flow_control_paused_reading_total", kCounter, kNone) \
  X(kDownstreamFlowControlResumedReadingTotal, \
    "downstream_flow_control_resumed_reading_total", kCounter, kNone) \
  X(kDownstreamCxNoRoute, "downstream_cx_no_route", kCounter, kNone) \
  X(kDownstreamCxDrainClose, "downstream_cx_drain_close", kCounter, kNone) \
  X(kIdleTimeout, "idle_timeout", kCounter, kNone) \
  X(kMaxDownstreamConnectionDuration, "max_downstream_connection_duration", kCounter, kNone) \
  X(kUpstreamFlushTotal, "upstream_flush_total", kCounter, kNone) \
  X(kUpstreamFlushActive, "upstream_flush_active", kGauge, kNone) \
  X(kEarlyDataReceivedCountTotal, "early_data_received_count_total", kCounter, kNone) \
  X(kOnDemandClusterAttempt, "on_demand_cluster_attempt", kCounter, kNone) \
  X(kOnDemandClusterMissing, "on_demand_cluster_missing", kCounter, kNone) \
  X(kOnDemandClusterSuccess, "on_demand_cluster_success", kCounter, kNone) \
  X(kOnDemandClusterTimeout, "on_demand_cluster_timeout", kCounter, kNone)
// clang-format on

namespace millrace::stats::tcp {
MILLRACE_STAT_SCHEMA("tcp", MILLRACE_TCP_STATS)
}
