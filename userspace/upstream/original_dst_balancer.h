// Chooses the host of an ORIGINAL_DST cluster on one worker: the one at the address where the request's connection
// meant to go, or that a request header names (original_dst_lb_config), made if there is none. A choice is one look
// into a table of the worker's own. Every cleanup_interval hosts go that were not chosen since the last time and to
// which nothing is connected.
#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "io/loop.h"
#include "upstream/load_balancer.h"
#include "upstream/original_dst_hosts.h"

namespace millrace::upstream {

class ThreadLocalCluster;

class OriginalDstBalancer {
 public:
  // Of a cluster that has original_dst_hosts().
  explicit OriginalDstBalancer(ThreadLocalCluster& cluster);
  ~OriginalDstBalancer();
  OriginalDstBalancer(const OriginalDstBalancer&) = delete;
  OriginalDstBalancer& operator=(const OriginalDstBalancer&) = delete;

  // nullptr: no original destination is known, or it is not an IP address.
  Host* choose(const LbContext& context);

 private:
  struct Entry {
    std::shared_ptr<Host> host;
    bool used = true;  // chosen since the last cleanup
  };
  std::optional<net::Address> override_of(const LbContext& context);
  Host* host_at(const net::Address& address);
  void forget(const net::Address& address);
  void on_cleanup();

  ThreadLocalCluster& cluster_;
  OriginalDstHosts& shared_;
  const OriginalDstOptions& options_;
  std::unordered_map<net::Address, Entry, net::AddressHash> entries_;
  io::TimerOf<&OriginalDstBalancer::on_cleanup> cleanup_;  // armed while there are hosts
};

}  // namespace millrace::upstream
