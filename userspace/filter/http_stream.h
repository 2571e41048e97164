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
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "filter/filter_chain.h"
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
  // The access log is about to be written: the stream's downstream_bytes, as far as they are not counted yet.
  virtual void count_bytes(HttpStream&) {}
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
  bool local_reply() const { return local_reply_; }
  stream::FormatContext format_context();
  // What the route says for this filter; null: nothing. The most specific that there is.
  const route::PerFilterConfig* route_config(const HttpFilter& filter);
  // How much of a body may be collected, and waits before the sender is paused.
  size_t buffer_limit_bytes();

  // What the filter stopped or collected goes on behind it.
  void continue_request(const HttpFilter& filter) { chain_.resume(Way::kRequest, filter); }
  void continue_response(const HttpFilter& filter) { chain_.resume(Way::kResponse, filter); }
  // What the filter collected so far, to be edited; only while it collects.
  base::Buffer& collected_request(const HttpFilter& filter) { return chain_.collected(Way::kRequest, filter); }
  base::Buffer& collected_response(const HttpFilter& filter) { return chain_.collected(Way::kResponse, filter); }
  // Called from within a filter's call, for the filters behind it. A body for a message that ends with its head, or in
  // front of the trailers of one that is about to end; trailers (in request_trailers() or response_trailers()) for a
  // message that ends with the part in hand.
  void add_request_body(base::Buffer& data) { chain_.add_body(Way::kRequest, data); }
  void add_response_body(base::Buffer& data) { chain_.add_body(Way::kResponse, data); }
  void add_response_trailers() { chain_.add_trailers(Way::kResponse); }
  // The response; the router fills response_headers() first. Passes the filters on its way.
  void respond_informational(const http::HeaderMap& headers);
  void respond_headers(bool end_stream);
  void respond_data(base::Buffer& data, bool end_stream);
  void respond_trailers();
  // An answer of our own. Before headers were sent; else the response is reset. To a gRPC request it is trailers only:
  // 200 with a grpc-status (the one given, or what the code means) and the body as grpc-message. of_route: it is the
  // route's action, and the route's response header edits apply.
  void send_local_reply(unsigned code, std::string_view body, std::string_view details,
                        ExtraHeaders extra = {}, bool of_route = false, std::optional<int64_t> grpc_status = {});
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
  friend class FilterChain;

  void count_begin();
  bool prepare_request();
  uint64_t skipped_filters();
  void refuse(unsigned status, std::string_view body, std::string_view details);
  void refuse_large_request();
  void refuse_large_response();
  // Back-pressure on what produces the response; nested.
  void pause_response();
  void resume_response();
  bool is_grpc_request() const;
  void grpc_reply_headers(unsigned code, std::string_view body, std::optional<int64_t> status);
  // Past the filters, to the codec.
  void send_headers(bool end_stream);
  void send_data(base::Buffer& data, bool end_stream);
  void send_trailers();
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
  FilterChain chain_;
  http::HeaderMap request_headers_, request_trailers_, response_headers_, response_trailers_;
  stream::StreamInfo info_;
  net::Address trusted_address_;
  const route::Route* route_ = nullptr;
  uint64_t random_ = 0;
  base::milliseconds idle_timeout_{0};
  uint16_t request_pauses_ = 0, response_pauses_ = 0;
  bool begun_ = false;
  bool route_known_ = false;
  bool request_begun_ = false;       // headers were accepted and are being passed on
  bool request_ended_ = false;
  bool response_started_ = false;    // headers were given to the codec
  bool response_ended_ = false;
  bool local_reply_ = false;
  bool grpc_request_ = false;        // as the client sent it; filters may make it one, or something else
  bool head_request_ = false;
  bool upgrade_requested_ = false;
  bool over_ = false;
  io::TimerOf<&HttpStream::on_idle> idle_;
  io::TimerOf<&HttpStream::on_request_timeout> request_timer_;
  io::TimerOf<&HttpStream::on_max_duration> max_duration_;
};

}  // namespace millrace::filter
