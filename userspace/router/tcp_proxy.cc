#include "router/tcp_proxy.h"

#include <algorithm>
#include <cerrno>

#include "base/prng.h"
#include "filter/connection_info.h"
#include "router/reply_text.h"
#include "router/tcp_short_circuit.h"
#include "stats/schema_cluster.h"
#include "stats/schema_tcp.h"

namespace millrace::router {

namespace cs = stats::cluster;
namespace ts = stats::tcp;
using stream::ResponseFlag;
using upstream::ConnectionAccount;
using Direction = TcpShortCircuit::Direction;

namespace {

// How often the bytes of a joined pair, of which the daemon sees nothing, are looked for.
constexpr base::milliseconds kJoinedTick{1'000};
// A pair that leaves is asked whether it has after this, then after twice as long, and so on.
constexpr base::milliseconds kLeavingTick{1};

class TcpProxyWorker;

class TcpProxySession final : public net::ConnectionHandler,
                              public upstream::TcpUpstreamHandler,
                              public io::Retired,
                              public base::ListHook<TcpProxySession> {
 public:
  TcpProxySession(TcpProxyWorker& owner, std::unique_ptr<net::Connection> downstream,
                  filter::ConnectionObserver& observer);
  ~TcpProxySession() override = default;

  void start();
  void end(net::CloseMode downstream, net::CloseMode upstream, bool remote);
  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_above_high_watermark(net::Connection& connection) override;
  void on_below_low_watermark(net::Connection& connection) override;
  void on_drained(net::Connection& connection) override;
  void on_error(net::Connection& connection, const base::Error& error) override;
  void on_tcp_connected(upstream::TcpUpstream& upstream) override;
  void on_tcp_failed(upstream::TcpUpstream& upstream, upstream::ResetReason reason, const base::Error* error) override;

 private:
  bool choose_cluster();
  void connect();
  void fail(ResponseFlag flag, std::string_view details);
  bool is_downstream(const net::Connection& c) const { return &c == downstream_.get(); }
  void touch();
  void maybe_end();
  void forwarded(Direction direction, size_t bytes, net::Connection& to);
  void join();
  void arm_joined_tick();
  void begin_to_leave();
  bool lost_at_close(const net::Connection& connection) const;
  // False: none went past the daemon since the last time.
  bool count_joined_bytes();
  void count_bytes();
  void write_log(stream::AccessLogType type);
  void on_idle();
  void on_max_duration();
  void on_back_off_over() { connect(); }
  void on_log_interval();
  void on_joined_tick();

  TcpProxyWorker& owner_;
  filter::ConnectionObserver& observer_;
  std::unique_ptr<net::Connection> downstream_;  // null once closed
  upstream::TcpUpstream upstream_{*this};
  upstream::ThreadLocalCluster* cluster_ = nullptr;
  stream::ConnectionInfo connection_info_, upstream_connection_info_;
  stream::StreamInfo info_;
  std::vector<const upstream::Host*> tried_;
  std::shared_ptr<upstream::Host> host_hold_;  // until the last access log line, if the host is not listed
  uint32_t attempts_ = 0;
  uint64_t counted_received_ = 0, counted_sent_ = 0;
  TcpShortCircuit::Bytes joined_bytes_;  // past the daemon
  TcpShortCircuit short_circuit_;
  base::milliseconds leaving_tick_{0};  // 0: it is not leaving
  bool waiting_ = true;           // for the upstream: the downstream is not read
  bool downstream_ended_ = false, upstream_ended_ = false;
  bool ending_ = false;
  io::TimerOf<&TcpProxySession::on_idle> idle_;
  io::TimerOf<&TcpProxySession::on_max_duration> max_duration_;
  io::TimerOf<&TcpProxySession::on_back_off_over> back_off_;
  io::TimerOf<&TcpProxySession::on_log_interval> log_interval_;
  io::TimerOf<&TcpProxySession::on_joined_tick> joined_tick_;
};

class TcpProxyWorker final : public filter::ConnectionHost {
 public:
  TcpProxyWorker(const TcpProxyOptions& options, filter::WorkerContext& worker, const filter::ListenerFacts& listener)
      : options(options), worker(worker), listener(listener), stats(options.stats->worker(worker.index)) {}
  ~TcpProxyWorker() override { close_all(); }

  void accept(std::unique_ptr<net::Connection> connection, filter::ConnectionObserver& observer) override {
    auto* session = new TcpProxySession(*this, std::move(connection), observer);  // deleted through forget()
    sessions_.push_back(*session);
    ++active_;
    session->start();
  }
  void drain() override {}  // a byte stream has no point at which it is polite to stop
  void close_all() override {
    while (TcpProxySession* session = sessions_.front()) {
      session->end(net::CloseMode::kNow, net::CloseMode::kNow, false);
    }
  }
  size_t active() const override { return active_; }
  fastpath::SpliceOffers* splice_offers() const { return listener.short_circuit ? worker.splice_offers : nullptr; }
  void forget(TcpProxySession& session) {
    session.unlink();
    --active_;
    worker.loop.retire(std::unique_ptr<TcpProxySession>(&session));
  }

  const TcpProxyOptions& options;
  filter::WorkerContext& worker;
  const filter::ListenerFacts& listener;
  stats::StatShard stats;

 private:
  base::List<TcpProxySession, TcpProxySession> sessions_;
  size_t active_ = 0;
};

TcpProxySession::TcpProxySession(TcpProxyWorker& owner, std::unique_ptr<net::Connection> downstream,
                                 filter::ConnectionObserver& observer)
    : owner_(owner), observer_(observer), downstream_(std::move(downstream)), short_circuit_(owner.splice_offers()),
      idle_(owner.worker.loop.timers(), *this), max_duration_(owner.worker.loop.timers(), *this),
      back_off_(owner.worker.loop.timers(), *this), log_interval_(owner.worker.loop.timers(), *this),
      joined_tick_(owner.worker.loop.timers(), *this) {
  io::Loop& loop = owner.worker.loop;
  filter::describe(*downstream_, owner.worker, owner.listener, connection_info_);
  info_.connection = &connection_info_;
  info_.start = loop.now();
  info_.start_time = loop.system_now();
  downstream_->set_handler(*this);
  downstream_->set_watermark(owner.listener.per_connection_buffer_limit_bytes);
  owner.stats.inc(ts::kDownstreamCxTotal);
}

void TcpProxySession::start() {
  const TcpProxyOptions& o = owner_.options;
  downstream_->start();          // reading goes as far as the first bytes, so that a client that leaves is noticed;
  downstream_->pause_reading();  // they wait until there is somebody to send them to
  if (o.max_downstream_connection_duration.count() > 0) max_duration_.arm(o.max_downstream_connection_duration);
  if (o.access_log_flush_interval.count() > 0) log_interval_.arm(o.access_log_flush_interval);
  touch();
  if (!choose_cluster()) {
    owner_.stats.inc(ts::kDownstreamCxNoRoute);
    return fail(ResponseFlag::kNoClusterFound, "cluster_not_found");
  }
  connect();
}

bool TcpProxySession::choose_cluster() {
  const auto& clusters = owner_.options.clusters;
  uint64_t total = 0;
  for (const auto& c : clusters) total += c.weight;
  uint64_t draw = total > 0 ? owner_.worker.loop.prng().below(total) : 0;
  for (const auto& c : clusters) {
    if (draw >= c.weight) {
      draw -= c.weight;
      continue;
    }
    if (c.cluster == nullptr) return false;
    cluster_ = &owner_.worker.clusters->get(*c.cluster);
    info_.upstream.cluster_name = c.cluster->name();
    info_.upstream.cluster_alt_stat_name = c.cluster->options().alt_stat_name;
    return true;
  }
  return false;
}

void TcpProxySession::connect() {
  if (ending_) return;
  if (attempts_ >= owner_.options.max_connect_attempts) {
    if (attempts_ > 0) cluster_->stats().inc(cs::kUpstreamCxConnectAttemptsExceeded);
    return fail(ResponseFlag::kUpstreamRetryLimitExceeded, "");
  }
  ++attempts_;
  upstream::LbContext context;
  context.previous_hosts = tried_;
  context.host_selection_attempts = 3;
  context.original_destination = connection_info_.original_destination();
  upstream::Host* host = cluster_->choose(context);
  if (host == nullptr) return fail(ResponseFlag::kNoHealthyUpstream, "");
  host_hold_ = host->hold();
  if (host->listed()) tried_.push_back(host);
  info_.upstream.host_address = &host->address();
  info_.upstream.host_name = host->hostname();
  info_.upstream.attempt_count = attempts_;
  if (!upstream_.start(*cluster_, *host, upstream::ResourcePriority::kDefault, downstream_.get())) {
    fail(ResponseFlag::kUpstreamOverflow, "");
  }
}

void TcpProxySession::on_tcp_connected(upstream::TcpUpstream& upstream) {
  net::Connection& connection = upstream.connection();
  connection.set_handler(*this);
  connection.set_watermark(cluster_->cluster().options().per_connection_buffer_limit_bytes);
  upstream_connection_info_.id = owner_.worker.connection_id();
  upstream_connection_info_.local_address = &connection.local_address();
  upstream_connection_info_.remote_address = &connection.remote_address();
  if (connection.secured()) {
    upstream_connection_info_.tls = connection.transport_facts();
    if (upstream_connection_info_.tls != nullptr) {
      upstream_connection_info_.requested_server_name = upstream_connection_info_.tls->server_name();
    }
    info_.upstream.handshake_end = connection.established_at();
  }
  info_.upstream.connection = &upstream_connection_info_;
  info_.upstream.pool_ready = owner_.worker.loop.now();
  waiting_ = false;
  if (owner_.options.flush_access_log_on_connected) write_log(stream::AccessLogType::kTcpUpstreamConnected);
  downstream_->resume_reading();
  touch();
}

void TcpProxySession::on_tcp_failed(upstream::TcpUpstream&, upstream::ResetReason reason, const base::Error* error) {
  info_.flags.set(flag_of(reason));
  if (error != nullptr) info_.upstream.transport_failure_reason = info_.keep(transport_failure(*error));
  if (reason == upstream::ResetReason::kOverflow) return fail(ResponseFlag::kUpstreamOverflow, "");
  if (attempts_ < owner_.options.max_connect_attempts && owner_.options.backoff_base.count() > 0) {
    // Exponential, fully jittered, as for HTTP retries.
    const int64_t base_ms = owner_.options.backoff_base.count();
    const int64_t max_ms = std::max<int64_t>(owner_.options.backoff_max.count(), base_ms);
    const int64_t ceiling = std::min(max_ms, base_ms << std::min<uint32_t>(attempts_ - 1, 20));
    back_off_.arm(base::milliseconds(
        static_cast<int64_t>(owner_.worker.loop.prng().below(static_cast<uint64_t>(ceiling) + 1))));
    return;
  }
  connect();
}

void TcpProxySession::fail(ResponseFlag flag, std::string_view details) {
  info_.flags.set(flag);
  if (!details.empty()) info_.response_code_details = details;
  end(net::CloseMode::kFlush, net::CloseMode::kNow, false);
}

void TcpProxySession::touch() {
  if (owner_.options.idle_timeout.count() > 0) idle_.arm(owner_.options.idle_timeout);
}

void TcpProxySession::on_data(net::Connection& connection, base::Buffer& data, bool end_stream) {
  touch();
  const size_t bytes = data.size();
  if (is_downstream(connection)) {
    if (waiting_) return;  // stays in the input
    info_.bytes_received += data.size();
    downstream_ended_ |= end_stream;
    if (upstream_.connected() && !upstream_.connection().write_ended()) {
      upstream_.connection().write(data, end_stream);
      forwarded(Direction::kFromDownstream, bytes, upstream_.connection());
    }
  } else {
    info_.bytes_sent += data.size();
    upstream_ended_ |= end_stream;
    if (!downstream_->write_ended()) {
      downstream_->write(data, end_stream);
      forwarded(Direction::kFromUpstream, bytes, *downstream_);
    }
  }
  data.clear();
  count_bytes();
  if (!end_stream) return;
  if (lost_at_close(connection)) {
    return on_error(connection, base::Error::from_errno(ECONNRESET, "closed over bytes that it had not read"));
  }
  maybe_end();
}

// ---- the short-circuit

void TcpProxySession::forwarded(Direction direction, size_t bytes, net::Connection& to) {
  if (short_circuit_.turns(direction, bytes)) join();
  if (short_circuit_.joined()) to.notify_drained();
  if (short_circuit_.leaving() && leaving_tick_.count() == 0) begin_to_leave();
}

void TcpProxySession::join() {
  if (downstream_->secured() || upstream_.connection().secured()) return;  // what is on the wire is not the stream
  short_circuit_.join(*downstream_, upstream_.connection());
  if (!short_circuit_.joined()) return;
  // What is on its way at this moment is to be reported as well.
  downstream_->notify_drained();
  upstream_.connection().notify_drained();
  arm_joined_tick();
}

// Whether the app there has closed over bytes that went past the daemon.
bool TcpProxySession::lost_at_close(const net::Connection& connection) const {
  const Direction to_it = is_downstream(connection) ? Direction::kFromUpstream : Direction::kFromDownstream;
  return short_circuit_.lost_at_close(to_it);
}

void TcpProxySession::on_drained(net::Connection& connection) {
  if (!upstream_.connected()) return;
  net::Connection& upstream = upstream_.connection();
  if (is_downstream(connection)) return short_circuit_.report(Direction::kFromUpstream, upstream, connection);
  short_circuit_.report(Direction::kFromDownstream, *downstream_, upstream);
}

bool TcpProxySession::count_joined_bytes() {
  const TcpShortCircuit::Bytes more = short_circuit_.take_bytes();
  if (!more.any()) return false;
  joined_bytes_.from_downstream += more.from_downstream;
  joined_bytes_.from_upstream += more.from_upstream;
  info_.bytes_received += more.from_downstream;
  info_.bytes_sent += more.from_upstream;
  owner_.stats.inc(ts::kDownstreamCxRxBytesTotal, more.from_downstream);
  owner_.stats.inc(ts::kDownstreamCxTxBytesTotal, more.from_upstream);
  cluster_->stats().inc(cs::kUpstreamCxRxBytesTotal, more.from_upstream);
  cluster_->stats().inc(cs::kUpstreamCxTxBytesTotal, more.from_downstream);
  return true;
}

// In a quarter of the idle time, so that it is not much longer than was asked for.
void TcpProxySession::arm_joined_tick() {
  const base::milliseconds idle = owner_.options.idle_timeout;
  joined_tick_.arm(idle.count() > 0 ? std::clamp(idle / 4, base::milliseconds(1), kJoinedTick) : kJoinedTick);
}

void TcpProxySession::begin_to_leave() {
  leaving_tick_ = kLeavingTick;
  joined_tick_.arm(leaving_tick_);
}

void TcpProxySession::on_joined_tick() {
  const bool left = short_circuit_.leaving() && short_circuit_.left();
  if (count_joined_bytes()) touch();
  if (left) {
    leaving_tick_ = {};
    return short_circuit_.forget();
  }
  if (!short_circuit_.leaving()) return arm_joined_tick();
  leaving_tick_ = std::min(std::max(leaving_tick_ * 2, kLeavingTick), kJoinedTick);
  joined_tick_.arm(leaving_tick_);
}

// ----

void TcpProxySession::maybe_end() {
  if (!downstream_ended_ || !upstream_ended_ || ending_) return;
  // Both sides ended: what is still to be sent goes out first.
  end(net::CloseMode::kFlush, net::CloseMode::kFlush, true);
}

void TcpProxySession::on_above_high_watermark(net::Connection& connection) {
  owner_.stats.inc(ts::kDownstreamFlowControlPausedReadingTotal, is_downstream(connection) ? 0 : 1);
  if (is_downstream(connection)) {
    if (upstream_.connected()) upstream_.connection().pause_reading();
  } else {
    downstream_->pause_reading();
  }
}

void TcpProxySession::on_below_low_watermark(net::Connection& connection) {
  owner_.stats.inc(ts::kDownstreamFlowControlResumedReadingTotal, is_downstream(connection) ? 0 : 1);
  if (is_downstream(connection)) {
    if (upstream_.connected()) upstream_.connection().resume_reading();
  } else {
    downstream_->resume_reading();
  }
}

// A reset passes on as a reset, with what is not yet sent dropped, as in Envoy: an orderly end would tell the other
// side that the stream was whole. Only ECONNRESET is one; a peer that had ended before it went gives EPIPE, unless it
// ended over bytes that TCP would have reset it for.
void TcpProxySession::on_error(net::Connection& connection, const base::Error& error) {
  const bool reset = error.os == ECONNRESET || lost_at_close(connection);
  const net::CloseMode other = reset ? net::CloseMode::kReset : net::CloseMode::kFlush;
  if (is_downstream(connection)) {
    info_.flags.set(ResponseFlag::kDownstreamConnectionTermination);
    return end(net::CloseMode::kNow, other, true);
  }
  info_.flags.set(ResponseFlag::kUpstreamConnectionTermination);
  end(other, net::CloseMode::kNow, false);
}

void TcpProxySession::count_bytes() {
  count_joined_bytes();
  if (const uint64_t n = downstream_->bytes_received(); n > counted_received_) {
    owner_.stats.inc(ts::kDownstreamCxRxBytesTotal, n - counted_received_);
    counted_received_ = n;
  }
  if (const uint64_t n = downstream_->bytes_sent() + downstream_->unsent(); n > counted_sent_) {
    owner_.stats.inc(ts::kDownstreamCxTxBytesTotal, n - counted_sent_);
    counted_sent_ = n;
  }
  info_.downstream_bytes.wire_received = counted_received_ + joined_bytes_.from_downstream;
  info_.downstream_bytes.wire_sent = counted_sent_ + joined_bytes_.from_upstream;
  if (!upstream_.connected()) return;
  upstream_.count_bytes();
  const net::Connection& upstream = upstream_.connection();
  info_.upstream.bytes.wire_received = upstream.bytes_received() + joined_bytes_.from_upstream;
  info_.upstream.bytes.wire_sent = upstream.bytes_sent() + upstream.unsent() + joined_bytes_.from_downstream;
}

void TcpProxySession::end(net::CloseMode downstream, net::CloseMode upstream, bool remote) {
  if (ending_) return;
  ending_ = true;
  count_bytes();
  short_circuit_.withdraw();
  info_.end = owner_.worker.loop.now();
  idle_.disarm();
  max_duration_.disarm();
  back_off_.disarm();
  log_interval_.disarm();
  joined_tick_.disarm();
  write_log(stream::AccessLogType::kTcpConnectionEnd);
  upstream_.close(upstream, remote ? ConnectionAccount::EndedBy::kRemote : ConnectionAccount::EndedBy::kLocal);
  net::Connection::close(std::move(downstream_), downstream, base::milliseconds(0));
  observer_.on_connection_end(info_);
  owner_.forget(*this);
}

void TcpProxySession::write_log(stream::AccessLogType type) {
  if (owner_.options.access_logs.empty()) return;
  stream::FormatContext context;
  context.info = &info_;
  context.log_type = type;
  context.now = owner_.worker.loop.now();
  context.system_now = owner_.worker.loop.system_now();
  stream::log_all(owner_.options.access_logs, context, owner_.worker.access_log);
}

void TcpProxySession::on_idle() {
  if (count_joined_bytes()) return touch();
  owner_.stats.inc(ts::kIdleTimeout);
  info_.flags.set(ResponseFlag::kStreamIdleTimeout);
  end(net::CloseMode::kNow, net::CloseMode::kNow, false);
}

void TcpProxySession::on_max_duration() {
  owner_.stats.inc(ts::kMaxDownstreamConnectionDuration);
  info_.flags.set(ResponseFlag::kDurationTimeout);
  end(net::CloseMode::kNow, net::CloseMode::kNow, false);
}

void TcpProxySession::on_log_interval() {
  count_bytes();
  write_log(stream::AccessLogType::kTcpPeriodic);
  log_interval_.arm(owner_.options.access_log_flush_interval);
}

}  // namespace

std::unique_ptr<filter::ConnectionHost> TcpProxyConfig::instantiate(filter::WorkerContext& worker,
                                                                    const filter::ListenerFacts& listener) const {
  return std::make_unique<TcpProxyWorker>(options_, worker, listener);
}

}  // namespace millrace::router
