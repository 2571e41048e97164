// One request and its response: the filter chain between a downstream codec and the router. Reused for the next stream
// by its HcmWorker, with its filters.
//
//   request side:   headers -> body* -> trailers? -> ended          (what the codec received)
//   response side:  none -> headers -> body* -> trailers? -> ended  (what was given to the codec)
//   over: both ended, or one side was reset. Then the access log is written, the filters' end() is called, and the
//   stream rests until the end of the loop turn, because its own code may still be on the stack.
//
// Thread: the worker's. After any call into the stream, check over() before touching it on.
#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "filter/hcm_options.h"
#include "filter/http_filter.h"
#include "filter/network_filter.h"
#include "io/timer.h"
#include "stream/stream_info.h"

namespace millrace::filter {

class HcmWorker;
class HttpStream;

// The downstream codec, as a stream sees it.
class StreamCodec {
 public:
  virtual void encode_informational(HttpStream& stream, const http::HeaderMap& headers) = 0;
  virtual void encode_headers(HttpStream& stream, http::HeaderMap& headers, bool end_stream) = 0;
  virtual void encode_data(HttpStream& stream, base::Buffer& data, bool end_stream) = 0;
  virtual void encode_trailers(HttpStream& stream, http::HeaderMap& trailers) = 0;
  // The response cannot be completed: the peer must see that it is cut.
  virtual void reset(HttpStream& stream) = 0;
  virtual void pause_request(HttpStream& stream) = 0;
  virtual void resume_request(HttpStream& stream) = 0;
  // The stream is over; the codec forgets it.
  virtual void on_stream_over(HttpStream& stream) = 0;
  virtual const stream::ConnectionInfo& connection_info() const = 0;
  // Sends what is left and closes the connection after this stream.
  virtual void close_after_stream() = 0;

 protected:
  ~StreamCodec() = default;
};

using ExtraHeaders = std::span<const std::pair<std::string_view, std::string_view>>;

class HttpStream {
 public:
  HttpStream(HcmWorker& worker);
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;
  ~HttpStream();

  // ---- for the codec
  void begin(StreamCodec& codec);
  // The codec fills request_headers() first. upgrade: the request asks to switch protocols, its body never ends by
  // itself.
  void on_request_headers(bool end_stream, bool upgrade, bool expect_continue);
  void on_request_data(base::Buffer& data, bool end_stream);
  void on_request_trailers();
  // The codec refuses the request: answer and be done. Headers may be absent.
  void on_codec_error(unsigned status, std::string_view details);
  void on_header_timeout();
  // The client went away, or its codec gave it up.
  void on_downstream_reset(stream::ResponseFlag flag, std::string_view details);
  void on_downstream_above_high_watermark();
  void on_downstream_below_low_watermark();

  // ---- for filters
  http::HeaderMap& request_headers() { return request_headers_; }
  http::HeaderMap& request_trailers() { return request_trailers_; }
  http::HeaderMap& response_headers() { return response_headers_; }
  http::HeaderMap& response_trailers() { return response_trailers_; }
  stream::StreamInfo& info() { return info_; }
  const HcmOptions& options() const;
  WorkerContext& worker();
  stats::StatShard& stats();
  const route::Route* route();
  uint64_t random() const { return random_; }
  bool request_ended() const { return request_ended_; }
  bool response_started() const { return response_started_; }
  bool over() const { return over_; }
  bool head_request() const { return head_request_; }
  bool upgrade_requested() const { return upgrade_requested_; }
  stream::FormatContext format_context();

  void continue_request();
  void continue_response();
  // The response; the router fills response_headers() first. Passes the filters on its way.
  void respond_informational(const http::HeaderMap& headers);
  void respond_headers(bool end_stream);
  void respond_data(base::Buffer& data, bool end_stream);
  void respond_trailers();
  // An answer of our own. Before headers were sent; else the response is reset. of_route: it is the route's action, and
  // the route's response header edits apply.
  void send_local_reply(unsigned code, std::string_view body, std::string_view details,
                        ExtraHeaders extra = {}, bool of_route = false);
  // The response cannot be completed.
  void reset_response(std::string_view details);
  // Back-pressure on the client; nested.
  void pause_request();
  void resume_request();
  void set_idle_timeout(base::milliseconds timeout);
  // From the beginning of the stream; 0: no limit.
  void set_max_duration(base::milliseconds limit);
  void clear_route() { route_known_ = false; }

 private:
  friend class HcmWorker;
  static constexpr size_t kNotStopped = static_cast<size_t>(-1);

  void count_begin();
  bool prepare_request();
  void pass_request_headers(size_t from);
  void pass_request_data(size_t from, base::Buffer& data, bool end_stream);
  void pass_request_trailers(size_t from);
  void pass_response_headers(size_t from, bool end_stream);
  void pass_response_data(size_t from, base::Buffer& data, bool end_stream);
  void pass_response_trailers(size_t from);
  void stop_request(size_t at, base::Buffer* seen);
  void refuse(unsigned status, std::string_view body, std::string_view details);
  void send_headers(bool end_stream);
  void finish_response_headers();
  void touch() { if (idle_timeout_.count() > 0) idle_.arm(idle_timeout_); }
  void on_idle();
  void on_request_timeout();
  void on_max_duration();
  void maybe_finish();
  void finish();
  void count_response_code(unsigned code);
  void write_access_logs();

  HcmWorker& hcm_;
  StreamCodec* codec_ = nullptr;
  std::vector<std::unique_ptr<HttpFilter>> filters_;
  http::HeaderMap request_headers_, request_trailers_, response_headers_, response_trailers_;
  stream::StreamInfo info_;
  net::Address trusted_address_;
  const route::Route* route_ = nullptr;
  uint64_t random_ = 0;
  // What waits at a filter that said kStop; the first seen bytes it has had already.
  base::Buffer held_request_, held_response_;
  size_t request_seen_ = 0, response_seen_ = 0;
  size_t request_stopped_ = kNotStopped;   // the filter that holds the request
  size_t response_stopped_ = kNotStopped;
  size_t request_heads_ = 0;               // filters that were given the request's head
  base::milliseconds idle_timeout_{0};
  uint16_t request_pauses_ = 0;
  bool begun_ = false;
  bool route_known_ = false;
  bool request_begun_ = false;       // headers were accepted and are being passed on
  bool request_ended_ = false;
  bool request_trailers_pending_ = false, request_trailers_seen_ = false;
  bool stop_paused_ = false;         // the filter that holds the request has paused the client
  bool response_started_ = false;    // headers were given to the codec
  bool response_ended_ = false;
  bool response_end_pending_ = false;
  bool response_trailers_pending_ = false, response_trailers_seen_ = false;
  bool local_reply_ = false;
  bool head_request_ = false;
  bool upgrade_requested_ = false;
  bool over_ = false;
  io::TimerOf<&HttpStream::on_idle> idle_;
  io::TimerOf<&HttpStream::on_request_timeout> request_timer_;
  io::TimerOf<&HttpStream::on_max_duration> max_duration_;
};

}  // namespace millrace::filter
