// A listener on one worker: its acceptors and the connections its filter chain holds. Thread: the worker's.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "config/snapshot.h"
#include "filter/network_filter.h"
#include "net/acceptor.h"
#include "stats/stats.h"

namespace millrace::server {

// What the workers share of a listener; made by the main thread, outlives them.
struct SharedListener {
  const config::Listener* options = nullptr;
  filter::ListenerFacts facts;
  std::string stat_address;
  stats::StatBlockPtr stats;
  std::vector<stats::StatBlockPtr> worker_stats;  // by worker
  std::atomic<uint32_t> connections{0};
  std::vector<net::Address> bound;                // as /listeners shows them
};

// Connections of the whole process.
struct GlobalConnections {
  std::atomic<int64_t> active{0};
  int64_t max = INT64_MAX;  // set before the workers start
};

class WorkerListener final : public filter::ConnectionObserver {
 public:
  // Takes the descriptors, one per address.
  WorkerListener(filter::WorkerContext& worker, SharedListener& shared, GlobalConnections& global,
                 std::vector<int> fds);
  ~WorkerListener();

  void start();
  // No new connections; those whose handshake is complete are still taken.
  void stop_accepting();
  void drain() { host_->drain(); }
  void close_all() { host_->close_all(); }
  size_t active() const { return host_->active(); }
  const SharedListener& shared() const { return shared_; }

 private:
  void on_accept(int fd, const net::Address* local);
  void on_connection_end(const stream::StreamInfo& connection) override;

  filter::WorkerContext& worker_;
  SharedListener& shared_;
  GlobalConnections& global_;
  stats::StatShard stats_, worker_stats_;
  std::unique_ptr<filter::ConnectionHost> host_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
};

}  // namespace millrace::server
