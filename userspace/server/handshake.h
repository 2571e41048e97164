// An accepted connection whose filter chain has a transport, until that is established: then the chain gets it. Counts
// as one of the listener's active connections. Owned by its listener's list, retires itself. Thread: the worker's.
#pragma once
#include <memory>
#include <string>

#include "base/list.h"
#include "io/loop.h"
#include "net/connection.h"
#include "stream/stream_info.h"

namespace millrace::server {

class WorkerListener;

class Handshake final : private net::ConnectionHandler, public io::Retired, public base::ListHook<Handshake> {
 public:
  // chain: the position of its filter chain.
  Handshake(WorkerListener& listener, std::unique_ptr<net::Connection> connection, size_t chain);
  void start();
  void close();

 private:
  void on_connected(net::Connection& connection) override;
  void on_data(net::Connection&, base::Buffer&, bool) override {}  // the chain's, which gets it again
  void on_error(net::Connection& connection, const base::Error& error) override;
  std::unique_ptr<net::Connection> leave();
  void end(std::string failure, std::string_view details);

  WorkerListener& listener_;
  std::unique_ptr<net::Connection> connection_;
  const size_t chain_;
  const base::MonotonicTime start_;
  const base::SystemTime start_time_;
};

}  // namespace millrace::server
