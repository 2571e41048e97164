#include "fastpath/original_dst.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "fastpath/object.h"
#include "fastpath/wire.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace millrace::fastpath {

using base::Result;

namespace {

using NameCall = int (*)(int, sockaddr*, socklen_t*);

std::optional<net::Address> name_of(int fd, NameCall call) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (call(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return std::nullopt;
  net::Address address = net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
  if (!address.is_ip()) return std::nullopt;
  return address;
}

std::optional<fp_flow> flow_of(int fd) {
  const std::optional<net::Address> client = name_of(fd, ::getpeername);
  const std::optional<net::Address> server = name_of(fd, ::getsockname);
  uint64_t netns = 0;
  socklen_t size = sizeof netns;
  if (!client || !server || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &size) != 0) return std::nullopt;
  return fp_flow{netns, wire_addr(*client), wire_addr(*server), htons(client->port()), htons(server->port()), 0};
}

}  // namespace

Result<OriginalDst> OriginalDst::open(const PinDir& pins) {
  Fd sockets(bpf_obj_get(pins.map_path("fp_originals").c_str()));
  if (!sockets) return bpf_failure(errno, "opening the map of accepted sockets");
  Fd flows(bpf_obj_get(pins.map_path("fp_flows").c_str()));
  if (!flows) return bpf_failure(errno, "opening the map of captured connections");
  return OriginalDst(std::move(sockets), std::move(flows));
}

std::optional<net::Address> OriginalDst::lookup(int accepted_fd) const {
  fp_original original{};
  if (bpf_map_lookup_elem(sockets_.get(), &accepted_fd, &original) == 0) return unwired(original.dst);
  const std::optional<fp_flow> flow = flow_of(accepted_fd);
  if (!flow || bpf_map_lookup_elem(flows_.get(), &*flow, &original) != 0) return std::nullopt;
  bpf_map_delete_elem(flows_.get(), &*flow);
  return unwired(original.dst);
}

}  // namespace millrace::fastpath
