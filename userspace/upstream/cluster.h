// A cluster: its options, hosts and circuit breakers, one object shared by all workers. Its options never change; its
// hosts do where they are discovered (HostSet, whom the main thread tells); what happens to it (load, breakers,
// counters) is relaxed atomics. A cluster that no worker uses costs this object and its hosts only: balancers, pools
// and counters come with the first use on a worker (ThreadLocalCluster). Made on the main thread, owned by the
// ClusterSet of a Snapshot.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "stats/stats.h"
#include "upstream/host_set.h"
#include "upstream/options.h"
#include "upstream/original_dst_hosts.h"
#include "upstream/resource.h"

namespace millrace::upstream {

// What a new list of endpoints made of the old one.
struct HostsUpdate {
  std::vector<HostPtr> added, removed;
  size_t changed = 0;  // hosts that stay, with another weight, place or health
  bool empty() const { return added.empty() && removed.empty() && changed == 0; }
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

  // Main thread. Those configured first by priority, then in order of configuration.
  HostSpan hosts() const { return host_set_.hosts(); }
  HostSet& host_set() { return host_set_; }
  const HostSet& host_set() const { return host_set_; }
  // Whether all hosts live as long as this.
  bool hosts_stay() const { return options_.type == DiscoveryType::kStatic; }
  // Main thread: these are the endpoints from now on, of a cluster whose hosts do not stay. An endpoint at the address
  // of a host stays that host, with all its state; of several at one address the first counts.
  HostsUpdate update_hosts(std::vector<LocalityEndpoints> endpoints);
  // Of an ORIGINAL_DST cluster, whose hosts() is empty; else null.
  OriginalDstHosts* original_dst_hosts() const { return original_dst_hosts_.get(); }
  // Main thread: every host at one moment, for those who look on: listed ones, and those that came into being by use.
  std::vector<HostPtr> all_hosts() const;
  Resources& resources(ResourcePriority priority) { return resources_[static_cast<size_t>(priority)]; }
  const Resources& resources(ResourcePriority priority) const { return resources_[static_cast<size_t>(priority)]; }

  // Schema stats::cluster.
  stats::StatBlock& stats() const { return *stats_; }
  // Schema stats::http2_codec; of a cluster that may speak HTTP/2.
  stats::StatBlock& http2_stats() const { return *http2_stats_; }
  // Main thread: brings the gauges that nobody keeps per request up to date (membership_*, circuit_breakers.*), before
  // somebody reads them.
  void publish_gauges();

  uint16_t workers() const { return workers_; }
  // Sums over the workers; any thread.
  struct HostTotals {
    uint64_t cx_total = 0, cx_connect_fail = 0, rq_total = 0, rq_success = 0, rq_error = 0, rq_timeout = 0;
  };
  static HostTotals totals(const Host& host);

  // Bytes of this object, its hosts and their strings, without what workers added.
  size_t memory_bytes() const;

 private:
  friend class ClusterSet;
  void list_hosts(std::vector<LocalityEndpoints> localities);
  const Locality& intern(Locality locality);

  ClusterOptions options_;
  const stats::StatBlockPtr stats_;
  const stats::StatBlockPtr http2_stats_;  // null: HTTP/1 only
  std::vector<std::unique_ptr<const Locality>> localities_;
  HostSet host_set_;
  std::unique_ptr<OriginalDstHosts> original_dst_hosts_;
  const uint16_t workers_;
  uint32_t index_ = 0;
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
