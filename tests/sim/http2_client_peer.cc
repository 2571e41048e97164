#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>

#include "sim/http_peers.h"

namespace millrace::sim {

using http::Header;
using http::Http2Code;

Http2Client::Http2Client(Scenery& scenery, std::vector<Plan*> plans, uint32_t depth, bool slow)
    : Client(scenery, slow), options_(draw_http2_options(prng_)), todo_(plans.begin(), plans.end()), depth_(depth) {
  for (Plan* plan : plans) plan->bad = Plan::Bad::kNo;  // our codec would not write it
}

Http2Client::~Http2Client() = default;

void Http2Client::start() {
  if (todo_.empty()) {
    over_ = true;
    return;
  }
  ++connections_;
  socket_ = network().dial(scenery_.front, *this);
}

void Http2Client::on_connected() {
  connected_ = true;
  goaway_ = 0;
  session_ = std::make_unique<http::Http2Session>(http::Http2Session::Role::kClient,
                                                  http::Http2SessionOptions{options_, 200'000, 200},
                                                  stats::StatShard(), *this);
  fill();
  flush();
}

void Http2Client::later(uint64_t us, const std::shared_ptr<Exchange>& exchange, void (Http2Client::*what)(Exchange&)) {
  network().at(base::microseconds(us), [this, what, number = connections_, exchange] {
    if (!connected_ || number != connections_ || exchange->id() == 0) return;
    (this->*what)(*exchange);
    flush();
  });
}

std::shared_ptr<Http2Client::Exchange> Http2Client::find(const Exchange& exchange) {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const auto& e) { return e.get() == &exchange; });
  return at == open_.end() ? nullptr : *at;
}

// ---- requests

void Http2Client::fill() {
  while (connected_ && open_.size() < depth_ && !todo_.empty()) {
    Plan& plan = *todo_.front();
    todo_.pop_front();
    begin_request(plan);
    if (!todo_.empty() && todo_.front() == &plan) return;  // this connection takes no more
  }
}

void Http2Client::begin_request(Plan& plan) {
  auto exchange = std::make_shared<Exchange>();
  exchange->plan = &plan;
  exchange->head = &exchange->response;
  exchange->trailers = &exchange->end;
  http::HeaderMap request;
  request.add(Header::kMethod, plan.method);
  request.add(Header::kScheme, "http");
  request.add(Header::kAuthority, "sim");
  request.add(Header::kPath, plan.target());
  request.add("x-sim-id", fmt::format("{}", plan.id));
  if (plan.has_body() && !plan.request_chunked) {
    request.add(Header::kContentLength, fmt::format("{}", plan.request_bytes));
  }
  if (plan.has_body() && plan.expect_continue) request.add(Header::kExpect, "100-continue");
  const bool end = !plan.has_body() || (plan.request_bytes == 0 && !plan.request_trailers);
  if (!session_->request(*exchange, request, end)) {
    todo_.push_front(&plan);
    return;
  }
  open_.push_back(exchange);
  if (plan.client_aborts) later(prng_.below(prng_.below(2) == 0 ? 500 : 40'000), exchange, &Http2Client::abort);
  if (!end) later(plan.expect_continue ? 20'000 : prng_.below(500), exchange, &Http2Client::write_body);
}

void Http2Client::write_body(Exchange& exchange) {
  const Plan& plan = *exchange.plan;
  if (exchange.unsent() < kUnsentMax) {
    const uint64_t left = plan.request_bytes - exchange.body_sent;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(left, 1 + prng_.below(20'000)));
    base::Buffer data;
    data.append(pattern(plan.id | kRequestSide, exchange.body_sent, n));
    exchange.body_sent += n;
    const bool last = exchange.body_sent == plan.request_bytes;
    session_->send_data(exchange, data, last && !plan.request_trailers);
    if (last && plan.request_trailers) {
      http::HeaderMap trailers;
      trailers.add("x-t", "1");
      session_->send_trailers(exchange, trailers);
    }
    if (last) return;
  }
  later(prng_.below(1'500), find(exchange), &Http2Client::write_body);
}

void Http2Client::abort(Exchange& exchange) {
  const std::shared_ptr<Exchange> kept = find(exchange);
  std::erase(open_, kept);
  kept->plan->aborted = true;
  session_->reset(*kept, Http2Code::kCancel);
  if (prng_.below(4) == 0) {  // and everything with it
    for (const auto& other : open_) other->plan->aborted = true;
    open_.clear();
    return connection_over();
  }
  fill();
}

// ---- responses

void Http2Client::take(std::string bytes) {
  base::Buffer wire;
  wire.append(bytes);
  if (auto fed = session_->feed(wire); !fed.ok()) {
    ADD_FAILURE() << "the proxy broke the protocol: " << fed.error().what;
    over_ = true;
    connected_ = false;
    return network().hang_up(socket_, true);
  }
  fill();
  flush();
}

void Http2Client::flush() {
  if (!connected_) return;
  base::Buffer out;
  session_->drain(out, SIZE_MAX);
  if (!out.empty()) network().write(socket_, out.to_string());
  EXPECT_FALSE(session_->failed()) << "the proxy broke the protocol";
  if (open_.empty() && (todo_.empty() || session_->finished())) connection_over();
}

void Http2Client::on_headers(http::Http2Stream& stream, bool end_stream) {
  auto& exchange = static_cast<Exchange&>(stream);
  const std::string_view status = exchange.response.get(Header::kStatus);
  std::from_chars(status.data(), status.data() + status.size(), exchange.status);
  exchange.head_seen = true;
  exchange.ended = end_stream;
  exchange.local = !exchange.response.has("x-sim-id");
  exchange.plan->seen_status = exchange.status;
  if (!exchange.local) {
    EXPECT_EQ(exchange.response.get("x-sim-id"), fmt::format("{}", exchange.plan->id)) << "another's response";
  }
  for (const char* name : {"connection", "transfer-encoding", "keep-alive", "upgrade"}) {
    EXPECT_FALSE(exchange.response.has(name)) << name;
  }
}

void Http2Client::on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) {
  auto& exchange = static_cast<Exchange&>(stream);
  const std::string bytes = data.to_string();
  data.clear();
  if (exchange.local) {
    exchange.local_body += bytes;
  } else {
    EXPECT_EQ(bytes, pattern(exchange.plan->id | kResponseSide, exchange.read, bytes.size()))
        << "body of response " << exchange.plan->id << " at " << exchange.read;
  }
  exchange.read += bytes.size();
  exchange.ended |= end_stream;
  session_->consume(exchange, bytes.size());
}

void Http2Client::on_stream_closed(http::Http2Stream& stream, Http2Code code) {
  auto& exchange = static_cast<Exchange&>(stream);
  const std::shared_ptr<Exchange> kept = find(exchange);
  std::erase(open_, kept);
  Plan& plan = *exchange.plan;
  if (exchange.ended) return finish(exchange);
  if (code == Http2Code::kRefusedStream) {
    // What reached a server may be of the connection before, which broke while the proxy had the request.
    EXPECT_TRUE(plan.attempts == 0 || plan.requeued) << "refused, and done: " << plan.describe();
    return again(plan);
  }
  plan.cut = true;
  EXPECT_TRUE(scenery_.troubled || !plan.benign())
      << plan.describe() << ": was reset with " << static_cast<uint32_t>(code) << " after " << exchange.read;
}

void Http2Client::finish(Exchange& exchange) {
  Plan& plan = *exchange.plan;
  plan.answered = true;
  plan.local = exchange.local;
  if (exchange.local) {
    check_local(scenery_, plan, exchange.status, exchange.response.get(Header::kLocation), exchange.local_body);
  } else {
    check_whole(scenery_, plan, exchange.status, exchange.read);
  }
}

void Http2Client::again(Plan& plan) {
  plan.requeued = true;
  todo_.push_front(&plan);
}

// ---- the end of a connection

void Http2Client::on_end() { connection_over(); }

void Http2Client::on_reset() {
  const bool was_connected = connected_;
  if (connected_) take(network().read(socket_, SIZE_MAX));
  if (connected_ || !was_connected) connection_over();
}

void Http2Client::connection_over() {
  if (connected_) {
    connected_ = false;
    network().hang_up(socket_, false);
  }
  // What no server saw can go again.
  for (const auto& exchange : open_) {
    Plan& plan = *exchange->plan;
    if (plan.attempts == 0 && !exchange->head_seen && plan.proxied()) {
      again(plan);
      continue;
    }
    plan.cut = true;
    EXPECT_TRUE(scenery_.troubled || !plan.benign() || !plan.proxied())
        << plan.describe() << ": was cut off, GOAWAY " << goaway_;
  }
  open_.clear();
  if (session_ != nullptr) session_->stop();
  if (todo_.empty()) {
    over_ = true;
    return;
  }
  network().at(base::microseconds(prng_.below(1'000)), [this] { start(); });
}

}  // namespace millrace::sim
