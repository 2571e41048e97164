// Circuit breakers: how much of a cluster's connections, pending requests, requests, retries and pools is in use, per
// routing priority. Shared by all workers: relaxed atomics, one read-modify-write per acquire and one per release. A
// limit holds strictly, however many workers try at once; acquire_unchecked() is for the one connection that a pool
// without any is always given, as in Envoy, so that a queue cannot wait for nothing.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/assert.h"
#include "upstream/options.h"

namespace millrace::upstream {

class Resource {
 public:
  explicit Resource(uint32_t max) : max_(max) {}
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;

  [[nodiscard]] bool try_acquire() { return try_acquire_below(max_); }
  [[nodiscard]] bool try_acquire_below(uint32_t max) {
    uint32_t used = used_.load(std::memory_order_relaxed);
    while (used < max) {
      if (used_.compare_exchange_weak(used, used + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void acquire_unchecked() { used_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    [[maybe_unused]] const uint32_t before = used_.fetch_sub(1, std::memory_order_relaxed);
    MILLRACE_DCHECK(before > 0);
  }

  uint32_t used() const { return used_.load(std::memory_order_relaxed); }
  uint32_t max() const { return max_; }
  // Envoy's *_open gauge: nothing more may be acquired.
  bool open() const { return used() >= max_; }
  // Envoy's remaining_* gauge.
  uint32_t remaining() const { return max_ - std::min(max_, used()); }

 private:
  std::atomic<uint32_t> used_{0};
  const uint32_t max_;
};

class Resources {
 public:
  explicit Resources(const Thresholds& thresholds)
      : connections(thresholds.max_connections),
        pending_requests(thresholds.max_pending_requests),
        requests(thresholds.max_requests),
        retries(thresholds.max_retries),
        connection_pools(thresholds.max_connection_pools),
        track_remaining(thresholds.track_remaining),
        budget_(thresholds.retry_budget) {}

  // A retry counts against max_retries, or against the share of live requests that the retry budget allows.
  [[nodiscard]] bool try_acquire_retry() { return retries.try_acquire_below(max_retries()); }
  uint32_t max_retries() const {
    if (!budget_) return retries.max();
    const double live = static_cast<double>(requests.used()) + pending_requests.used();
    return std::max(static_cast<uint32_t>(live * budget_->budget_percent / 100.0), budget_->min_retry_concurrency);
  }
  bool retries_open() const { return retries.used() >= max_retries(); }

  Resource connections;
  Resource pending_requests;
  Resource requests;
  Resource retries;
  Resource connection_pools;
  const bool track_remaining;

 private:
  const std::optional<RetryBudget> budget_;
};

}  // namespace millrace::upstream
