// The books of one upstream connection, from the attempt to connect until it is closed: the connection breaker it
// holds, the gauges of its host and cluster, and how it ended. A field of whoever holds the connection. One worker.
#pragma once
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "net/connection.h"
#include "stream/stream_info.h"
#include "upstream/cluster.h"

namespace millrace::upstream {

class ThreadLocalCluster;

// What access logs say of an upstream connection; outlives it as long as a stream holds on to it.
struct UpstreamConnectionInfo : stream::ConnectionInfo {
  net::Address local, remote;  // what the pointers of the base point to
  base::MonotonicTime connect_start{}, connect_end{};
};

// How connections to a host are made. Points into the options and the host.
net::ConnectOptions connect_options(const ThreadLocalCluster& cluster, const Host& host);

class ConnectionAccount {
 public:
  enum class EndedBy : uint8_t { kLocal, kRemote };

  // Whether the breakers allow one more connection to the host; counts the overflow if not. `must` (a pool that has
  // none) is allowed beyond the limit of the cluster, and counted all the same. On true the connection breaker is
  // acquired, for the account that must follow.
  static bool admit(ThreadLocalCluster& cluster, const Host& host, ResourcePriority priority, bool must);

  ConnectionAccount(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority);
  ConnectionAccount(const ConnectionAccount&) = delete;
  ConnectionAccount& operator=(const ConnectionAccount&) = delete;
  ~ConnectionAccount() { MILLRACE_ASSERT(closed_); }

  void connected();
  void connect_failed(const base::Error& error);
  // Made when somebody first asks, which costs a system call.
  std::shared_ptr<const UpstreamConnectionInfo> info(net::Connection& connection);
  // Bytes since the last call.
  void count_bytes(const net::Connection& connection);
  void closed(EndedBy by, bool with_active_request);

  ThreadLocalCluster& cluster() const { return cluster_; }
  Host& host() const { return host_; }
  ResourcePriority priority() const { return priority_; }
  bool is_closed() const { return closed_; }

 private:
  ThreadLocalCluster& cluster_;
  Host& host_;
  const base::MonotonicTime created_;
  base::MonotonicTime connected_at_{};
  std::shared_ptr<const UpstreamConnectionInfo> info_;
  const uint64_t id_;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
  const ResourcePriority priority_;
  bool connected_ = false;
  bool closed_ = false;
};

}  // namespace millrace::upstream
