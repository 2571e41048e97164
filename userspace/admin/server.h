// The admin HTTP server: HTTP/1.1 on the main thread's loop, for people, scrapers and orchestrators. It owns the
// listening socket and its Sessions. Long answers are made one slice in a turn, whoever asks, in rotation: /ready is
// answered in the turn in which it is read, whatever else is under way. No worker is involved in any page.
// Limits: connections (an idle one makes room for a new one; counted as listener.admin.downstream_cx_overflow when none
// is idle), bytes and number of headers, bytes of a body, and times; their counters are those of http.admin.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "admin/context.h"
#include "admin/exchange.h"
#include "base/list.h"
#include "base/result.h"
#include "io/loop.h"
#include "net/acceptor.h"
#include "net/address.h"
#include "net/socket.h"
#include "route/matchers.h"
#include "route/options.h"
#include "stats/stats.h"
#include "stream/access_log_file.h"

namespace millrace::stream {
struct FormatContext;
}

namespace millrace::admin {

struct AdminOptions {
  net::Address address;
  std::vector<net::SocketOption> socket_options;
  uint32_t pipe_mode = 0;
  std::vector<route::StringMatch> allow_paths;  // of the path without its query; empty: every page

  size_t max_connections = 256;
  uint32_t max_request_header_bytes = 60 * 1024;
  uint32_t max_request_headers = 100;
  size_t max_body_bytes = 64 * 1024;
  base::milliseconds idle_timeout = std::chrono::minutes(5);   // between requests
  base::milliseconds request_timeout = base::seconds(15);      // from a request's first byte to its last
  base::milliseconds write_timeout = base::seconds(60);        // without the client taking 64 KiB
  base::milliseconds access_log_flush_interval = base::seconds(10);
};

class Session;
class SessionOfServer;  // tags of the lists that sessions are in
class SessionWaiting;

class AdminServer {
 public:
  // Binds and listens; connections wait in the socket's queue until start(). The context must outlive the server.
  static base::Result<std::unique_ptr<AdminServer>> create(io::Loop& loop, AdminOptions options, AdminContext& context);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  void start();
  // Closes the listening socket and every connection; answers on their way are cut. Idempotent.
  void stop();

  const net::Address& address() const { return address_; }  // as bound
  size_t connections() const { return session_count_; }

 private:
  friend class Session;

  AdminServer(io::Loop& loop, AdminOptions options, AdminContext& context);
  void on_accepted(int fd);
  bool make_room();
  Response answer(const Request& request);
  // Gives the session a turn soon: one session a turn.
  void schedule(Session& session);
  void post_turn();
  void run_next();
  void forget(Session& session);
  bool has_access_logs() const { return access_log_writer_ != nullptr; }
  void log(const stream::FormatContext& line);
  void on_flush();

  io::Loop& loop_;
  const AdminOptions options_;
  AdminContext& context_;
  net::Address address_;
  std::vector<route::StringMatcher> allow_paths_;
  std::unique_ptr<net::Acceptor> acceptor_;
  base::List<Session, SessionOfServer> sessions_;
  base::List<Session, SessionWaiting> waiting_;
  size_t session_count_ = 0;
  bool turn_posted_ = false;
  std::shared_ptr<AdminServer*> self_;  // what posted closures hold weakly
  stats::StatBlockPtr http_block_, listener_block_;
  stats::StatShard http_stats_, listener_stats_;
  std::unique_ptr<stream::AccessLogWriter> access_log_writer_;  // null: no access logs
  io::TimerOf<&AdminServer::on_flush> flush_timer_;
};

}  // namespace millrace::admin
