// A cluster: its options, hosts and circuit breakers, one object shared by all workers. What it is never changes; what
// happens to it (health flags, load, breakers, counters) is relaxed atomics. A cluster that no worker uses costs this
// object and its hosts only: balancers, pools and counters come with the first use on a worker (ThreadLocalCluster).
// Made on the main thread, owned by the ClusterSet of a Snapshot.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "stats/stats.h"
#include "upstream/host.h"
#include "upstream/options.h"
#include "upstream/original_dst_hosts.h"
#include "upstream/resource.h"

namespace millrace::upstream {

using HostPtr = std::unique_ptr<Host>;
using HostSpan = std::span<const HostPtr>;

// Every host of a cluster at one moment, for those who look on: configured ones, and those that came into being by use,
// which it keeps alive. Any thread.
class HostsView {
 public:
  HostsView(HostSpan listed, std::vector<std::shared_ptr<Host>> unlisted)
      : listed_(listed), unlisted_(std::move(unlisted)) {}
  size_t size() const { return listed_.size() + unlisted_.size(); }
  bool empty() const { return size() == 0; }
  const Host& operator[](size_t i) const {
    return i < listed_.size() ? *listed_[i] : *unlisted_[i - listed_.size()];
  }

 private:
  HostSpan listed_;
  std::vector<std::shared_ptr<Host>> unlisted_;
};

class Cluster {
 public:
  Cluster(ClusterOptions options, stats::Store& store);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Without the endpoints: they have become hosts.
  const ClusterOptions& options() const { return options_; }
  std::string_view name() const { return options_.name; }
  // alt_stat_name or the name, as /clusters and the stats print it.
  std::string_view stat_name() const { return options_.alt_stat_name.empty() ? name() : options_.alt_stat_name; }
  uint32_t index() const { return index_; }  // in its ClusterSet

  // By priority, then in order of configuration; Host::index() indexes it.
  HostSpan hosts() const { return hosts_; }
  // Of an ORIGINAL_DST cluster, whose hosts() is empty; else null.
  OriginalDstHosts* original_dst_hosts() const { return original_dst_hosts_.get(); }
  HostsView all_hosts() const;
  size_t priority_count() const { return priority_ends_.size(); }  // at least 1
  HostSpan hosts_of(size_t priority) const;
  Resources& resources(ResourcePriority priority) { return resources_[static_cast<size_t>(priority)]; }
  const Resources& resources(ResourcePriority priority) const { return resources_[static_cast<size_t>(priority)]; }

  // Schema stats::cluster.
  stats::StatBlock& stats() const { return *stats_; }
  // Schema stats::http2_codec; of a cluster that may speak HTTP/2.
  stats::StatBlock& http2_stats() const { return *http2_stats_; }
  // Main thread: brings the gauges that nobody keeps per request up to date (membership_*, circuit_breakers.*), before
  // somebody reads them.
  void publish_gauges();

  // Grows whenever a host's health flags change.
  uint32_t health_epoch() const { return health_epoch_.load(std::memory_order_acquire); }
  void health_changed() { health_epoch_.fetch_add(1, std::memory_order_release); }

  // The counters of all hosts on a worker, indexed by Host::index(); made when that worker first asks, kept for the
  // life of the cluster.
  std::span<HostCounters> host_counters(uint16_t worker);
  // Sums over the workers; any thread.
  struct HostTotals {
    uint64_t cx_total = 0, cx_connect_fail = 0, rq_total = 0, rq_success = 0, rq_error = 0, rq_timeout = 0;
  };
  HostTotals totals(const Host& host) const;

  // Bytes of this object, its hosts and their strings, without what workers added.
  size_t memory_bytes() const;

 private:
  friend class ClusterSet;
  struct CounterBlock {
    CounterBlock* next;
    uint16_t worker;
    std::vector<HostCounters> counters;
  };
  void add_hosts(std::vector<LocalityEndpoints> localities);
  const Locality& intern(Locality locality);

  ClusterOptions options_;
  const stats::StatBlockPtr stats_;
  const stats::StatBlockPtr http2_stats_;  // null: HTTP/1 only
  std::vector<std::unique_ptr<const Locality>> localities_;
  std::vector<HostPtr> hosts_;
  std::unique_ptr<OriginalDstHosts> original_dst_hosts_;
  std::vector<uint32_t> priority_ends_;  // [p]: where the hosts of priority p end in hosts_
  uint32_t index_ = 0;
  std::atomic<uint32_t> health_epoch_{0};
  std::atomic<CounterBlock*> counters_{nullptr};
  Resources resources_[kResourcePriorities];
};

// Every cluster of a Snapshot, by name and by index. Routes resolve a name once, when the Snapshot is built; only
// cluster_header and the like look up a name at run time. Immutable.
class ClusterSet {
 public:
  // Names are unique (the configuration's check); indexes are the order given.
  explicit ClusterSet(std::vector<std::shared_ptr<Cluster>> clusters);

  Cluster* find(std::string_view name) const;  // nullptr: none of that name
  Cluster& at(uint32_t index) const { return *clusters_[index]; }
  size_t size() const { return clusters_.size(); }
  std::span<const std::shared_ptr<Cluster>> clusters() const { return clusters_; }

 private:
  size_t slot_of(std::string_view name) const;

  std::vector<std::shared_ptr<Cluster>> clusters_;
  std::vector<uint32_t> slots_;  // open-addressed: index + 1, 0 is free; a power of two, at most half full
};

}  // namespace millrace::upstream
