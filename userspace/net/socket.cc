#include "net/socket.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

namespace millrace::net {
namespace {

using base::Error;
using base::Result;

using SetOption = std::function<void(int level, int name, const void* value, socklen_t length)>;

void set_keepalive(const SetOption& set, const TcpKeepalive& keepalive) {
  const int on = 1;
  set(SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const auto number = [&](int name, const std::optional<uint32_t>& value) {
    if (!value) return;
    const int v = static_cast<int>(*value);
    set(IPPROTO_TCP, name, &v, sizeof v);
  };
  number(TCP_KEEPCNT, keepalive.probes);
  number(TCP_KEEPIDLE, keepalive.time_s);
  number(TCP_KEEPINTVL, keepalive.interval_s);
}

// A path left behind by a process that is gone refuses connections: then it may go.
void remove_stale_pipe(const Address& address) {
  if (address.path()[0] == '@') return;
  struct stat status;
  if (::lstat(address.path().c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return;
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  if (::connect(probe, reinterpret_cast<sockaddr*>(&storage), length) != 0 && errno == ECONNREFUSED) {
    ::unlink(address.path().c_str());
  }
  ::close(probe);
}

// What the configuration asks for once the socket has come that far.
void set_options(const SetOption& set, const ListenOptions& options, SocketOption::State state) {
  for (const SocketOption& option : options.socket_options) {
    if (option.state != state) continue;
    set(option.level, option.name, option.value.data(), static_cast<socklen_t>(option.value.size()));
  }
}

void set_before_bind(const SetOption& set, const Address& address, const ListenOptions& options) {
  const int on = 1;
  if (address.is_ip()) {
    const bool v6 = address.kind() == Address::Kind::kIpv6;
    set(SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (v6) {
      const int only = options.ipv6_only ? 1 : 0;
      set(IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    }
    if (options.freebind) set(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof on);
    set(IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
    if (options.keepalive) set_keepalive(set, *options.keepalive);
    if (options.fast_open_queue_length) {
      const int length = static_cast<int>(*options.fast_open_queue_length);
      set(IPPROTO_TCP, TCP_FASTOPEN, &length, sizeof length);
    }
  }
  set_options(set, options, SocketOption::State::kPrebind);
}

// Needs CAP_NET_ADMIN or CAP_NET_RAW. Without them the socket would listen, and be passed by all that TPROXY sends to
// it.
bool set_transparent(int fd, const Address& address) {
  const int on = 1;
  const bool v6 = address.kind() == Address::Kind::kIpv6;
  return ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, sizeof on) == 0;
}

}  // namespace

Result<int> open_listen_socket(const Address& address, const ListenOptions& options) {
  const auto fail = [&](int fd, const char* doing) -> Error {
    const int os = errno;
    if (fd >= 0) ::close(fd);
    return Error::from_errno(os, fmt::format("cannot {} {}", doing, address.to_string()));
  };
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(fd, "create a socket for");
  const SetOption set = [fd](int level, int name, const void* value, socklen_t length) {
    (void)::setsockopt(fd, level, name, value, length);
  };
  set_before_bind(set, address, options);
  if (options.transparent && address.is_ip() && !set_transparent(fd, address)) {
    return fail(fd, "set the transparent option on");
  }
  if (address.kind() == Address::Kind::kPipe) remove_stale_pipe(address);
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    Error error = fail(fd, "bind to");
    if (error.os == EACCES && address.is_ip()) {
      error.what += fmt::format(
          ", port {} being privileged: give the process CAP_NET_BIND_SERVICE, lower the sysctl "
          "net.ipv4.ip_unprivileged_port_start, or take a higher port",
          address.port());
    }
    return error;
  }
  set_options(set, options, SocketOption::State::kBound);
  if (address.kind() == Address::Kind::kPipe && options.pipe_mode != 0 && address.path()[0] != '@' &&
      ::chmod(address.path().c_str(), options.pipe_mode) != 0) {
    return fail(fd, "set the mode of");
  }
  if (::listen(fd, options.backlog) != 0) return fail(fd, "listen on");
  set_options(set, options, SocketOption::State::kListening);
  return fd;
}

Address bound_address(int fd) {
  sockaddr_storage storage;
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
}

void apply_keepalive(io::Backend& backend, int fd, const TcpKeepalive& keepalive) {
  set_keepalive([&](int level, int name, const void* value,
                    socklen_t length) { backend.set_option(fd, level, name, value, length); },
                keepalive);
}

void apply_options(io::Backend& backend, int fd, const std::vector<SocketOption>& options) {
  for (const SocketOption& option : options) {
    backend.set_option(fd, option.level, option.name, option.value.data(), static_cast<socklen_t>(option.value.size()));
  }
}

}  // namespace millrace::net
