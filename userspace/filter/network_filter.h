// How a listener hands connections to what its filter chain ends in: the HTTP connection manager or the TCP proxy. A
// NetworkFilterConfig is immutable, part of the Snapshot and shared; each worker instantiates it once into a
// ConnectionHost, which owns the connections it is given until they end. Thread: the worker's.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "http/date.h"
#include "io/loop.h"
#include "net/connection.h"
#include "stream/access_log_file.h"
#include "stream/stream_info.h"

namespace millrace::upstream {
class ThreadLocalClusters;
}

namespace millrace::net {
class OriginalDestinationSource;
}

namespace millrace::fastpath {
class SpliceOffers;
}

namespace millrace::filter {

// What a worker lends to everything that runs on it.
struct WorkerContext {
  WorkerContext(io::Loop& loop_in, uint16_t index_in, stream::AccessLogFiles& access_log_files)
      : loop(loop_in), index(index_in), access_log(access_log_files) {}
  io::Loop& loop;
  const uint16_t index;
  bool draining = false;       // no keep-alive beyond the current answer
  uint64_t next_connection_id = 0;
  http::Date date;
  stream::AccessLogWriter access_log;
  upstream::ThreadLocalClusters* clusters = nullptr;
  const net::OriginalDestinationSource* original_destinations = nullptr;  // asked by the listener filter original_dst
  fastpath::SpliceOffers* splice_offers = nullptr;  // null: no connection of this process is short-circuited

  // Unique in the process: the worker in the high bits.
  uint64_t connection_id() { return (static_cast<uint64_t>(index) << 48) | ++next_connection_id; }
};

// Called once per connection, when it has ended and its last byte counts are known; the facts live during the call.
class ConnectionObserver {
 public:
  virtual void on_connection_end(const stream::StreamInfo& connection) = 0;

 protected:
  ~ConnectionObserver() = default;
};

class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  // Takes an accepted connection. It is not started, unless listener filters had to read; what they left in its input
  // comes with start(). The observer outlives it.
  virtual void accept(std::unique_ptr<net::Connection> connection, ConnectionObserver& observer) = 0;
  // Connections finish what they are doing and end; those that do nothing end soon.
  virtual void drain() = 0;
  // Ends every connection now.
  virtual void close_all() = 0;
  virtual size_t active() const = 0;
};

struct ListenerFacts {
  std::string_view name;
  std::string_view stat_address;       // as in listener.<stat_address>.
  std::string_view filter_chain_name;
  uint32_t per_connection_buffer_limit_bytes = 1 << 20;
  bool short_circuit = false;          // its connections may be offered to WorkerContext::splice_offers
};

class NetworkFilterConfig {
 public:
  virtual ~NetworkFilterConfig() = default;
  // Called on the worker's thread. The config and the facts outlive the host.
  virtual std::unique_ptr<ConnectionHost> instantiate(WorkerContext& worker, const ListenerFacts& listener) const = 0;
  virtual std::string_view type_name() const = 0;  // for /config_dump and logs
};

}  // namespace millrace::filter
