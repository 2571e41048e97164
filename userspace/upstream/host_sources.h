// The groups of hosts that a cluster's load goes to, and how much of it each gets, for who starts from all hosts: the
// connect-time services in the kernel. Balancers on workers keep the same groups in step (load_balancer.h). See
// priority_load.h for who gets what.
#pragma once
#include <cstdint>
#include <vector>

#include "upstream/cluster.h"

namespace millrace::upstream {

struct HostSource {
  uint32_t percent = 0;  // of all load; of all sources they sum to 100
  bool panic = false;
  std::vector<Host*> hosts;  // none: that share of the load finds nobody
};

// Those with a share of the load. Main thread; reads the health flags as they are.
std::vector<HostSource> host_sources(const Cluster& cluster);

}  // namespace millrace::upstream
