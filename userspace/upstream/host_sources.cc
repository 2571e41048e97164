#include "upstream/host_sources.h"

#include <utility>

#include "upstream/priority_load.h"

namespace millrace::upstream {

std::vector<HostSource> host_sources(const Cluster& cluster) {
  const size_t priorities = cluster.priority_count();
  std::vector<PriorityHealth> levels(priorities);
  std::vector<std::vector<Host*>> healthy(priorities), degraded(priorities);
  for (size_t p = 0; p < priorities; ++p) {
    for (const HostPtr& host : cluster.hosts_of(p)) {
      ++levels[p].hosts;
      if (host->excluded()) ++levels[p].excluded;
      // One reading of the flags decides: they may change meanwhile, and will be seen at the next epoch.
      switch (host->health()) {
        case Health::kHealthy: healthy[p].push_back(host.get()); break;
        case Health::kDegraded: degraded[p].push_back(host.get()); break;
        case Health::kUnhealthy: break;
      }
    }
    levels[p].healthy = static_cast<uint32_t>(healthy[p].size());
    levels[p].degraded = static_cast<uint32_t>(degraded[p].size());
  }
  const CommonLbOptions& common = cluster.options().common_lb;
  const std::vector<PriorityLoad> loads =
      priority_loads(levels, common.overprovisioning_factor_percent, common.healthy_panic_threshold_percent);
  std::vector<HostSource> sources;
  const auto add = [&](uint32_t percent, bool panic, std::vector<Host*> hosts) {
    if (percent > 0) sources.push_back({percent, panic, std::move(hosts)});
  };
  // Draws go to the healthy hosts of all levels first, then to the degraded ones.
  for (size_t p = 0; p < priorities; ++p) {
    if (!loads[p].panic) {
      add(loads[p].healthy_percent, false, std::move(healthy[p]));
      continue;
    }
    std::vector<Host*> all;
    if (!common.fail_traffic_on_panic) {
      for (const HostPtr& host : cluster.hosts_of(p)) all.push_back(host.get());
    }
    add(loads[p].healthy_percent + loads[p].degraded_percent, true, std::move(all));
  }
  for (size_t p = 0; p < priorities; ++p) {
    if (!loads[p].panic) add(loads[p].degraded_percent, false, std::move(degraded[p]));
  }
  return sources;
}

}  // namespace millrace::upstream
