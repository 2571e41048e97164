// Statistics of the process, with Envoy's names (configuration/observability/statistics):
// server           server.
// filesystem       filesystem.  file access logs
// grpc_access_log  access_logs.grpc_access_log.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_SERVER_STATS(X) \
  X(kLive, "live", kGaugeNeverImport, kNone) \
  X(kState, "state", kGaugeNeverImport, kNone) \
  X(kUptime, "uptime", kGaugeNeverImport, kNone) \
  X(kConcurrency, "concurrency", kGaugeNeverImport, kNone) \
  X(kVersion, "version", kGaugeNeverImport, kNone) \
  X(kTotalConnections, "total_connections", kGauge, kNone) \
  X(kParentConnections, "parent_connections", kGauge, kNone) \
  X(kMemoryAllocated, "memory_allocated", kGauge, kBytes) \
  X(kMemoryHeapSize, "memory_heap_size", kGauge, kBytes) \
  X(kMemoryPhysicalSize, "memory_physical_size", kGauge, kBytes) \
  X(kDaysUntilFirstCertExpiring, "days_until_first_cert_expiring", kGaugeNeverImport, kNone) \
  X(kSecondsUntilFirstOcspResponseExpiring, \
    "seconds_until_first_ocsp_response_expiring", kGaugeNeverImport, kNone, kOnceUsed) \
  X(kHotRestartEpoch, "hot_restart_epoch", kGaugeNeverImport, kNone) \
  X(kHotRestartGeneration, "hot_restart_generation", kGauge, kNone) \
  X(kInitializationTimeMs, "initialization_time_ms", kHistogram, kMilliseconds) \
  X(kDroppedStatFlushes, "dropped_stat_flushes", kCounter, kNone) \
  X(kStaticUnknownFields, "static_unknown_fields", kCounter, kNone) \
  X(kDynamicUnknownFields, "dynamic_unknown_fields", kCounter, kNone) \
  X(kWipProtos, "wip_protos", kCounter, kNone) \
  X(kDebugAssertionFailures, "debug_assertion_failures", kCounter, kNone) \
  X(kEnvoyBugFailures, "envoy_bug_failures", kCounter, kNone) \
  X(kCompilationSettingsFipsMode, "compilation_settings.fips_mode", kGaugeNeverImport, kNone)

#define MILLRACE_FILESYSTEM_STATS(X) \
  X(kWriteBuffered, "write_buffered", kCounter, kNone) \
  X(kWriteCompleted, "write_completed", kCounter, kNone) \
  X(kWriteFailed, "write_failed", kCounter, kNone) \
  X(kFlushedByTimer, "flushed_by_timer", kCounter, kNone) \
  X(kReopenFailed, "reopen_failed", kCounter, kNone) \
  X(kWriteTotalBuffered, "write_total_buffered", kGauge, kNone)

#define MILLRACE_GRPC_ACCESS_LOG_STATS(X) \
  X(kLogsWritten, "logs_written", kCounter, kNone) \
  X(kLogsDropped, "logs_dropped", kCounter, kNone)
// clang-format on

namespace millrace::stats::server {
MILLRACE_STAT_SCHEMA("server", MILLRACE_SERVER_STATS)
}
namespace millrace::stats::filesystem {
MILLRACE_STAT_SCHEMA("filesystem", MILLRACE_FILESYSTEM_STATS)
}
namespace millrace::stats::grpc_access_log {
MILLRACE_STAT_SCHEMA("grpc_access_log", MILLRACE_GRPC_ACCESS_LOG_STATS)
}
