#include "upstream/host_sources.h"

#include <utility>

#include "upstream/priority_load.h"

namespace millrace::upstream {

std::vector<HostSource> host_sources(const Cluster& cluster) {
  struct Level {
    std::vector<Host*> all, healthy, degraded;
  };
  std::vector<Level> levels(1);
  std::vector<PriorityHealth> counts(1);
  for (const HostPtr& host : cluster.hosts()) {
    const uint32_t p = host->priority();
    if (p >= levels.size()) {
      levels.resize(p + 1);
      counts.resize(p + 1);
    }
    levels[p].all.push_back(host.get());
    if (host->excluded()) ++counts[p].excluded;
    // One reading of the flags decides: they may change meanwhile, and will be seen with the next version.
    switch (host->health()) {
      case Health::kHealthy: levels[p].healthy.push_back(host.get()); break;
      case Health::kDegraded: levels[p].degraded.push_back(host.get()); break;
      case Health::kUnhealthy: break;
    }
  }
  for (size_t p = 0; p < levels.size(); ++p) {
    counts[p].hosts = static_cast<uint32_t>(levels[p].all.size());
    counts[p].healthy = static_cast<uint32_t>(levels[p].healthy.size());
    counts[p].degraded = static_cast<uint32_t>(levels[p].degraded.size());
  }
  std::vector<HostSource> sources;
  for (const LoadShare& share : load_shares(counts, cluster.options().common_lb)) {
    Level& from = levels[share.priority];
    HostSource& to = sources.emplace_back();
    to.percent = share.percent;
    to.panic = share.panic;
    switch (share.hosts) {
      case LoadShare::Hosts::kHealthy: to.hosts = std::move(from.healthy); break;
      case LoadShare::Hosts::kDegraded: to.hosts = std::move(from.degraded); break;
      case LoadShare::Hosts::kAll: to.hosts = std::move(from.all); break;
      case LoadShare::Hosts::kNone: break;
    }
  }
  return sources;
}

}  // namespace millrace::upstream
