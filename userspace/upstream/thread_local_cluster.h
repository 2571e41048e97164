// What one worker keeps of a cluster: its balancer, its connection pools, its share of the counters. Made when the
// worker first uses the cluster, so that ten thousand clusters cost a worker a pointer each. Must go before the
// worker's loop, and be closed (close()) while the loop still turns: its connections need it to say good-bye.
#pragma once
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "io/loop.h"
#include "stats/stats.h"
#include "stream/stream_info.h"
#include "upstream/cluster.h"
#include "upstream/connection_identity.h"
#include "upstream/load_balancer.h"
#include "upstream/original_dst_balancer.h"

namespace millrace::fastpath {
class SpliceOffers;
}

namespace millrace::upstream {

class HttpPool;

class ThreadLocalCluster {
 public:
  ThreadLocalCluster(Cluster& cluster, io::Loop& loop, uint16_t worker,
                     const fastpath::SpliceOffers* splice_offers = nullptr);
  ~ThreadLocalCluster();
  ThreadLocalCluster(const ThreadLocalCluster&) = delete;
  ThreadLocalCluster& operator=(const ThreadLocalCluster&) = delete;

  Cluster& cluster() const { return cluster_; }
  io::Loop& loop() const { return loop_; }
  // Null: no connection of this process is short-circuited.
  const fastpath::SpliceOffers* splice_offers() const { return splice_offers_; }
  uint16_t worker() const { return worker_; }
  stats::StatShard& stats() { return stats_; }
  HostCounters& counters(Host& host) { return host.counters(worker_); }

  // nullptr: no host to choose, already counted (upstream_cx_none_healthy).
  Host* choose(const LbContext& context = {});
  // The pool of a host for requests that came by this protocol, and have this identity (null: none, as long as the
  // host's transport asks for none); nullptr: max_connection_pools is met, already counted (UO).
  HttpPool* http_pool(Host& host, ResourcePriority priority, stream::Protocol downstream = stream::Protocol::kNone,
                      const ConnectionIdentity* identity = nullptr);
  // From a pool with an identity: it may go, at the end of the turn.
  void on_pool_unused(const HttpPool& pool);
  // Takes in what has changed about the hosts, as the next choice would: those that are gone lose their connections
  // as these fall idle.
  void refresh();
  // Of a host that nobody chooses any more: its pools drain and go.
  void retire_pools(const Host& host);
  // Closes idle connections now, busy ones after their response. Pools stay usable.
  void drain();
  // Closes all connections; requests get kLocalReset.
  void close();
  size_t connections() const;

 private:
  // What a pool with an identity is kept under.
  struct PoolKey {
    const Host* host;
    size_t which;
    ConnectionIdentity identity;
  };
  // ... and looked for by, without a copy.
  struct PoolWanted {
    const Host* host;
    size_t which;
    const ConnectionIdentity& identity;
  };
  struct PoolKeyHash {
    using is_transparent = void;
    size_t operator()(const auto& key) const {
      return key.identity.hash() ^ std::hash<const void*>()(key.host) ^ key.which;
    }
  };
  struct PoolKeyEqual {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const {
      return a.host == b.host && a.which == b.which && a.identity == b.identity;
    }
  };
  // One by priority and protocol.
  static constexpr size_t kPoolsPerHost = kResourcePriorities * 2;
  template <class F>
  void for_each_pool(F&& f) const;
  std::unique_ptr<HttpPool> make_pool(Host& host, ResourcePriority priority, HttpProtocol protocol,
                                      const ConnectionIdentity* identity);
  HttpPool* identified_pool(Host& host, size_t which, ResourcePriority priority, HttpProtocol protocol,
                            const ConnectionIdentity& identity);
  void forget_unused_pools();
  void on_sweep();

  Cluster& cluster_;
  io::Loop& loop_;
  const fastpath::SpliceOffers* const splice_offers_;
  const uint16_t worker_;
  stats::StatShard stats_;
  LoadBalancer balancer_;
  std::unique_ptr<OriginalDstBalancer> original_dst_;  // of an ORIGINAL_DST cluster, in place of the balancer
  std::vector<std::unique_ptr<HttpPool>> http_pools_;  // [(host index * 2 + priority) * 2 + HTTP/2]; as far as
                                                       // one was asked for
  std::unordered_map<PoolKey, std::unique_ptr<HttpPool>, PoolKeyHash, PoolKeyEqual> identified_pools_;
  std::vector<PoolKey> unused_pools_;  // or were, in this turn
  io::HookOf<&ThreadLocalCluster::forget_unused_pools> forget_hook_{*this};
  struct Leaving {
    std::unique_ptr<HttpPool> pool;
    bool was_empty = false;  // for a turn of the timer: nobody up the stack is in it
  };
  std::vector<Leaving> leaving_;           // of hosts that are gone
  std::unordered_set<const Host*> gone_;  // hosts that are, of which there are pools with an identity
  io::TimerOf<&ThreadLocalCluster::on_sweep> sweep_;  // armed while there are any
};

// A worker's clusters, by Cluster::index().
class ThreadLocalClusters {
 public:
  ThreadLocalClusters(std::shared_ptr<const ClusterSet> set, io::Loop& loop, uint16_t worker);
  ~ThreadLocalClusters();

  const ClusterSet& set() const { return *set_; }
  ThreadLocalCluster& get(uint32_t index) {
    ThreadLocalCluster* found = clusters_[index].get();
    return found != nullptr ? *found : make(index);
  }
  ThreadLocalCluster& get(const Cluster& cluster) { return get(cluster.index()); }
  // Of the worker; before any cluster is asked for. They outlive this.
  void set_splice_offers(const fastpath::SpliceOffers* offers) { splice_offers_ = offers; }
  // nullptr: no cluster of that name (cluster_header; response flag NC).
  ThreadLocalCluster* find(std::string_view name);
  // A cluster's hosts have changed: those that are gone lose their connections now, not with the next choice.
  void refresh(uint32_t index) {
    if (clusters_[index] != nullptr) clusters_[index]->refresh();
  }
  void drain();
  void close();

 private:
  ThreadLocalCluster& make(uint32_t index);

  std::shared_ptr<const ClusterSet> set_;
  io::Loop& loop_;
  const uint16_t worker_;
  const fastpath::SpliceOffers* splice_offers_ = nullptr;
  std::vector<std::unique_ptr<ThreadLocalCluster>> clusters_;
};

}  // namespace millrace::upstream
