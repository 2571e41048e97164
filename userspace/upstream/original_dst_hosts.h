// The hosts of an ORIGINAL_DST cluster: they come into being when somebody is to be connected to them and go when no
// worker uses them any more. This is what the workers share: a worker asks once per address, and again after it gave
// the host up, under a lock; in between it has the host in its own table (OriginalDstBalancer). Owned by the Cluster;
// any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "net/address.h"
#include "upstream/host.h"

namespace millrace::upstream {

class OriginalDstHosts {
 public:
  // Addresses may come from request headers: more hosts than so are not made.
  static constexpr size_t kHostsMax = 65'536;

  OriginalDstHosts(Cluster& cluster, const Locality& locality) : cluster_(cluster), locality_(locality) {}

  struct Acquired {
    std::shared_ptr<Host> host;  // null: kHostsMax is met
    bool fresh = false;          // nobody else had it
  };
  // For one worker; each acquire is followed by one release.
  Acquired acquire(const net::Address& address);
  // Whether the host is gone with it.
  bool release(const net::Address& address);
  std::vector<std::shared_ptr<Host>> hosts() const;

 private:
  struct Entry {
    std::shared_ptr<Host> host;
    uint32_t workers = 0;
  };
  Cluster& cluster_;
  const Locality& locality_;
  mutable std::mutex mutex_;
  std::unordered_map<net::Address, Entry, net::AddressHash> hosts_;
};

}  // namespace millrace::upstream
