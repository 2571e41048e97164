// The listener filter tls_inspector's statistics, with Envoy's names: tls_inspector.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_TLS_INSPECTOR_STATS(X) \
  X(kClientHelloTooBig, "client_hello_too_big", kCounter, kNone) \
  X(kTlsFound, "tls_found", kCounter, kNone) \
  X(kTlsNotFound, "tls_not_found", kCounter, kNone) \
  X(kAlpnFound, "alpn_found", kCounter, kNone) \
  X(kAlpnNotFound, "alpn_not_found", kCounter, kNone) \
  X(kSniFound, "sni_found", kCounter, kNone) \
  X(kSniNotFound, "sni_not_found", kCounter, kNone) \
  X(kBytesProcessed, "bytes_processed", kHistogram, kBytes)
// clang-format on

namespace millrace::stats::tls_inspector {
MILLRACE_STAT_SCHEMA("tls_inspector", MILLRACE_TLS_INSPECTOR_STATS)
}
