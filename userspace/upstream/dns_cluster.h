// Keeps the hosts of a STRICT_DNS or LOGICAL_DNS cluster in step with DNS: asks for every target, again when its time
// has come (refresh rate or time to live, with jitter; by back-off after failures), and gives the cluster what the
// answers of all targets make together. An answer without records takes a target's hosts away (LOGICAL_DNS: keeps
// them), a failure keeps them. Answers are taken as sets: their order changes nothing. Main thread.
//
//   asking --answer, failure--> waiting --refresh time over--> asking
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "io/loop.h"
#include "upstream/cluster.h"
#include "upstream/dns_resolver.h"

namespace millrace::upstream {

class DnsCluster {
 public:
  // changed: the cluster's hosts are others, or elsewhere. The cluster, with options().dns, the resolver and the loop
  // outlive this.
  DnsCluster(Cluster& cluster, DnsResolver& resolver, io::Loop& loop, std::function<void(Cluster&)> changed);
  ~DnsCluster();
  DnsCluster(const DnsCluster&) = delete;
  DnsCluster& operator=(const DnsCluster&) = delete;

  // Asks for all targets. first: called once, when each has had an answer or a failure.
  void start(std::function<void()> first);

 private:
  class Target;
  void on_asked(Target& target, bool new_hosts, bool first_time);
  void rebuild();

  Cluster& cluster_;
  DnsResolver& resolver_;
  io::Loop& loop_;
  const std::function<void(Cluster&)> changed_;
  std::function<void()> first_;
  std::vector<std::unique_ptr<Target>> targets_;
  size_t unanswered_;
};

}  // namespace millrace::upstream
