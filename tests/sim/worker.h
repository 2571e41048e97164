// One worker as the daemon has it (loop, clusters, a listener whose filter chain ends in the HTTP connection
// manager or the TCP proxy), over a simulated network.
#pragma once
#include <memory>
#include <vector>

#include "filter/network_filter.h"
#include "net/acceptor.h"
#include "sim/network.h"
#include "stats/stats.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::sim {

class Worker final : public filter::ConnectionObserver {
 public:
  Worker(uint64_t seed, const Faults& faults);
  ~Worker();

  // A cluster of endpoints at 10.1.<n>.<i>:80, n counting clusters and i hosts from 1.
  static upstream::ClusterOptions cluster(std::string name, uint8_t number, uint8_t hosts);
  // Once, before listen().
  void set_clusters(std::vector<upstream::ClusterOptions> clusters);
  // The config outlives the worker.
  void listen(const filter::NetworkFilterConfig& config, uint32_t buffer_limit_bytes);
  void drain();
  // What the daemon does at its end; then nothing may be left, which is checked.
  void shut_down();
  // Limits that hold at every moment.
  void check_limits() const;

  Network& network() { return *network_; }
  io::Loop& loop() { return *loop_; }
  stats::Store& store() { return store_; }
  upstream::ClusterSet& clusters() { return *set_; }
  const net::Address& address() const { return address_; }
  void turn() { loop_->turn(base::milliseconds(50)); }

 private:
  void on_connection_end(const stream::StreamInfo&) override;

  const size_t alive_before_;
  stats::Store store_{1};
  Network* network_ = nullptr;
  std::unique_ptr<io::Loop> loop_;
  std::shared_ptr<upstream::ClusterSet> set_;
  std::unique_ptr<filter::WorkerContext> context_;
  std::unique_ptr<upstream::ThreadLocalClusters> local_;
  filter::ListenerFacts facts_;
  std::unique_ptr<filter::ConnectionHost> host_;
  std::unique_ptr<net::Acceptor> acceptor_;
  net::Address address_;
  size_t connections_ = 0;
};

net::Address host_address(uint8_t cluster, uint8_t host);

}  // namespace millrace::sim
