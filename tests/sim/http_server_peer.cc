#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>

#include "sim/http_peers.h"

namespace millrace::sim {

namespace {

constexpr uint64_t kWaitUs = 5'000;  // for the unsent to become less

}  // namespace

void PacedPeer::on_readable() {
  if (!slow_) return take(network().read(socket_, SIZE_MAX));
  if (reading_) return;
  reading_ = true;
  network().at(base::microseconds(prng_.below(10'000)), [this, socket = socket_] {
    reading_ = false;
    if (!attached()) return;
    if (socket == socket_) take(network().read(socket_, 1 + prng_.below(8'192)));
    if (attached() && network().readable(socket_) > 0) on_readable();
  });
}

HttpServer::HttpServer(Scenery& scenery, Network::Socket socket)
    : PacedPeer(scenery, scenery.network.prng().below(4) == 0) {
  socket_ = socket;
}

void HttpServer::later(uint64_t us, void (HttpServer::*what)()) {
  network().at(base::microseconds(us), [this, what, generation = generation_] {
    if (!over_ && generation == generation_) (this->*what)();
  });
}

void HttpServer::take(std::string bytes) {
  reader_.append(bytes);
  while (!over_) {
    if (request_done_) {
      // The proxy does not pipeline, and asks for nothing more once a connection is said to close.
      EXPECT_EQ(reader_.waiting(), 0u) << "bytes after request " << plan_->id << ", which is not answered yet";
      return;
    }
    switch (reader_.next()) {
      case MessageReader::Event::kNone: return;
      case MessageReader::Event::kHead: on_head(); break;
      case MessageReader::Event::kBody:
        EXPECT_EQ(reader_.body(), pattern(plan_->id | kRequestSide, request_read_, reader_.body().size()))
            << "body of request " << plan_->id;
        request_read_ += reader_.body().size();
        break;
      case MessageReader::Event::kEnd: on_request_end(); break;
      case MessageReader::Event::kBad:
        ADD_FAILURE() << "the proxy wrote a bad request: " << reader_.why_bad();
        return leave(true);
    }
  }
}

void HttpServer::on_head() {
  const std::string_view target = reader_.target();
  uint64_t id = 0;
  std::from_chars(target.data() + target.rfind('/') + 1, target.data() + target.size(), id);
  plan_ = scenery_.plans.find(id);
  ASSERT_NE(plan_, nullptr) << target;
  EXPECT_EQ(target, plan_->target());
  EXPECT_EQ(reader_.method(), plan_->method);
  EXPECT_EQ(reader_.get("x-sim-id"), fmt::format("{}", id));
  EXPECT_TRUE(plan_->proxied()) << target << " should not have come here";
  ++plan_->attempts;
  ++generation_;
  request_read_ = 0;
  request_done_ = response_done_ = answering_ = false;
  if (plan_->answer == Plan::Answer::kEarly) later(plan_->delay_us, &HttpServer::answer);
}

void HttpServer::on_request_end() {
  EXPECT_EQ(request_read_, plan_->request_bytes) << "length of request " << plan_->id;
  request_done_ = true;
  if (plan_->answer != Plan::Answer::kEarly) return later(plan_->delay_us, &HttpServer::answer);
  if (response_done_) finish_response();
}

void HttpServer::answer() {
  if (answering_) return;
  answering_ = true;
  switch (plan_->answer) {
    case Plan::Answer::kHang: return;
    case Plan::Answer::kCloseBefore: return leave(false);
    case Plan::Answer::kResetBefore: return leave(true);
    case Plan::Answer::kGarbage:
      network().write(socket_, "220 mail.example ESMTP\r\n\r\n");
      return later(1'000, &HttpServer::write_pieces);
    case Plan::Answer::kFailFirst:
      if (plan_->attempts == 1) return answer_whole(503);
      break;
    case Plan::Answer::kCloseInside:
    case Plan::Answer::kResetInside:
    case Plan::Answer::kWhole:
    case Plan::Answer::kEarly: break;
  }
  answer_whole(plan_->status);
}

void HttpServer::answer_whole(int status) {
  const bool empty = plan_->method == "HEAD" || status == 204 || status == 304;
  if (plan_->informational) network().write(socket_, "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n");
  std::string head = fmt::format("HTTP/1.1 {} Said\r\nx-sim-id: {}\r\n", status, plan_->id);
  const bool inside = plan_->answer == Plan::Answer::kCloseInside || plan_->answer == Plan::Answer::kResetInside;
  if (plan_->says_close) head += "Connection: close\r\n";
  if (!empty || plan_->method == "HEAD") {
    if (plan_->framing == Plan::Framing::kLength && status != 204) {
      head += fmt::format("Content-Length: {}\r\n", plan_->response_bytes);
    }
    if (plan_->framing == Plan::Framing::kChunked && status != 204) head += "Transfer-Encoding: chunked\r\n";
  }
  network().write(socket_, head + "\r\n");
  body_left_ = empty ? 0 : plan_->response_bytes;
  body_sent_ = 0;
  const uint64_t cuts = plan_->response_bytes + (plan_->framing == Plan::Framing::kLength ? 0 : 1);
  cut_at_ = inside && body_left_ > 0 ? prng_.below(cuts) : UINT64_MAX;
  write_pieces();
}

void HttpServer::write_pieces() {
  if (plan_->answer == Plan::Answer::kGarbage) return leave(false);
  if (body_sent_ >= cut_at_) return leave(plan_->answer == Plan::Answer::kResetInside);
  const bool chunked = plan_->framing == Plan::Framing::kChunked;
  const bool empty = plan_->method == "HEAD" || plan_->body_due() == 0;
  if (body_left_ > 0) {
    if (network().unsent(socket_) >= kUnsentMax) return later(kWaitUs, &HttpServer::write_pieces);
    const uint64_t left = std::min(body_left_, cut_at_ - body_sent_);
    const size_t n = static_cast<size_t>(std::min<uint64_t>(left, 1 + prng_.below(20'000)));
    const std::string bytes = pattern(plan_->id | kResponseSide, body_sent_, n);
    network().write(socket_, chunked ? fmt::format("{:x}\r\n{}\r\n", n, bytes) : bytes);
    body_sent_ += n;
    body_left_ -= n;
    // Without chunks the last byte is the end: the next request may be here at once.
    if (body_left_ > 0 || chunked || cut_at_ != UINT64_MAX) {
      return later(10 + prng_.below(plan_->pause_us + 1), &HttpServer::write_pieces);
    }
  }
  if (chunked && !(empty && plan_->response_bytes > 0) && plan_->method != "HEAD" && plan_->status != 204 &&
      plan_->status != 304) {
    network().write(socket_, plan_->response_trailers ? "0\r\nx-t: 1\r\n\r\n" : "0\r\n\r\n");
  }
  response_done_ = true;
  if (request_done_ || plan_->says_close) finish_response();
}

void HttpServer::finish_response() {
  if (plan_->says_close) {
    network().end(socket_);
    return later(50'000, &HttpServer::on_end);
  }
  if (plan_->closes_silently) {
    network().at(base::microseconds(prng_.below(20'000)), [this, generation = generation_] {
      if (!over_ && generation == generation_) leave(false);
    });
  }
  request_done_ = false;  // the next may come
}

// The proxy ended its side, or had time enough to.
void HttpServer::on_end() { leave(false); }

void HttpServer::leave(bool reset) {
  if (over_) return;
  over_ = true;
  network().hang_up(socket_, reset);
}

}  // namespace millrace::sim
