// Making listening sockets and the options that Envoy's configuration puts on sockets. Listening sockets are made on
// the main thread, before workers start, so that a busy address is a start-up error; workers get the descriptor. Errors
// name the address.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/backend.h"
#include "net/address.h"

namespace millrace::net {

struct TcpKeepalive {
  std::optional<uint32_t> probes, time_s, interval_s;  // unset: the system's
};

// envoy.config.core.v3.SocketOption. Sockets that connect have kPrebind only.
struct SocketOption {
  enum class State : uint8_t { kPrebind, kBound, kListening };  // set before bind, after it, after listen

  int level = 0;
  int name = 0;
  std::vector<uint8_t> value;  // int in host order, or the bytes given
  State state = State::kPrebind;
};

struct ListenOptions {
  bool reuse_port = true;
  bool transparent = false;
  bool freebind = false;
  bool ipv6_only = true;              // false: ipv4_compat on "::"
  int backlog = 4096;                 // the system caps it (net.core.somaxconn)
  uint32_t pipe_mode = 0;             // file mode of a unix socket; 0: the umask's
  std::optional<uint32_t> fast_open_queue_length;
  std::optional<TcpKeepalive> keepalive;
  std::vector<SocketOption> socket_options;
};

// Bound and listening. A stale unix socket file at the path is removed if nobody listens on it.
base::Result<int> open_listen_socket(const Address& address, const ListenOptions& options);
// What the socket is bound to: the port when 0 was asked.
Address bound_address(int fd);

void apply_keepalive(io::Backend& backend, int fd, const TcpKeepalive& keepalive);
void apply_options(io::Backend& backend, int fd, const std::vector<SocketOption>& options);

}  // namespace millrace::net
