// Chooses a host of a cluster: first a priority level and a source of hosts in it (healthy, degraded, or all of them in
// panic), then a host by the cluster's policy. One per cluster and worker, no io. It follows the HostSet: a choice
// notices changes by one load and takes them in, each in O(log hosts). A choice allocates nothing: O(1) with equal
// weights, O(log hosts) else.
//
// round_robin: in turn; each worker starts elsewhere. With weights: earliest deadline first.
// least_request: the less loaded of `choice_count` random hosts (two distinct ones by default), or of all hosts. With
//   weights: earliest deadline first, weight / (load + 1) ^ active_request_bias.
// random: uniform; with weights in proportion to them (Envoy ignores weights here).
// A load is that of all workers and includes requests that wait for a connection.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "upstream/cluster.h"
#include "upstream/host_group.h"

namespace millrace::http {
class HeaderMap;
}

namespace millrace::upstream {

struct LbContext {
  // What a retry avoids (retry_host_predicate): hosts tried before, canaries. A choice among them is made again, at
  // most `host_selection_attempts` times; the last one stands.
  std::span<const Host* const> previous_hosts = {};
  bool omit_canary_hosts = false;
  uint32_t host_selection_attempts = 1;
  // For ORIGINAL_DST clusters: where the downstream connection meant to go (null: it was not redirected), and what the
  // request says (null: there is none).
  const net::Address* original_destination = nullptr;
  const http::HeaderMap* request_headers = nullptr;
};

class LoadBalancer {
 public:
  LoadBalancer(const Cluster& cluster, uint16_t worker, base::Prng& prng);

  // nullptr: no host (response flag UH). *panic, if given, tells a choice made in panic (lb_healthy_panic).
  Host* choose(const LbContext& context = {}, bool* panic = nullptr);

  // Hosts that were taken off since the last time, as far as it has noticed (refresh()).
  std::vector<HostPtr> take_removed() { return std::exchange(removed_, {}); }
  // Takes in what has changed. choose() does it, too.
  bool stale() const { return version_ != cluster_.host_set().version(); }
  void refresh();

 private:
  // What it knows of the host at an index.
  struct Placed {
    HostPtr host;  // null: none
    uint32_t weight = 0;
    uint32_t priority = 0;
    Health health = Health::kUnhealthy;
    bool excluded = false;
  };
  struct Level {
    HostGroup healthy, degraded, all;
    uint32_t excluded = 0;
  };
  struct Source {
    HostGroup* hosts = nullptr;  // null: its share of the load finds nobody
    uint32_t percent_end = 0;    // this source takes draws below it, those before it having taken theirs
    bool panic = false;
  };
  void place(uint32_t index, HostPtr host);
  void enter(const Placed& placed);
  void leave(const Placed& placed);
  Level& level(uint32_t priority);
  void share();
  Source& choose_source();

  const Cluster& cluster_;
  base::Prng& prng_;
  const uint16_t worker_;
  uint64_t version_ = 0;
  std::vector<Placed> placed_;  // by Host::index()
  std::deque<Level> levels_;    // by priority; at least one
  std::vector<Source> sources_;
  std::vector<HostPtr> removed_;
};

}  // namespace millrace::upstream
