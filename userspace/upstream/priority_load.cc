#include "upstream/priority_load.h"

#include <algorithm>

#include "base/assert.h"

namespace millrace::upstream {
namespace {

uint32_t counted(const PriorityHealth& level) { return level.hosts - std::min(level.hosts, level.excluded); }

// Availability of a level in percent, overprovisioned and capped.
uint32_t available(uint32_t part, const PriorityHealth& level, uint32_t overprovisioning_percent) {
  const uint64_t hosts = counted(level);
  if (hosts == 0) return 0;
  return static_cast<uint32_t>(std::min<uint64_t>(100, uint64_t{overprovisioning_percent} * part / hosts));
}

bool in_panic(const PriorityHealth& level, double threshold_percent) {
  const double hosts = counted(level);
  const double share = hosts == 0 ? 0.0 : 100.0 * (level.healthy + level.degraded) / hosts;
  return share < std::min(threshold_percent, 100.0);
}

// Everybody is in panic: health says nothing, levels get load by their size.
void spread_by_size(std::span<const PriorityHealth> levels, std::vector<PriorityLoad>& loads) {
  uint64_t total = 0;
  for (const PriorityHealth& level : levels) total += level.hosts;
  for (PriorityLoad& load : loads) load.healthy_percent = load.degraded_percent = 0;
  if (total == 0) {
    loads[0].healthy_percent = 100;
    return;
  }
  uint32_t left = 100;
  PriorityLoad* first = nullptr;
  for (size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].hosts == 0) continue;
    if (first == nullptr) first = &loads[i];
    loads[i].healthy_percent = static_cast<uint32_t>(100 * uint64_t{levels[i].hosts} / total);
    left -= loads[i].healthy_percent;
  }
  first->healthy_percent += left;
}

}  // namespace

std::vector<PriorityLoad> priority_loads(std::span<const PriorityHealth> levels, uint32_t overprovisioning_percent,
                                         double panic_threshold_percent) {
  MILLRACE_ASSERT(!levels.empty());
  std::vector<PriorityLoad> loads(levels.size());
  std::vector<uint32_t> healthy, degraded;
  uint32_t sum = 0;
  for (const PriorityHealth& level : levels) {
    healthy.push_back(available(level.healthy, level, overprovisioning_percent));
    degraded.push_back(available(level.degraded, level, overprovisioning_percent));
    sum += healthy.back() + degraded.back();
  }
  const uint32_t total = std::min(100u, sum);
  if (total == 0) {
    loads[0].healthy_percent = 100;
  } else {
    uint32_t left = 100;
    uint32_t* first = nullptr;  // takes what rounding leaves
    const auto take = [&](uint32_t share, uint32_t& percent) {
      percent = std::min(left, share * 100 / total);
      left -= percent;
      if (first == nullptr && share > 0) first = &percent;
    };
    for (size_t i = 0; i < levels.size(); ++i) take(healthy[i], loads[i].healthy_percent);
    for (size_t i = 0; i < levels.size(); ++i) take(degraded[i], loads[i].degraded_percent);
    *first += left;
  }
  // 100 % of availability over all levels: nobody panics, even a level that has hardly a healthy host.
  if (panic_threshold_percent <= 0 || total == 100) return loads;
  bool all = true;
  for (size_t i = 0; i < levels.size(); ++i) {
    loads[i].panic = in_panic(levels[i], panic_threshold_percent);
    all = all && loads[i].panic;
  }
  if (all) spread_by_size(levels, loads);
  return loads;
}

std::vector<LoadShare> load_shares(std::span<const PriorityHealth> levels, const CommonLbOptions& options) {
  const std::vector<PriorityLoad> loads =
      priority_loads(levels, options.overprovisioning_factor_percent, options.healthy_panic_threshold_percent);
  std::vector<LoadShare> shares;
  const auto add = [&shares](size_t priority, LoadShare::Hosts hosts, uint32_t percent, bool panic) {
    if (percent > 0) shares.push_back({static_cast<uint32_t>(priority), hosts, percent, panic});
  };
  for (size_t p = 0; p < loads.size(); ++p) {
    if (!loads[p].panic) {
      add(p, LoadShare::Hosts::kHealthy, loads[p].healthy_percent, false);
      continue;
    }
    const auto hosts = options.fail_traffic_on_panic ? LoadShare::Hosts::kNone : LoadShare::Hosts::kAll;
    add(p, hosts, loads[p].healthy_percent + loads[p].degraded_percent, true);
  }
  for (size_t p = 0; p < loads.size(); ++p) {
    if (!loads[p].panic) add(p, LoadShare::Hosts::kDegraded, loads[p].degraded_percent, false);
  }
  return shares;
}

}  // namespace millrace::upstream
