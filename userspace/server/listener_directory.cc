#include "server/listener_directory.h"

#include "server/worker_listener.h"

namespace millrace::server {
namespace {

net::Address any_address(bool v6, uint16_t port) {
  return net::Address::parse_ip(v6 ? "::" : "0.0.0.0", port).value();
}

}  // namespace

void ListenerDirectory::add(WorkerListener& listener) {
  const uint64_t where = listener.shared().network_namespace;
  for (const net::Address& address : listener.shared().bound) {
    if (!address.is_ip()) continue;
    listeners_.insert_or_assign(Place{address, where}, &listener);
    const bool compatible = address.kind() == net::Address::Kind::kIpv6 && address.is_any() &&
                            !listener.shared().options->socket.ipv6_only;
    // A listener of 0.0.0.0 itself comes first, whichever of them is added first.
    if (compatible) listeners_.try_emplace(Place{any_address(false, address.port()), where}, &listener);
  }
}

WorkerListener* ListenerDirectory::at(const net::Address& address, uint64_t network_namespace,
                                      bool stopped_too) const {
  for (const uint64_t where : {network_namespace, kAnyNamespace}) {
    const auto found = listeners_.find(Place{address, where});
    if (found != listeners_.end() && (stopped_too || !found->second->stopped())) return found->second;
  }
  return nullptr;
}

WorkerListener* ListenerDirectory::find(const net::Address& destination, uint64_t network_namespace,
                                        bool stopped_too) const {
  if (WorkerListener* exact = at(destination, network_namespace, stopped_too)) return exact;
  const bool v6 = destination.kind() == net::Address::Kind::kIpv6;
  return at(any_address(v6, destination.port()), network_namespace, stopped_too);
}

}  // namespace millrace::server
