#include "upstream/http_client.h"

#include "stats/schema_cluster.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

HttpClient::HttpClient(HttpPool& pool, uint32_t expected)
    : pool_(pool),
      account_(std::make_unique<ConnectionAccount>(pool.cluster(), pool.host(), pool.priority())),
      expected_(expected),
      idle_timer_(pool.cluster().loop().timers(), *this),
      duration_timer_(pool.cluster().loop().timers(), *this) {
  static const std::vector<std::string> kHttp1{"http/1.1"}, kHttp2{"h2"}, kEither{"h2", "http/1.1"};
  net::ConnectOptions how = connect_options(pool.cluster(), pool.host());
  how.transport_ask.alpn_fallback = pool.protocol() == HttpProtocol::kAuto    ? kEither
                                    : pool.protocol() == HttpProtocol::kHttp2 ? kHttp2
                                                                              : kHttp1;
  if (const ConnectionIdentity* identity = pool.identity(); identity != nullptr) {
    how.transport_ask.server_name = identity->server_name;
    how.transport_ask.verify_name = identity->verify_name;
    if (!identity->source.empty()) how.transport_ask.source = &identity->source;
    if (!identity->destination.empty()) how.transport_ask.destination = &identity->destination;
  }
  connection_ = net::Connection::connect(pool.cluster().loop(), pool.host().address(), how, *this);
  connection_->set_watermark(options().per_connection_buffer_limit_bytes);
}

HttpClient::HttpClient(HttpClient& from, uint32_t expected)
    : pool_(from.pool_),
      account_(std::move(from.account_)),
      connection_(std::move(from.connection_)),
      expected_(expected),
      idle_timer_(pool_.cluster().loop().timers(), *this),
      duration_timer_(pool_.cluster().loop().timers(), *this) {
  connection_->set_handler(*this);
  connection_->set_watermark(options().per_connection_buffer_limit_bytes);
  pool_.on_expected(0, expected);
}

HttpClient::~HttpClient() { MILLRACE_ASSERT(connection_ == nullptr); }

void HttpClient::on_connected(net::Connection&) {
  account_->connected();
  HttpClient& client = pool_.client_for_protocol(*this);
  if (&client == this) return opened();
  unlink();
  set_expected(0);
  pool_.cluster().loop().retire(std::unique_ptr<io::Retired>(this));
  client.opened();
  pool_.connect_for_pending();  // who waits had counted on more room
}

void HttpClient::opened() {
  connected_ = true;
  const base::milliseconds duration = options().http.max_connection_duration;
  if (duration.count() > 0) duration_timer_.arm(duration);
  on_open();
  pool_.on_room(*this);
}

void HttpClient::on_error(net::Connection&, const base::Error& error) {
  if (connected_) return on_broken(error);
  account_->connect_failed(error);
  // The pool tells those who wait once this connection is off its books; `error` dies with the connection.
  const base::Error copy = error;
  HttpPool& pool = pool_;
  close(net::CloseMode::kNow, EndedBy::kRemote, false);
  pool.on_connect_failed(connect_failure_reason(copy), copy);
}

void HttpClient::set_expected(uint32_t requests) {
  pool_.on_expected(expected_, requests);
  expected_ = requests;
}

void HttpClient::take_request(UpstreamRequest& request) {
  idle_timer_.disarm();
  request.client_ = this;
  request.state_ = UpstreamRequest::State::kActive;
  request.request_ended_ = false;
  request.pauses_ = 0;
  request.wire_bytes_sent_ = request.wire_bytes_received_ = 0;
  request.header_bytes_sent_ = request.header_bytes_received_ = 0;
  request.plain_header_bytes_sent_ = request.plain_header_bytes_received_ = 0;
  ++requests_;
  if (requests_ == options().http.max_requests_per_connection) {
    last_request_ = true;
    stats().inc(stat::kUpstreamCxMaxRequests);
  }
  account_->cluster().counters(account_->host()).rq_total.add();
  account_->host().add_active(1);
  stats().inc(stat::kUpstreamRqTotal);
  stats().gauge_add(stat::kUpstreamRqActive);
}

// The request lets go of the connection; its breaker and gauges with it.
void HttpClient::release_request(UpstreamRequest& request) {
  request.client_ = nullptr;
  request.state_ = UpstreamRequest::State::kIdle;
  account_->host().add_active(-1);
  stats().gauge_sub(stat::kUpstreamRqActive);
  account_->cluster().cluster().resources(account_->priority()).requests.release();
}

void HttpClient::close(net::CloseMode mode, EndedBy by, bool with_requests) {
  if (connection_ == nullptr) return;
  room_ = 0;
  idle_timer_.disarm();
  duration_timer_.disarm();
  account_->count_bytes(*connection_);
  account_->closed(by, with_requests);
  if (connected_) stats().record(stat::kUpstreamRqPerCx, requests_);
  io::Loop& loop = account_->cluster().loop();
  net::Connection::close(std::move(connection_), mode, kFlushDelay);
  unlink();
  loop.retire(std::unique_ptr<io::Retired>(this));
  set_expected(0);
  pool_.on_closed(connected_);
}

void HttpClient::arm_idle_timer() {
  const base::milliseconds timeout = options().http.idle_timeout;
  if (timeout.count() > 0) idle_timer_.arm(timeout);
}

void HttpClient::on_idle_timeout() {
  stats().inc(stat::kUpstreamCxIdleTimeout);
  drain();
}

void HttpClient::on_max_duration() {
  stats().inc(stat::kUpstreamCxMaxDurationReached);
  drain();
}

}  // namespace millrace::upstream
