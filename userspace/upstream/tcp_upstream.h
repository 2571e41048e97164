// One TCP connection to a host for one downstream connection (tcp_proxy): connects within connect_timeout and the
// breakers, then belongs to its owner until close(). Embedded in its owner; may start again after a failure.
//
//   kIdle --start()--> kConnecting --> kConnected --close()--> kIdle
//             on_tcp_failed() <--/
#pragma once
#include <memory>
#include <optional>

#include "net/connection.h"
#include "upstream/connection_account.h"
#include "upstream/upstream_request.h"

namespace millrace::upstream {

class TcpUpstream;

class TcpUpstreamHandler {
 public:
  // The connection is open; give it your handler (connection().set_handler()) before returning.
  virtual void on_tcp_connected(TcpUpstream& upstream) = 0;
  // It is idle again. error is null for kOverflow.
  virtual void on_tcp_failed(TcpUpstream& upstream, ResetReason reason, const base::Error* error) = 0;

 protected:
  ~TcpUpstreamHandler() = default;
};

class TcpUpstream final : private net::ConnectionHandler {
 public:
  explicit TcpUpstream(TcpUpstreamHandler& handler) : handler_(handler) {}
  TcpUpstream(const TcpUpstream&) = delete;
  TcpUpstream& operator=(const TcpUpstream&) = delete;
  ~TcpUpstream() { close(net::CloseMode::kNow, ConnectionAccount::EndedBy::kLocal); }

  // False: a breaker is open (UO), counted. True: one of the handler's calls follows, not from within this one.
  // proxied: the connection that this one is for, if a transport is to tell the host about it.
  [[nodiscard]] bool start(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority,
                           net::Connection* proxied = nullptr);
  // While connecting or connected; else does nothing.
  void close(net::CloseMode mode, ConnectionAccount::EndedBy by);

  bool connected() const { return connected_; }
  bool connecting() const { return connection_ != nullptr && !connected_; }
  net::Connection& connection() { return *connection_; }
  Host& host() const { return account_->host(); }
  // To be called now and then while bytes flow, and done by close().
  void count_bytes() { account_->count_bytes(*connection_); }

 private:
  void on_connected(net::Connection& connection) override;
  void on_data(net::Connection&, base::Buffer&, bool) override {}  // the owner's handler is in place by then
  void on_error(net::Connection& connection, const base::Error& error) override;
  void leave_queue();

  TcpUpstreamHandler& handler_;
  std::unique_ptr<net::Connection> connection_;
  std::optional<ConnectionAccount> account_;  // while there is a connection
  bool connected_ = false;
};

}  // namespace millrace::upstream
