#include "upstream/tcp_upstream.h"

#include "stats/schema_cluster.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {

namespace stat = stats::cluster;
using EndedBy = ConnectionAccount::EndedBy;

bool TcpUpstream::start(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority,
                        net::Connection* proxied) {
  MILLRACE_ASSERT(connection_ == nullptr);
  Resources& resources = cluster.cluster().resources(priority);
  if (!resources.pending_requests.try_acquire()) {
    cluster.stats().inc(stat::kUpstreamRqPendingOverflow);
    return false;
  }
  if (!ConnectionAccount::admit(cluster, host, priority, false)) {
    resources.pending_requests.release();
    return false;
  }
  host.add_pending(1);
  cluster.stats().inc(stat::kUpstreamRqPendingTotal);
  cluster.stats().gauge_add(stat::kUpstreamRqPendingActive);
  account_.emplace(cluster, host, priority);
  net::ConnectOptions options = connect_options(cluster, host);
  if (proxied != nullptr && host.transport() != nullptr) {
    options.transport_ask.source = &proxied->remote_address();
    options.transport_ask.destination = &proxied->local_address();
  }
  connection_ = net::Connection::connect(cluster.loop(), host.address(), options, *this);
  connection_->set_watermark(cluster.cluster().options().per_connection_buffer_limit_bytes);
  return true;
}

void TcpUpstream::leave_queue() {
  account_->host().add_pending(-1);
  account_->cluster().stats().gauge_sub(stat::kUpstreamRqPendingActive);
  account_->cluster().cluster().resources(account_->priority()).pending_requests.release();
}

void TcpUpstream::on_connected(net::Connection&) {
  ThreadLocalCluster& cluster = account_->cluster();
  account_->connected();
  if (!cluster.cluster().resources(account_->priority()).requests.try_acquire()) {
    cluster.stats().inc(stat::kUpstreamRqActiveOverflow);
    close(net::CloseMode::kNow, EndedBy::kLocal);
    return handler_.on_tcp_failed(*this, ResetReason::kOverflow, nullptr);
  }
  leave_queue();
  connected_ = true;
  account_->host().add_active(1);
  cluster.counters(account_->host()).rq_total.add();
  cluster.stats().inc(stat::kUpstreamRqTotal);
  cluster.stats().gauge_add(stat::kUpstreamRqActive);
  handler_.on_tcp_connected(*this);
}

void TcpUpstream::on_error(net::Connection&, const base::Error& error) {
  // Only while connecting: a connected one has the owner's handler.
  const base::Error copy = error;
  account_->connect_failed(copy);
  account_->cluster().stats().inc(stat::kUpstreamRqPendingFailureEject);
  close(net::CloseMode::kNow, EndedBy::kRemote);
  handler_.on_tcp_failed(*this, connect_failure_reason(copy), &copy);
}

void TcpUpstream::close(net::CloseMode mode, EndedBy by) {
  if (connection_ == nullptr) return;
  ThreadLocalCluster& cluster = account_->cluster();
  if (connected_) {
    account_->host().add_active(-1);
    cluster.stats().gauge_sub(stat::kUpstreamRqActive);
    cluster.cluster().resources(account_->priority()).requests.release();
  } else {
    leave_queue();
  }
  account_->count_bytes(*connection_);
  account_->closed(by, connected_);
  net::Connection::close(std::move(connection_), mode);
  account_.reset();
  connected_ = false;
}

}  // namespace millrace::upstream
