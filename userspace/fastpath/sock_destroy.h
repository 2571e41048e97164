// Resetting connections that connect-time balancing sent to an endpoint which is no more (sock_diag, SOCK_DESTROY):
// the application sees ECONNABORTED and dials again instead of waiting for a dead peer. Only sockets whose storage
// says that they dialled the service are taken; who dialled the endpoint itself is left alone.
//
// sock_diag shows the sockets of one network namespace, that in which it was opened, so it is opened in each of them at
// the start, as entering needs CAP_SYS_ADMIN; resetting needs CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY. Connections
// of other namespaces cannot be reached: they stay, and are counted by a bpf_iter program. Main thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fp_types.h"

namespace millrace::fastpath {

class ConnectionResets {
 public:
  // In the calling thread's network namespace and those of these paths; one that cannot be entered is logged and left
  // out. `dialled_map` is fp_dialled_sockets, and has to live as long as the object.
  ConnectionResets(int dialled_map, const std::vector<std::string>& namespaces);
  ~ConnectionResets();
  ConnectionResets(const ConnectionResets&) = delete;
  ConnectionResets& operator=(const ConnectionResets&) = delete;

  // How many were reset.
  base::Result<uint32_t> reset(const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint);
  // How many there are in any namespace; 0 where the kernel cannot tell. Those just reset do not count.
  uint32_t count(const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint);

 private:
  class Leftover;

  const int dialled_map_;
  std::vector<Fd> diags_;
  std::unique_ptr<Leftover> leftover_;  // null: not to be had
};

}  // namespace millrace::fastpath
