// The process: listening sockets, workers, signals, drain, and the statistics that belong to nobody else. Everything
// runs on the main thread's loop; workers are told by message and never waited for while they serve.
//
//   kInitializing --start()--> kLive --SIGTERM, drain_and_exit()--> kDraining --nothing in flight, or drain time-->
//   stopped
//                                  \--second SIGTERM, quit()----------------------------------------------------/
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/snapshot.h"
#include "io/loop.h"
#include "server/certificate_watch.h"
#include "server/cluster_discovery.h"
#include "server/fast_path.h"
#include "server/signals.h"
#include "server/worker.h"
#include "stats/schema_server.h"
#include "stats/stats.h"
#include "stream/access_log_file.h"

namespace millrace::server {

enum class State : uint8_t { kInitializing, kLive, kDraining };

struct ServerOptions {
  uint16_t concurrency = 1;
  bool take_over = false;  // the fast path, from a daemon that has it
  base::milliseconds drain_time{600'000};
  base::milliseconds access_log_flush_interval{10'000};
  io::UringOptions ring;
};

class Server {
 public:
  Server(ServerOptions options, io::Loop& loop, stats::Store& store, stream::AccessLogFiles& access_logs,
         std::shared_ptr<const config::Snapshot> snapshot);
  ~Server();

  // Binds every listener, starts the workers, begins to accept.
  base::Result<void> start();
  // Until drained or told to quit.
  void run() { loop_.run(); }

  // No more connections, answers say Connection: close, exit once nothing is in flight.
  void drain_and_exit();
  // Exit now.
  void quit();
  enum class DrainScope : uint8_t { kAll, kInboundOnly };
  // Stops the listeners, as POST /drain_listeners: at once, or after answers have said Connection: close for the drain
  // time.
  void drain_listeners(DrainScope scope, bool graceful, bool skip_exit);
  void fail_healthcheck(bool fail);
  void reopen_logs();
  // Brings uptime, memory and breaker gauges up to date.
  void refresh_stats();

  const FastPath& fast_path() const { return fast_path_; }
  State state() const { return state_; }
  bool healthcheck_failed() const { return healthcheck_failed_; }
  const config::Snapshot& snapshot() const { return *snapshot_; }
  std::shared_ptr<const config::Snapshot> shared_snapshot() const { return snapshot_; }
  const std::vector<std::unique_ptr<SharedListener>>& listeners() const { return listeners_; }
  base::seconds uptime() const;
  int64_t days_until_first_certificate_expires() const;
  uint16_t concurrency() const { return options_.concurrency; }

 private:
  base::Result<void> bind_listener(const config::Listener& listener);
  // The listener's network namespace is entered for it.
  base::Result<void> bind_inside(const config::Listener& options, SharedListener& listener, SocketsByWorker& sockets);
  base::Result<void> addresses_are_free(const config::Listener& options, uint64_t network_namespace) const;
  // In the namespace of the calling thread.
  base::Result<void> open_sockets(const config::Listener& options, SharedListener& listener,
                                  SocketsByWorker& sockets) const;
  base::Result<void> discover_hosts();
  void set_membership();
  void on_signal(int signal);
  void on_flush();
  void flush_step();
  void on_drain_check();
  void on_drain_timeout();
  void on_listeners_drained();
  void set_state(State state);

  const ServerOptions options_;
  io::Loop& loop_;
  stats::Store& store_;
  stream::AccessLogFiles& access_logs_;
  std::shared_ptr<const config::Snapshot> snapshot_;
  stats::StatBlockPtr server_stats_, listener_manager_stats_, filesystem_stats_, cluster_manager_stats_;
  uint64_t filesystem_seen_[stats::filesystem::kStatCount] = {};
  GlobalConnections connections_;
  std::vector<std::unique_ptr<SharedListener>> listeners_;
  ListenerSockets fds_;  // until handed over
  FastPath fast_path_;
  std::vector<std::unique_ptr<Worker>> workers_;
  base::MonotonicTime started_;
  State state_ = State::kInitializing;
  bool healthcheck_failed_ = false;
  bool checking_ = false;         // asked the workers for their connections, answers to come
  size_t answers_missing_ = 0;
  size_t active_seen_ = 0;
  DrainScope pending_scope_ = DrainScope::kAll;
  Signals signals_;
  CertificateWatch certificates_;
  ClusterDiscovery discovery_;
  io::TimerOf<&Server::on_flush> flush_timer_;
  io::TimerOf<&Server::on_drain_check> drain_check_;
  io::TimerOf<&Server::on_drain_timeout> drain_timeout_;
  io::TimerOf<&Server::on_listeners_drained> listener_drain_;
};

}  // namespace millrace::server
