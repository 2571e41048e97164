#include "server/server.h"

#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "base/log.h"
#include "base/memory.h"
#include "config/reloadable_transport.h"
#include "net/network_namespace.h"
#include "net/socket.h"
#include "stats/names.h"
#include "stats/schema_cluster.h"
#include "stats/schema_listener.h"
#include "stats/schema_server.h"

namespace millrace::server {

namespace cs = stats::cluster;
namespace ss = stats::server;
namespace lm = stats::listener_manager;

namespace {

constexpr base::milliseconds kDrainCheck{50};
constexpr size_t kFlushBlocks = 256;

}  // namespace

Server::Server(ServerOptions options, io::Loop& loop, stats::Store& store, stream::AccessLogFiles& access_logs,
               std::shared_ptr<const config::Snapshot> snapshot)
    : options_(options), loop_(loop), store_(store), access_logs_(access_logs), snapshot_(std::move(snapshot)),
      server_stats_(store.add_block(ss::kSchema, stats::plain_name("server."))),
      listener_manager_stats_(store.add_block(lm::kSchema, stats::plain_name("listener_manager."))),
      filesystem_stats_(store.add_block(stats::filesystem::kSchema, stats::plain_name("filesystem."))),
      cluster_manager_stats_(store.add_block(stats::cluster_manager::kSchema, stats::plain_name("cluster_manager."))),
      fast_path_(*snapshot_, loop, store, options.take_over),
      started_(base::Clock::now()), signals_(loop, [this](int signal) { on_signal(signal); }),
      certificates_(loop, snapshot_->transports),
      discovery_(*snapshot_->clusters, loop, store, [this](upstream::Cluster& cluster) {
        for (auto& worker : workers_) worker->refresh_hosts(cluster.index());
      }),
      flush_timer_(loop.timers(), *this), drain_check_(loop.timers(), *this), drain_timeout_(loop.timers(), *this),
      listener_drain_(loop.timers(), *this) {
  set_state(State::kInitializing);
}

Server::~Server() {
  for (auto& worker : workers_) worker->stop();
  for (auto& worker : workers_) worker->join();
  workers_.clear();
  for (auto& listener : fds_) {
    for (auto& worker : listener) {
      for (int fd : worker) ::close(fd);
    }
  }
  signals_.stop();
  certificates_.stop();
  discovery_.stop();
  loop_.turn(base::milliseconds(0));
  loop_.turn(base::milliseconds(1));
}

base::Result<void> Server::start() {
  connections_.max = snapshot_->connections_max;
  stats::StatShard manager = listener_manager_stats_->main_shard();
  for (const auto& listener : snapshot_->listeners) {
    if (base::Result<void> bound = bind_listener(*listener); !bound.ok()) {
      manager.inc(lm::kListenerCreateFailure);
      return bound;
    }
    manager.inc(lm::kListenerAdded);
  }
  if (base::Result<void> ready = signals_.start(); !ready.ok()) return ready;
  if (base::Result<void> found = discover_hosts(); !found.ok() || state_ == State::kDraining) return found;
  if (base::Result<void> begun = fast_path_.start(listeners_, fds_); !begun.ok()) return begun;
  for (uint16_t i = 0; i < options_.concurrency; ++i) {
    WorkerOptions worker;
    worker.index = i;
    worker.ring = options_.ring;
    worker.cpu = fast_path_.worker_cpu(i);
    worker.access_log_flush_interval = options_.access_log_flush_interval;
    worker.original_destinations = fast_path_.original_dst();
    worker.splice = fast_path_.splice();
    worker.splice_stats = fast_path_.splice_stats(i);
    worker.count = options_.concurrency;
    workers_.push_back(std::make_unique<Worker>(worker, snapshot_, access_logs_, connections_));
    if (base::Result<void> started = workers_.back()->start(); !started.ok()) {
      workers_.pop_back();
      return started;
    }
  }
  for (size_t l = 0; l < listeners_.size(); ++l) {
    for (size_t w = 0; w < workers_.size(); ++w) {
      manager.inc(lm::kListenerCreateSuccess);
      workers_[w]->add_listener(*listeners_[l], std::exchange(fds_[l][w], {}));
    }
  }
  for (auto& worker : workers_) worker->start_listeners();
  manager.gauge_set(lm::kTotalListenersActive, static_cast<int64_t>(listeners_.size()));
  manager.gauge_set(lm::kWorkersStarted, 1);
  set_membership();
  if (base::Result<void> watching = certificates_.start(); !watching.ok()) {
    MILLRACE_LOG(kWarn, "config", "certificates that change will not be noticed: {}", watching.error().to_string());
  }
  flush_timer_.arm(snapshot_->stats_flush_interval);
  set_state(State::kLive);
  const auto took = std::chrono::duration_cast<base::milliseconds>(base::Clock::now() - started_);
  server_stats_->main_shard().record(ss::kInitializationTimeMs, static_cast<uint64_t>(took.count()));
  MILLRACE_LOG(kInfo, "main", "started: {} listeners, {} clusters, {} workers", listeners_.size(),
               snapshot_->clusters->size(), workers_.size());
  return {};
}

base::Result<void> Server::bind_listener(const config::Listener& options) {
  auto listener = std::make_unique<SharedListener>();
  listener->options = &options;
  SocketsByWorker by_worker(options_.concurrency);
  base::Result<void> outcome = bind_inside(options, *listener, by_worker);
  fds_.push_back(std::move(by_worker));
  if (!outcome.ok()) {
    return base::Error{outcome.error().code, base::Side::kInternal, outcome.error().os,
                       fmt::format("listener '{}': {}", options.name, outcome.error().what)};
  }
  const std::string stat_name = options.stat_prefix.empty() ? listener->bound[0].to_string() : options.stat_prefix;
  listener->stat_address = stats::sanitized(stat_name);
  for (const config::FilterChain& chain : options.filter_chains) {
    listener->facts.push_back(
        {options.name, listener->stat_address, chain.name, options.per_connection_buffer_limit_bytes});
  }
  listener->stats = store_.add_block(stats::listener::kSchema, stats::listener_name(stat_name));
  for (unsigned w = 0; w < options_.concurrency; ++w) {
    listener->worker_stats.push_back(
        store_.add_block(stats::listener_worker::kSchema, stats::listener_worker_name(stat_name, w)));
  }
  listeners_.push_back(std::move(listener));
  return {};
}

base::Result<void> Server::bind_inside(const config::Listener& options, SharedListener& listener,
                                       SocketsByWorker& sockets) {
  std::optional<net::NetworkNamespace> place;
  if (!options.network_namespace.empty()) {
    base::Result<net::NetworkNamespace> opened = net::NetworkNamespace::open(options.network_namespace);
    if (!opened.ok()) return opened.error();
    if (!opened->own()) place = std::move(*opened);
  } else if (!options.bind_to_port) {
    listener.network_namespace = kAnyNamespace;
  }
  if (place) listener.network_namespace = place->id();
  if (base::Result<void> free = addresses_are_free(options, listener.network_namespace); !free.ok()) return free;
  if (!place) return open_sockets(options, listener, sockets);
  base::Result<void> outcome;
  const base::Result<void> entered = place->run([&] { outcome = open_sockets(options, listener, sockets); });
  return entered.ok() ? outcome : entered;
}

// Two paths may lead to one namespace, which the configuration could not know; SO_REUSEPORT would let both listen.
base::Result<void> Server::addresses_are_free(const config::Listener& options, uint64_t network_namespace) const {
  for (const auto& other : listeners_) {
    if (other->network_namespace != network_namespace) continue;
    for (const net::Address& address : options.addresses) {
      if (address.port() == 0 || std::find(other->bound.begin(), other->bound.end(), address) == other->bound.end()) {
        continue;
      }
      return base::Error{base::ErrorCode::kAlreadyExists, base::Side::kInternal, 0,
                         fmt::format("listener '{}' has the address {} already, by another path to its network "
                                     "namespace", other->options->name, address.to_string())};
    }
  }
  return {};
}

base::Result<void> Server::open_sockets(const config::Listener& options, SharedListener& listener,
                                        SocketsByWorker& sockets) const {
  if (!options.bind_to_port) listener.bound = options.addresses;
  for (const net::Address& wanted : options.addresses) {
    if (!options.bind_to_port) break;
    net::Address address = wanted;
    int first = -1;
    for (uint16_t w = 0; w < options_.concurrency; ++w) {
      if (first >= 0 && (!options.socket.reuse_port || !address.is_ip())) {
        sockets[w].push_back(::dup(first));  // one queue for all workers
        continue;
      }
      base::Result<int> fd = net::open_listen_socket(address, options.socket);
      if (!fd.ok()) return fd.error();
      if (first < 0) {
        first = *fd;
        address = address.is_ip() ? net::bound_address(first) : address;
        listener.bound.push_back(address);
      }
      sockets[w].push_back(*fd);
    }
  }
  return {};
}

// Before the first connection is accepted, every name has been asked for once. A signal ends the wait.
base::Result<void> Server::discover_hosts() {
  if (base::Result<void> begun = discovery_.start(); !begun.ok()) return begun;
  while (!discovery_.ready() && state_ != State::kDraining) loop_.turn();
  return {};
}

void Server::set_membership() {
  cluster_manager_stats_->main_shard().inc(stats::cluster_manager::kClusterAdded, snapshot_->clusters->size());
  cluster_manager_stats_->main_shard().gauge_set(stats::cluster_manager::kActiveClusters,
                                                 static_cast<int64_t>(snapshot_->clusters->size()));
}

// ---- the end

void Server::set_state(State state) {
  state_ = state;
  stats::StatShard shard = server_stats_->main_shard();
  // envoy.admin.v3.ServerInfo.State: LIVE 0, DRAINING 1, PRE_INITIALIZING 2, INITIALIZING 3.
  shard.gauge_set(ss::kState, state == State::kLive ? 0 : state == State::kDraining ? 1 : 3);
  shard.gauge_set(ss::kLive, state == State::kLive && !healthcheck_failed_ ? 1 : 0);
  shard.gauge_set(ss::kConcurrency, options_.concurrency);
}

void Server::on_signal(int signal) {
  switch (signal) {
    case SIGUSR1: return reopen_logs();
    case SIGHUP: return;  // terminals go away; the proxy stays
    default:
      if (state_ == State::kDraining) {
        MILLRACE_LOG(kWarn, "main", "second signal: exiting at once");
        return quit();
      }
      return drain_and_exit();
  }
}

void Server::drain_and_exit() {
  if (state_ == State::kDraining) return;
  set_state(State::kDraining);
  MILLRACE_LOG(kInfo, "main", "draining: no new connections, exit when nothing is in flight, at the latest in {} s",
               std::chrono::duration_cast<base::seconds>(options_.drain_time).count());
  fast_path_.give_up("draining");
  for (auto& worker : workers_) {
    worker->stop_listeners([](const SharedListener&) { return true; });
    worker->drain();
  }
  drain_timeout_.arm(options_.drain_time);
  on_drain_check();
}

void Server::on_drain_check() {
  if (checking_) return;
  if (workers_.empty()) return quit();  // it has not begun to serve
  checking_ = true;
  answers_missing_ = workers_.size();
  active_seen_ = 0;
  for (auto& worker : workers_) {
    worker->count_active([this](size_t active) {
      loop_.post([this, active] {
        active_seen_ += active;
        if (--answers_missing_ > 0) return;
        checking_ = false;
        if (active_seen_ == 0) {
          MILLRACE_LOG(kInfo, "main", "drained");
          return quit();
        }
        drain_check_.arm(kDrainCheck);
      });
    });
  }
}

void Server::on_drain_timeout() {
  MILLRACE_LOG(kWarn, "main", "drain time over with {} connections left", connections_.active.load());
  quit();
}

void Server::quit() { loop_.stop(); }

void Server::drain_listeners(DrainScope scope, bool graceful, bool skip_exit) {
  pending_scope_ = scope;
  if (!graceful) return on_listeners_drained();
  for (auto& worker : workers_) worker->set_drain_close(true);
  if (!skip_exit) listener_drain_.arm(options_.drain_time);
}

void Server::on_listeners_drained() {
  const bool inbound_only = pending_scope_ == DrainScope::kInboundOnly;
  const auto which = [inbound_only](const SharedListener& l) {
    return !inbound_only || l.options->traffic_direction == config::TrafficDirection::kInbound;
  };
  int64_t left = 0;
  for (auto& listener : listeners_) left += which(*listener) ? 0 : 1;
  for (auto& worker : workers_) worker->stop_listeners(which);
  stats::StatShard manager = listener_manager_stats_->main_shard();
  manager.inc(lm::kListenerStopped, listeners_.size() - static_cast<size_t>(left));
  manager.gauge_set(lm::kTotalListenersActive, left);
}

void Server::fail_healthcheck(bool fail) {
  healthcheck_failed_ = fail;
  set_state(state_);
  for (auto& worker : workers_) worker->set_drain_close(fail || state_ == State::kDraining);
}

void Server::reopen_logs() {
  base::reopen_log();
  access_logs_.reopen();
}

// ---- statistics

base::seconds Server::uptime() const {
  return std::chrono::duration_cast<base::seconds>(base::Clock::now() - started_);
}

// As Envoy says it: the largest number of 32 bits without certificates.
int64_t Server::days_until_first_certificate_expires() const {
  std::optional<base::SystemTime> first;
  for (const auto& transport : snapshot_->transports) {
    const std::optional<base::SystemTime> end = transport->context()->first_expiration();
    if (end && (!first || *end < *first)) first = end;
  }
  if (!first) return std::numeric_limits<uint32_t>::max();
  return static_cast<int64_t>(tls::days_until(*first, std::chrono::system_clock::now()));
}

void Server::refresh_stats() {
  stats::StatShard shard = server_stats_->main_shard();
  const struct mallinfo2 heap = mallinfo2();
  fast_path_.refresh_stats();
  shard.gauge_set(ss::kUptime, uptime().count());
  shard.gauge_set(ss::kDaysUntilFirstCertExpiring, days_until_first_certificate_expires());
  shard.gauge_set(ss::kTotalConnections, connections_.active.load(std::memory_order_relaxed));
  shard.gauge_set(ss::kMemoryAllocated, static_cast<int64_t>(heap.uordblks + heap.hblkhd));
  shard.gauge_set(ss::kMemoryHeapSize, static_cast<int64_t>(heap.arena + heap.hblkhd));
  shard.gauge_set(ss::kMemoryPhysicalSize, static_cast<int64_t>(base::resident_bytes()));
  const stream::AccessLogCounts counts = access_logs_.counts();
  namespace fs = stats::filesystem;
  stats::StatShard files = filesystem_stats_->main_shard();
  const auto bring = [&](uint16_t index, uint64_t value) {
    const uint64_t known = filesystem_seen_[index];
    if (value > known) files.inc(index, value - known);
    filesystem_seen_[index] = value;
  };
  bring(fs::kWriteBuffered, counts.write_buffered);
  bring(fs::kWriteCompleted, counts.write_completed);
  bring(fs::kWriteFailed, counts.write_failed);
  bring(fs::kFlushedByTimer, counts.flushed_by_timer);
  bring(fs::kReopenFailed, counts.reopen_failed);
  files.gauge_set(fs::kWriteTotalBuffered, static_cast<int64_t>(counts.write_total_buffered));
}

void Server::on_flush() {
  refresh_stats();
  flush_step();
  flush_timer_.arm(snapshot_->stats_flush_interval);
}

void Server::flush_step() {
  if (store_.flush_step(kFlushBlocks)) loop_.post([this] { flush_step(); });
}

}  // namespace millrace::server
