// The books of one downstream HTTP connection, whatever its codec: the facts that logs and headers take from it, its
// share of the connection manager's statistics, and the call to its observer at the end. Goes from HTTP/1 to HTTP/2
// with a connection whose first bytes tell which it is. One worker.
#pragma once
#include <cstdint>

#include "filter/network_filter.h"
#include "stream/stream_info.h"

namespace millrace::filter {

class HcmWorker;

class DownstreamAccount {
 public:
  // Counts it as opened. The addresses of its facts live as long as the connection, which may go before this.
  DownstreamAccount(HcmWorker& hcm, net::Connection& connection, ConnectionObserver& observer);

  const stream::ConnectionInfo& info() const { return info_; }
  void count_bytes(const net::Connection& connection);
  // Counts it as closed, after the last count_bytes(), and tells the observer. Once.
  void closed(bool remote);

 private:
  HcmWorker& hcm_;
  ConnectionObserver& observer_;
  stream::ConnectionInfo info_;
  uint64_t counted_received_ = 0, counted_sent_ = 0;
};

}  // namespace millrace::filter
