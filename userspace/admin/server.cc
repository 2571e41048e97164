#include "admin/server.h"

#include <algorithm>

#include "admin/pages.h"
#include "admin/session.h"
#include "base/log.h"
#include "stats/names.h"
#include "stats/schema_http.h"
#include "stats/schema_listener.h"
#include "stream/access_log.h"

namespace millrace::admin {

base::Result<std::unique_ptr<AdminServer>> AdminServer::create(io::Loop& loop, AdminOptions options,
                                                               AdminContext& context) {
  std::unique_ptr<AdminServer> server(new AdminServer(loop, std::move(options), context));
  for (size_t i = 0; i < server->options_.allow_paths.size(); ++i) {
    base::Result<route::StringMatcher> matcher = route::StringMatcher::compile(server->options_.allow_paths[i]);
    if (!matcher.ok()) {
      base::Error error = matcher.error();
      error.what = fmt::format("admin.allow_paths[{}]: {}", i, error.what);
      return error;
    }
    server->allow_paths_.push_back(std::move(*matcher));
  }
  net::ListenOptions listen;
  listen.reuse_port = false;  // two processes with one admin address: an error
  listen.pipe_mode = server->options_.pipe_mode;
  listen.socket_options = server->options_.socket_options;
  base::Result<int> fd = net::open_listen_socket(server->options_.address, listen);
  if (!fd.ok()) return fd.error();
  server->address_ = net::bound_address(*fd);
  server->acceptor_ = std::make_unique<net::Acceptor>(
      loop, *fd, [&loop, self = std::weak_ptr(server->self_)](int accepted) {
        // The acceptor lives on for a while after stop().
        const std::shared_ptr<AdminServer*> alive = self.lock();
        if (alive == nullptr || (*alive)->acceptor_ == nullptr) return loop.backend().close(accepted, true);
        (*alive)->on_accepted(accepted);
      });
  return server;
}

AdminServer::AdminServer(io::Loop& loop, AdminOptions options, AdminContext& context)
    : loop_(loop),
      options_(std::move(options)),
      context_(context),
      self_(std::make_shared<AdminServer*>(this)),
      http_block_(context.store.add_block(stats::http::kSchema, stats::http_name("admin"))),
      listener_block_(context.store.add_block(stats::listener::kSchema, stats::listener_name("admin"))),
      http_stats_(http_block_->main_shard()),
      listener_stats_(listener_block_->main_shard()),
      flush_timer_(loop.timers(), *this) {
  if (context.access_logs != nullptr && !context.access_logs->empty() && context.access_log_files != nullptr)
    access_log_writer_ = std::make_unique<stream::AccessLogWriter>(*context.access_log_files);
}

AdminServer::~AdminServer() { stop(); }

void AdminServer::start() { acceptor_->start(); }

void AdminServer::stop() {
  if (acceptor_ != nullptr) net::Acceptor::stop(std::move(acceptor_));
  while (Session* session = sessions_.front()) session->close(net::CloseMode::kNow);
  if (has_access_logs()) access_log_writer_->flush(false);
}

void AdminServer::log(const stream::FormatContext& line) {
  stream::log_all(*context_.access_logs, line, *access_log_writer_);
  if (!flush_timer_.armed()) flush_timer_.arm(options_.access_log_flush_interval);
}

void AdminServer::on_flush() { access_log_writer_->flush(true); }

void AdminServer::on_accepted(int fd) {
  if (session_count_ >= options_.max_connections && !make_room()) {
    listener_stats_.inc(stats::listener::kDownstreamCxOverflow);
    loop_.backend().close(fd, true);
    return;
  }
  ++session_count_;
  listener_stats_.inc(stats::listener::kDownstreamCxTotal);
  listener_stats_.gauge_add(stats::listener::kDownstreamCxActive);
  http_stats_.inc(stats::http::kDownstreamCxTotal);
  http_stats_.inc(stats::http::kDownstreamCxHttp1Total);
  http_stats_.gauge_add(stats::http::kDownstreamCxActive);
  http_stats_.gauge_add(stats::http::kDownstreamCxHttp1Active);
  Session* session = new Session(*this, fd);  // the list's until close()
  sessions_.push_back(*session);
  session->start();
}

bool AdminServer::make_room() {
  Session* idle = nullptr;
  sessions_.for_each([&idle](Session& session) {
    if (idle == nullptr && session.idle()) idle = &session;
  });
  if (idle == nullptr) return false;
  idle->close(net::CloseMode::kNow);
  return true;
}

void AdminServer::forget(Session& session) {
  static_cast<base::ListHook<SessionOfServer>&>(session).unlink();
  static_cast<base::ListHook<SessionWaiting>&>(session).unlink();
  --session_count_;
  listener_stats_.gauge_sub(stats::listener::kDownstreamCxActive);
  listener_stats_.inc(stats::listener::kDownstreamCxDestroy);
  http_stats_.gauge_sub(stats::http::kDownstreamCxActive);
  http_stats_.gauge_sub(stats::http::kDownstreamCxHttp1Active);
  http_stats_.inc(stats::http::kDownstreamCxDestroy);
  loop_.retire(std::unique_ptr<Session>(&session));
}

void AdminServer::schedule(Session& session) {
  if (!static_cast<base::ListHook<SessionWaiting>&>(session).linked()) waiting_.push_back(session);
  if (!turn_posted_) post_turn();
}

void AdminServer::post_turn() {
  turn_posted_ = true;
  loop_.post([self = std::weak_ptr(self_)] {
    if (const std::shared_ptr<AdminServer*> alive = self.lock()) (*alive)->run_next();
  });
}

void AdminServer::run_next() {
  turn_posted_ = false;
  Session* session = waiting_.pop_front();
  if (session == nullptr) return;
  session->take_turn();
  if (!turn_posted_ && !waiting_.empty()) post_turn();
}

Response AdminServer::answer(const Request& request) {
  if (!allow_paths_.empty() && std::none_of(allow_paths_.begin(), allow_paths_.end(), [&](const auto& matcher) {
        return matcher.matches(request.path);
      })) {
    return Response::make(403, fmt::format("The path {} is not among those that this server allows.\n", request.path));
  }
  const Page* page = find_page(request.path);
  if (page == nullptr) return Response::make(404, "invalid path. " + help_text());
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool allowed = request.method == "POST" || (reads && !page->acts);
  if (!allowed) {
    MILLRACE_LOG(kInfo, "admin", "refused {} of {}", request.method, page->path);
    Response response = Response::make(405, page->acts ? fmt::format("{} changes the server: use POST.\n", page->path)
                                                       : "Use GET, HEAD or POST.\n");
    response.allow = page->acts ? "POST" : "GET, HEAD, POST";
    return response;
  }
  return page->answer(request, context_);
}

}  // namespace millrace::admin
