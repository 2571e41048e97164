#include "filter/original_dst_filter.h"

#include <algorithm>
#include <optional>

namespace millrace::filter {
namespace {

using net::Address;

bool came_to(const Address& bound, const Address& local) {
  if (bound == local) return true;
  // "::" without IPV6_V6ONLY is reached by IPv4 too.
  return bound.is_any() && bound.port() == local.port() &&
         (bound.kind() == local.kind() || bound.kind() == Address::Kind::kIpv6);
}

// REDIRECT leaves a trace in the connection tracking; so do connections that were only tracked.
std::optional<Address> before_nat(net::Connection& connection, const Address& local) {
  sockaddr_storage storage;
  const socklen_t length =
      connection.loop().backend().original_destination(connection.fd(), local.family(), storage);
  if (length == 0) return std::nullopt;
  Address original = Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage), length);
  if (!original.is_ip() || original == local) return std::nullopt;
  return original;
}

}  // namespace

ListenerFilterStatus OriginalDstFilter::inspect(AcceptedConnection& accepted) const {
  net::Connection& connection = accepted.connection;
  // Handed over by a listener that has asked: a source may answer once only, and the socket's own address is not one of
  // this listener's.
  if (connection.local_address_restored()) return ListenerFilterStatus::kContinue;
  if (accepted.original_destinations != nullptr) {
    if (const std::optional<Address> known = accepted.original_destinations->lookup(connection.fd())) {
      connection.restore_local_address(*known);
      return ListenerFilterStatus::kContinue;
    }
  }
  const Address& local = connection.direct_local_address();
  if (!local.is_ip()) return ListenerFilterStatus::kContinue;
  if (const std::optional<Address> original = before_nat(connection, local)) {
    connection.restore_local_address(*original);
    return ListenerFilterStatus::kContinue;
  }
  const auto& own = accepted.listener_addresses;
  if (std::none_of(own.begin(), own.end(), [&](const Address& bound) { return came_to(bound, local); })) {
    connection.restore_local_address(local);
  }
  return ListenerFilterStatus::kContinue;
}

}  // namespace millrace::filter
