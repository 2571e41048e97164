// A server of HTTP/2 at the other end of a FakeNetwork's connection: pump() takes what Millrace sent and gives its
// answers; in between the test says what to answer. Requests are numbered in the order of their arrival.
#pragma once
#include <deque>
#include <memory>
#include <string>

#include "http/http2_session.h"
#include "stats/names.h"
#include "stats/schema_http.h"
#include "unit/upstream/fake_network.h"

namespace millrace::upstream {

class Http2Peer final : private http::Http2Handler {
 public:
  struct Request final : http::Http2Stream {
    http::HeaderMap head_map, trailer_map;
    std::string body;
    std::string ended;  // "end", "trailers" or the code of the reset
    bool closed = false;
    std::string_view get(http::Header name) const { return head_map.get(name); }
  };

  Http2Peer(FakeNetwork& network, size_t number, http::Http2Options options = {})
      : network_(network), number_(number), options_(std::move(options)),
        block_(store_.add_block(stats::http2_codec::kSchema, stats::plain_name("peer."))), shard_(block_->worker(0)),
        session_(http::Http2Session::Role::kServer, {.http2 = options_}, shard_, *this) {}

  // What Millrace sent since the last call.
  void read() {
    std::string& sent = network_.peer(number_).received;
    base::Buffer in;
    in.append(std::exchange(sent, {}));
    if (auto fed = session_.feed(in); !fed.ok()) error = fed.error().what;
  }
  void write() {
    base::Buffer out;
    session_.drain(out, SIZE_MAX);
    if (!out.empty()) network_.peer(number_).says.push_back(out.to_string());
  }
  void pump() {
    read();
    write();
  }

  Request& request(size_t n) { return *requests_.at(n); }
  size_t requests() const { return requests_.size(); }
  http::Http2Session& session() { return session_; }
  void answer(size_t n, std::string_view status = "200", std::string_view body = "ok", bool end = true) {
    http::HeaderMap headers;
    headers.add(http::Header::kStatus, status);
    session_.send_headers(request(n), headers, end && body.empty());
    if (!body.empty()) say(n, body, end);
  }
  void say(size_t n, std::string_view body, bool end) {
    base::Buffer data;
    data.append(body);
    session_.send_data(request(n), data, end);
  }

  bool reads = true;  // gives windows back
  std::string error;
  uint64_t pings = 0;

 private:
  http::Http2Stream* on_stream_begin() override {
    Request& request = *requests_.emplace_back(std::make_unique<Request>());
    request.head = &request.head_map;
    request.trailers = &request.trailer_map;
    return &request;
  }
  void on_headers(http::Http2Stream& stream, bool end) override {
    if (end) static_cast<Request&>(stream).ended = "end";
  }
  void on_data(http::Http2Stream& stream, base::Buffer& data, bool end) override {
    Request& request = static_cast<Request&>(stream);
    request.body += data.to_string();
    if (reads) session_.consume(stream, data.size());
    if (end) request.ended = "end";
  }
  void on_trailers(http::Http2Stream& stream) override { static_cast<Request&>(stream).ended = "trailers"; }
  void on_stream_closed(http::Http2Stream& stream, http::Http2Code code) override {
    Request& request = static_cast<Request&>(stream);
    request.closed = true;
    if (request.remote_reset()) request.ended = std::to_string(static_cast<uint32_t>(code));
  }

  FakeNetwork& network_;
  const size_t number_;
  const http::Http2Options options_;
  stats::Store store_{1};
  stats::StatBlockPtr block_;
  stats::StatShard shard_;
  std::deque<std::unique_ptr<Request>> requests_;
  http::Http2Session session_;
};

}  // namespace millrace::upstream
