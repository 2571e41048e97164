#include "server/cluster_discovery.h"

#include <utility>

#include "stats/names.h"

namespace millrace::server {

ClusterDiscovery::ClusterDiscovery(const upstream::ClusterSet& clusters, io::Loop& loop, stats::Store& store,
                                   std::function<void(upstream::Cluster&)> changed)
    : clusters_(clusters), loop_(loop), store_(store), changed_(std::move(changed)) {}

ClusterDiscovery::~ClusterDiscovery() = default;

base::Result<upstream::CaresResolver*> ClusterDiscovery::resolver_for(const upstream::CaresOptions& options) {
  for (const auto& [known, resolver] : resolvers_) {
    if (known == options) return resolver.get();
  }
  if (stats_ == nullptr) stats_ = store_.add_block(upstream::cares_schema(), stats::plain_name("dns.cares."));
  auto made = upstream::CaresResolver::make(options, loop_, stats_->main_shard());
  if (!made.ok()) return made.error();
  return resolvers_.emplace_back(options, std::move(*made)).second.get();
}

base::Result<void> ClusterDiscovery::start() {
  for (const auto& cluster : clusters_.clusters()) {
    if (cluster->options().dns == nullptr) continue;
    base::Result<upstream::CaresResolver*> resolver = resolver_for(cluster->options().dns->resolver);
    if (!resolver.ok()) return resolver.error();
    ++waiting_;
    dns_clusters_.push_back(std::make_unique<upstream::DnsCluster>(*cluster, **resolver, loop_, changed_));
    dns_clusters_.back()->start([this] { --waiting_; });
  }
  return {};
}

void ClusterDiscovery::stop() {
  dns_clusters_.clear();
  for (auto& [options, resolver] : resolvers_) resolver->stop();
}

}  // namespace millrace::server
