#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/http_peers.h"

namespace millrace::sim {

HttpClient::HttpClient(Scenery& scenery, std::vector<Plan*> plans, uint32_t depth, bool slow)
    : Client(scenery, slow), todo_(plans.begin(), plans.end()), depth_(depth) {}

void HttpClient::start() {
  if (todo_.empty()) {
    over_ = true;
    return;
  }
  ++connections_;
  socket_ = network().dial(scenery_.front, *this);
}

void HttpClient::on_connected() {
  connected_ = true;
  writing_ = close_seen_ = local_ = false;
  reader_ = MessageReader(true);
  fill();
}

// ---- requests

void HttpClient::fill() {
  while (connected_ && !writing_ && !close_seen_ && open_.size() < depth_ && !todo_.empty()) {
    // What follows a request that ends its connection would not be answered.
    if (!open_.empty() && open_.back().plan->bad != Plan::Bad::kNo) return;
    open_.emplace_back().plan = todo_.front();
    todo_.pop_front();
    begin_request(open_.back());
  }
}

void HttpClient::begin_request(Exchange& exchange) {
  Plan& plan = *exchange.plan;
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nHost: sim\r\nx-sim-id: {}\r\n", plan.method, plan.target(), plan.id);
  switch (plan.bad) {
    case Plan::Bad::kNo: break;
    case Plan::Bad::kHeaderLine: head += "no colon here\r\n"; break;
    case Plan::Bad::kTwoLengths: head += "Content-Length: 3\r\nContent-Length: 4\r\n"; break;
    case Plan::Bad::kHeadTooLarge: head += "x-large: " + std::string(100'000, 'x') + "\r\n"; break;
  }
  if (plan.has_body() && plan.bad == Plan::Bad::kNo) {
    head += plan.request_chunked ? "Transfer-Encoding: chunked\r\n"
                                 : fmt::format("Content-Length: {}\r\n", plan.request_bytes);
    if (plan.expect_continue) head += "Expect: 100-continue\r\n";
  }
  network().write(socket_, head + "\r\n");
  if (plan.client_aborts) {
    network().at(base::microseconds(prng_.below(prng_.below(2) == 0 ? 500 : 40'000)), [this, number = connections_] {
      if (connected_ && number == connections_) abort();
    });
  }
  if (!plan.has_body() || plan.bad != Plan::Bad::kNo || (plan.request_bytes == 0 && !plan.request_chunked)) {
    exchange.written = true;
    return;
  }
  writing_ = true;
  network().at(base::microseconds(plan.expect_continue ? 20'000 : prng_.below(500)), [this, number = connections_] {
    if (connected_ && number == connections_) write_body();
  });
}

void HttpClient::write_body() {
  // The exchange being written is the last; it may be gone when it was answered early.
  if (open_.empty() || open_.back().written || close_seen_) return;
  Exchange& exchange = open_.back();
  const Plan& plan = *exchange.plan;
  if (exchange.body_sent == plan.request_bytes) return end_request(exchange);
  uint64_t next_us = 5'000;
  if (network().unsent(socket_) < 64 * 1024) {
    next_us = prng_.below(1'500);
    const uint64_t left = plan.request_bytes - exchange.body_sent;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(left, 1 + prng_.below(20'000)));
    const std::string bytes = pattern(plan.id | kRequestSide, exchange.body_sent, n);
    network().write(socket_, plan.request_chunked ? fmt::format("{:x}\r\n{}\r\n", n, bytes) : bytes);
    exchange.body_sent += n;
    if (exchange.body_sent == plan.request_bytes && !plan.request_chunked) return end_request(exchange);
  }
  network().at(base::microseconds(next_us), [this, number = connections_] {
    if (connected_ && number == connections_) write_body();
  });
}

void HttpClient::end_request(Exchange& exchange) {
  if (exchange.plan->request_chunked) {
    network().write(socket_, exchange.plan->request_trailers ? "0\r\nx-t: 1\r\n\r\n" : "0\r\n\r\n");
  }
  exchange.written = true;
  writing_ = false;
  fill();
}

void HttpClient::abort() {
  for (Exchange& exchange : open_) exchange.plan->aborted = true;
  open_.clear();
  connected_ = false;
  network().hang_up(socket_, prng_.below(2) == 0);
  reconnect_if_needed();
}

// ---- responses

void HttpClient::take(std::string bytes) {
  reader_.append(bytes);
  while (connected_) {
    if (!reader_.in_body() && !open_.empty()) reader_.answers_head(open_.front().plan->method == "HEAD");
    switch (reader_.next()) {
      case MessageReader::Event::kNone: return;
      case MessageReader::Event::kHead: on_head(); break;
      case MessageReader::Event::kBody: on_body(); break;
      case MessageReader::Event::kEnd: on_response_end(); break;
      case MessageReader::Event::kBad:
        ADD_FAILURE() << "the proxy wrote a bad response: " << reader_.why_bad();
        connected_ = false;
        over_ = true;
        network().hang_up(socket_, true);
        return;
    }
  }
}

void HttpClient::on_head() {
  if (open_.empty()) {
    // 408 to nobody would be legal of some servers; not of this one.
    ADD_FAILURE() << "a response that nobody asked for: " << reader_.status();
    return;
  }
  if (reader_.status() / 100 == 1) return;
  Exchange& exchange = open_.front();
  exchange.head_seen = true;
  exchange.read = 0;
  local_ = !reader_.has("x-sim-id");
  exchange.plan->seen_status = reader_.status();
  close_seen_ = reader_.get("connection") == "close";
  if (!local_) {
    EXPECT_EQ(reader_.get("x-sim-id"), fmt::format("{}", exchange.plan->id)) << "the response to another request";
  }
}

void HttpClient::on_body() {
  if (open_.empty()) return;
  Exchange& exchange = open_.front();
  const std::string& bytes = reader_.body();
  if (local_) {
    exchange.local_body += bytes;
  } else {
    EXPECT_EQ(bytes, pattern(exchange.plan->id | kResponseSide, exchange.read, bytes.size()))
        << "body of response " << exchange.plan->id << " at " << exchange.read;
  }
  exchange.read += bytes.size();
}

void HttpClient::on_response_end() {
  if (open_.empty() || reader_.status() / 100 == 1) return;
  Exchange exchange = std::move(open_.front());
  open_.pop_front();
  exchange.plan->answered = true;
  exchange.plan->local = local_;
  if (local_) check_local(scenery_, *exchange.plan, reader_.status(), reader_.get("location"), exchange.local_body);
  else check_whole(scenery_, *exchange.plan, reader_.status(), exchange.read);
  if (!exchange.written) {
    writing_ = false;
    EXPECT_TRUE(close_seen_) << exchange.plan->describe() << " was answered before it was whole, without close";
  }
  if (close_seen_) return connection_over(true);
  fill();
  if (todo_.empty() && open_.empty()) connection_over(true);
}

void check_whole(const Scenery& scenery, const Plan& plan, int status, uint64_t read) {
  const bool failed_first = plan.answer == Plan::Answer::kFailFirst && status == 503;
  if (failed_first) {
    EXPECT_TRUE(plan.route != Plan::Route::kRetry || !plan.benign() || scenery.troubled)
        << "not retried: " << plan.describe();
  } else {
    EXPECT_EQ(status, plan.status) << "of " << plan.id;
  }
  const bool bodiless = plan.method == "HEAD" || status == 204 || status == 304;
  const uint64_t due = bodiless ? 0 : plan.response_bytes;
  const bool any_length = plan.answer == Plan::Answer::kCloseInside && plan.framing == Plan::Framing::kUntilClose;
  if (!any_length) {
    EXPECT_EQ(read, due) << "length of response: " << plan.describe();
  }
  EXPECT_TRUE(plan.answer != Plan::Answer::kHang && plan.answer != Plan::Answer::kCloseBefore &&
              plan.answer != Plan::Answer::kResetBefore && plan.answer != Plan::Answer::kGarbage)
      << "an answer to " << plan.id << " out of nothing";
  // Every byte came, but not what says that it was the last.
  const bool unfinished = (plan.answer == Plan::Answer::kResetInside && plan.framing != Plan::Framing::kLength) ||
                          (plan.answer == Plan::Answer::kCloseInside && plan.framing == Plan::Framing::kChunked);
  EXPECT_FALSE(unfinished && due > 0) << "a cut response looks whole: " << plan.describe();
}

void check_local(const Scenery& scenery, const Plan& plan, int status, std::string_view location,
                 const std::string& body) {
  if (plan.bad != Plan::Bad::kNo) {
    EXPECT_EQ(status, plan.bad == Plan::Bad::kHeadTooLarge ? 431 : 400) << plan.id;
    return;
  }
  switch (plan.route) {
    case Plan::Route::kDirect:
      EXPECT_EQ(status, 200);
      EXPECT_EQ(body, plan.method == "HEAD" ? "" : kDirectBody);
      return;
    case Plan::Route::kRedirect:
      EXPECT_EQ(status, 301);
      EXPECT_EQ(location, "http://elsewhere" + plan.target());
      return;
    case Plan::Route::kNoRoute: EXPECT_EQ(status, 404); return;
    case Plan::Route::kNoCluster: EXPECT_EQ(status, 503); return;
    default: break;
  }
  // 504 is a timeout's; 502 and 503 a server's that failed.
  // With tight breakers it may wait for a connection that one which hangs has; 408 if the wait kept it from
  // being read.
  const bool waits = scenery.tight_breakers;
  const bool may_time_out = plan.route == Plan::Route::kShort || plan.answer == Plan::Answer::kHang || waits;
  EXPECT_TRUE(status == 502 || status == 503 || (status == 504 && may_time_out) || (status == 408 && waits))
      << "a local reply " << status << " to " << plan.describe();
  // A server may close a kept connection at the very moment; only what is safe to repeat is repeated.
  const bool stale = scenery.silent_closes && (!plan.idempotent());
  EXPECT_TRUE(scenery.troubled || !plan.benign() || stale)
      << plan.describe() << ": got " << status << " " << body;
}

// ---- the end of a connection

void HttpClient::on_end() {
  const MessageReader::Event event = reader_.end_of_stream();
  if (event == MessageReader::Event::kEnd) {
    ADD_FAILURE() << "a response to HTTP/1.1 that ends with the connection";
  }
  connection_over(false);
}

void HttpClient::on_reset() {
  // What came before the reset can still be read.
  const bool was_connected = connected_;
  if (connected_) take(network().read(socket_, SIZE_MAX));
  if (connected_ || !was_connected) connection_over(false);
}

void HttpClient::connection_over(bool said_close) {
  if (connected_) {
    connected_ = false;
    network().hang_up(socket_, false);
  }
  if (!said_close && !open_.empty()) {
    Exchange& first = open_.front();
    const Plan& plan = *first.plan;
    const bool mine = !first.head_seen && scenery_.idle_closes;
    if (mine && plan.attempts == 0) {
      // Closed as idle, or drained, just when the request came: it goes again.
    } else {
      first.plan->cut = true;
      EXPECT_TRUE(scenery_.troubled || !plan.benign()) << plan.describe() << ": was cut after " << first.read
                                                       << " bytes, head " << (first.head_seen ? "seen" : "not seen");
      EXPECT_TRUE(plan.proxied() || scenery_.troubled || plan.client_aborts) << plan.target() << " was cut";
      open_.pop_front();
    }
  }
  for (auto exchange = open_.rbegin(); exchange != open_.rend(); ++exchange) {
    // Unless the network took answers that were on their way.
    if ((said_close || !scenery_.troubled) && !exchange->plan->requeued) {
      EXPECT_EQ(exchange->plan->attempts, 0u) << exchange->plan->describe() << ": went on behind one that closes";
    }
    todo_.push_front(exchange->plan);
    exchange->plan->requeued = true;
  }
  open_.clear();
  reconnect_if_needed();
}

void HttpClient::reconnect_if_needed() {
  if (todo_.empty()) {
    over_ = true;
    return;
  }
  network().at(base::microseconds(prng_.below(1'000)), [this] { start(); });
}

}  // namespace millrace::sim
