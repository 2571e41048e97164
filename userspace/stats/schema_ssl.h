// What happens to the certificates and keys of a listener or cluster while it runs; names are Envoy's,
// key_rotation_failed is that of its secrets:
// ssl_socket_factory   listener.<address>.server_ssl_socket_factory. and cluster.<name>.client_ssl_socket_factory.
// certificate          listener.<address>.ssl.certificate.<certificate>. and the same below cluster.<name>.
// transport_match      cluster.<name>.<match of transport_socket_matches, or "default">.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_SSL_SOCKET_FACTORY_STATS(X) \
  X(kSslContextUpdateBySds, "ssl_context_update_by_sds", kCounter, kNone) \
  X(kKeyRotationFailed, "key_rotation_failed", kCounter, kNone)
#define MILLRACE_CERTIFICATE_STATS(X) \
  X(kExpirationUnixTimeSeconds, "expiration_unix_time_seconds", kGauge, kNone)
#define MILLRACE_TRANSPORT_MATCH_STATS(X) \
  X(kTotalMatchCount, "total_match_count", kCounter, kNone)
// clang-format on

namespace millrace::stats::ssl_socket_factory {
MILLRACE_STAT_SCHEMA("ssl_socket_factory", MILLRACE_SSL_SOCKET_FACTORY_STATS)
}
namespace millrace::stats::certificate {
MILLRACE_STAT_SCHEMA("certificate", MILLRACE_CERTIFICATE_STATS)
}
namespace millrace::stats::transport_match {
MILLRACE_STAT_SCHEMA("transport_match", MILLRACE_TRANSPORT_MATCH_STATS)
}
