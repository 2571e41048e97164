// The hosts of clusters that are found by name: asks DNS for them, first of all before the listeners accept, then as
// the clusters' options say. Clusters whose options of the resolver are the same share one. Main thread.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "io/loop.h"
#include "stats/stats.h"
#include "upstream/cares_resolver.h"
#include "upstream/dns_cluster.h"

namespace millrace::server {

class ClusterDiscovery {
 public:
  // changed: a cluster's hosts are others, or elsewhere.
  ClusterDiscovery(const upstream::ClusterSet& clusters, io::Loop& loop, stats::Store& store,
                   std::function<void(upstream::Cluster&)> changed);
  ~ClusterDiscovery();

  base::Result<void> start();
  // Whether every name has been answered, or has failed, once.
  bool ready() const { return waiting_ == 0; }
  // Two turns of the loop before this goes.
  void stop();

 private:
  base::Result<upstream::CaresResolver*> resolver_for(const upstream::CaresOptions& options);

  const upstream::ClusterSet& clusters_;
  io::Loop& loop_;
  stats::Store& store_;
  const std::function<void(upstream::Cluster&)> changed_;
  stats::StatBlockPtr stats_;  // made with the first resolver
  std::vector<std::pair<upstream::CaresOptions, std::unique_ptr<upstream::CaresResolver>>> resolvers_;
  std::vector<std::unique_ptr<upstream::DnsCluster>> dns_clusters_;
  size_t waiting_ = 0;
};

}  // namespace millrace::server
