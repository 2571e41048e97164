#include "http/http2_session.h"

#include <algorithm>
#include <array>

#include "http/http2_callbacks.h"
#include "http/http2_memory.h"
#include "stats/schema_http.h"

namespace millrace::http {

namespace h2 = stats::http2_codec;

namespace {

// What nghttp2 refuses to send beyond: heads are limited where they are received.
constexpr size_t kSendHeadBytesMax = 16 << 20;
constexpr uint32_t kFrameBytes = 16'384;

// Set once per session; nghttp2 copies them.
nghttp2_option* make_options(const Http2SessionOptions& o, bool server) {
  nghttp2_option* to = nullptr;
  const int failed = nghttp2_option_new(&to);
  MILLRACE_ASSERT(failed == 0);
  nghttp2_option_set_no_auto_window_update(to, 1);
  nghttp2_option_set_no_closed_streams(to, 1);
  nghttp2_option_set_max_send_header_block_length(to, kSendHeadBytesMax);
  nghttp2_option_set_max_deflate_dynamic_table_size(to, o.http2.hpack_table_size);
  nghttp2_option_set_max_outbound_ack(to, size_t{o.http2.max_outbound_control_frames} + 1);
  // A head of the allowed size in frames that are filled, and as much again in ones that are not.
  nghttp2_option_set_max_continuations(to, 2 * (o.max_header_bytes / kFrameBytes) + 32);
  if (server) {
    const uint64_t burst = o.http2.stream_reset_burst > 0 ? o.http2.stream_reset_burst : UINT64_MAX;
    nghttp2_option_set_stream_reset_rate_limit(to, burst, o.http2.stream_reset_rate);
  } else {
    // Until its SETTINGS say otherwise.
    nghttp2_option_set_peer_max_concurrent_streams(to, o.http2.max_concurrent_streams);
  }
  return to;
}

}  // namespace

void Http2Stream::begin(int32_t id) {
  id_ = id;
  head_done_ = submitted_ = deferred_ = out_ended_ = has_trailers_out_ = reset_when_sent_ = false;
  remote_reset_ = remote_ended_ = local_ended_ = false;
  section_bytes_ = section_fields_ = cookies_ = 0;
  held_ = wire_received_ = header_received_ = wire_sent_ = header_sent_ = 0;
  plain_header_received_ = plain_header_sent_ = 0;
  details_ = {};
  in_.clear();
  out_.clear();
}

Http2Session::Http2Session(Role role, const Http2SessionOptions& options, const stats::StatShard& stats,
                           Http2Handler& handler)
    : role_(role), options_(options), stats_(stats), handler_(handler),
      heads_(role == Role::kServer ? static_cast<uint32_t>(kHttp2Preface.size()) : 0) {
  const bool server = role == Role::kServer;
  nghttp2_option* made = make_options(options, server);
  const int failed = server ? nghttp2_session_server_new3(&session_, Http2Callbacks::get(), this, made, http2_memory())
                            : nghttp2_session_client_new3(&session_, Http2Callbacks::get(), this, made, http2_memory());
  nghttp2_option_del(made);
  MILLRACE_ASSERT(failed == 0);
  submit_settings(options.http2);
}

Http2Session::~Http2Session() {
  stopped_ = true;
  nghttp2_session_del(session_);
  pending_.clear();
  stats_.gauge_sub(h2::kStreamsActive, static_cast<int64_t>(streams_));
  unsent_body_ = buffered_frames_ = buffered_control_ = 0;
  sync_gauges();
}

void Http2Session::submit_settings(const Http2Options& o) {
  std::vector<nghttp2_settings_entry> to;
  if (o.hpack_table_size != NGHTTP2_DEFAULT_HEADER_TABLE_SIZE) {
    to.push_back({NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, o.hpack_table_size});
  }
  if (role_ == Role::kServer) {
    to.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o.max_concurrent_streams});
    to.push_back({NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1});
    if (o.allow_connect) to.push_back({NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1});
  } else {
    to.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  to.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o.initial_stream_window_bytes});
  for (const auto& custom : o.custom_settings) {
    const auto same = std::find_if(to.begin(), to.end(), [&](const auto& e) { return e.settings_id == custom.first; });
    if (same == to.end()) {
      to.push_back({custom.first, custom.second});
    } else {
      same->value = custom.second;
    }
  }
  ++queued_acks_;
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, to.data(), to.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(o.initial_connection_window_bytes));
}

// ---- receiving

base::Result<void> Http2Session::feed(base::Buffer& in) {
  if (failed_ || stopped_) {
    in.clear();
    return failed_ ? fail(fail_code_, details_) : base::Result<void>();
  }
  busy_ = true;
  const base::Result<void> done = feed_slices(in);
  busy_ = false;
  return done;
}

base::Result<void> Http2Session::feed_slices(base::Buffer& in) {
  bool ok = true;
  for (size_t i = 0; i < in.slice_count() && ok && !stopped_; ++i) ok = feed_slice(in.slice(i));
  in.clear();
  if (!ok) return fail(fail_code_, details_);
  if (!stopped_) deliver_pending();
  if (stopped_) return {};
  return check_outbound();
}

// As one piece, but for frames that are to be looked at when those before them have been taken.
bool Http2Session::feed_slice(const base::Slice& slice) {
  const uint8_t* fed = slice.begin;
  const uint8_t* at = slice.begin;
  Http2FrameHeads::Head head;
  while (const uint8_t* const begin = heads_.next(at, slice.end, head)) {
    const bool cut = (head.flags & NGHTTP2_FLAG_PADDED) != 0 && head.length == 0;
    if (head.type != NGHTTP2_DATA && !(head.type == NGHTTP2_HEADERS && cut)) continue;
    if (!receive(slice, fed, begin)) return false;
    if (stopped_) return true;
    fed = begin;
    if (!check_frame(head)) return false;
  }
  return receive(slice, fed, slice.end);
}

bool Http2Session::receive(const base::Slice& slice, const uint8_t* begin, const uint8_t* end) {
  if (begin == end) return true;
  feeding_slice_ = &slice;
  const ssize_t n = nghttp2_session_mem_recv(session_, begin, static_cast<size_t>(end - begin));
  feeding_slice_ = nullptr;
  if (stopped_ || n >= 0) return true;
  if (n == NGHTTP2_ERR_FLOODED) {
    stats_.inc(h2::kOutboundControlFlood);
    abort(Http2Code::kEnhanceYourCalm, "http2.outbound_control_flood");
  } else if (n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
    stats_.inc(h2::kHeaderOverflow);
    abort(Http2Code::kEnhanceYourCalm, "http2.too_many_continuations");
  } else if (details_.empty()) {
    details_ = "http2.protocol.error";
  }
  return false;
}

// What nghttp2 passes over in silence, or calls by another error than the RFC. False: it ends the session.
bool Http2Session::check_frame(const Http2FrameHeads::Head& head) {
  if (head.length == 0 && (head.flags & NGHTTP2_FLAG_PADDED) != 0) {  // section 4.2
    abort(Http2Code::kFrameSizeError, "http2.frame.size.error");
    return false;
  }
  if (head.stream % 2 == 0 || head.stream > closed_.last()) return true;
  if (const StreamState state = state_of(head.stream); state == StreamState::kOpen || state == StreamState::kReset) {
    return true;
  }
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, head.stream, NGHTTP2_STREAM_CLOSED);  // section 6.1
  closed_.reset(head.stream);
  return true;
}

Http2Session::StreamState Http2Session::state_of(int32_t id) const {
  nghttp2_stream* stream = nghttp2_session_find_stream(session_, id);
  if (stream != nullptr && nghttp2_stream_get_state(stream) != NGHTTP2_STREAM_STATE_IDLE) return StreamState::kOpen;
  if (goaway_last_ >= 0 && id > goaway_last_) return StreamState::kReset;
  switch (closed_.why(id)) {
    case Http2ClosedStreams::Why::kReset: return StreamState::kReset;
    case Http2ClosedStreams::Why::kSkipped: return StreamState::kSkipped;
    default: return StreamState::kEnded;
  }
}

void Http2Session::deliver(Http2Stream& stream, bool end_stream) {
  stream.unlink();
  if (stream.in_.empty() && !end_stream) return;
  base::Buffer data(std::move(stream.in_));
  handler_.on_data(stream, data, end_stream);
}

void Http2Session::deliver_pending() {
  while (Http2Stream* stream = pending_.front()) {
    deliver(*stream, false);
    if (stopped_) return;
  }
}

int Http2Session::abort(Http2Code code, std::string_view details) {
  fail_code_ = code;
  details_ = details;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

base::Result<void> Http2Session::fail(Http2Code code, std::string_view details) {
  if (!failed_) {
    failed_ = true;
    details_ = details;
    nghttp2_session_terminate_session(session_, static_cast<uint32_t>(code));
  }
  const base::Side side = role_ == Role::kServer ? base::Side::kDownstream : base::Side::kUpstream;
  return base::Error{base::ErrorCode::kProtocol, side, 0, std::string(details_)};
}

bool Http2Session::count_empty_frame() {
  if (++empty_frames_ <= options_.http2.max_consecutive_inbound_frames_with_empty_payload) return false;
  stats_.inc(h2::kInboundEmptyFramesFlood);
  abort(Http2Code::kEnhanceYourCalm, "http2.inbound_empty_frames_flood");
  return true;
}

// Frames that the peer makes us send and does not read.
base::Result<void> Http2Session::check_outbound() {
  const Http2Options& o = options_.http2;
  if (buffered_control_ + queued_acks_ > o.max_outbound_control_frames) {
    stats_.inc(h2::kOutboundControlFlood);
    return fail(Http2Code::kEnhanceYourCalm, "http2.outbound_control_flood");
  }
  if (buffered_frames_ + nghttp2_session_get_outbound_queue_size(session_) > o.max_outbound_frames) {
    stats_.inc(h2::kOutboundFlood);
    return fail(Http2Code::kEnhanceYourCalm, "http2.outbound_frames_flood");
  }
  return {};
}

// ---- the receiving windows

void Http2Session::hold(Http2Stream& stream, size_t bytes) {
  stream.held_ += bytes;
  held_ += bytes;
  const uint64_t window = options_.http2.initial_connection_window_bytes;
  const uint64_t give = std::min<uint64_t>(bytes, window - std::min(window, given_));
  given_ += give;
  if (give > 0) nghttp2_session_consume_connection(session_, give);
}

void Http2Session::release(uint64_t bytes) {
  const uint64_t withheld = held_ - given_;
  const uint64_t give = std::min(bytes, withheld);
  held_ -= bytes;
  given_ -= bytes - give;
  if (give > 0) nghttp2_session_consume_connection(session_, give);
}

void Http2Session::consume(Http2Stream& stream, size_t bytes) {
  bytes = std::min<uint64_t>(bytes, stream.held_);
  if (bytes == 0 || stream.id_ == 0) return;
  stream.held_ -= bytes;
  release(bytes);
  nghttp2_session_consume_stream(session_, stream.id_, bytes);
}

// ---- streams

void Http2Session::adopt(Http2Stream& stream, int32_t id) {
  stream.begin(id);
  ++streams_;
  stats_.gauge_add(h2::kStreamsActive);
}

void Http2Session::forget(Http2Stream& stream) {
  stream.unlink();
  stream.in_.clear();
  unsent_body_ -= stream.out_.size();
  stream.out_.clear();
  release(std::exchange(stream.held_, 0));
  stream.id_ = 0;
  --streams_;
  stats_.gauge_sub(h2::kStreamsActive);
}

bool Http2Session::request(Http2Stream& stream, const HeaderMap& headers, bool end_stream) {
  if (failed_ || nghttp2_session_check_request_allowed(session_) == 0) return false;
  const std::span<nghttp2_nv> fields = to_nghttp2(headers);
  nghttp2_data_provider data{{0}, Http2Callbacks::read_data};
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                            end_stream ? nullptr : &data, &stream);
  if (id < 0) return false;
  ++opened_;
  closed_.begin(id);
  adopt(stream, id);
  stream.plain_header_sent_ = headers.byte_size();
  stream.submitted_ = true;
  stream.out_ended_ = end_stream;
  return true;
}

void Http2Session::send_headers(Http2Stream& stream, const HeaderMap& headers, bool end_stream) {
  if (stream.id_ == 0) return;
  const std::span<nghttp2_nv> fields = to_nghttp2(headers);
  nghttp2_data_provider data{{0}, Http2Callbacks::read_data};
  nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(), end_stream ? nullptr : &data);
  stream.plain_header_sent_ += headers.byte_size();
  stream.submitted_ = true;
  stream.out_ended_ = end_stream;
}

void Http2Session::send_informational(Http2Stream& stream, const HeaderMap& headers) {
  if (stream.id_ == 0 || stream.submitted_) return;
  const std::span<nghttp2_nv> fields = to_nghttp2(headers);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, fields.data(), fields.size(), nullptr);
  stream.plain_header_sent_ += headers.byte_size();
}

void Http2Session::send_data(Http2Stream& stream, base::Buffer& data, bool end_stream) {
  if (stream.id_ == 0 || stream.out_ended_) return data.clear();
  if (data.empty() && !end_stream) return;
  unsent_body_ += data.size();
  stream.out_.absorb(data);
  stream.out_ended_ = end_stream;
  if (std::exchange(stream.deferred_, false)) nghttp2_session_resume_data(session_, stream.id_);
}

void Http2Session::send_trailers(Http2Stream& stream, const HeaderMap& trailers) {
  if (stream.id_ == 0 || stream.out_ended_) return;
  stats_.inc(h2::kTrailers);
  stream.out_ended_ = true;
  stream.plain_header_sent_ += trailers.byte_size();
  if (trailers.size() > 0) {
    if (stream.trailers_out_ == nullptr) stream.trailers_out_ = std::make_unique<HeaderMap>();
    stream.trailers_out_->copy_from(trailers);
    stream.has_trailers_out_ = true;
  }
  if (std::exchange(stream.deferred_, false)) nghttp2_session_resume_data(session_, stream.id_);
}

void Http2Session::abandon(Http2Stream& stream) {
  if (stream.id_ == 0) return;
  nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
  forget(stream);
}

void Http2Session::reset(Http2Stream& stream, Http2Code code) {
  if (stream.id_ == 0) return;
  const int32_t id = stream.id_;
  abandon(stream);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
}

void Http2Session::reset_when_sent(Http2Stream& stream) {
  if (stream.id_ == 0 || stream.remote_ended_) return;
  stream.reset_when_sent_ = true;
  if (stream.local_ended_) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_NO_ERROR);
}

// ---- the connection

uint32_t Http2Session::peer_max_concurrent_streams() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Http2Session::peer_allows_connect() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

void Http2Session::shutdown_notice() { nghttp2_submit_shutdown_notice(session_); }

void Http2Session::goaway(Http2Code code) {
  goaway_last_ = nghttp2_session_get_last_proc_stream_id(session_);
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, goaway_last_, static_cast<uint32_t>(code), nullptr, 0);
}

void Http2Session::terminate(Http2Code code) {
  failed_ = true;
  nghttp2_session_terminate_session(session_, static_cast<uint32_t>(code));
}

void Http2Session::ping(uint64_t opaque) {
  std::array<uint8_t, sizeof opaque> bytes;
  std::copy_n(reinterpret_cast<const uint8_t*>(&opaque), sizeof opaque, bytes.data());
  ++queued_acks_;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, bytes.data());
}

// ---- sending

void Http2Session::drain(base::Buffer& out, size_t limit_bytes) {
  const size_t before = out.size();
  busy_ = true;
  draining_ = &out;
  drain_limit_ = limit_bytes;
  drain_frames_ = drain_control_ = 0;
  // What is not data goes out in any case (it goes first, and is limited by count): a stream that we have ended with
  // RST_STREAM counts until that is sent, and its client may have opened another one for it.
  const auto more = [&] {
    return out.size() < limit_bytes ||
           (role_ == Role::kServer && nghttp2_session_get_outbound_queue_size(session_) > 0);
  };
  for (size_t seen = SIZE_MAX; more() && out.size() != seen;) {  // until a call adds nothing
    seen = out.size();
    const uint8_t* bytes = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &bytes);
    if (n < 0) {
      failed_ = true;
      break;
    }
    out.append(bytes, static_cast<size_t>(n));
  }
  draining_ = nullptr;
  busy_ = false;
  drained_ += out.size() - before;
  if (drain_frames_ > 0) {
    buffered_frames_ += drain_frames_;
    buffered_control_ += drain_control_;
    marks_.push_back({drained_, drain_frames_, drain_control_});
  }
  sync_gauges();
}

void Http2Session::set_unsent(size_t bytes) {
  const uint64_t sent = drained_ - std::min<uint64_t>(bytes, drained_);
  while (!marks_.empty() && marks_.front().end <= sent) {
    buffered_frames_ -= marks_.front().frames;
    buffered_control_ -= marks_.front().control_frames;
    marks_.pop_front();
  }
}

void Http2Session::sync_gauges() {
  const auto sync = [this](uint16_t index, uint64_t& shown, uint64_t now) {
    if (shown != now) stats_.gauge_add(index, static_cast<int64_t>(now) - static_cast<int64_t>(shown));
    shown = now;
  };
  sync(h2::kPendingSendBytes, shown_unsent_, unsent_body_);
  sync(h2::kOutboundFramesActive, shown_frames_, buffered_frames_);
  sync(h2::kOutboundControlFramesActive, shown_control_, buffered_control_);
}

bool Http2Session::wants_write() const { return nghttp2_session_want_write(session_) != 0; }

bool Http2Session::finished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

}  // namespace millrace::http
