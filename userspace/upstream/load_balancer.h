// Chooses a host of a cluster: first a priority level and a source of hosts in it (healthy, degraded, or all of them in
// panic), then a host by the cluster's policy. One per cluster and worker, no io; rebuilt when a health flag changed,
// which costs a choice one load to notice. A choice allocates nothing: O(1) with equal weights, O(log hosts) else.
//
// round_robin: in turn; each worker starts elsewhere. With weights: earliest deadline first.
// least_request: the less loaded of `choice_count` random hosts (two distinct ones by default), or of all hosts. With
//   weights: earliest deadline first, weight / (load + 1) ^ active_request_bias.
// random: uniform; with weights in proportion to them (Envoy ignores weights here).
// A load is that of all workers and includes requests that wait for a connection.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/prng.h"
#include "upstream/cluster.h"
#include "upstream/edf.h"

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

 private:
  // Hosts to balance over, and the policy's state for them.
  struct Source {
    std::vector<Host*> hosts;
    bool weighted = false;
    uint32_t next = 0;                 // round robin, equal weights
    Edf edf;                           // round robin and least request, weighted
    std::vector<uint64_t> cumulative;  // random, weighted: sums of weights
    uint32_t percent_end = 0;          // this source takes draws below it, those before it having taken theirs
    bool panic = false;
  };
  void rebuild();
  void add_source(uint32_t percent, bool panic, std::vector<Host*> hosts);
  Source* choose_source();
  Host* choose_from(Source& source);
  Host* round_robin(Source& source);
  Host* least_request(Source& source);
  Host* random(Source& source);

  const Cluster& cluster_;
  base::Prng& prng_;
  const uint16_t worker_;
  uint32_t epoch_;
  std::vector<Source> sources_;
};

}  // namespace millrace::upstream
