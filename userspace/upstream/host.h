// One endpoint of a cluster. Name and transport are fixed; address (LOGICAL_DNS), weight, place, health flags and
// load are relaxed atomics that every worker reads. Request counters are kept per worker (HostCounters), so that a
// request costs no shared write beyond the gauges least_request needs. The hosts of a STATIC cluster live as long as
// it does. Others come and go, by discovery or by use (ORIGINAL_DST): shared by the HostSet and the workers that know
// them, gone with the last of these, and to be held (hold()) by who needs one beyond the call that gave it.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "upstream/options.h"

namespace millrace::upstream {

class Cluster;

// X(enumerator, bit, name in the admin page's health_flags)
#define MILLRACE_HEALTH_FLAGS(X)                                       \
  X(kFailedActiveHc, 0x1, "failed_active_hc")                          \
  X(kFailedOutlierCheck, 0x2, "failed_outlier_check")                  \
  X(kFailedEdsHealth, 0x4, "failed_eds_health")                        \
  X(kDegradedActiveHc, 0x8, "degraded_active_hc")                      \
  X(kDegradedEdsHealth, 0x10, "degraded_eds_health")                   \
  X(kPendingDynamicRemoval, 0x20, "pending_dynamic_removal")           \
  X(kPendingActiveHc, 0x40, "pending_active_hc")                       \
  X(kExcludedViaImmediateHcFail, 0x80, "excluded_via_immediate_hc_fail") \
  X(kActiveHcTimeout, 0x100, "active_hc_timeout")                      \
  X(kEdsStatusDraining, 0x200, "eds_status_draining")

enum class HealthFlag : uint32_t {
#define MILLRACE_X(enumerator, bit, text) enumerator = bit,
  MILLRACE_HEALTH_FLAGS(MILLRACE_X)
#undef MILLRACE_X
};

enum class Health : uint8_t { kUnhealthy, kDegraded, kHealthy };

// Counters of one host on one worker: that worker alone writes (a plain load and store), anyone may read. Seen in
// /clusters, summed over the workers. A cache line each, so that workers do not share any.
struct alignas(64) HostCounters {
  class Counter {
   public:
    void add(uint64_t n = 1) { value_.store(value() + n, std::memory_order_relaxed); }
    uint64_t value() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_{0};
  };
  Counter cx_total, cx_connect_fail, rq_total, rq_success, rq_error, rq_timeout;
};

class Host : public std::enable_shared_from_this<Host> {
 public:
  // listed: to be found in the cluster's HostSet; else it came into being by use.
  Host(Cluster& cluster, EndpointOptions endpoint, const Locality& locality, uint32_t priority, bool listed = true);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  Cluster& cluster() const { return cluster_; }
  const net::Address& address() const {
    const Move* moved = moved_to_.load(std::memory_order_acquire);
    return moved != nullptr ? moved->address : address_;
  }
  // Main thread: new connections go there (LOGICAL_DNS); addresses that were given out stay where they are.
  void move_to(const net::Address& address);
  std::string_view hostname() const { return hostname_; }
  const net::TransportFactory* transport() const { return transport_.get(); }  // null: plain
  uint32_t weight() const { return weight_.load(std::memory_order_relaxed); }
  const Locality& locality() const { return *locality_.load(std::memory_order_relaxed); }
  uint32_t priority() const { return priority_.load(std::memory_order_relaxed); }
  bool listed() const { return listed_; }
  // A small number that no other living host of the cluster has: what workers find by it, they find without search.
  uint32_t index() const { return index_; }
  // Keeps a host alive; null for those of a STATIC cluster, which need no keeping.
  std::shared_ptr<Host> hold();
  bool canary() const { return canary_; }

  uint32_t health_flags() const { return health_flags_.load(std::memory_order_relaxed); }
  bool has(HealthFlag flag) const { return (health_flags() & static_cast<uint32_t>(flag)) != 0; }
  Health health() const;
  // Not counted in the share of healthy hosts: it has not been checked yet, or took itself out.
  bool excluded() const { return has(HealthFlag::kPendingActiveHc) || has(HealthFlag::kExcludedViaImmediateHcFail); }
  // Any thread; workers rebuild their view of the cluster at the next choice.
  void set(HealthFlag flag);
  void clear(HealthFlag flag);
  // Whether an endpoint at its address is this host: what cannot change is the same.
  bool is(const EndpointOptions& endpoint) const;
  // Main thread, for the HostSet: what a new list of endpoints says of a host that stays. Whether anything changed.
  bool update(const EndpointOptions& endpoint, const Locality& locality, uint32_t priority);
  // "healthy", or "/failed_active_hc/pending_active_hc": the form of the admin page.
  std::string health_flags_string() const;

  // Load of all workers. rq_pending: queued in a pool for this host.
  void add_connection(int32_t n) { cx_active_.fetch_add(static_cast<uint32_t>(n), std::memory_order_relaxed); }
  void add_active(int32_t n) { rq_active_.fetch_add(static_cast<uint32_t>(n), std::memory_order_relaxed); }
  void add_pending(int32_t n) { rq_pending_.fetch_add(static_cast<uint32_t>(n), std::memory_order_relaxed); }
  uint32_t cx_active() const { return cx_active_.load(std::memory_order_relaxed); }
  uint32_t rq_active() const { return rq_active_.load(std::memory_order_relaxed); }
  uint32_t load() const { return rq_active() + rq_pending_.load(std::memory_order_relaxed); }

  // Of a worker; made for all workers when one first asks.
  HostCounters& counters(uint16_t worker) {
    HostCounters* all = counters_.load(std::memory_order_acquire);
    return (all != nullptr ? all : make_counters())[worker];
  }
  // Of all workers; none before the first use. Any thread.
  std::span<const HostCounters> all_counters() const;

 private:
  HostCounters* make_counters();

  Cluster& cluster_;
  const net::Address address_;
  struct Move {
    net::Address address;
    std::deque<Move>* all;  // each address that it was moved to, once; main thread, its owner
  };
  std::atomic<const Move*> moved_to_{nullptr};
  const std::string hostname_;
  const std::shared_ptr<const net::TransportFactory> transport_;
  std::atomic<const Locality*> locality_;  // the cluster's, which keeps it
  std::atomic<uint32_t> weight_;
  std::atomic<uint32_t> priority_;
  const uint32_t index_;
  const bool listed_;
  const bool canary_;
  std::atomic<uint32_t> health_flags_{0};
  std::atomic<HostCounters*> counters_{nullptr};
  // Written per request by every worker that uses the host: kept off the lines above, which are only read.
  alignas(64) std::atomic<uint32_t> rq_active_{0};
  std::atomic<uint32_t> rq_pending_{0};
  std::atomic<uint32_t> cx_active_{0};
};

}  // namespace millrace::upstream
