#include "server/worker_listener.h"

#include "stats/schema_listener.h"

namespace millrace::server {

namespace ls = stats::listener;

WorkerListener::WorkerListener(filter::WorkerContext& worker, SharedListener& shared, GlobalConnections& global,
                               const ListenerDirectory& directory, std::vector<int> fds)
    : worker_(worker), shared_(shared), global_(global), directory_(directory),
      stats_(shared.stats->worker(worker.index)),
      worker_stats_(shared.worker_stats[worker.index]->worker(worker.index)) {
  for (size_t i = 0; i < options().filter_chains.size(); ++i) {
    hosts_.push_back(options().filter_chains[i].filter->instantiate(worker, shared.facts[i]));
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const net::Address& bound = shared.bound[i];
    // What is bound to one address is reached by it, unless the kernel hands over connections to others as well, which
    // listener filters may ask about.
    const bool other_addresses =
        bound.is_any() || options().socket.transparent || shared_.steered || !options().listener_filters.empty();
    const net::Address* local = other_addresses ? nullptr : &bound;
    acceptors_.push_back(std::make_unique<net::Acceptor>(
        worker.loop, fds[i], [this, local](int accepted) { on_accept(accepted, local); }));
  }
}

WorkerListener::~WorkerListener() {
  stop_accepting();
  close_all();
}

void WorkerListener::start() {
  for (auto& acceptor : acceptors_) acceptor->start();
}

void WorkerListener::stop_accepting() {
  stopped_ = true;
  for (auto& acceptor : acceptors_) net::Acceptor::stop(std::move(acceptor));
  acceptors_.clear();
}

void WorkerListener::close_all() {
  while (PendingConnection* pending = pending_.front()) pending->close();
  while (Handshake* handshake = handshakes_.front()) handshake->close();
  for (auto& host : hosts_) host->close_all();
}

size_t WorkerListener::active() const {
  size_t active = pending_.count() + handshakes_.count();
  for (const auto& host : hosts_) active += host->active();
  return active;
}

void WorkerListener::on_accept(int fd, const net::Address* local) {
  if (shared_.connections.load(std::memory_order_relaxed) >= options().max_connections) {
    stats_.inc(ls::kDownstreamCxOverflow);
    worker_.loop.backend().close(fd);
    return;
  }
  if (global_.active.load(std::memory_order_relaxed) >= global_.max && !options().ignore_global_conn_limit) {
    stats_.inc(ls::kDownstreamGlobalCxOverflow);
    worker_.loop.backend().close(fd);
    return;
  }
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  global_.active.fetch_add(1, std::memory_order_relaxed);
  inspect(net::Connection::accepted(worker_.loop, fd, local), options().use_original_dst);
}

void WorkerListener::take(std::unique_ptr<net::Connection> connection) {
  if (shared_.connections.load(std::memory_order_relaxed) >= options().max_connections) {
    stats_.inc(ls::kDownstreamCxOverflow);
    global_.active.fetch_sub(1, std::memory_order_relaxed);
    return net::Connection::close(std::move(connection), net::CloseMode::kNow);
  }
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  inspect(std::move(connection), false);  // one listener hands over, not a chain of them
}

void WorkerListener::inspect(std::unique_ptr<net::Connection> connection, bool may_hand_over) {
  size_t next = 0;
  std::unique_ptr<filter::ListenerFilterMemory> memory;
  switch (run_filters(*connection, next, memory)) {
    case filter::ListenerFilterStatus::kContinue: return on_inspected(std::move(connection), may_hand_over);
    case filter::ListenerFilterStatus::kClose:
      stats_.inc(ls::kDownstreamListenerFilterError);
      return drop(std::move(connection));
    case filter::ListenerFilterStatus::kWait: break;
  }
  auto* pending = new PendingConnection(*this, std::move(connection), next, std::move(memory),
                                        may_hand_over);  // retires itself
  pending_.push_back(*pending);
  pending->start();
}

filter::ListenerFilterStatus WorkerListener::run_filters(net::Connection& connection, size_t& next,
                                                         std::unique_ptr<filter::ListenerFilterMemory>& memory) {
  filter::AcceptedConnection accepted{connection, shared_.bound, worker_.original_destinations, worker_.index, memory};
  for (; next < options().listener_filters.size(); ++next) {
    const filter::ListenerFilterStatus status = options().listener_filters[next]->inspect(accepted);
    if (status != filter::ListenerFilterStatus::kContinue) return status;
    memory.reset();
  }
  return filter::ListenerFilterStatus::kContinue;
}

void WorkerListener::on_inspected(std::unique_ptr<net::Connection> connection, bool may_hand_over) {
  if (may_hand_over && connection->local_address_restored()) {
    // What was accepted before the stop goes where it always went, though that listener has stopped as well.
    WorkerListener* other = directory_.find(connection->local_address(), shared_.network_namespace, stopped_);
    if (other != nullptr && other != this) {
      shared_.connections.fetch_sub(1, std::memory_order_relaxed);
      return other->take(std::move(connection));
    }
  }
  begin(std::move(connection));
}

std::optional<size_t> WorkerListener::match(net::Connection& connection) const {
  if (options().matcher.only()) return options().matcher.only();
  static const net::ClientHints kNoHints;
  const net::ClientHints& hints = connection.client_hints() != nullptr ? *connection.client_hints() : kNoHints;
  const net::Address& source = connection.remote_address();
  std::string_view transport = hints.transport_protocol;
  if (transport.empty()) transport = "raw_buffer";
  const std::optional<size_t> found = options().matcher.find(
      {connection.local_address(), source, source, hints.server_name, transport, hints.application_protocols});
  return found ? found : options().default_filter_chain;
}

void WorkerListener::begin(std::unique_ptr<net::Connection> connection) {
  const std::optional<size_t> chain = match(*connection);
  if (!chain) {
    stats_.inc(ls::kNoFilterChainMatch);
    return drop(std::move(connection), false);
  }
  stats_.inc(ls::kDownstreamCxTotal);
  stats_.gauge_add(ls::kDownstreamCxActive);
  worker_stats_.inc(stats::listener_worker::kDownstreamCxTotal);
  worker_stats_.gauge_add(stats::listener_worker::kDownstreamCxActive);
  if (options().filter_chains[*chain].transport == nullptr) return give_to_chain(std::move(connection), *chain);
  auto* handshake = new Handshake(*this, std::move(connection), *chain);  // retires itself
  handshakes_.push_back(*handshake);
  handshake->start();
}

void WorkerListener::give_to_chain(std::unique_ptr<net::Connection> connection, size_t chain) {
  hosts_[chain]->accept(std::move(connection), *this);
}

void WorkerListener::drop(std::unique_ptr<net::Connection> connection, bool matched) {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  global_.active.fetch_sub(1, std::memory_order_relaxed);
  if (!options().access_logs.empty()) {
    stream::ConnectionInfo facts;
    facts.id = worker_.connection_id();
    facts.local_address = &connection->local_address();
    facts.remote_address = &connection->remote_address();
    facts.start = worker_.loop.now();
    stream::StreamInfo info;
    info.connection = &facts;
    info.start = info.end = worker_.loop.now();
    info.start_time = worker_.loop.system_now();
    if (const net::ClientHints* hints = connection->client_hints()) facts.requested_server_name = hints->server_name;
    if (!matched) {
      info.flags.set(stream::ResponseFlag::kNoRouteFound);
      info.response_code_details = "filter_chain_not_found";
    }
    log(info, stream::AccessLogType::kNotSet);
  }
  net::Connection::close(std::move(connection), net::CloseMode::kNow);
}

void WorkerListener::on_connection_end(const stream::StreamInfo& connection) {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  global_.active.fetch_sub(1, std::memory_order_relaxed);
  stats_.inc(ls::kDownstreamCxDestroy);
  stats_.gauge_sub(ls::kDownstreamCxActive);
  worker_stats_.gauge_sub(stats::listener_worker::kDownstreamCxActive);
  const auto length = std::chrono::duration_cast<base::milliseconds>(worker_.loop.now() - connection.start);
  stats_.record(ls::kDownstreamCxLengthMs, static_cast<uint64_t>(std::max<int64_t>(length.count(), 0)));
  log(connection, stream::AccessLogType::kTcpConnectionEnd);
}

void WorkerListener::log(const stream::StreamInfo& connection, stream::AccessLogType type) {
  if (options().access_logs.empty()) return;
  stream::FormatContext context;
  context.info = &connection;
  context.log_type = type;
  context.now = worker_.loop.now();
  context.system_now = worker_.loop.system_now();
  stream::log_all(options().access_logs, context, worker_.access_log);
}

}  // namespace millrace::server
