// The HTTP connections of one worker to one host, for one routing priority and protocol, and for one identity where
// requests have one: such a pool is forgotten by its cluster once it has nothing left. A request takes the connection
// used last that has room for it (the others grow old and time out), or waits in a queue while a new one connects:
// HTTP/1 connections have room for one request, HTTP/2 connections for many. Breakers of the cluster bound connections,
// queue and requests. As in Envoy, a failed attempt to connect fails all who wait, for the router to decide.
#pragma once
#include "base/list.h"
#include "upstream/connection_identity.h"
#include "upstream/http_client.h"
#include "upstream/upstream_request.h"

namespace millrace::upstream {

class HttpPool {
 public:
  enum class Start : uint8_t {
    kReady,     // the request is active: send_headers()
    kPending,   // on_pool_ready() or on_reset() follows
    kOverflow,  // a breaker is open (UO), or the pool is being closed; the request is idle
  };

  // identity: null, or what it is kept under.
  HttpPool(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority, HttpProtocol protocol,
           const ConnectionIdentity* identity = nullptr);
  ~HttpPool();
  HttpPool(const HttpPool&) = delete;
  HttpPool& operator=(const HttpPool&) = delete;

  // fresh: not on a connection that lies idle. For the retry after Reset::stale_connection: what lies idle below
  // the one that was stale has lain there for longer.
  [[nodiscard]] Start start(UpstreamRequest& request, bool fresh = false);
  // Closes idle connections now and the others after their response; requests may still start.
  void drain();
  // Closes everything; requests are reset.
  void close();

  ThreadLocalCluster& cluster() const { return cluster_; }
  Host& host() const { return host_; }
  ResourcePriority priority() const { return priority_; }
  HttpProtocol protocol() const { return protocol_; }  // not kDownstream
  size_t connections() const { return connections_; }  // connecting, idle and active
  size_t pending() const { return pending_count_; }
  const ConnectionIdentity* identity() const { return identity_; }
  bool unused() const { return connections_ == 0 && pending_count_ == 0; }

 private:
  friend class HttpClient;
  friend class Http1Client;
  friend class Http2Client;
  friend class UpstreamRequest;
  using Pending = base::List<UpstreamRequest, UpstreamRequest>;
  using Clients = base::List<HttpClient, HttpClient>;

  // From clients.
  // There is room for a request: the first that waits, or one to come.
  void on_room(HttpClient& client);
  void on_full(HttpClient& client);
  void on_expected(uint32_t before, uint32_t after) { expected_ += after - before; }
  // ALPN has said what is spoken: the client itself, or another one that takes its connection over.
  HttpClient& client_for_protocol(HttpClient& client);
  bool expects_http1() const { return http1_found_; }
  void on_closed(bool connected);
  void on_connect_failed(ResetReason reason, const base::Error& error);
  // From requests that wait.
  void cancel(UpstreamRequest& request);

  void attach(HttpClient& client, UpstreamRequest& request);
  UpstreamRequest* next_pending(Pending& list);
  void leave_queue(UpstreamRequest& request);
  HttpClient& make_client();
  void connect_for_pending();
  void fail_pending(const Reset& reset);
  void check_unused();

  ThreadLocalCluster& cluster_;
  Host& host_;
  const std::shared_ptr<Host> host_hold_;
  Resources& resources_;
  const ResourcePriority priority_;
  const HttpProtocol protocol_;
  const ConnectionIdentity* const identity_;
  uint32_t connections_ = 0;
  uint32_t expected_ = 0;  // requests that connections under way will have room for
  uint32_t pending_count_ = 0;
  bool closing_ = false;
  bool http1_found_ = false;  // kAuto: by the latest connection
  Clients ready_;  // have room; the one used last in front
  Clients full_;
  Clients connecting_;
  Pending pending_;
};

}  // namespace millrace::upstream
