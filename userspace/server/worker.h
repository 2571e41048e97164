// A worker: a thread with a ring, its share of every listener, its view of the clusters. Nothing of it is touched from
// outside but through post(). Life: constructed and started by the main thread, which waits until the ring stands;
// drained or stopped by messages; joined by the destructor.
//
//   starting --ring stands--> running --drain()--> draining --nothing in flight--> drained --stop()--> gone
#pragma once
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/result.h"
#include "config/snapshot.h"
#include "fastpath/splice_offers.h"
#include "filter/network_filter.h"
#include "io/loop.h"
#include "server/worker_listener.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::server {

struct WorkerOptions {
  uint16_t index = 0;
  io::UringOptions ring;
  base::milliseconds access_log_flush_interval{10'000};
  int cpu = -1;  // pinned to it; -1: not
  const net::OriginalDestinationSource* original_destinations = nullptr;
  const fastpath::Splice* splice = nullptr;  // what this worker, one of `count`, makes its offers to; null: nothing
  stats::StatShard splice_stats;
  uint16_t count = 1;
};

class Worker {
 public:
  Worker(WorkerOptions options, std::shared_ptr<const config::Snapshot> snapshot, stream::AccessLogFiles& access_logs,
         GlobalConnections& global);
  ~Worker();

  // Starts the thread; returns once its ring stands, or says why not.
  base::Result<void> start();
  // Takes the descriptors. It accepts from start_listeners() on: those that others hand connections to are there then.
  void add_listener(SharedListener& listener, std::vector<int> fds);
  void start_listeners();
  void stop_listeners(std::function<bool(const SharedListener&)> which);
  // Every answer from now on closes its connection; idle connections end soon.
  void drain();
  void set_drain_close(bool on);
  // A cluster's hosts are others, or elsewhere.
  void refresh_hosts(uint32_t cluster);
  // Connections of the listeners; answered on the worker through `reply`, which is called there.
  void count_active(std::function<void(size_t)> reply);
  // Ends everything and the thread.
  void stop();
  void join();
  io::Loop* loop() { return loop_.get(); }

 private:
  void run(std::promise<base::Result<void>> started);
  void open_splice_offers();
  void shut_down();
  void on_flush_timer();

  const WorkerOptions options_;
  std::shared_ptr<const config::Snapshot> snapshot_;
  stream::AccessLogFiles& access_log_files_;
  GlobalConnections& global_;
  std::thread thread_;
  // Of the thread, made by it.
  std::unique_ptr<io::Loop> loop_;
  std::optional<fastpath::SpliceOffers> splice_offers_;
  std::unique_ptr<filter::WorkerContext> context_;
  std::unique_ptr<upstream::ThreadLocalClusters> clusters_;
  ListenerDirectory directory_;
  std::vector<std::unique_ptr<WorkerListener>> listeners_;
  std::unique_ptr<io::TimerOf<&Worker::on_flush_timer>> flush_timer_;
};

}  // namespace millrace::server
