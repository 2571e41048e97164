#include "upstream/connection_account.h"

#include "stats/schema_cluster.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;

uint64_t milliseconds_since(base::MonotonicTime start, base::MonotonicTime now) {
  return static_cast<uint64_t>(std::chrono::duration_cast<base::milliseconds>(now - start).count());
}

// Unique in the process: the ids of downstream connections have bit 47 clear.
uint64_t next_id(uint16_t worker) {
  thread_local uint64_t made = 0;
  return uint64_t{worker} << 48 | uint64_t{1} << 47 | ++made;
}

}  // namespace

net::ConnectOptions connect_options(const ThreadLocalCluster& cluster, const Host& host) {
  const ClusterOptions& options = cluster.cluster().options();
  net::ConnectOptions connect;
  connect.transport = host.transport();
  connect.transport_ask.worker = cluster.worker();
  connect.transport_ask.host_name = host.hostname();
  connect.transport_ask.remote_address = &host.address();
  connect.timeout = options.connect_timeout;
  connect.bind_address = options.bind_address;
  connect.keepalive = options.tcp_keepalive ? &*options.tcp_keepalive : nullptr;
  connect.socket_options = &options.socket_options;
  return connect;
}

bool ConnectionAccount::admit(ThreadLocalCluster& cluster, const Host& host, ResourcePriority priority, bool must) {
  Resource& connections = cluster.cluster().resources(priority).connections;
  const std::optional<uint32_t> per_host = cluster.cluster().options().circuit_breakers.per_host_max_connections;
  if ((!per_host || host.cx_active() < *per_host) && connections.try_acquire()) return true;
  cluster.stats().inc(stat::kUpstreamCxOverflow);
  if (must) connections.acquire_unchecked();
  return must;
}

ConnectionAccount::ConnectionAccount(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority)
    : cluster_(cluster),
      host_(host),
      created_(cluster.loop().now()),
      id_(next_id(cluster.worker())),
      priority_(priority) {
  host_.add_connection(1);
  cluster_.counters(host_).cx_total.add();
  cluster_.stats().inc(stat::kUpstreamCxTotal);
  cluster_.stats().gauge_add(stat::kUpstreamCxActive);
}

void ConnectionAccount::connected() {
  connected_ = true;
  connected_at_ = cluster_.loop().now();
  cluster_.stats().record(stat::kUpstreamCxConnectMs, milliseconds_since(created_, connected_at_));
}

std::shared_ptr<const UpstreamConnectionInfo> ConnectionAccount::info(net::Connection& connection) {
  if (info_ == nullptr) {
    auto info = std::make_shared<UpstreamConnectionInfo>();
    info->id = id_;
    info->start = info->connect_start = created_;
    info->connect_end = connected_at_;
    if (connection.secured()) {
      info->connect_end = connection.handshake_start();
      info->handshake_end = connection.established_at();
      info->tls = connection.transport_facts();
      if (info->tls != nullptr) info->requested_server_name = info->tls->server_name();
    }
    info->local = connection.local_address();
    info->remote = host_.address();
    info->local_address = &info->local;
    info->remote_address = &info->remote;
    info_ = std::move(info);
  }
  return info_;
}

void ConnectionAccount::connect_failed(const base::Error& error) {
  cluster_.counters(host_).cx_connect_fail.add();
  cluster_.stats().inc(stat::kUpstreamCxConnectFail);
  if (error.code == base::ErrorCode::kTimeout) cluster_.stats().inc(stat::kUpstreamCxConnectTimeout);
}

void ConnectionAccount::count_bytes(const net::Connection& connection) {
  if (const uint64_t n = connection.bytes_received() - received_; n != 0) {
    received_ += n;
    cluster_.stats().inc(stat::kUpstreamCxRxBytesTotal, n);
  }
  if (const uint64_t n = connection.bytes_sent() - sent_; n != 0) {
    sent_ += n;
    cluster_.stats().inc(stat::kUpstreamCxTxBytesTotal, n);
  }
}

void ConnectionAccount::closed(EndedBy by, bool with_active_request) {
  MILLRACE_ASSERT(!closed_);
  closed_ = true;
  host_.add_connection(-1);
  cluster_.cluster().resources(priority_).connections.release();
  stats::StatShard& stats = cluster_.stats();
  stats.gauge_sub(stat::kUpstreamCxActive);
  stats.record(stat::kUpstreamCxLengthMs, milliseconds_since(created_, cluster_.loop().now()));
  if (!connected_) return;
  const bool local = by == EndedBy::kLocal;
  stats.inc(stat::kUpstreamCxDestroy);
  stats.inc(local ? stat::kUpstreamCxDestroyLocal : stat::kUpstreamCxDestroyRemote);
  if (!with_active_request) return;
  stats.inc(stat::kUpstreamCxDestroyWithActiveRq);
  stats.inc(local ? stat::kUpstreamCxDestroyLocalWithActiveRq : stat::kUpstreamCxDestroyRemoteWithActiveRq);
}

}  // namespace millrace::upstream
