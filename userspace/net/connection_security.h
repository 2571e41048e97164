// What a net::Connection with a transport keeps besides what a plain one has. Of connection.cc and
// connection_security.cc only.
#pragma once
#include <utility>

#include "net/connection.h"

namespace millrace::net {

struct Connection::Security {
  Security(Connection& connection, std::unique_ptr<Transport> transport_in)
      : transport(std::move(transport_in)), step(connection) {}

  const std::unique_ptr<Transport> transport;
  base::Buffer wire_in, wire_out;  // cipher bytes
  io::HookOf<&Connection::handshake_step> step;
  base::MonotonicTime begun{}, established{};
  bool started = false;
  bool close_notified = false;  // ours
  bool alert = false;           // it failed, and wire_out has what it wants the peer to know
  bool truncated = false;
};

// The factory has nothing to make a transport from.
base::Error no_transport();

}  // namespace millrace::net
