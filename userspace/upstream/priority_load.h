// How the load is spread over the priority levels of a cluster, as Envoy does it: a level whose share of healthy hosts,
// times the overprovisioning factor, falls below 100 % passes the rest on to the next; degraded hosts take what healthy
// ones of all levels leave; a level with too few available hosts is in panic and balances over all of its hosts. Pure
// functions of the counts, called when health changes, not per request.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "upstream/options.h"

namespace millrace::upstream {

struct PriorityHealth {
  uint32_t hosts = 0;  // all of the level
  uint32_t healthy = 0;
  uint32_t degraded = 0;
  uint32_t excluded = 0;  // not counted when shares are taken
};

struct PriorityLoad {
  uint32_t healthy_percent = 0;   // of all requests: to the healthy hosts of this level, or to all of them in panic
  uint32_t degraded_percent = 0;  // to its degraded hosts
  bool panic = false;
};

// The percents sum to 100; with no host available and panic off, level 0 gets them all, and finds nobody.
std::vector<PriorityLoad> priority_loads(std::span<const PriorityHealth> levels, uint32_t overprovisioning_percent,
                                         double panic_threshold_percent);

// What follows from it: which hosts of which level get how much of the load. Healthy hosts of every level first,
// degraded ones after them; a level in panic is one group of all its hosts, or finds nobody with
// fail_traffic_on_panic.
struct LoadShare {
  enum class Hosts : uint8_t { kHealthy, kDegraded, kAll, kNone };
  uint32_t priority = 0;
  Hosts hosts = Hosts::kHealthy;
  uint32_t percent = 0;  // above 0; of all shares they sum to 100
  bool panic = false;
};
std::vector<LoadShare> load_shares(std::span<const PriorityHealth> levels, const CommonLbOptions& options);

}  // namespace millrace::upstream
