#include "upstream/grpc_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "stats/response_counters.h"
#include "stats/schema_cluster.h"
#include "stream/grpc_status.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {
namespace {

namespace stat = stats::cluster;
using http::Header;
using http::HeaderMap;

constexpr stats::ResponseCounters kResponses = MILLRACE_RESPONSE_COUNTERS(stat::kUpstreamRq);

enum : int64_t { kDeadlineExceeded = 4, kUnknown = 2, kInternal = 13, kUnavailable = 14 };

// At most eight digits and a unit.
std::string timeout_text(base::milliseconds left) {
  constexpr int64_t kDigits = 99'999'999;
  const int64_t ms = std::max<int64_t>(left.count(), 1);
  if (ms <= kDigits) return fmt::format("{}m", ms);
  return fmt::format("{}S", std::min(ms / 1000, kDigits));
}

uint16_t status_of(const HeaderMap& headers) {
  uint16_t status = 0;
  const std::string_view text = headers.get(Header::kStatus);
  std::from_chars(text.data(), text.data() + text.size(), status);
  return status;
}

// Whether the server may be there again soon, or answers what nobody can use.
int64_t code_of(ResetReason reason) {
  return reason == ResetReason::kRemoteReset || reason == ResetReason::kProtocolError ? kInternal : kUnavailable;
}

}  // namespace

GrpcStream::GrpcStream(ThreadLocalCluster& cluster, GrpcStreamHandler& handler)
    : cluster_(cluster), handler_(handler), deadline_timer_(cluster.loop().timers(), *this) {}

GrpcStream::~GrpcStream() { cancel(); }

// ---- the call

void GrpcStream::start(const GrpcCallOptions& options) {
  MILLRACE_DCHECK(state_ == State::kIdle);
  ++calls_;
  state_ = State::kWaiting;
  status_ = {};
  ended_ = over_ = above_high_ = false;
  pauses_ = 0;
  decoder_ = http::GrpcFrameDecoder(options.message_bytes_max, 0);  // no encoding was offered
  fill_headers(options);
  if (options.deadline.count() > 0) {
    deadline_ = cluster_.loop().now() + options.deadline;
    deadline_timer_.arm(options.deadline);
  }
  connect();
}

void GrpcStream::fill_headers(const GrpcCallOptions& options) {
  HeaderMap& to = request_headers_;
  to.clear();
  to.add_view(Header::kMethod, "POST");
  to.add_view(Header::kScheme, cluster_.cluster().options().transport != nullptr ? "https" : "http");
  to.add(Header::kPath, options.path);
  to.add(Header::kAuthority, options.authority.empty() ? cluster_.cluster().name() : options.authority);
  to.add_view(Header::kTe, "trailers");
  to.add_view(Header::kContentType, "application/grpc");
  if (options.deadline.count() > 0) to.add_view(Header::kGrpcTimeout, "");  // what is left when it is sent
  for (const auto& [name, value] : options.metadata) to.add(name, value);
}

void GrpcStream::connect() {
  host_ = cluster_.choose();
  if (host_ == nullptr) return finish_later(kUnavailable, "no healthy upstream");
  host_hold_ = host_->hold();
  HttpPool* pool = cluster_.http_pool(*host_, ResourcePriority::kDefault, stream::Protocol::kHttp2);
  switch (pool != nullptr ? pool->start(request_) : HttpPool::Start::kOverflow) {
    case HttpPool::Start::kReady: return open();
    case HttpPool::Start::kPending: return;
    case HttpPool::Start::kOverflow: return finish_later(kUnavailable, "upstream overflow");
  }
}

void GrpcStream::on_pool_ready(UpstreamRequest&) { open(); }

void GrpcStream::open() {
  state_ = State::kOpen;
  headers_.clear();
  trailers_.clear();
  if (request_headers_.has(Header::kGrpcTimeout)) {
    const auto left = std::chrono::ceil<base::milliseconds>(deadline_ - cluster_.loop().now());
    request_headers_.set(Header::kGrpcTimeout, timeout_text(left));
  }
  const bool bare = ended_ && unsent_.empty();
  if (!request_.send_headers(request_headers_, bare)) {
    request_.cancel();
    return finish_later(kInternal, "the headers cannot be sent");
  }
  if (pauses_ > 0) request_.pause_reading();
  if (unsent_.empty()) return;
  base::Buffer waited(std::move(unsent_));
  above_high_ = false;  // the request knows better
  request_.send_data(waited, ended_);
}

void GrpcStream::send(std::string_view message, bool end) {
  base::Buffer bytes;
  bytes.append(message);
  send(bytes, end);
}

void GrpcStream::send(base::Buffer& message, bool end) {
  if (state_ == State::kIdle || ended_ || over_) return message.clear();
  base::Buffer framed;
  http::append_grpc_frame(message, framed);
  give(framed, end);
}

void GrpcStream::end() {
  if (state_ == State::kIdle || ended_ || over_) return;
  base::Buffer none;
  give(none, true);
}

void GrpcStream::give(base::Buffer& framed, bool end) {
  ended_ = end;
  if (state_ == State::kOpen) return request_.send_data(framed, end);
  unsent_.move_from(framed);
  if (unsent_.size() > unsent_max()) above_high_ = true;
}

void GrpcStream::on_below_low_watermark(UpstreamRequest&) {
  above_high_ = false;
  handler_.on_writable(*this);
}

void GrpcStream::cancel() {
  if (state_ == State::kIdle) return;
  ++calls_;
  request_.cancel();
  close();
}

// What a call leaves.
void GrpcStream::close() {
  state_ = State::kIdle;
  deadline_timer_.disarm();
  unsent_.clear();
  received_.clear();
  host_hold_.reset();
}

// ---- the answer

void GrpcStream::pause_reading() {
  if (pauses_++ == 0) request_.pause_reading();
}

void GrpcStream::resume_reading() {
  if (pauses_ == 0 || --pauses_ > 0) return;
  request_.resume_reading();
  if (!received_.empty() || over_) cluster_.loop().at_turn_end(deliver_hook_);
}

void GrpcStream::on_headers(UpstreamRequest&, bool end_stream) {
  const uint16_t status = status_of(headers_);
  stats::count_response(cluster_.stats(), kResponses, stat::kUpstreamRqCodes, status);
  HostCounters& host = cluster_.counters(*host_);
  (status >= 500 ? host.rq_error : host.rq_success).add();
  if (end_stream) return end_response();
  if (status != 200 || !stream::is_grpc_request(&headers_)) {
    request_.cancel();
    return finish_later(stream::grpc_status(nullptr, &headers_, status).value_or(kUnknown),
                        fmt::format("status {}, content-type '{}'", status, headers_.get(Header::kContentType)));
  }
  handler_.on_headers(*this, headers_);
}

void GrpcStream::on_data(UpstreamRequest&, base::Buffer& data, bool end_stream) {
  received_.move_from(data);
  if (end_stream) {
    status_ = {kUnknown, "the server ended the call without a status"};
    over_ = true;
  }
  deliver();
}

void GrpcStream::on_trailers(UpstreamRequest&) { end_response(); }

// The status is in the trailers, or in the headers when there is nothing else.
void GrpcStream::end_response() {
  const bool bare = !trailers_.has(Header::kGrpcStatus);
  const HeaderMap& from = bare ? headers_ : trailers_;
  status_.code = stream::grpc_status(&trailers_, &headers_, status_of(headers_)).value_or(kUnknown);
  if (status_.code == stream::kGrpcInvalidCode) status_.code = kUnknown;
  status_.message = stream::grpc_message_decoded(from.get(Header::kGrpcMessage));
  over_ = true;
  deliver();
}

// Every whole message; then, if the call is over, its status.
void GrpcStream::deliver() {
  if (state_ == State::kIdle) return;
  const uint32_t call = calls_;
  http::GrpcMessage message;
  while (pauses_ == 0) {
    const base::Result<bool> got = decoder_.next(received_, message);
    if (!got.ok()) {
      received_.clear();
      request_.cancel();
      status_ = {kInternal, got.error().what};
      over_ = true;
      break;
    }
    if (!*got) break;
    handler_.on_message(*this, message.bytes);
    if (calls_ != call) return;
  }
  if (!over_ || pauses_ > 0) return;
  if (status_.ok() && !decoder_.at_boundary()) status_ = {kInternal, "the last message is not whole"};
  close();
  const GrpcStatus status = std::move(status_);
  handler_.on_closed(*this, status, trailers_);
}

void GrpcStream::on_reset(UpstreamRequest&, const Reset& reset) {
  if (reset.reason != ResetReason::kOverflow) cluster_.counters(*host_).rq_error.add();
  status_ = {code_of(reset.reason), std::string(name(reset.reason))};
  if (!reset.detail.empty()) status_.message += fmt::format(": {}", reset.detail);
  if (reset.error != nullptr) status_.message += fmt::format(": {}", reset.error->what);
  over_ = true;
  deliver();
}

// The handler hears of it at the end of the turn.
void GrpcStream::finish_later(int64_t code, std::string message) {
  status_ = {code, std::move(message)};
  over_ = true;
  pauses_ = 0;
  received_.clear();
  decoder_.reset();
  cluster_.loop().at_turn_end(deliver_hook_);
}

void GrpcStream::on_deadline() {
  cluster_.stats().inc(stat::kUpstreamRqTimeout);
  if (host_ != nullptr && state_ == State::kOpen) cluster_.counters(*host_).rq_timeout.add();
  request_.cancel();
  finish_later(kDeadlineExceeded, "the deadline has passed");
}

}  // namespace millrace::upstream
