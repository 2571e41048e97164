#include "server/listener_directory.h"

#include "server/worker_listener.h"

namespace millrace::server {
namespace {

net::Address any_address(bool v6, uint16_t port) {
  return net::Address::parse_ip(v6 ? "::" : "0.0.0.0", port).value();
}

}  // namespace

void ListenerDirectory::add(WorkerListener& listener) {
  for (const net::Address& address : listener.shared().bound) {
    if (!address.is_ip()) continue;
    listeners_.insert_or_assign(address, &listener);
    const bool compatible = address.kind() == net::Address::Kind::kIpv6 && address.is_any() &&
                            !listener.shared().options->socket.ipv6_only;
    // A listener of 0.0.0.0 itself comes first, whichever of them is added first.
    if (compatible) listeners_.try_emplace(any_address(false, address.port()), &listener);
  }
}

WorkerListener* ListenerDirectory::at(const net::Address& address, bool stopped_too) const {
  const auto found = listeners_.find(address);
  if (found == listeners_.end() || (!stopped_too && found->second->stopped())) return nullptr;
  return found->second;
}

WorkerListener* ListenerDirectory::find(const net::Address& destination, bool stopped_too) const {
  if (WorkerListener* exact = at(destination, stopped_too)) return exact;
  return at(any_address(destination.kind() == net::Address::Kind::kIpv6, destination.port()), stopped_too);
}

}  // namespace millrace::server
