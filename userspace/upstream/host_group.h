// Some hosts of a cluster, and what a policy needs to choose among them. Hosts come, go and change their weight at the
// cost of O(log n); a choice allocates nothing: O(1) with equal weights, O(log n) else. One worker, no io; see
// load_balancer.h for the policies.
#pragma once
#include <cstdint>
#include <vector>

#include "base/prng.h"
#include "upstream/cluster.h"
#include "upstream/edf.h"
#include "upstream/weight_tree.h"

namespace millrace::upstream {

class HostGroup {
 public:
  // start: of round robin, where the first turn begins, so that workers do not all begin with the same host.
  HostGroup(const ClusterOptions& options, base::Prng& prng, size_t start)
      : options_(&options), prng_(&prng), start_(start) {}

  // Its Host::index() tells hosts apart. Who adds a host keeps it alive.
  void add(Host& host, uint32_t weight);
  void remove(const Host& host);
  void reweigh(const Host& host, uint32_t weight);

  size_t size() const { return members_.size(); }
  // nullptr: it is empty.
  Host* choose();

 private:
  struct Member {
    Host* host;
    uint32_t weight;
    uint32_t stamp;
  };
  static constexpr uint32_t kNowhere = UINT32_MAX;
  static constexpr uint32_t kNoWeight = 0;  // weights are above

  bool weighted() const { return like_the_first_ != members_.size(); }
  // What weighted choices need is made by the first of them.
  bool draws_by_deadline() const { return options_->lb_policy != LbPolicy::kRandom; }
  void count(uint32_t before, uint32_t after);
  double weight_of(Edf::Item item) const;
  Host* by_deadline();
  Host* round_robin();
  Host* least_request();
  Host* random();

  const ClusterOptions* options_;
  base::Prng* prng_;
  std::vector<Member> members_;
  std::vector<uint32_t> positions_;  // by Host::index(), in members_, or kNowhere
  uint32_t first_weight_ = 0;        // weights are equal while as many members have this one as there are members
  size_t like_the_first_ = 0;
  uint32_t stamp_ = 0;
  size_t start_;
  size_t next_ = SIZE_MAX;  // round robin, equal weights; SIZE_MAX: not begun
  Edf edf_;                 // round robin and least request, weighted; empty until needed
  WeightTree weights_;      // random, weighted; empty until needed
};

}  // namespace millrace::upstream
