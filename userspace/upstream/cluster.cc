#include "upstream/cluster.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "stats/names.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;

// The many hosts without a locality share one.
const Locality kNoLocality;

size_t heap_bytes(std::string_view text) {
  constexpr size_t kInline = 15;  // libstdc++'s small string
  return text.size() > kInline ? text.size() + 1 : 0;
}

// Where the gauges of one priority's breakers are in the schema.
struct BreakerGauges {
  stat::Index cx_open, cx_pool_open, rq_pending_open, rq_open, rq_retry_open;
  stat::Index remaining_cx, remaining_cx_pools, remaining_pending, remaining_rq, remaining_retries;
};
constexpr BreakerGauges kDefaultBreakerGauges = {
    stat::kCircuitBreakersDefaultCxOpen,           stat::kCircuitBreakersDefaultCxPoolOpen,
    stat::kCircuitBreakersDefaultRqPendingOpen,    stat::kCircuitBreakersDefaultRqOpen,
    stat::kCircuitBreakersDefaultRqRetryOpen,      stat::kCircuitBreakersDefaultRemainingCx,
    stat::kCircuitBreakersDefaultRemainingCxPools, stat::kCircuitBreakersDefaultRemainingPending,
    stat::kCircuitBreakersDefaultRemainingRq,      stat::kCircuitBreakersDefaultRemainingRetries};
constexpr BreakerGauges kHighBreakerGauges = {
    stat::kCircuitBreakersHighCxOpen,           stat::kCircuitBreakersHighCxPoolOpen,
    stat::kCircuitBreakersHighRqPendingOpen,    stat::kCircuitBreakersHighRqOpen,
    stat::kCircuitBreakersHighRqRetryOpen,      stat::kCircuitBreakersHighRemainingCx,
    stat::kCircuitBreakersHighRemainingCxPools, stat::kCircuitBreakersHighRemainingPending,
    stat::kCircuitBreakersHighRemainingRq,      stat::kCircuitBreakersHighRemainingRetries};

// A breaker that never opened is not written: gauges nobody wrote cost nothing and read 0.
void publish_open(stats::StatBlock& block, stat::Index index, bool open) {
  if (open || block.used(index)) block.gauge_set(stats::kMainShard, index, open ? 1 : 0);
}

void publish_breakers(const Resources& resources, const BreakerGauges& gauges, stats::StatBlock& block) {
  publish_open(block, gauges.cx_open, resources.connections.open());
  publish_open(block, gauges.cx_pool_open, resources.connection_pools.open());
  publish_open(block, gauges.rq_pending_open, resources.pending_requests.open());
  publish_open(block, gauges.rq_open, resources.requests.open());
  publish_open(block, gauges.rq_retry_open, resources.retries_open());
  if (!resources.track_remaining) return;
  stats::StatShard shard = block.main_shard();
  const uint32_t retries_max = resources.max_retries();
  shard.gauge_set(gauges.remaining_cx, resources.connections.remaining());
  shard.gauge_set(gauges.remaining_cx_pools, resources.connection_pools.remaining());
  shard.gauge_set(gauges.remaining_pending, resources.pending_requests.remaining());
  shard.gauge_set(gauges.remaining_rq, resources.requests.remaining());
  shard.gauge_set(gauges.remaining_retries, retries_max - std::min(retries_max, resources.retries.used()));
}

}  // namespace

Cluster::Cluster(ClusterOptions options, stats::Store& store)
    : options_(std::move(options)),
      stats_(store.add_block(stat::kSchema, stats::cluster_name(stat_name()))),
      http2_stats_(options_.http.protocol == HttpProtocol::kHttp1
                       ? nullptr
                       : store.add_block(stats::http2_codec::kSchema, stats::cluster_name(stat_name(), "http2"))),
      workers_(static_cast<uint16_t>(store.shard_count() - stats::worker_shard(0))),
      resources_{Resources(options_.circuit_breakers.thresholds[0]),
                 Resources(options_.circuit_breakers.thresholds[1])} {
  list_hosts(std::exchange(options_.endpoints, {}));
  if (options_.type == DiscoveryType::kOriginalDst) {
    original_dst_hosts_ = std::make_unique<OriginalDstHosts>(*this, kNoLocality);
  }
}

Cluster::~Cluster() {
  original_dst_hosts_.reset();
  host_set_.clear();
}

// In the order of their priorities. A host is made apart from its reference count: together they would be padded to two
// cache lines more.
void Cluster::list_hosts(std::vector<LocalityEndpoints> localities) {
  uint32_t last = 0;
  for (const LocalityEndpoints& l : localities) last = std::max(last, l.priority);
  std::vector<HostPtr> listed;
  for (uint32_t priority = 0; priority <= last; ++priority) {
    for (LocalityEndpoints& l : localities) {
      if (l.priority != priority) continue;
      const Locality& locality = intern(std::move(l.locality));
      for (EndpointOptions& endpoint : l.endpoints) {
        listed.emplace_back(new Host(*this, std::move(endpoint), locality, priority));
      }
    }
  }
  host_set_.change(listed, {});
}

HostsUpdate Cluster::update_hosts(std::vector<LocalityEndpoints> endpoints) {
  MILLRACE_DCHECK(!hosts_stay());
  HostsUpdate update;
  std::unordered_map<net::Address, HostPtr, net::AddressHash> old;
  std::unordered_set<net::Address, net::AddressHash> seen;
  old.reserve(hosts().size());
  for (const HostPtr& host : hosts()) old.emplace(host->address(), host);
  for (LocalityEndpoints& l : endpoints) {
    const Locality& locality = intern(std::move(l.locality));
    for (EndpointOptions& endpoint : l.endpoints) {
      if (!seen.insert(endpoint.address).second) continue;
      const auto found = old.find(endpoint.address);
      if (found == old.end() || !found->second->is(endpoint)) {
        update.added.emplace_back(new Host(*this, std::move(endpoint), locality, l.priority));
        continue;
      }
      if (found->second->update(endpoint, locality, l.priority)) {
        host_set_.changed(*found->second);
        ++update.changed;
      }
      old.erase(found);
    }
  }
  for (auto& [address, host] : old) update.removed.push_back(std::move(host));
  if (!update.added.empty() || !update.removed.empty()) {
    host_set_.change(update.added, update.removed);
    stats_->main_shard().inc(stat::kMembershipChange);
  }
  return update;
}

const Locality& Cluster::intern(Locality locality) {
  if (locality == kNoLocality) return kNoLocality;
  for (const auto& known : localities_) {
    if (*known == locality) return *known;
  }
  return *localities_.emplace_back(std::make_unique<const Locality>(std::move(locality)));
}

std::vector<HostPtr> Cluster::all_hosts() const {
  if (original_dst_hosts_ != nullptr) return original_dst_hosts_->hosts();
  return {hosts().begin(), hosts().end()};
}

Cluster::HostTotals Cluster::totals(const Host& host) {
  HostTotals sum;
  for (const HostCounters& c : host.all_counters()) {
    sum.cx_total += c.cx_total.value();
    sum.cx_connect_fail += c.cx_connect_fail.value();
    sum.rq_total += c.rq_total.value();
    sum.rq_success += c.rq_success.value();
    sum.rq_error += c.rq_error.value();
    sum.rq_timeout += c.rq_timeout.value();
  }
  return sum;
}

void Cluster::publish_gauges() {
  stats::StatShard shard = stats_->main_shard();
  int64_t healthy = 0, degraded = 0, excluded = 0, weight_max = 0;
  const std::vector<HostPtr> hosts = all_hosts();
  for (const HostPtr& host : hosts) {
    const Health health = host->health();
    healthy += health == Health::kHealthy;
    degraded += health == Health::kDegraded;
    excluded += host->excluded();
    weight_max = std::max<int64_t>(weight_max, host->weight());
  }
  shard.gauge_set(stat::kMembershipTotal, static_cast<int64_t>(hosts.size()));
  shard.gauge_set(stat::kMembershipHealthy, healthy);
  shard.gauge_set(stat::kMembershipDegraded, degraded);
  shard.gauge_set(stat::kMembershipExcluded, excluded);
  shard.gauge_set(stat::kMaxHostWeight, weight_max);
  publish_breakers(resources_[0], kDefaultBreakerGauges, *stats_);
  publish_breakers(resources_[1], kHighBreakerGauges, *stats_);
}

size_t Cluster::memory_bytes() const {
  size_t bytes = sizeof(Cluster) + heap_bytes(options_.name) + heap_bytes(options_.alt_stat_name) +
                 localities_.capacity() * sizeof(localities_[0]) + host_set_.memory_bytes();
  for (const auto& l : localities_) {
    bytes += sizeof(Locality) + heap_bytes(l->region) + heap_bytes(l->zone) + heap_bytes(l->sub_zone);
  }
  for (const HostPtr& host : hosts()) {
    bytes += sizeof(Host) + heap_bytes(host->address().path()) + heap_bytes(host->hostname());
  }
  return bytes;
}

ClusterSet::ClusterSet(std::vector<std::shared_ptr<Cluster>> clusters)
    : clusters_(std::move(clusters)), slots_(std::bit_ceil(clusters_.size() * 2 + 1)) {
  for (uint32_t i = 0; i < clusters_.size(); ++i) {
    const size_t slot = slot_of(clusters_[i]->name());
    MILLRACE_ASSERT(slots_[slot] == 0);
    clusters_[i]->index_ = i;
    slots_[slot] = i + 1;
  }
}

// Where the name is, or the free slot where it would be.
size_t ClusterSet::slot_of(std::string_view name) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(name) & mask;
  while (slots_[slot] != 0 && clusters_[slots_[slot] - 1]->name() != name) slot = (slot + 1) & mask;
  return slot;
}

Cluster* ClusterSet::find(std::string_view name) const {
  const uint32_t found = slots_[slot_of(name)];
  return found == 0 ? nullptr : clusters_[found - 1].get();
}

}  // namespace millrace::upstream
