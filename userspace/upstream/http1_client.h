// An HTTP/1.1 connection to a host and the codec on it: one request at a time, then idle in its pool, or closed. What
// makes a connection unfit for another request: the peer says close or ends its side, a response that comes before the
// request is whole, bytes nobody asked for, an upgrade, max_requests_per_connection, max_connection_duration, a drain.
#pragma once
#include "fastpath/hop.h"
#include "http/http1_parser.h"
#include "http/http1_writer.h"
#include "upstream/http_client.h"

namespace millrace::upstream {

class Http1Client final : public HttpClient {
 public:
  explicit Http1Client(HttpPool& pool);
  explicit Http1Client(HttpClient& from);

  void attach(UpstreamRequest& request) override;
  void drain() override;
  void abort() override { fail(ResetReason::kLocalReset, nullptr, EndedBy::kLocal); }
  bool idle() const override { return request_ == nullptr; }

  [[nodiscard]] bool send_headers(UpstreamRequest& request, const http::HeaderMap& headers, bool end_stream) override;
  void send_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) override;
  void send_trailers(UpstreamRequest& request, const http::HeaderMap& trailers) override;
  void cancel(UpstreamRequest&) override { fail(ResetReason::kLocalReset, nullptr, EndedBy::kLocal, false); }
  void pause_reading(UpstreamRequest& request) override;
  void resume_reading(UpstreamRequest& request) override;
  stream::Protocol protocol() const override { return stream::Protocol::kHttp11; }

 private:
  void on_open() override;
  void on_broken(const base::Error& error) override;
  void on_data(net::Connection& connection, base::Buffer& data, bool end_stream) override;
  void on_above_high_watermark(net::Connection& connection) override;
  void on_below_low_watermark(net::Connection& connection) override;

  http::Http1Parser::Event parse(base::Buffer& data, base::Buffer& body);
  bool deliver_headers(base::Buffer& data, bool end_stream);
  bool deliver_body(base::Buffer& data, base::Buffer& body, bool end_stream);
  void on_raw_data(base::Buffer& data, bool end_stream);
  void on_end_of_stream();
  UpstreamRequest& finish(bool reusable);
  void count_sent(size_t before, bool head);
  UpstreamRequest* detach();
  void fail(ResetReason reason, const base::Error* error, EndedBy by, bool tell = true);
  void close(net::CloseMode mode, EndedBy by);

  UpstreamRequest* request_ = nullptr;
  fastpath::Hop hop_;
  http::Http1Parser parser_;
  http::Framing::Kind framing_ = http::Framing::Kind::kNone;  // of the request
  bool headers_seen_ = false;       // of the final response
  bool raw_request_ = false;        // an upgrade was asked for: bytes go out as they are
  bool raw_response_ = false;       // and was granted
};

}  // namespace millrace::upstream
