#include "upstream/thread_local_cluster.h"

#include <algorithm>
#include <utility>

#include "stats/schema_cluster.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

namespace {

constexpr base::milliseconds kSweepInterval{200};

// Among the kPoolsPerHost of a host.
size_t pool_index(ResourcePriority priority, HttpProtocol protocol) {
  return static_cast<size_t>(priority) * 2 + (protocol == HttpProtocol::kHttp1 ? 0 : 1);
}

}  // namespace

ThreadLocalCluster::ThreadLocalCluster(Cluster& cluster, io::Loop& loop, uint16_t worker,
                                       const fastpath::SpliceOffers* splice_offers)
    : cluster_(cluster),
      loop_(loop),
      splice_offers_(splice_offers),
      worker_(worker),
      stats_(cluster.stats().worker(worker)),
      balancer_(cluster, worker, loop.prng()),
      sweep_(loop.timers(), *this) {
  if (cluster.original_dst_hosts() != nullptr) original_dst_ = std::make_unique<OriginalDstBalancer>(*this);
}

ThreadLocalCluster::~ThreadLocalCluster() = default;

Host* ThreadLocalCluster::choose(const LbContext& context) {
  if (balancer_.stale()) refresh();
  bool panic = false;
  Host* host = original_dst_ != nullptr ? original_dst_->choose(context) : balancer_.choose(context, &panic);
  if (panic) stats_.inc(stat::kLbHealthyPanic);
  if (host == nullptr) stats_.inc(stat::kUpstreamCxNoneHealthy);
  return host;
}

HttpPool* ThreadLocalCluster::http_pool(Host& host, ResourcePriority priority, stream::Protocol downstream,
                                        const ConnectionIdentity* identity) {
  HttpProtocol protocol = cluster_.options().http.protocol;
  if (protocol == HttpProtocol::kDownstream) {
    protocol = downstream == stream::Protocol::kHttp2 ? HttpProtocol::kHttp2 : HttpProtocol::kHttp1;
  } else if (protocol == HttpProtocol::kAuto && host.transport() == nullptr) {
    protocol = HttpProtocol::kHttp1;  // nobody to negotiate with
  }
  const size_t which = pool_index(priority, protocol);
  if (identity != nullptr) return identified_pool(host, which, priority, protocol, *identity);
  const size_t at = host.index() * kPoolsPerHost + which;
  if (at >= http_pools_.size()) http_pools_.resize((host.index() + 1) * kPoolsPerHost);
  auto& pool = http_pools_[at];
  if (pool == nullptr) pool = make_pool(host, priority, protocol, nullptr);
  return pool.get();
}

std::unique_ptr<HttpPool> ThreadLocalCluster::make_pool(Host& host, ResourcePriority priority, HttpProtocol protocol,
                                                        const ConnectionIdentity* identity) {
  if (cluster_.resources(priority).connection_pools.try_acquire()) {
    return std::make_unique<HttpPool>(*this, host, priority, protocol, identity);
  }
  stats_.inc(stat::kUpstreamCxPoolOverflow);
  return nullptr;
}

HttpPool* ThreadLocalCluster::identified_pool(Host& host, size_t which, ResourcePriority priority,
                                              HttpProtocol protocol, const ConnectionIdentity& identity) {
  const auto found = identified_pools_.find(PoolWanted{&host, which, identity});
  if (found != identified_pools_.end()) return found->second.get();
  const auto entry = identified_pools_.try_emplace(PoolKey{&host, which, identity}).first;
  entry->second = make_pool(host, priority, protocol, &entry->first.identity);
  if (entry->second == nullptr) {
    identified_pools_.erase(entry);
    return nullptr;
  }
  on_pool_unused(*entry->second);  // unless it gets a request in this turn
  return entry->second.get();
}

void ThreadLocalCluster::on_pool_unused(const HttpPool& pool) {
  unused_pools_.push_back({&pool.host(), pool_index(pool.priority(), pool.protocol()), *pool.identity()});
  loop_.at_turn_end(forget_hook_);
}

// Clients choose the names: what nobody uses any more is not kept.
void ThreadLocalCluster::forget_unused_pools() {
  for (const PoolKey& key : std::exchange(unused_pools_, {})) {
    const auto found = identified_pools_.find(key);
    if (found != identified_pools_.end() && found->second->unused()) identified_pools_.erase(found);
  }
}

void ThreadLocalCluster::refresh() {
  balancer_.refresh();
  for (const HostPtr& host : balancer_.take_removed()) retire_pools(*host);
}

void ThreadLocalCluster::retire_pools(const Host& host) {
  const size_t first = host.index() * kPoolsPerHost;
  for (size_t at = first; at < std::min(first + kPoolsPerHost, http_pools_.size()); ++at) {
    if (http_pools_[at] == nullptr) continue;
    leaving_.push_back({std::move(http_pools_[at])});
  }
  for (const auto& [key, pool] : identified_pools_) {
    if (key.host != &host) continue;
    gone_.insert(&host);
    break;
  }
  // Not now: this may be called from within one of them.
  if ((!leaving_.empty() || !gone_.empty()) && !sweep_.armed()) sweep_.arm(base::milliseconds(0));
}

void ThreadLocalCluster::on_sweep() {
  std::erase_if(leaving_, [](Leaving& leaving) {
    if (leaving.pool->connections() > 0 || leaving.pool->pending() > 0) {
      leaving.was_empty = false;
      leaving.pool->drain();  // what was connecting then
      return false;
    }
    return std::exchange(leaving.was_empty, true);
  });
  // Those with an identity go by themselves when they are empty.
  std::unordered_set<const Host*> left;
  for (const auto& [key, pool] : identified_pools_) {
    if (!gone_.contains(key.host)) continue;
    pool->drain();
    left.insert(key.host);
  }
  gone_ = std::move(left);
  if (!leaving_.empty() || !gone_.empty()) sweep_.arm(kSweepInterval);
}

template <class F>
void ThreadLocalCluster::for_each_pool(F&& f) const {
  for (const auto& pool : http_pools_) {
    if (pool != nullptr) f(*pool);
  }
  for (const auto& [key, pool] : identified_pools_) f(*pool);
  for (const Leaving& leaving : leaving_) f(*leaving.pool);
}

void ThreadLocalCluster::drain() {
  for_each_pool([](HttpPool& pool) { pool.drain(); });
}

void ThreadLocalCluster::close() {
  for_each_pool([](HttpPool& pool) { pool.close(); });
}

size_t ThreadLocalCluster::connections() const {
  size_t n = 0;
  for_each_pool([&n](const HttpPool& pool) { n += pool.connections(); });
  return n;
}

ThreadLocalClusters::ThreadLocalClusters(std::shared_ptr<const ClusterSet> set, io::Loop& loop, uint16_t worker)
    : set_(std::move(set)), loop_(loop), worker_(worker), clusters_(set_->size()) {}

ThreadLocalClusters::~ThreadLocalClusters() = default;

ThreadLocalCluster& ThreadLocalClusters::make(uint32_t index) {
  clusters_[index] = std::make_unique<ThreadLocalCluster>(set_->at(index), loop_, worker_, splice_offers_);
  return *clusters_[index];
}

ThreadLocalCluster* ThreadLocalClusters::find(std::string_view name) {
  const Cluster* cluster = set_->find(name);
  return cluster == nullptr ? nullptr : &get(*cluster);
}

void ThreadLocalClusters::drain() {
  for (const auto& cluster : clusters_) {
    if (cluster != nullptr) cluster->drain();
  }
}

void ThreadLocalClusters::close() {
  for (const auto& cluster : clusters_) {
    if (cluster != nullptr) cluster->close();
  }
}

}  // namespace millrace::upstream
