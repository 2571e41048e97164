// The TCP proxy: one downstream connection to one upstream connection, bytes both ways, half-close in both directions,
// back-pressure from each side to the other. A reset on one side resets the other. If both sides are local and their
// listener is opted in, the bytes may go past this process (tcp_short_circuit.h), which still counts them.
//
//   kConnecting (downstream not read) --connected--> kOpen --both sides ended, idle, reset--> gone
//        | failed: next attempt up to max_connect_attempts, then the downstream is closed
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/list.h"
#include "filter/network_filter.h"
#include "io/timer.h"
#include "stats/stats.h"
#include "stream/access_log.h"
#include "stream/stream_info.h"
#include "upstream/tcp_upstream.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::router {

struct TcpProxyOptions {
  struct WeightedCluster {
    upstream::Cluster* cluster = nullptr;  // null: no such cluster
    std::string name;
    uint32_t weight = 1;
  };
  std::string stat_prefix;
  std::vector<WeightedCluster> clusters;   // one or more
  base::milliseconds idle_timeout{3'600'000};               // 0: off
  base::milliseconds max_downstream_connection_duration{0};  // 0: off
  uint32_t max_connect_attempts = 1;
  base::milliseconds backoff_base{0}, backoff_max{0};       // between attempts; 0: at once
  std::vector<stream::AccessLog> access_logs;
  base::milliseconds access_log_flush_interval{0};          // 0: only at the end
  bool flush_access_log_on_connected = false;
  stats::StatBlockPtr stats;                                // tcp.<stat_prefix>.
};

class TcpProxyConfig final : public filter::NetworkFilterConfig {
 public:
  explicit TcpProxyConfig(TcpProxyOptions options) : options_(std::move(options)) {}
  std::unique_ptr<filter::ConnectionHost> instantiate(filter::WorkerContext& worker,
                                                      const filter::ListenerFacts& listener) const override;
  std::string_view type_name() const override { return "envoy.filters.network.tcp_proxy"; }
  const TcpProxyOptions& options() const { return options_; }

 private:
  TcpProxyOptions options_;
};

}  // namespace millrace::router
