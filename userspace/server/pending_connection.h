// An accepted connection whose listener filters wait for bytes. Made only when one does: a chain that is done at once
// costs nothing. Ends by handing the connection on (all filters are done, or the time is over and the listener says to
// go on), or by closing it. Owned by its listener's list, retires itself. Thread: the worker's.
//
//   reading --every filter done--> handed on
//      \______filter says close, peer ends or breaks, timeout______> closed
#pragma once
#include <memory>

#include "base/list.h"
#include "filter/listener_filter.h"
#include "io/loop.h"
#include "net/connection.h"

namespace millrace::server {

class WorkerListener;

class PendingConnection final : private net::ConnectionHandler,
                                public io::Retired,
                                public base::ListHook<PendingConnection> {
 public:
  // filter: the one that waits, memory: what it keeps. may_hand_over: use_original_dst applies, when the filters are
  // done.
  PendingConnection(WorkerListener& listener, std::unique_ptr<net::Connection> connection, size_t filter,
                    std::unique_ptr<filter::ListenerFilterMemory> memory, bool may_hand_over);
  void start();
  void close();

 private:
  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_error(net::Connection& connection, const base::Error& error) override;
  void on_timeout();
  std::unique_ptr<net::Connection> leave();

  WorkerListener& listener_;
  std::unique_ptr<net::Connection> connection_;
  size_t filter_;
  std::unique_ptr<filter::ListenerFilterMemory> memory_;
  const bool may_hand_over_;
  io::TimerOf<&PendingConnection::on_timeout> timeout_;
};

}  // namespace millrace::server
