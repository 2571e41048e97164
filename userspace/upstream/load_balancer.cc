#include "upstream/load_balancer.h"

#include <algorithm>
#include <functional>

#include "upstream/priority_load.h"

namespace millrace::upstream {
namespace {

bool rejected(const Host& host, const LbContext& context) {
  if (context.omit_canary_hosts && host.canary()) return true;
  const auto& previous = context.previous_hosts;
  return std::find(previous.begin(), previous.end(), &host) != previous.end();
}

}  // namespace

LoadBalancer::LoadBalancer(const Cluster& cluster, uint16_t worker, base::Prng& prng)
    : cluster_(cluster), prng_(prng), worker_(worker) {
  level(0);
  share();
  refresh();
}

LoadBalancer::Level& LoadBalancer::level(uint32_t priority) {
  // Workers start at different hosts; which one worker 0 starts at differs from cluster to cluster.
  const size_t start = std::hash<std::string_view>{}(cluster_.name()) + worker_;
  const HostGroup group(cluster_.options(), prng_, start);
  while (levels_.size() <= priority) levels_.push_back({group, group, group});
  return levels_[priority];
}

void LoadBalancer::refresh() {
  if (!stale()) return;
  HostSet::Changes news = cluster_.host_set().since(version_);
  version_ = news.version;
  if (news.from_scratch) {
    std::vector<bool> listed(placed_.size());
    for (const HostSet::Change& change : news.changes) {
      if (change.index < listed.size()) listed[change.index] = true;
    }
    for (uint32_t i = 0; i < listed.size(); ++i) {
      if (!listed[i]) place(i, nullptr);
    }
  }
  for (HostSet::Change& change : news.changes) place(change.index, std::move(change.host));
  share();
}

void LoadBalancer::place(uint32_t index, HostPtr host) {
  if (index >= placed_.size()) placed_.resize(index + 1);
  Placed& old = placed_[index];
  Placed now;
  if (host != nullptr) {
    // One reading decides: what changes meanwhile is told once more.
    now = {host, host->weight(), host->priority(), host->health(), host->excluded()};
  }
  const bool stays = old.host == now.host && old.priority == now.priority && old.health == now.health &&
                     old.excluded == now.excluded;
  if (stays && old.weight == now.weight) return;
  if (stays) {
    Level& there = level(now.priority);
    there.all.reweigh(*now.host, now.weight);
    if (now.health == Health::kHealthy) there.healthy.reweigh(*now.host, now.weight);
    if (now.health == Health::kDegraded) there.degraded.reweigh(*now.host, now.weight);
  } else {
    if (old.host != nullptr) leave(old);
    if (now.host != nullptr) enter(now);
  }
  if (old.host != nullptr && old.host != now.host) removed_.push_back(std::move(old.host));
  old = std::move(now);
}

void LoadBalancer::enter(const Placed& placed) {
  Level& there = level(placed.priority);
  there.all.add(*placed.host, placed.weight);
  if (placed.health == Health::kHealthy) there.healthy.add(*placed.host, placed.weight);
  if (placed.health == Health::kDegraded) there.degraded.add(*placed.host, placed.weight);
  there.excluded += placed.excluded;
}

void LoadBalancer::leave(const Placed& placed) {
  Level& there = level(placed.priority);
  there.all.remove(*placed.host);
  if (placed.health == Health::kHealthy) there.healthy.remove(*placed.host);
  if (placed.health == Health::kDegraded) there.degraded.remove(*placed.host);
  there.excluded -= placed.excluded;
}

void LoadBalancer::share() {
  std::vector<PriorityHealth> levels;
  for (const Level& level : levels_) {
    levels.push_back({static_cast<uint32_t>(level.all.size()), static_cast<uint32_t>(level.healthy.size()),
                      static_cast<uint32_t>(level.degraded.size()), level.excluded});
  }
  sources_.clear();
  for (const LoadShare& share : load_shares(levels, cluster_.options().common_lb)) {
    Level& from = levels_[share.priority];
    HostGroup* hosts = nullptr;
    switch (share.hosts) {
      case LoadShare::Hosts::kHealthy: hosts = &from.healthy; break;
      case LoadShare::Hosts::kDegraded: hosts = &from.degraded; break;
      case LoadShare::Hosts::kAll: hosts = &from.all; break;
      case LoadShare::Hosts::kNone: break;
    }
    const uint32_t before = sources_.empty() ? 0 : sources_.back().percent_end;
    sources_.push_back({hosts, before + share.percent, share.panic});
  }
}

Host* LoadBalancer::choose(const LbContext& context, bool* panic) {
  refresh();
  Host* host = nullptr;
  for (uint32_t attempt = 0; attempt <= context.host_selection_attempts; ++attempt) {
    const Source& source = choose_source();
    if (panic != nullptr) *panic = source.panic;
    host = source.hosts == nullptr ? nullptr : source.hosts->choose();
    if (host == nullptr || !rejected(*host, context)) return host;
  }
  return host;
}

LoadBalancer::Source& LoadBalancer::choose_source() {
  if (sources_.size() == 1) return sources_[0];
  const uint64_t draw = prng_.below(100);
  for (Source& source : sources_) {
    if (draw < source.percent_end) return source;
  }
  return sources_.back();
}

}  // namespace millrace::upstream
