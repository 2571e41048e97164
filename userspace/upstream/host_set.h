// Which hosts a cluster has now, and what became different lately. The main thread lists hosts and takes them off; any
// thread says that something about a listed host has changed (its health, weight, place). Workers follow: what a worker
// does not know yet costs it one load to notice and then time in proportion to the changes, not to the hosts. A worker
// that lags behind the log, or is new, takes in the whole. Owned by the Cluster, which outlives all hosts.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "upstream/host.h"

namespace millrace::upstream {

using HostPtr = std::shared_ptr<Host>;
using HostSpan = std::span<const HostPtr>;

class HostSet {
 public:
  HostSet() = default;
  HostSet(const HostSet&) = delete;
  HostSet& operator=(const HostSet&) = delete;

  // Main thread. In the order in which they were listed, until the first one is taken off.
  HostSpan hosts() const { return hosts_; }

  // Main thread; costs as much as the lists are long.
  void change(std::span<const HostPtr> added, std::span<const HostPtr> removed);
  // Forgets all of them, before the cluster goes.
  void clear();
  // Any thread. Nothing happens if the host is not listed.
  void changed(const Host& host);

  // Grows with every change.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // One whose host was taken off, or has changed.
  struct Change {
    uint32_t index;
    HostPtr host;  // null: nobody is listed at that index
  };
  struct Changes {
    uint64_t version = 0;   // that they lead to
    bool from_scratch = false;  // every listed host; what is not among them is gone
    std::vector<Change> changes;
  };
  // Of what came after `seen`, 0 for nothing; any thread.
  Changes since(uint64_t seen) const;

  size_t memory_bytes() const;  // without the hosts; main thread

  // For hosts.
  uint32_t take_index();
  void give_index_back(uint32_t index);

 private:
  struct Tables;
  static constexpr size_t kLogMax = 16'384;
  void log(uint32_t index);
  Tables& tables();
  void index_hosts();
  const HostPtr* find(uint32_t index) const;

  // Shared with other sets: there may be ten thousand, and it is held for moments.
  std::mutex& mutex() const;

  std::vector<HostPtr> hosts_;  // written by the main thread, under the lock
  // Of a cluster to which something has happened.
  struct Tables {
    // Empty until hosts come or go after the first ones: till then a host's index is its position in hosts_.
    std::vector<HostPtr> by_index;    // null: not listed
    std::vector<uint32_t> positions;  // in hosts_
    std::vector<uint32_t> free_indexes;
    uint64_t log_begin = 0;
    std::vector<uint32_t> log;  // indexes; log[i] led to version log_begin + i + 1
  };
  std::unique_ptr<Tables> tables_;
  uint32_t next_index_ = 0;
  std::atomic<uint64_t> version_{0};
};

}  // namespace millrace::upstream
