#include "upstream/http_pool.h"

#include "stats/schema_cluster.h"
#include "upstream/http1_client.h"
#include "upstream/http2_client.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

HttpPool::HttpPool(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority, HttpProtocol protocol,
                   const ConnectionIdentity* identity)
    : cluster_(cluster), host_(host), host_hold_(host.hold()), resources_(cluster.cluster().resources(priority)),
      priority_(priority), protocol_(protocol), identity_(identity) {}

HttpPool::~HttpPool() {
  close();
  resources_.connection_pools.release();
}

HttpPool::Start HttpPool::start(UpstreamRequest& request, bool fresh) {
  MILLRACE_DCHECK(request.state_ == UpstreamRequest::State::kIdle);
  if (closing_) return Start::kOverflow;
  if (HttpClient* client = ready_.front(); client != nullptr && !(fresh && client->idle())) {
    if (!resources_.requests.try_acquire()) {
      cluster_.stats().inc(stat::kUpstreamRqActiveOverflow);
      return Start::kOverflow;
    }
    attach(*client, request);
    return Start::kReady;
  }
  if (!resources_.pending_requests.try_acquire()) {
    cluster_.stats().inc(stat::kUpstreamRqPendingOverflow);
    return Start::kOverflow;
  }
  request.pool_ = this;
  request.state_ = UpstreamRequest::State::kPending;
  pending_.push_back(request);
  ++pending_count_;
  host_.add_pending(1);
  cluster_.stats().inc(stat::kUpstreamRqPendingTotal);
  cluster_.stats().gauge_add(stat::kUpstreamRqPendingActive);
  connect_for_pending();
  return Start::kPending;
}

void HttpPool::attach(HttpClient& client, UpstreamRequest& request) {
  client.attach(request);
  if (client.room() > 0) return;
  client.unlink();
  full_.push_back(client);
}

// Retires itself.
HttpClient& HttpPool::make_client() {
  if (protocol_ == HttpProtocol::kHttp1) return *new Http1Client(*this);
  return *new Http2Client(*this);
}

HttpClient& HttpPool::client_for_protocol(HttpClient& client) {
  if (protocol_ != HttpProtocol::kAuto) return client;
  http1_found_ = client.connection()->negotiated_protocol() != "h2";
  return http1_found_ ? *new Http1Client(client) : client;
}

// Connections under way have room for every request that waits, as far as the breakers allow.
void HttpPool::connect_for_pending() {
  while (!closing_ && expected_ < pending_count_) {
    if (!ConnectionAccount::admit(cluster_, host_, priority_, connections_ == 0)) return;
    ++connections_;
    HttpClient& client = make_client();
    expected_ += client.expected();
    connecting_.push_back(client);
  }
}

void HttpPool::leave_queue(UpstreamRequest& request) {
  request.unlink();
  request.pool_ = nullptr;
  request.state_ = UpstreamRequest::State::kIdle;
  --pending_count_;
  host_.add_pending(-1);
  resources_.pending_requests.release();
  cluster_.stats().gauge_sub(stat::kUpstreamRqPendingActive);
  check_unused();
}

void HttpPool::check_unused() {
  if (identity_ != nullptr && !closing_ && unused()) cluster_.on_pool_unused(*this);
}

UpstreamRequest* HttpPool::next_pending(Pending& list) {
  UpstreamRequest* request = list.front();
  if (request != nullptr) leave_queue(*request);
  return request;
}

void HttpPool::cancel(UpstreamRequest& request) {
  leave_queue(request);
  cluster_.stats().inc(stat::kUpstreamRqCancelled);
}

void HttpPool::on_room(HttpClient& client) {
  client.unlink();
  ready_.push_front(client);
  while (client.room() > 0) {
    UpstreamRequest* request = next_pending(pending_);
    if (request == nullptr) return;
    if (!resources_.requests.try_acquire()) {
      // Nothing else tells this one, and it may start again from within: the connection is in its place.
      cluster_.stats().inc(stat::kUpstreamRqActiveOverflow);
      request->handler_.on_reset(*request, {.reason = ResetReason::kOverflow});
      continue;
    }
    attach(client, *request);
    request->handler_.on_pool_ready(*request);
  }
}

void HttpPool::on_full(HttpClient& client) {
  client.unlink();
  full_.push_back(client);
}

void HttpPool::on_closed(bool connected) {
  --connections_;
  // A connection that was lost, or made room, may be what somebody waits for. Who waits on a failed attempt is told so.
  if (connected) connect_for_pending();
  check_unused();
}

void HttpPool::on_connect_failed(ResetReason reason, const base::Error& error) {
  fail_pending({.reason = reason, .error = &error});
}

void HttpPool::fail_pending(const Reset& reset) {
  Pending failed;  // those who start again from within on_reset() wait for another connection
  failed.splice_back(pending_);
  while (UpstreamRequest* request = next_pending(failed)) {
    if (!closing_) cluster_.stats().inc(stat::kUpstreamRqPendingFailureEject);
    request->handler_.on_reset(*request, reset);
  }
}

void HttpPool::drain() {
  for (Clients* list : {&ready_, &full_}) {
    list->for_each([](HttpClient& client) { client.drain(); });
  }
}

void HttpPool::close() {
  closing_ = true;
  fail_pending({.reason = ResetReason::kLocalReset});
  for (Clients* list : {&connecting_, &ready_, &full_}) {
    while (HttpClient* client = list->front()) client->abort();
  }
  closing_ = false;
}

}  // namespace millrace::upstream
