#include "server/worker_listener.h"

#include "stats/schema_listener.h"

namespace millrace::server {

namespace ls = stats::listener;

WorkerListener::WorkerListener(filter::WorkerContext& worker, SharedListener& shared, GlobalConnections& global,
                               std::vector<int> fds)
    : worker_(worker), shared_(shared), global_(global), stats_(shared.stats->worker(worker.index)),
      worker_stats_(shared.worker_stats[worker.index]->worker(worker.index)),
      host_(shared.options->chain.filter->instantiate(worker, shared.facts)) {
  for (size_t i = 0; i < fds.size(); ++i) {
    const net::Address& bound = shared.bound[i];
    // What is bound to one address is reached by it, unless the kernel hands over connections to others as well.
    const net::Address* local = bound.is_any() || shared.options->socket.transparent ? nullptr : &bound;
    acceptors_.push_back(std::make_unique<net::Acceptor>(
        worker.loop, fds[i], [this, local](int accepted) { on_accept(accepted, local); }));
  }
}

WorkerListener::~WorkerListener() { stop_accepting(); }

void WorkerListener::start() {
  for (auto& acceptor : acceptors_) acceptor->start();
}

void WorkerListener::stop_accepting() {
  for (auto& acceptor : acceptors_) net::Acceptor::stop(std::move(acceptor));
  acceptors_.clear();
}

void WorkerListener::on_accept(int fd, const net::Address* local) {
  if (shared_.connections.load(std::memory_order_relaxed) >= shared_.options->max_connections) {
    stats_.inc(ls::kDownstreamCxOverflow);
    worker_.loop.backend().close(fd);
    return;
  }
  if (global_.active.load(std::memory_order_relaxed) >= global_.max && !shared_.options->ignore_global_conn_limit) {
    stats_.inc(ls::kDownstreamGlobalCxOverflow);
    worker_.loop.backend().close(fd);
    return;
  }
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  global_.active.fetch_add(1, std::memory_order_relaxed);
  stats_.inc(ls::kDownstreamCxTotal);
  stats_.gauge_add(ls::kDownstreamCxActive);
  worker_stats_.inc(stats::listener_worker::kDownstreamCxTotal);
  worker_stats_.gauge_add(stats::listener_worker::kDownstreamCxActive);
  host_->accept(net::Connection::accepted(worker_.loop, fd, local), *this);
}

void WorkerListener::on_connection_end(const stream::StreamInfo& connection) {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  global_.active.fetch_sub(1, std::memory_order_relaxed);
  stats_.inc(ls::kDownstreamCxDestroy);
  stats_.gauge_sub(ls::kDownstreamCxActive);
  worker_stats_.gauge_sub(stats::listener_worker::kDownstreamCxActive);
  const auto length = std::chrono::duration_cast<base::milliseconds>(worker_.loop.now() - connection.start);
  stats_.record(ls::kDownstreamCxLengthMs, static_cast<uint64_t>(std::max<int64_t>(length.count(), 0)));
  if (shared_.options->access_logs.empty()) return;
  stream::FormatContext context;
  context.info = &connection;
  context.log_type = stream::AccessLogType::kTcpConnectionEnd;
  context.now = worker_.loop.now();
  context.system_now = worker_.loop.system_now();
  stream::log_all(shared_.options->access_logs, context, worker_.access_log);
}

}  // namespace millrace::server
