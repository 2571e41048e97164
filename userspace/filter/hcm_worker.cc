#include "filter/hcm_worker.h"

#include "filter/http1_connection.h"
#include "filter/http2_connection.h"
#include "stats/schema_http.h"

namespace millrace::filter {

HcmWorker::HcmWorker(const HcmOptions& options, WorkerContext& worker, const ListenerFacts& listener)
    : options_(options), listener_(listener), worker_(worker), stats_(options.stats->worker(worker.index)),
      delayed_closes_(stats_, stats::http::kDownstreamCxDelayedCloseTimeout) {
  if (options.listener_stats != nullptr) listener_stats_ = options.listener_stats->worker(worker.index);
  if (options.http2_stats != nullptr) http2_stats_ = options.http2_stats->worker(worker.index);
  if (options.codec_stats != nullptr) codec_stats_ = options.codec_stats->worker(worker.index);
}

HcmWorker::~HcmWorker() {
  close_all();
  over_http2_.clear();
  over_.clear();
}

void HcmWorker::accept(std::unique_ptr<net::Connection> connection, ConnectionObserver& observer) {
  if (options_.codec == Codec::kHttp2) {
    DownstreamAccount account(*this, *connection, observer);
    return serve_http2(std::move(connection), std::move(account), false);
  }
  auto* accepted = new Http1Connection(*this, std::move(connection), observer);  // deleted through forget()
  connections_.push_back(*accepted);
  ++active_;
  accepted->start();
}

void HcmWorker::forget(Http1Connection& connection) {
  static_cast<base::ListHook<Http1Connection>&>(connection).unlink();
  --active_;
  worker_.loop.retire(std::unique_ptr<Http1Connection>(&connection));
}

void HcmWorker::serve_http2(std::unique_ptr<net::Connection> connection, DownstreamAccount account, bool reading) {
  // Deleted through forget().
  auto* made = new Http2Connection(*this, std::move(connection), std::move(account));
  http2_connections_.push_back(*made);
  ++active_;
  made->start(reading);
}

void HcmWorker::forget(Http2Connection& connection) {
  static_cast<base::ListHook<Http2Connection>&>(connection).unlink();
  --active_;
  worker_.loop.retire(std::unique_ptr<Http2Connection>(&connection));
}

std::unique_ptr<Http2ServerStream> HcmWorker::acquire_http2() {
  if (idle_http2_streams_.empty()) return std::make_unique<Http2ServerStream>(*this);
  std::unique_ptr<Http2ServerStream> stream = std::move(idle_http2_streams_.back());
  idle_http2_streams_.pop_back();
  return stream;
}

void HcmWorker::recycle(std::unique_ptr<Http2ServerStream> stream) {
  over_http2_.push_back(std::move(stream));
  worker_.loop.at_turn_end(turn_end_);
}

std::unique_ptr<HttpStream> HcmWorker::acquire() {
  if (idle_streams_.empty()) return std::make_unique<HttpStream>(*this);
  std::unique_ptr<HttpStream> stream = std::move(idle_streams_.back());
  idle_streams_.pop_back();
  return stream;
}

void HcmWorker::recycle(std::unique_ptr<HttpStream> stream) {
  over_.push_back(std::move(stream));
  worker_.loop.at_turn_end(turn_end_);
}

void HcmWorker::on_turn_end() {
  for (std::unique_ptr<HttpStream>& stream : over_) {
    if (idle_streams_.size() < kIdleStreamsMax) idle_streams_.push_back(std::move(stream));
  }
  over_.clear();
  for (std::unique_ptr<Http2ServerStream>& stream : over_http2_) {
    if (idle_http2_streams_.size() < kIdleStreamsMax) idle_http2_streams_.push_back(std::move(stream));
  }
  over_http2_.clear();
}

void HcmWorker::drain() {
  draining_ = true;
  connections_.for_each([](Http1Connection& c) { c.drain(); });
  http2_connections_.for_each([](Http2Connection& c) { c.drain(); });
}

void HcmWorker::close_all() {
  while (Http1Connection* connection = connections_.front()) connection->close_now();
  while (Http2Connection* connection = http2_connections_.front()) connection->close_now();
}

}  // namespace millrace::filter
