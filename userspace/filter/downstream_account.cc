#include "filter/downstream_account.h"

#include "filter/connection_info.h"
#include "filter/hcm_worker.h"
#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;

DownstreamAccount::DownstreamAccount(HcmWorker& hcm, net::Connection& connection, ConnectionObserver& observer)
    : hcm_(hcm), observer_(observer) {
  describe(connection, hcm.worker(), hcm.listener(), info_);
  stats::StatShard& s = hcm.stats();
  s.inc(hs::kDownstreamCxTotal);
  s.gauge_add(hs::kDownstreamCxActive);
  if (info_.tls != nullptr) {
    s.inc(hs::kDownstreamCxSslTotal);
    s.gauge_add(hs::kDownstreamCxSslActive);
  }
}

void DownstreamAccount::count_bytes(const net::Connection& connection) {
  stats::StatShard& s = hcm_.stats();
  if (const uint64_t n = connection.bytes_received(); n != counted_received_) {
    s.inc(hs::kDownstreamCxRxBytesTotal, n - counted_received_);
    counted_received_ = n;
  }
  const uint64_t sent = connection.bytes_sent() + connection.unsent();
  if (sent > counted_sent_) {
    s.inc(hs::kDownstreamCxTxBytesTotal, sent - counted_sent_);
    counted_sent_ = sent;
  }
}

void DownstreamAccount::closed(bool remote) {
  stats::StatShard& s = hcm_.stats();
  s.inc(hs::kDownstreamCxDestroy);
  s.inc(remote ? hs::kDownstreamCxDestroyRemote : hs::kDownstreamCxDestroyLocal);
  s.gauge_sub(hs::kDownstreamCxActive);
  if (info_.tls != nullptr) s.gauge_sub(hs::kDownstreamCxSslActive);
  const io::Loop& loop = hcm_.worker().loop;
  const base::MonotonicTime now = loop.now();
  s.record(hs::kDownstreamCxLengthMs,
           static_cast<uint64_t>(std::chrono::duration_cast<base::milliseconds>(now - info_.start).count()));
  stream::StreamInfo whole;
  whole.connection = &info_;
  whole.start = info_.start;
  whole.end = now;
  whole.start_time = loop.system_now() - std::chrono::duration_cast<base::SystemTime::duration>(now - info_.start);
  whole.bytes_received = counted_received_;
  whole.bytes_sent = counted_sent_;
  observer_.on_connection_end(whole);
}

}  // namespace millrace::filter
