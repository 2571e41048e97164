// Which listener of a worker answers for an address: where use_original_dst hands connections to. The same address may
// be there once in each network namespace. Listeners stay in it until the worker ends. Thread: the worker's.
#pragma once
#include <cstdint>
#include <unordered_map>

#include "net/address.h"

namespace millrace::server {

class WorkerListener;

class ListenerDirectory {
 public:
  // At every address that it is bound to, or would be with bind_to_port.
  void add(WorkerListener& listener);
  // The listener of exactly this address, else that of the wildcard address with this port; null: none. Of those of the
  // network namespace that the connection came in by, and those that answer for any. Those that have stopped count only
  // if `stopped_too`.
  WorkerListener* find(const net::Address& destination, uint64_t network_namespace, bool stopped_too = false) const;

 private:
  struct Place {
    net::Address address;
    uint64_t network_namespace;
    bool operator==(const Place&) const = default;
  };
  struct PlaceHash {
    size_t operator()(const Place& place) const { return place.address.hash() ^ place.network_namespace; }
  };
  WorkerListener* at(const net::Address& address, uint64_t network_namespace, bool stopped_too) const;

  std::unordered_map<Place, WorkerListener*, PlaceHash> listeners_;
};

}  // namespace millrace::server
