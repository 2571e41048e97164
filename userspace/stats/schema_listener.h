// Listener statistics, with Envoy's names (configuration/listeners/stats):
// listener          listener.<address or stat_prefix>.
// listener_worker   listener.<address>.worker_<id>.
// listener_manager  listener_manager.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_LISTENER_STATS(X) \
  X(kDownstreamCxTotal, "downstream_cx_total", kCounter, kNone) \
  X(kDownstreamCxActive, "downstream_cx_active", kGauge, kNone) \
  X(kDownstreamCxDestroy, "downstream_cx_destroy", kCounter, kNone) \
  X(kDownstreamCxLengthMs, "downstream_cx_length_ms", kHistogram, kMilliseconds) \
  X(kDownstreamPreCxActive, "downstream_pre_cx_active", kGauge, kNone) \
  X(kConnectionsAcceptedPerSocketEvent, "connections_accepted_per_socket_event", kHistogram, kNone) \
  X(kNoFilterChainMatch, "no_filter_chain_match", kCounter, kNone) \
  X(kDownstreamCxOverflow, "downstream_cx_overflow", kCounter, kNone) \
  X(kDownstreamGlobalCxOverflow, "downstream_global_cx_overflow", kCounter, kNone) \
  X(kDownstreamCxOverloadReject, "downstream_cx_overload_reject", kCounter, kNone) \
  X(kDownstreamCxTransportSocketConnectTimeout, \
    "downstream_cx_transport_socket_connect_timeout", kCounter, kNone) \
  X(kDownstreamPreCxTimeout, "downstream_pre_cx_timeout", kCounter, kNone) \
  X(kDownstreamListenerFilterError, "downstream_listener_filter_error", kCounter, kNone) \
  X(kDownstreamListenerFilterRemoteClose, "downstream_listener_filter_remote_close", kCounter, kNone)

#define MILLRACE_LISTENER_WORKER_STATS(X) \
  X(kDownstreamCxTotal, "downstream_cx_total", kCounter, kNone) \
  X(kDownstreamCxActive, "downstream_cx_active", kGauge, kNone)

#define MILLRACE_LISTENER_MANAGER_STATS(X) \
  X(kListenerAdded, "listener_added", kCounter, kNone) \
  X(kListenerModified, "listener_modified", kCounter, kNone) \
  X(kListenerRemoved, "listener_removed", kCounter, kNone) \
  X(kListenerStopped, "listener_stopped", kCounter, kNone) \
  X(kListenerCreateSuccess, "listener_create_success", kCounter, kNone) \
  X(kListenerCreateFailure, "listener_create_failure", kCounter, kNone) \
  X(kListenerInPlaceUpdated, "listener_in_place_updated", kCounter, kNone) \
  X(kTotalListenersActive, "total_listeners_active", kGaugeNeverImport, kNone) \
  X(kTotalListenersDraining, "total_listeners_draining", kGaugeNeverImport, kNone) \
  X(kTotalListenersWarming, "total_listeners_warming", kGaugeNeverImport, kNone) \
  X(kTotalFilterChainsDraining, "total_filter_chains_draining", kGaugeNeverImport, kNone) \
  X(kWorkersStarted, "workers_started", kGaugeNeverImport, kNone)
// clang-format on

namespace millrace::stats::listener {
MILLRACE_STAT_SCHEMA("listener", MILLRACE_LISTENER_STATS)
}
namespace millrace::stats::listener_worker {
MILLRACE_STAT_SCHEMA("listener_worker", MILLRACE_LISTENER_WORKER_STATS)
}
namespace millrace::stats::listener_manager {
MILLRACE_STAT_SCHEMA("listener_manager", MILLRACE_LISTENER_MANAGER_STATS)
}
