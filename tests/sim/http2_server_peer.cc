#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>

#include "sim/http_peers.h"

namespace millrace::sim {

using http::Header;
using http::Http2Code;

namespace {

constexpr uint64_t kWaitUs = 5'000;            // for the unsent to become less
constexpr uint64_t kGoodbyeUs = 2'000'000;     // longer than anything is on its way

}  // namespace

Http2Server::Http2Server(Scenery& scenery, Network::Socket socket)
    : PacedPeer(scenery, scenery.network.prng().below(4) == 0), options_(draw_http2_options(prng_)) {
  socket_ = socket;
  session_ = std::make_unique<http::Http2Session>(http::Http2Session::Role::kServer,
                                                  http::Http2SessionOptions{options_, 200'000, 200},
                                                  stats::StatShard(), *this);
  network().at(base::microseconds(prng_.below(2'000)), [this] { flush(); });
}

Http2Server::~Http2Server() = default;

std::shared_ptr<Http2Server::Exchange> Http2Server::find(const Exchange& exchange) {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const auto& e) { return e.get() == &exchange; });
  return at == open_.end() ? nullptr : *at;
}

void Http2Server::later(uint64_t us, Exchange& exchange, Step step) {
  network().at(base::microseconds(us), [this, step, kept = find(exchange)] {
    if (over_ || kept->id() == 0) return;
    (this->*step)(*kept);
    flush();
  });
}

void Http2Server::take(std::string bytes) {
  base::Buffer wire;
  wire.append(bytes);
  if (auto fed = session_->feed(wire); !fed.ok()) ADD_FAILURE() << "the proxy broke the protocol: " << fed.error().what;
  flush();
}

void Http2Server::flush() {
  if (over_) return;
  base::Buffer out;
  session_->drain(out, SIZE_MAX);
  if (!out.empty()) network().write(socket_, out.to_string());
  EXPECT_FALSE(session_->failed()) << "the proxy broke the protocol";
}

// ---- requests

http::Http2Stream* Http2Server::on_stream_begin() {
  open_.push_back(std::make_shared<Exchange>());
  open_.back()->head = &open_.back()->request;
  open_.back()->trailers = &open_.back()->end;
  return open_.back().get();
}

void Http2Server::on_headers(http::Http2Stream& stream, bool end_stream) {
  auto& exchange = static_cast<Exchange&>(stream);
  const std::string_view target = exchange.request.get(Header::kPath);
  uint64_t id = 0;
  std::from_chars(target.data() + target.rfind('/') + 1, target.data() + target.size(), id);
  exchange.plan = scenery_.plans.find(id);
  ASSERT_NE(exchange.plan, nullptr) << target;
  Plan& plan = *exchange.plan;
  EXPECT_EQ(target, plan.target());
  EXPECT_EQ(exchange.request.get(Header::kMethod), plan.method);
  EXPECT_EQ(exchange.request.get("x-sim-id"), fmt::format("{}", id));
  EXPECT_TRUE(plan.proxied()) << target << " should not have come here";
  for (const char* name : {"connection", "transfer-encoding", "keep-alive", "upgrade", "host"}) {
    EXPECT_FALSE(exchange.request.has(name)) << name;
  }
  ++plan.attempts;
  if (plan.answer == Plan::Answer::kEarly) later(plan.delay_us, exchange, &Http2Server::answer);
  if (end_stream) on_request_end(exchange);
}

void Http2Server::on_data(http::Http2Stream& stream, base::Buffer& data, bool end_stream) {
  auto& exchange = static_cast<Exchange&>(stream);
  const std::string bytes = data.to_string();
  data.clear();
  EXPECT_EQ(bytes, pattern(exchange.plan->id | kRequestSide, exchange.read, bytes.size()))
      << "body of request " << exchange.plan->id;
  exchange.read += bytes.size();
  session_->consume(exchange, bytes.size());
  if (end_stream) on_request_end(exchange);
}

void Http2Server::on_trailers(http::Http2Stream& stream) { on_request_end(static_cast<Exchange&>(stream)); }

void Http2Server::on_request_end(Exchange& exchange) {
  EXPECT_EQ(exchange.read, exchange.plan->request_bytes) << "length of request " << exchange.plan->id;
  if (exchange.plan->answer != Plan::Answer::kEarly) later(exchange.plan->delay_us, exchange, &Http2Server::answer);
}

void Http2Server::on_stream_closed(http::Http2Stream& stream, Http2Code) {
  std::erase(open_, find(static_cast<Exchange&>(stream)));
}

// ---- responses

void Http2Server::answer(Exchange& exchange) {
  if (std::exchange(exchange.answering, true)) return;
  switch (exchange.plan->answer) {
    case Plan::Answer::kHang: return;
    case Plan::Answer::kCloseBefore:
    case Plan::Answer::kResetBefore:
    case Plan::Answer::kGarbage: return break_off(exchange);
    case Plan::Answer::kFailFirst:
      if (exchange.plan->attempts == 1) return answer_whole(exchange, 503);
      break;
    default: break;
  }
  answer_whole(exchange, exchange.plan->status);
}

void Http2Server::break_off(Exchange& exchange) {
  static constexpr Http2Code kCodes[] = {Http2Code::kInternalError, Http2Code::kRefusedStream, Http2Code::kCancel,
                                         Http2Code::kProtocolError};
  const std::shared_ptr<Exchange> kept = find(exchange);
  std::erase(open_, kept);
  session_->reset(*kept, kCodes[prng_.below(std::size(kCodes))]);
}

void Http2Server::answer_whole(Exchange& exchange, int status) {
  const Plan& plan = *exchange.plan;
  const bool empty = plan.method == "HEAD" || status == 204 || status == 304 || plan.response_bytes == 0;
  if (plan.informational) {
    http::HeaderMap early;
    early.add(Header::kStatus, "103");
    early.add("link", "<a>");
    session_->send_informational(exchange, early);
  }
  http::HeaderMap head;
  head.add(Header::kStatus, fmt::format("{}", status));
  head.add("x-sim-id", fmt::format("{}", plan.id));
  if (plan.framing == Plan::Framing::kLength && status != 204) {
    head.add(Header::kContentLength, fmt::format("{}", plan.response_bytes));
  }
  if (plan.says_close) say_goodbye();
  session_->send_headers(exchange, head, empty);
  if (empty) return;
  const bool inside = plan.answer == Plan::Answer::kCloseInside || plan.answer == Plan::Answer::kResetInside;
  exchange.left = plan.response_bytes;
  if (inside) exchange.cut_at = prng_.below(plan.response_bytes);
  write_pieces(exchange);
}

void Http2Server::write_pieces(Exchange& exchange) {
  const Plan& plan = *exchange.plan;
  if (exchange.sent >= exchange.cut_at) return break_off(exchange);
  if (exchange.unsent() >= kUnsentMax) return later(kWaitUs, exchange, &Http2Server::write_pieces);
  const uint64_t left = std::min(exchange.left, exchange.cut_at - exchange.sent);
  const size_t n = static_cast<size_t>(std::min<uint64_t>(left, 1 + prng_.below(20'000)));
  base::Buffer data;
  data.append(pattern(plan.id | kResponseSide, exchange.sent, n));
  exchange.sent += n;
  exchange.left -= n;
  const bool last = exchange.left == 0;
  session_->send_data(exchange, data, last && !plan.response_trailers);
  if (!last) return later(10 + prng_.below(plan.pause_us + 1), exchange, &Http2Server::write_pieces);
  if (plan.response_trailers) {
    http::HeaderMap trailers;
    trailers.add("x-t", "1");
    session_->send_trailers(exchange, trailers);
  }
}

// ---- the end

void Http2Server::say_goodbye() {
  if (std::exchange(goodbye_, true)) return;
  session_->shutdown_notice();
  network().at(base::microseconds(kGoodbyeUs), [this] {
    if (over_) return;
    session_->goaway();
    flush();
  });
}

void Http2Server::on_end() {
  over_ = true;
  session_->stop();
  network().hang_up(socket_, false);
}

void Http2Server::on_reset() {
  over_ = true;
  session_->stop();
}

}  // namespace millrace::sim
