// Which listener of a worker answers for an address: where use_original_dst hands connections to. Listeners stay in it
// until the worker ends. Thread: the worker's.
#pragma once
#include <unordered_map>

#include "net/address.h"

namespace millrace::server {

class WorkerListener;

class ListenerDirectory {
 public:
  // At every address that it is bound to, or would be with bind_to_port.
  void add(WorkerListener& listener);
  // The listener of exactly this address, else that of the wildcard address with this port; null: none. Those that
  // have stopped count only if `stopped_too`.
  WorkerListener* find(const net::Address& destination, bool stopped_too = false) const;

 private:
  WorkerListener* at(const net::Address& address, bool stopped_too) const;

  std::unordered_map<net::Address, WorkerListener*, net::AddressHash> listeners_;
};

}  // namespace millrace::server
