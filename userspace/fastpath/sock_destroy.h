// Resetting connections that connect-time balancing sent to an endpoint which is no more (sock_diag, SOCK_DESTROY):
// the application sees ECONNABORTED and dials again instead of waiting for a dead peer. Only sockets whose storage
// says that they dialled the service are taken; who dialled the endpoint itself is left alone. Sees the sockets of the
// calling thread's network namespace. Needs CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY.
#pragma once
#include <cstdint>

#include "base/result.h"
#include "fp_types.h"

namespace millrace::fastpath {

// How many were reset. `dialled_map` is fp_dialled_sockets.
base::Result<uint32_t> reset_balanced(int dialled_map, const fp_endpoint_addr& service,
                                      const fp_endpoint_addr& endpoint);

}  // namespace millrace::fastpath
