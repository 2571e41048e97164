// The fast path of this process: what the configuration asks of the kernel, tied to the listeners as they are bound,
// and kept in step with the clusters. It is an optimisation: what cannot be had is said once in the log, shown in
// gauges and on the admin page /fastpath, and done without, unless the configuration wants it or nothing.
// Main thread, but for original_dst(), whose result any thread may ask.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/snapshot.h"
#include "fastpath/counters.h"
#include "fastpath/original_dst.h"
#include "fastpath/status.h"
#include "fastpath/steering.h"
#include "io/loop.h"
#include "server/short_circuit.h"
#include "server/worker_listener.h"
#include "stats/stats.h"

namespace millrace::server {

// What connect() balances over, as a worker's balancer would: priorities with overprovisioning, panic, weights.
// Weights are scaled so that levels of priority share as they should.
std::vector<fastpath::Endpoint> endpoints_of(const upstream::Cluster& cluster, int family);

// Listening descriptors: [worker][address], and [listener][worker][address].
using SocketsByWorker = std::vector<std::vector<int>>;
using ListenerSockets = std::vector<SocketsByWorker>;

class FastPath {
 public:
  // take_over: another daemon may have the pins, and is asked for them.
  FastPath(const config::Snapshot& snapshot, io::Loop& loop, stats::Store& store, bool take_over);

  // After the listeners are bound, before the workers start. An error only if the configuration says on_unavailable:
  // FAIL; else it is off, which is logged.
  base::Result<void> start(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                           const ListenerSockets& sockets);
  // Where steering of connections wants worker `index` to run; -1: anywhere.
  int worker_cpu(uint16_t index) const;
  bool active() const { return steering_ != nullptr && !given_up_; }
  // Leaves what is in the kernel to the daemon that comes after this one: nothing is written any more, and it goes on
  // as it is until that takes over. Connections that this one has stay what they are, short-circuited ones as well.
  void give_up(std::string why);
  // What is known of captured connections; null: nothing. Lives as long as this.
  const net::OriginalDestinationSource* original_dst() const { return original_dst_ ? &*original_dst_ : nullptr; }
  // For /fastpath.
  fastpath::Status status() const;
  // The same of the short-circuit; null: it is not configured, or the fast path is off.
  const fastpath::ProvenSplice* short_circuit() const { return short_circuit_ ? &short_circuit_->proven() : nullptr; }
  // What workers offer connections to; null: nothing. Lives as long as this.
  const fastpath::Splice* splice() const { return short_circuit_ ? short_circuit_->splice() : nullptr; }
  stats::StatShard splice_stats(uint16_t worker) const {
    return splice() != nullptr ? short_circuit_->worker_stats(worker) : stats::StatShard();
  }
  // Brings the statistics "fastpath.*" up to date.
  void refresh_stats();

 private:
  struct Service {
    net::Address address;
    uint8_t protocol = 0;
    const upstream::Cluster* cluster = nullptr;
    std::optional<uint64_t> version;  // of the cluster's hosts when it was written
    bool failed = false;            // the last write was refused, and said so
  };
  base::Result<void> begin(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                           const ListenerSockets& sockets);
  base::Result<void> steer_inbound(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                                   const ListenerSockets& sockets);
  base::Result<void> steer_workers(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                                   const ListenerSockets& sockets);
  void sync();
  void write(Service& service);

  const config::Snapshot& snapshot_;
  io::Loop& loop_;
  stats::Store& store_;
  const bool take_over_;
  bool given_up_ = false;
  std::unique_ptr<fastpath::Steering> steering_;
  std::optional<fastpath::OriginalDst> original_dst_;
  std::optional<fastpath::Counters> counters_;
  std::optional<fastpath::CounterExport> export_;
  std::unique_ptr<ShortCircuit> short_circuit_;
  std::vector<Service> services_;
  std::string why_off_;
  uint64_t resets_seen_ = 0, resets_missed_seen_ = 0;  // in the statistics already
  io::TimerOf<&FastPath::sync> sync_timer_;
};

}  // namespace millrace::server
