// Connect-time services: the daemon's side of the maps that connect and datagram programs read. A service is an address
// and a protocol; its endpoints are replaced as a whole, in microseconds: the new slots are stored in mapped memory,
// then one system call switches the service to them. Main thread.
//
// What is in the maps outlives the daemon. At open() the services of the last daemon are taken over, and go on with
// their last endpoints until they are updated, or until remove_unclaimed() says that the configuration is complete.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/options.h"
#include "fastpath/pin_dir.h"
#include "fastpath/slots.h"
#include "fastpath/sock_destroy.h"
#include "fp_steering.h"
#include "net/address.h"

namespace millrace::fastpath {

struct ServiceState {
  net::Address address;
  uint8_t protocol = 0;
  uint32_t generation = 0;
  bool claimed = false;                 // updated since open()
  std::vector<net::Address> endpoints;  // those with a weight
};

class Services {
 public:
  // The maps have to be pinned already, by the load of the connect programs.
  static base::Result<std::unique_ptr<Services>> open(const PinDir& pins, const ServicesOptions& options);
  ~Services();
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  // Makes or changes a service. Endpoints are the healthy ones, of the family of `address` (kUnsupported otherwise: a
  // socket cannot be moved to the other family); none at all: the policy of the options. kResourceExhausted: too many
  // services or endpoints; the service then keeps what it had.
  base::Result<void> update(const net::Address& address, uint8_t protocol, std::span<const Endpoint> endpoints);
  // After it, connects to the address go to whoever listens there. Removing what is not there is fine.
  base::Result<void> remove(const net::Address& address, uint8_t protocol);
  // Removes what was taken over and not updated since.
  base::Result<void> remove_unclaimed();

  std::vector<ServiceState> list() const;
  size_t size() const { return services_.size(); }
  size_t endpoint_count() const;
  // Connections reset because their endpoint was taken out, since open().
  uint64_t resets() const { return resets_; }
  // Those that stayed, in network namespaces that we do not know.
  uint64_t resets_missed() const { return resets_missed_; }

 private:
  struct Known {
    fp_service value{};
    bool claimed = false;
    std::vector<fp_endpoint_addr> endpoints;  // sorted, without doubles
  };
  struct KeyHash {
    size_t operator()(const fp_endpoint_addr& key) const;
  };
  struct KeyEqual {
    bool operator()(const fp_endpoint_addr& a, const fp_endpoint_addr& b) const;
  };
  using Table = std::unordered_map<fp_endpoint_addr, Known, KeyHash, KeyEqual>;

  Services(const ServicesOptions& options, Fd services, Fd slots, Fd dialled);
  base::Result<void> map_slots();
  void adopt();
  base::Result<uint32_t> take_slots(uint32_t count);
  void reset_removed(const fp_endpoint_addr& service, const std::vector<fp_endpoint_addr>& old_endpoints,
                     const std::vector<fp_endpoint_addr>& new_endpoints);
  base::Result<void> erase(Table::iterator at);

  ServicesOptions options_;
  Fd service_map_;
  Fd slot_map_;
  Fd dialled_map_;
  fp_slot* slots_ = nullptr;  // the map's memory
  size_t slots_bytes_ = 0;
  uint32_t slot_count_ = 0;
  SlotRanges ranges_;
  uint32_t generation_ = 0;
  uint64_t resets_ = 0;
  uint64_t resets_missed_ = 0;
  std::unique_ptr<ConnectionResets> connection_resets_;  // null: not asked for
  Table services_;
};

}  // namespace millrace::fastpath
