#include "server/pending_connection.h"

#include "server/worker_listener.h"
#include "stats/schema_listener.h"

namespace millrace::server {

namespace ls = stats::listener;
using filter::ListenerFilterStatus;

PendingConnection::PendingConnection(WorkerListener& listener, std::unique_ptr<net::Connection> connection,
                                     size_t filter, std::unique_ptr<filter::ListenerFilterMemory> memory,
                                     bool may_hand_over)
    : listener_(listener), connection_(std::move(connection)), filter_(filter), memory_(std::move(memory)),
      may_hand_over_(may_hand_over), timeout_(connection_->loop().timers(), *this) {
  listener_.stats().gauge_add(ls::kDownstreamPreCxActive);
}

void PendingConnection::start() {
  const base::milliseconds limit = listener_.options().listener_filters_timeout;
  if (limit.count() > 0) timeout_.arm(limit);
  connection_->set_handler(*this);
  connection_->start();
}

// Off the listener's list and its books.
std::unique_ptr<net::Connection> PendingConnection::leave() {
  timeout_.disarm();
  listener_.stats().gauge_sub(ls::kDownstreamPreCxActive);
  unlink();
  connection_->loop().retire(std::unique_ptr<io::Retired>(this));
  return std::move(connection_);
}

void PendingConnection::close() { listener_.drop(leave()); }

void PendingConnection::on_data(net::Connection& connection, base::Buffer&, bool end_stream) {
  switch (listener_.run_filters(connection, filter_, memory_)) {
    case ListenerFilterStatus::kContinue: return listener_.on_inspected(leave(), may_hand_over_);
    case ListenerFilterStatus::kClose:
      listener_.stats().inc(ls::kDownstreamListenerFilterError);
      return close();
    case ListenerFilterStatus::kWait: break;
  }
  if (!end_stream) return;
  listener_.stats().inc(ls::kDownstreamListenerFilterRemoteClose);
  close();
}

void PendingConnection::on_error(net::Connection&, const base::Error&) {
  listener_.stats().inc(ls::kDownstreamListenerFilterError);
  close();
}

void PendingConnection::on_timeout() {
  listener_.stats().inc(ls::kDownstreamPreCxTimeout);
  if (!listener_.options().continue_on_listener_filters_timeout) return close();
  listener_.on_inspected(leave(), may_hand_over_);
}

}  // namespace millrace::server
