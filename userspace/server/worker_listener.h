// A listener on one worker: its acceptors, the connections that its listener filters look at, those in a handshake, and
// those its filter chains hold. Thread: the worker's.
//
//   accepted, or handed over by another listener --listener filters--> handed over (use_original_dst)
//     or matched to a chain --its transport's handshake, if it has one--> to the chain
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "config/snapshot.h"
#include "filter/network_filter.h"
#include "net/acceptor.h"
#include "server/handshake.h"
#include "server/listener_directory.h"
#include "server/pending_connection.h"
#include "stats/stats.h"

namespace millrace::server {

// Of listeners without a socket that name no namespace: connections from any may be handed over to them.
inline constexpr uint64_t kAnyNamespace = UINT64_MAX;
// The daemon's. Others have their net::NetworkNamespace::id().
inline constexpr uint64_t kOwnNamespace = 0;

// What the workers share of a listener; made by the main thread, outlives them.
struct SharedListener {
  const config::Listener* options = nullptr;
  std::vector<filter::ListenerFacts> facts;       // by filter chain
  std::string stat_address;
  stats::StatBlockPtr stats;
  std::vector<stats::StatBlockPtr> worker_stats;  // by worker
  std::atomic<uint32_t> connections{0};
  std::vector<net::Address> bound;                // as /listeners shows them
  uint64_t network_namespace = kOwnNamespace;     // whose addresses these are
  bool steered = false;  // the fast path gives it connections to other addresses; set before the workers start
};

// Connections of the whole process.
struct GlobalConnections {
  std::atomic<int64_t> active{0};
  int64_t max = INT64_MAX;  // set before the workers start
};

class WorkerListener final : public filter::ConnectionObserver {
 public:
  // Takes the descriptors, one per address; none without bind_to_port. The directory is where use_original_dst looks.
  WorkerListener(filter::WorkerContext& worker, SharedListener& shared, GlobalConnections& global,
                 const ListenerDirectory& directory, std::vector<int> fds);
  ~WorkerListener();

  void start();
  // No new connections; those whose handshake is complete are still taken.
  void stop_accepting();
  void drain() {
    for (auto& host : hosts_) host->drain();
  }
  void close_all();
  size_t active() const;
  bool stopped() const { return stopped_; }
  const SharedListener& shared() const { return shared_; }
  const config::Listener& options() const { return *shared_.options; }
  stats::StatShard& stats() { return stats_; }

 private:
  friend class Handshake;
  friend class PendingConnection;
  void on_accept(int fd, const net::Address* local);
  // A connection that another listener accepted.
  void take(std::unique_ptr<net::Connection> connection);
  void inspect(std::unique_ptr<net::Connection> connection, bool may_hand_over);
  // From the next one on, which is advanced. kContinue: they are all done.
  filter::ListenerFilterStatus run_filters(net::Connection& connection, size_t& next,
                                           std::unique_ptr<filter::ListenerFilterMemory>& memory);
  void on_inspected(std::unique_ptr<net::Connection> connection, bool may_hand_over);
  std::optional<size_t> match(net::Connection& connection) const;
  void begin(std::unique_ptr<net::Connection> connection);
  void give_to_chain(std::unique_ptr<net::Connection> connection, size_t chain);
  // Closes a connection that never came to a filter chain.
  void drop(std::unique_ptr<net::Connection> connection, bool matched = true);
  void log(const stream::StreamInfo& connection, stream::AccessLogType type);
  void on_connection_end(const stream::StreamInfo& connection) override;

  filter::WorkerContext& worker_;
  SharedListener& shared_;
  GlobalConnections& global_;
  const ListenerDirectory& directory_;
  stats::StatShard stats_, worker_stats_;
  std::vector<std::unique_ptr<filter::ConnectionHost>> hosts_;  // by filter chain
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  base::List<PendingConnection, PendingConnection> pending_;
  base::List<Handshake, Handshake> handshakes_;
  bool stopped_ = false;
};

}  // namespace millrace::server
