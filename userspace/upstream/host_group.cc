#include "upstream/host_group.h"

#include <cmath>

namespace millrace::upstream {

// Of members_ as it is now; before: a weight that is gone from it, after: one that came.
void HostGroup::count(uint32_t before, uint32_t after) {
  const auto is_first = [this](uint32_t weight) { return weight != kNoWeight && weight == first_weight_; };
  like_the_first_ += static_cast<size_t>(is_first(after)) - static_cast<size_t>(is_first(before));
  if (like_the_first_ > 0 || members_.empty()) return;
  // Nobody has that weight any more.
  first_weight_ = members_[0].weight;
  for (const Member& member : members_) like_the_first_ += member.weight == first_weight_;
}

void HostGroup::add(Host& host, uint32_t weight) {
  const uint32_t index = host.index();
  if (index >= positions_.size()) positions_.resize(index + 1, kNowhere);
  positions_[index] = static_cast<uint32_t>(members_.size());
  members_.push_back({&host, weight, ++stamp_});
  count(kNoWeight, weight);
  if (edf_.size() > 0) edf_.add({index, stamp_}, weight, *prng_);
  if (weights_.size() > 0) weights_.push_back(weight);
}

void HostGroup::remove(const Host& host) {
  const uint32_t at = std::exchange(positions_[host.index()], kNowhere);
  const Member gone = members_[at];
  const Member last = members_.back();
  if (weights_.size() > 0) {
    weights_.add(at, static_cast<int64_t>(last.weight) - gone.weight);
    weights_.add(members_.size() - 1, -static_cast<int64_t>(last.weight));
    weights_.pop_back();
  }
  members_[at] = last;
  members_.pop_back();
  if (at < members_.size()) positions_[last.host->index()] = at;
  count(gone.weight, kNoWeight);
  // Of those who have gone, it keeps no more than there are others.
  if (edf_.size() > 2 * members_.size() + 16) edf_.clear();
  if (next_ != SIZE_MAX && next_ >= members_.size()) next_ = 0;
}

void HostGroup::reweigh(const Host& host, uint32_t weight) {
  const uint32_t at = positions_[host.index()];
  const uint32_t before = std::exchange(members_[at].weight, weight);
  if (weights_.size() > 0) weights_.add(at, static_cast<int64_t>(weight) - before);
  count(before, weight);
}

Host* HostGroup::choose() {
  if (members_.size() <= 1) return members_.empty() ? nullptr : members_[0].host;
  if (!weighted()) {
    // What comes back later begins anew.
    edf_.clear();
    weights_.clear();
  } else if (draws_by_deadline()) {
    return by_deadline();
  }
  switch (options_->lb_policy) {
    case LbPolicy::kRoundRobin: return round_robin();
    case LbPolicy::kLeastRequest: return least_request();
    case LbPolicy::kRandom: return random();
    case LbPolicy::kClusterProvided: break;  // ThreadLocalCluster asks the OriginalDstBalancer instead
  }
  return nullptr;
}

// Of least_request the less, the more the host has to do; 0: it has gone.
double HostGroup::weight_of(Edf::Item item) const {
  const uint32_t at = positions_[item.id];
  if (at == kNowhere || members_[at].stamp != item.stamp) return 0;
  const Member& member = members_[at];
  const double bias = options_->lb_policy == LbPolicy::kLeastRequest ? options_->least_request.active_request_bias : 0;
  if (bias == 0) return member.weight;
  const double load = static_cast<double>(member.host->load()) + 1.0;
  return member.weight / (bias == 1.0 ? load : std::pow(load, bias));
}

Host* HostGroup::by_deadline() {
  if (edf_.size() == 0) {
    for (const Member& member : members_) edf_.add({member.host->index(), member.stamp}, member.weight, *prng_);
  }
  const uint32_t index = edf_.pick([this](Edf::Item item) { return weight_of(item); });
  return members_[positions_[index]].host;
}

Host* HostGroup::round_robin() {
  if (next_ == SIZE_MAX) next_ = start_ % members_.size();
  Host* host = members_[next_].host;
  if (++next_ == members_.size()) next_ = 0;
  return host;
}

Host* HostGroup::least_request() {
  const LeastRequestOptions& options = options_->least_request;
  if (options.full_scan || options.choice_count >= members_.size()) {
    Host* best = nullptr;
    uint32_t best_load = UINT32_MAX;
    uint32_t ties = 0;  // each of n equal ones is taken with 1/n
    for (const Member& member : members_) {
      const uint32_t load = member.host->load();
      if (load < best_load) {
        best = member.host;
        best_load = load;
        ties = 1;
      } else if (load == best_load && prng_->below(++ties) == 0) {
        best = member.host;
      }
    }
    return best;
  }
  const size_t first = prng_->below(members_.size());
  Host* best = members_[first].host;
  uint32_t best_load = best->load();
  for (uint32_t k = 1; k < options.choice_count; ++k) {
    // Never the first one again: comparing a host with itself is no choice.
    size_t i = prng_->below(members_.size() - 1);
    if (i >= first) ++i;
    const uint32_t load = members_[i].host->load();
    if (load < best_load) { best = members_[i].host; best_load = load; }
  }
  return best;
}

Host* HostGroup::random() {
  if (!weighted()) return members_[prng_->below(members_.size())].host;
  if (weights_.size() == 0) {
    for (const Member& member : members_) weights_.push_back(member.weight);
  }
  return members_[weights_.at(prng_->below(weights_.sum()))].host;
}

}  // namespace millrace::upstream
