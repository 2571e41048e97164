#include "upstream/load_balancer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "upstream/host_sources.h"

namespace millrace::upstream {
namespace {

double least_request_weight(const Host& host, double bias) {
  if (bias == 0.0) return host.weight();
  const double load = static_cast<double>(host.load()) + 1.0;
  return host.weight() / (bias == 1.0 ? load : std::pow(load, bias));
}

bool rejected(const Host& host, const LbContext& context) {
  if (context.omit_canary_hosts && host.canary()) return true;
  const auto& previous = context.previous_hosts;
  return std::find(previous.begin(), previous.end(), &host) != previous.end();
}

}  // namespace

LoadBalancer::LoadBalancer(const Cluster& cluster, uint16_t worker, base::Prng& prng)
    : cluster_(cluster), prng_(prng), worker_(worker) {
  rebuild();
}

void LoadBalancer::rebuild() {
  epoch_ = cluster_.health_epoch();
  sources_.clear();
  for (HostSource& source : host_sources(cluster_)) add_source(source.percent, source.panic, std::move(source.hosts));
}

void LoadBalancer::add_source(uint32_t percent, bool panic, std::vector<Host*> hosts) {
  Source& source = sources_.emplace_back();
  source.percent_end = percent + (sources_.size() > 1 ? sources_[sources_.size() - 2].percent_end : 0);
  source.panic = panic;
  source.hosts = std::move(hosts);
  if (source.hosts.empty()) return;
  const uint32_t n = static_cast<uint32_t>(source.hosts.size());
  const auto differs = [&](const Host* host) { return host->weight() != source.hosts[0]->weight(); };
  source.weighted = std::any_of(source.hosts.begin(), source.hosts.end(), differs);
  if (!source.weighted) {
    // Workers start at different hosts; which one worker 0 starts at differs from cluster to cluster.
    source.next = static_cast<uint32_t>((std::hash<std::string_view>{}(cluster_.name()) + worker_) % n);
    return;
  }
  if (cluster_.options().lb_policy == LbPolicy::kRandom) {
    uint64_t sum = 0;
    for (const Host* host : source.hosts) source.cumulative.push_back(sum += host->weight());
    return;
  }
  std::vector<double> weights;
  for (const Host* host : source.hosts) weights.push_back(host->weight());
  source.edf.reset(weights, prng_);
}

Host* LoadBalancer::choose(const LbContext& context, bool* panic) {
  if (epoch_ != cluster_.health_epoch()) rebuild();
  Host* host = nullptr;
  for (uint32_t attempt = 0; attempt <= context.host_selection_attempts; ++attempt) {
    Source* source = choose_source();
    if (panic != nullptr) *panic = source->panic;
    host = choose_from(*source);
    if (host == nullptr || !rejected(*host, context)) return host;
  }
  return host;
}

LoadBalancer::Source* LoadBalancer::choose_source() {
  if (sources_.size() == 1) return &sources_[0];
  const uint64_t draw = prng_.below(100);
  for (Source& source : sources_) {
    if (draw < source.percent_end) return &source;
  }
  return &sources_.back();
}

Host* LoadBalancer::choose_from(Source& source) {
  if (source.hosts.empty()) return nullptr;
  if (source.hosts.size() == 1) return source.hosts[0];
  switch (cluster_.options().lb_policy) {
    case LbPolicy::kRoundRobin: return round_robin(source);
    case LbPolicy::kLeastRequest: return least_request(source);
    case LbPolicy::kRandom: return random(source);
    case LbPolicy::kClusterProvided: break;  // ThreadLocalCluster asks the OriginalDstBalancer instead
  }
  return nullptr;
}

Host* LoadBalancer::round_robin(Source& source) {
  if (source.weighted) {
    return source.hosts[source.edf.pick([&](uint32_t i) { return static_cast<double>(source.hosts[i]->weight()); })];
  }
  Host* host = source.hosts[source.next];
  if (++source.next == source.hosts.size()) source.next = 0;
  return host;
}

Host* LoadBalancer::least_request(Source& source) {
  const LeastRequestOptions& options = cluster_.options().least_request;
  const std::vector<Host*>& hosts = source.hosts;
  if (source.weighted) {
    const double bias = options.active_request_bias;
    return hosts[source.edf.pick([&](uint32_t i) { return least_request_weight(*hosts[i], bias); })];
  }
  if (options.full_scan || options.choice_count >= hosts.size()) {
    Host* best = nullptr;
    uint32_t best_load = UINT32_MAX;
    uint32_t ties = 0;  // each of n equal ones is taken with 1/n
    for (Host* host : hosts) {
      const uint32_t load = host->load();
      if (load < best_load) {
        best = host;
        best_load = load;
        ties = 1;
      } else if (load == best_load && prng_.below(++ties) == 0) {
        best = host;
      }
    }
    return best;
  }
  const size_t first = prng_.below(hosts.size());
  Host* best = hosts[first];
  uint32_t best_load = best->load();
  for (uint32_t k = 1; k < options.choice_count; ++k) {
    // Never the first one again: comparing a host with itself is no choice.
    size_t i = prng_.below(hosts.size() - 1);
    if (i >= first) ++i;
    const uint32_t load = hosts[i]->load();
    if (load < best_load) { best = hosts[i]; best_load = load; }
  }
  return best;
}

Host* LoadBalancer::random(Source& source) {
  if (!source.weighted) return source.hosts[prng_.below(source.hosts.size())];
  const uint64_t draw = prng_.below(source.cumulative.back());
  const auto at = std::upper_bound(source.cumulative.begin(), source.cumulative.end(), draw);
  return source.hosts[static_cast<size_t>(at - source.cumulative.begin())];
}

}  // namespace millrace::upstream
