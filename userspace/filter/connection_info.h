// What logs, headers and filters know of a downstream connection, taken from it when its filter chain gets it.
#pragma once
#include "filter/network_filter.h"
#include "stream/stream_info.h"

namespace millrace::filter {

// The addresses that `info` points to live as long as the connection.
void describe(net::Connection& connection, WorkerContext& worker, const ListenerFacts& listener,
              stream::ConnectionInfo& info);

}  // namespace millrace::filter
