// The short-circuit of local connections, as the configuration asks for it: proved, attached to the cgroups, told whose
// connections take part. Main thread; what workers offer connections to is splice().
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "config/snapshot.h"
#include "fastpath/splice_status.h"
#include "server/worker_listener.h"
#include "stats/stats.h"

namespace millrace::server {

// The addresses whose connections take part: those of the listeners, and of the endpoints that their TCP proxies and
// routes lead to, so that both connections of a pair are known. Clusters that a request's header names are not among
// them.
std::vector<net::Address> short_circuited(const config::FastPath::ShortCircuit& options,
                                          const std::vector<std::unique_ptr<SharedListener>>& listeners);

class ShortCircuit {
 public:
  ShortCircuit(const config::FastPath::ShortCircuit& options, stats::Store& store);

  // After the listeners are bound, before the workers start; marks the listeners that take part. After an error it is
  // off, and proven() says why.
  base::Result<void> start(const std::vector<std::unique_ptr<SharedListener>>& listeners);
  const fastpath::ProvenSplice& proven() const { return proven_; }
  // Null: off.
  const fastpath::Splice* splice() const { return proven_.splice ? &*proven_.splice : nullptr; }
  // For the offers of a worker, which go before this.
  stats::StatShard worker_stats(uint16_t index) const { return export_->worker(index); }
  void refresh_stats();

 private:
  base::Result<void> attach(const std::vector<net::Address>& services);

  const config::FastPath::ShortCircuit& options_;
  stats::Store& store_;
  fastpath::ProvenSplice proven_;
  std::optional<fastpath::SpliceExport> export_;
};

}  // namespace millrace::server
