#include "filter/connection_info.h"

#include "net/transport.h"

namespace millrace::filter {

void describe(net::Connection& connection, WorkerContext& worker, const ListenerFacts& listener,
              stream::ConnectionInfo& info) {
  info.id = worker.connection_id();
  info.local_address = &connection.local_address();
  info.local_address_restored = connection.local_address_restored();
  if (info.local_address_restored) info.direct_local_address = &connection.direct_local_address();
  info.remote_address = &connection.remote_address();
  info.start = worker.loop.now();
  info.filter_chain_name = listener.filter_chain_name;
  if (const net::ClientHints* hints = connection.client_hints()) {
    info.requested_server_name = hints->server_name;
    info.ja3 = hints->ja3;
    info.ja4 = hints->ja4;
  }
  if (!connection.secured()) return;
  info.start = connection.handshake_start();
  info.handshake_end = connection.established_at();
  info.tls = connection.transport_facts();
  if (info.tls != nullptr && info.requested_server_name.empty()) info.requested_server_name = info.tls->server_name();
}

}  // namespace millrace::filter
