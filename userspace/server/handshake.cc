#include "server/handshake.h"

#include "filter/connection_info.h"
#include "server/worker_listener.h"
#include "stats/schema_listener.h"

namespace millrace::server {

namespace ls = stats::listener;

Handshake::Handshake(WorkerListener& listener, std::unique_ptr<net::Connection> connection, size_t chain)
    : listener_(listener), connection_(std::move(connection)), chain_(chain), start_(connection_->loop().now()),
      start_time_(connection_->loop().system_now()) {}

void Handshake::start() {
  const config::FilterChain& chain = listener_.options().filter_chains[chain_];
  net::TransportFactory::Ask ask;
  ask.worker = listener_.worker_.index;
  ask.local_address = &connection_->local_address();
  ask.remote_address = &connection_->remote_address();
  std::unique_ptr<net::Transport> transport = chain.transport->create(ask);
  if (transport == nullptr) return end("TLS error: Secret is not supplied by SDS", "");
  connection_->set_handler(*this);
  connection_->secure(std::move(transport), chain.transport_connect_timeout);
  connection_->start();
}

std::unique_ptr<net::Connection> Handshake::leave() {
  unlink();
  connection_->loop().retire(std::unique_ptr<io::Retired>(this));
  return std::move(connection_);
}

void Handshake::on_connected(net::Connection&) { listener_.give_to_chain(leave(), chain_); }

void Handshake::on_error(net::Connection&, const base::Error& error) {
  if (error.code != base::ErrorCode::kTimeout) return end(error.what, "");
  listener_.stats().inc(ls::kDownstreamCxTransportSocketConnectTimeout);
  end("", "transport socket timeout was reached");
}

void Handshake::close() { end("", ""); }

void Handshake::end(std::string failure, std::string_view details) {
  std::unique_ptr<net::Connection> connection = leave();
  stream::ConnectionInfo facts;
  filter::describe(*connection, listener_.worker_, listener_.shared().facts[chain_], facts);
  facts.start = start_;
  facts.transport_failure_reason = std::move(failure);
  stream::StreamInfo info;
  info.connection = &facts;
  info.start = start_;
  info.start_time = start_time_;
  info.end = connection->loop().now();
  info.connection_termination_details = details;
  listener_.on_connection_end(info);
  net::Connection::close(std::move(connection), net::CloseMode::kNow);
}

}  // namespace millrace::server
