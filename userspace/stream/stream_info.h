// What is known about one HTTP stream or one TCP connection: filled by whoever learns a fact (codec, connection
// manager, router, TCP proxy), read by access logs, %...% operators and header mutations. Owned by the stream, used on
// its worker, reset() and reused for the next stream. An unset time is the clock's epoch (is_set()), an unset view is
// empty, an unset pointer null.
// Lifetime: views and pointers are borrowed. They must stay valid until the stream's last access log line is written:
// text is static, in the Snapshot (names of routes, clusters), in the upstream Host or the ConnectionInfo that the
// stream holds on to, in its header maps, or was given to keep(), which copies it into the StreamInfo.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "stream/response_flags.h"

namespace millrace::net {
class Address;
class TransportFacts;
}  // namespace millrace::net

namespace millrace::stream {

enum class Protocol : uint8_t { kNone, kHttp10, kHttp11, kHttp2, kHttp3 };
// "HTTP/1.1"; empty for kNone (a TCP connection, or a request that never got so far).
std::string_view name(Protocol protocol);

template <class Time>
bool is_set(Time time) { return time.time_since_epoch().count() != 0; }

// Facts of a connection, shared by its streams; owned by the connection.
struct ConnectionInfo {
  uint64_t id = 0;
  const net::Address* local_address = nullptr;
  const net::Address* remote_address = nullptr;         // after PROXY protocol or original source
  const net::Address* direct_local_address = nullptr;   // of the socket; null: local_address
  bool local_address_restored = false;                  // local_address is where a redirected client meant to go
  const net::Address* direct_remote_address = nullptr;  // of the socket; null: remote_address
  base::MonotonicTime start{};
  base::MonotonicTime handshake_end{};
  std::string requested_server_name;                    // SNI, received (downstream) or sent (upstream)
  std::string transport_failure_reason;
  std::string_view filter_chain_name;
  std::string ja3, ja4;                                 // of the ClientHello, where tls_inspector was asked for them
  std::shared_ptr<const net::TransportFacts> tls;       // null: plaintext
  // What x-forwarded-client-cert says of this connection, once asked for.
  mutable std::optional<std::string> forwarded_client_cert;

  // What ORIGINAL_DST clusters connect to; null: the connection was not redirected.
  const net::Address* original_destination() const { return local_address_restored ? local_address : nullptr; }
};

struct ByteCounts {
  uint64_t wire_sent = 0, wire_received = 0;      // everything, framing included
  uint64_t header_sent = 0, header_received = 0;  // as encoded
  uint64_t plain_header_sent = 0, plain_header_received = 0;  // names and values; 0: they were not compressed
};

struct UpstreamInfo {
  const net::Address* host_address = nullptr;
  std::string_view host_name;                     // hostname of the endpoint, empty: use the address
  std::string_view cluster_name;                  // %UPSTREAM_CLUSTER_RAW%
  std::string_view cluster_alt_stat_name;         // %UPSTREAM_CLUSTER% when set
  const ConnectionInfo* connection = nullptr;     // of the attempt that answered; id, local address, TLS facts
  std::string_view transport_failure_reason;
  Protocol protocol = Protocol::kNone;
  uint32_t attempt_count = 0;
  base::MonotonicTime connect_start{}, connect_end{}, handshake_end{}, pool_ready{};
  base::MonotonicTime first_tx{}, last_tx{}, first_rx{}, first_body_rx{}, last_rx{};
  ByteCounts bytes;
};

struct StreamInfo {
  base::SystemTime start_time{};          // for logs
  base::MonotonicTime start{};            // every duration counts from here
  base::MonotonicTime request_end{};      // last byte of the request received (downstream rx)
  base::MonotonicTime first_downstream_tx{}, last_downstream_tx{};
  base::MonotonicTime end{};              // stream or connection complete

  Protocol protocol = Protocol::kNone;
  bool is_health_check = false;
  bool is_traceable = false;              // sampled: what the access log filter `traceable` asks
  uint16_t response_code = 0;             // 0: no response was begun
  ResponseFlags flags;
  std::string_view response_code_details;          // "via_upstream", "route_not_found", ...
  std::string_view connection_termination_details; // why Millrace itself cut the connection

  uint64_t bytes_received = 0;            // HTTP: body; TCP: all
  uint64_t bytes_sent = 0;
  ByteCounts downstream_bytes;

  UpstreamInfo upstream;
  const ConnectionInfo* connection = nullptr;
  // What the connection manager took from x-forwarded-for for this request; null: the connection's.
  const net::Address* trusted_remote_address = nullptr;

  std::string_view route_name;
  std::string_view virtual_cluster_name;
  std::string_view request_id;            // %STREAM_ID%
  std::string_view trace_id;
  std::string_view custom_flags;

  // The client as the proxy trusts it (%DOWNSTREAM_REMOTE_ADDRESS%); null when nothing is known.
  const net::Address* downstream_remote_address() const {
    if (trusted_remote_address != nullptr) return trusted_remote_address;
    return connection != nullptr ? connection->remote_address : nullptr;
  }
  // From start to end, or to now for a stream that still runs.
  base::nanoseconds duration(base::MonotonicTime now) const { return (is_set(end) ? end : now) - start; }

  // A copy of text which lives until reset(). For what has no other owner; allocates, so not for the good path.
  std::string_view keep(std::string_view text) {
    kept_.push_back(std::make_unique<std::string>(text));
    return *kept_.back();
  }
  // All as after construction; tens of nanoseconds, allocates nothing.
  void reset() {
    std::vector<std::unique_ptr<std::string>> kept = std::move(kept_);
    kept.clear();
    *this = StreamInfo();
    kept_ = std::move(kept);
  }

  std::vector<std::unique_ptr<std::string>> kept_;  // use keep()
};

}  // namespace millrace::stream
