// What looks at an accepted connection before a listener's filter chain gets it: where it meant to go, and (for those
// that read) what its first bytes say, which goes to the connection's ClientHints. A listener filter is immutable, part
// of the Snapshot and shared by all workers; what it has to keep between calls goes to AcceptedConnection::memory. The
// server runs a listener's filters in order, each until it stops saying kWait. Thread: the worker's.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "net/connection.h"
#include "net/original_destination.h"

namespace millrace::filter {

// What one filter remembers of one connection while it waits.
class ListenerFilterMemory {
 public:
  virtual ~ListenerFilterMemory() = default;
};

// What a filter may look at and change.
struct AcceptedConnection {
  // Not read before the first filter that waits. connection.input() holds what came so far: a filter that only looks
  // leaves it, one that takes bytes off (a PROXY header) takes them from the front.
  net::Connection& connection;
  std::span<const net::Address> listener_addresses;                       // what the listener is bound to
  const net::OriginalDestinationSource* original_destinations = nullptr;  // null: there is none
  uint16_t worker = 0;
  std::unique_ptr<ListenerFilterMemory>& memory;  // empty at a filter's first call
};

enum class ListenerFilterStatus : uint8_t {
  kContinue,  // done: the next filter
  kWait,      // call again when more bytes came; the filter bounds how many it waits for
  kClose,     // not a connection that may go on
};

class ListenerFilter {
 public:
  virtual ~ListenerFilter() = default;
  virtual ListenerFilterStatus inspect(AcceptedConnection& accepted) const = 0;
  virtual std::string_view type_name() const = 0;  // for logs
};

}  // namespace millrace::filter
