// The groups of hosts that a cluster's load goes to, and how much of it each gets: what balancers on workers and
// connect-time services in the kernel both start from. Healthy hosts of every priority first, degraded ones after them;
// a priority in panic is one group of all its hosts. See priority_load.h.
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

// Those with a share of the load. Any thread; reads the health flags as they are.
std::vector<HostSource> host_sources(const Cluster& cluster);

}  // namespace millrace::upstream
