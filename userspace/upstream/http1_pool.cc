#include "upstream/http1_pool.h"

#include "stats/schema_cluster.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

Http1Pool::Http1Pool(ThreadLocalCluster& cluster, Host& host, ResourcePriority priority)
    : cluster_(cluster), host_(host), resources_(cluster.cluster().resources(priority)), priority_(priority) {}

Http1Pool::~Http1Pool() {
  close();
  resources_.connection_pools.release();
}

Http1Pool::Start Http1Pool::start(UpstreamRequest& request, bool fresh) {
  MILLRACE_DCHECK(request.state_ == UpstreamRequest::State::kIdle);
  if (closing_) return Start::kOverflow;
  if (Http1Client* client = fresh ? nullptr : idle_.front(); client != nullptr) {
    if (!resources_.requests.try_acquire()) {
      cluster_.stats().inc(stat::kUpstreamRqActiveOverflow);
      return Start::kOverflow;
    }
    client->unlink();
    active_.push_back(*client);
    client->attach(request);
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

// One connection under way for each request that waits, as far as the breakers allow.
void Http1Pool::connect_for_pending() {
  while (!closing_ && connecting_count_ < pending_count_) {
    if (!ConnectionAccount::admit(cluster_, host_, priority_, connections_ == 0)) return;
    ++connections_;
    ++connecting_count_;
    connecting_.push_back(*new Http1Client(*this));  // retires itself
  }
}

void Http1Pool::leave_queue(UpstreamRequest& request) {
  request.unlink();
  request.pool_ = nullptr;
  request.state_ = UpstreamRequest::State::kIdle;
  --pending_count_;
  host_.add_pending(-1);
  resources_.pending_requests.release();
  cluster_.stats().gauge_sub(stat::kUpstreamRqPendingActive);
}

UpstreamRequest* Http1Pool::next_pending(Pending& list) {
  UpstreamRequest* request = list.front();
  if (request != nullptr) leave_queue(*request);
  return request;
}

void Http1Pool::cancel(UpstreamRequest& request) {
  leave_queue(request);
  cluster_.stats().inc(stat::kUpstreamRqCancelled);
}

void Http1Pool::on_connected(Http1Client& client) {
  --connecting_count_;
  on_idle(client);
}

// The connection can carry a request: the first that waits, or one to come.
void Http1Pool::on_idle(Http1Client& client) {
  client.unlink();
  while (UpstreamRequest* request = next_pending(pending_)) {
    if (!resources_.requests.try_acquire()) {
      // Nothing else tells this one, and it may start again from within: the connection must be in its place by then.
      idle_.push_front(client);
      client.arm_idle_timer();
      cluster_.stats().inc(stat::kUpstreamRqActiveOverflow);
      request->handler_.on_reset(*request, {.reason = ResetReason::kOverflow});
      if (idle_.front() != &client) return;
      client.unlink();
      continue;
    }
    active_.push_back(client);
    client.attach(*request);
    request->handler_.on_pool_ready(*request);
    return;
  }
  idle_.push_front(client);
  client.arm_idle_timer();
}

void Http1Pool::on_closed(bool connected) {
  --connections_;
  if (!connected) --connecting_count_;
  // A connection that was lost, or made room, may be what somebody waits for. Who waits on a failed attempt is told so.
  if (connected) connect_for_pending();
}

void Http1Pool::on_connect_failed(ResetReason reason, const base::Error& error) {
  fail_pending({.reason = reason, .error = &error});
}

void Http1Pool::fail_pending(const Reset& reset) {
  Pending failed;  // those who start again from within on_reset() wait for another connection
  failed.splice_back(pending_);
  while (UpstreamRequest* request = next_pending(failed)) {
    if (!closing_) cluster_.stats().inc(stat::kUpstreamRqPendingFailureEject);
    request->handler_.on_reset(*request, reset);
  }
}

void Http1Pool::drain() {
  while (Http1Client* client = idle_.front()) client->abort(ResetReason::kLocalReset, false);
  active_.for_each([](Http1Client& client) { client.close_after_response(); });
}

void Http1Pool::close() {
  closing_ = true;
  fail_pending({.reason = ResetReason::kLocalReset});
  for (Clients* list : {&connecting_, &idle_, &active_}) {
    while (Http1Client* client = list->front()) client->abort(ResetReason::kLocalReset, true);
  }
  closing_ = false;
}

}  // namespace millrace::upstream
