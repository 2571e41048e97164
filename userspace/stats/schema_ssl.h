// What happens to the certificates and keys of a listener or cluster while it runs; names are Envoy's,
// key_rotation_failed is that of its secrets:
// ssl_socket_factory   listener.<address>.server_ssl_socket_factory. and cluster.<name>.client_ssl_socket_factory.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_SSL_SOCKET_FACTORY_STATS(X) \
  X(kSslContextUpdateBySds, "ssl_context_update_by_sds", kCounter, kNone) \
  X(kKeyRotationFailed, "key_rotation_failed", kCounter, kNone)
// clang-format on

namespace millrace::stats::ssl_socket_factory {
MILLRACE_STAT_SCHEMA("ssl_socket_factory", MILLRACE_SSL_SOCKET_FACTORY_STATS)
}
