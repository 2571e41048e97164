#include "http/http2_callbacks.h"

#include <algorithm>

#include "http/authority.h"
#include "http/chars.h"
#include "stats/schema_http.h"

namespace millrace::http {

namespace h2 = stats::http2_codec;

namespace {

constexpr size_t kCopyBytes = 1024;  // smaller pieces of data are copied: by reference they would pin a block each
constexpr size_t kFrameHeadBytes = 9;
// Many small messages go in one DATA frame here, and a peer may give credit for each that it has taken: so much of a
// frame counts as one when WINDOW_UPDATEs are held against what was sent.
constexpr size_t kDataPieceBytes = 128;
constexpr size_t kFrameBytes = 16'384;  // of a head; NGHTTP2_MAX_FRAME_SIZE_MIN
constexpr int kContinue = 0;
constexpr int kFatal = NGHTTP2_ERR_CALLBACK_FAILURE;
constexpr int kResetStream = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;

Http2Session& session_of(void* user) { return *static_cast<Http2Session*>(user); }

std::string_view view(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

bool acknowledged(uint8_t type) { return type == NGHTTP2_PING || type == NGHTTP2_SETTINGS; }
bool control(uint8_t type) { return acknowledged(type) || type == NGHTTP2_RST_STREAM; }

bool connection_specific(Header id) {
  switch (id) {
    case Header::kConnection: case Header::kKeepAlive: case Header::kProxyConnection: case Header::kTransferEncoding:
    case Header::kUpgrade: case Header::kHttp2Settings: case Header::kHost: return true;
    default: return false;
  }
}

void put(std::vector<nghttp2_nv>& to, const HeaderMap::Entry& e) {
  const bool known = e.id != Header::kOther;
  const std::string_view name = known ? http::name(e.id) : e.name;
  nghttp2_nv nv;
  nv.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  nv.namelen = name.size();
  nv.value = reinterpret_cast<uint8_t*>(const_cast<char*>(e.value.empty() ? "" : e.value.data()));
  nv.valuelen = e.value.size();
  nv.flags = static_cast<uint8_t>(known ? NGHTTP2_NV_FLAG_NO_COPY_NAME : NGHTTP2_NV_FLAG_NONE);
  // What no two messages share has no place in the table: it would only push out what they do.
  if (e.id == Header::kRequestId) nv.flags |= NGHTTP2_NV_FLAG_NO_INDEX;
  to.push_back(nv);
}

std::string_view details_of(int error) {
  switch (error) {
    case NGHTTP2_ERR_REFUSED_STREAM: return "http2.remote_refuse";
    case NGHTTP2_ERR_HTTP_HEADER: return "http2.invalid.header.field";
    case NGHTTP2_ERR_HTTP_MESSAGING: return "http2.violation.of.messaging.rule";
    case NGHTTP2_ERR_FLOW_CONTROL: return "http2.flow.control.error";
    case NGHTTP2_ERR_HEADER_COMP: return "http2.header.compression.error";
    case NGHTTP2_ERR_STREAM_CLOSED: return "http2.stream.closed";
    default: return "http2.protocol.error";
  }
}

}  // namespace

std::span<nghttp2_nv> to_nghttp2(const HeaderMap& headers) {
  static thread_local std::vector<nghttp2_nv> fields;
  fields.clear();
  headers.for_each([](const HeaderMap::Entry& e) {
    if (e.name.starts_with(':')) put(fields, e);
  });
  headers.for_each([](const HeaderMap::Entry& e) {
    if (e.name.starts_with(':') || connection_specific(e.id)) return;
    if (e.id == Header::kTe && !equal_ignoring_case(e.value, "trailers")) return;
    put(fields, e);
  });
  return fields;
}

const nghttp2_session_callbacks* Http2Callbacks::get() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* to = nullptr;
    const int failed = nghttp2_session_callbacks_new(&to);
    MILLRACE_ASSERT(failed == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(to, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(to, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(to, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(to, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(to, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(to, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(to, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(to, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(to, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(to, on_frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(to, send_data);
    return to;
  }();
  return made;
}

// ---- what arrives

// A request on a stream that is not a new one, and of which nghttp2 knows nothing any more.
int Http2Callbacks::check_request_stream(Http2Session& self, int32_t id) {
  if (id % 2 == 0 || self.role_ == Http2Session::Role::kClient) return kContinue;
  if (id > self.closed_.last()) {
    self.closed_.begin(id);
    return kContinue;
  }
  switch (self.state_of(id)) {
    case Http2Session::StreamState::kSkipped: return self.abort(Http2Code::kProtocolError, "http2.protocol.error");
    case Http2Session::StreamState::kEnded: return self.abort(Http2Code::kStreamClosed, "http2.stream.closed");
    default: return kContinue;
  }
}

int Http2Callbacks::on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* user) {
  Http2Session& self = session_of(user);
  if (self.stopped_) return kFatal;
  ++self.frames_received_;
  const Http2Options& o = self.options_.http2;
  switch (head->type) {
    case NGHTTP2_PRIORITY:
      // Nghttp2 looks at none of them.
      if (head->stream_id == 0) return self.abort(Http2Code::kProtocolError, "http2.protocol.error");
      if (++self.priority_frames_ > uint64_t{o.max_inbound_priority_frames_per_stream} * (1 + self.opened_)) {
        self.stats_.inc(h2::kInboundPriorityFramesFlood);
        return self.abort(Http2Code::kEnhanceYourCalm, "http2.inbound_priority_frames_flood");
      }
      break;
    case NGHTTP2_WINDOW_UPDATE:
      if (++self.window_update_frames_ >
          5 + 2 * (self.opened_ +
                   uint64_t{o.max_inbound_window_update_frames_per_data_frame_sent} * self.data_pieces_sent_)) {
        self.stats_.inc(h2::kInboundWindowUpdateFramesFlood);
        return self.abort(Http2Code::kEnhanceYourCalm, "http2.inbound_window_update_frames_flood");
      }
      break;
    case NGHTTP2_DATA: case NGHTTP2_HEADERS: case NGHTTP2_CONTINUATION: {
      // Without END_STREAM, and for CONTINUATION without END_HEADERS, it says nothing at all.
      const uint8_t ends = head->type == NGHTTP2_CONTINUATION ? NGHTTP2_FLAG_END_HEADERS : NGHTTP2_FLAG_END_STREAM;
      if (head->length > 0 || (head->flags & ends) != 0) {
        if ((head->flags & NGHTTP2_FLAG_PADDED) == 0) self.empty_frames_ = 0;
        break;
      }
      if (self.count_empty_frame()) return kFatal;
      break;
    }
    default: break;
  }
  if (head->type == NGHTTP2_HEADERS) return check_request_stream(self, head->stream_id);
  if (acknowledged(head->type) && (head->flags & NGHTTP2_FLAG_ACK) == 0) ++self.queued_acks_;
  if (head->type == NGHTTP2_SETTINGS) self.queued_before_settings_ = nghttp2_session_get_outbound_queue_size(session);
  if (head->type == NGHTTP2_CONTINUATION) {
    if (Http2Stream* stream = stream_of(session, head->stream_id)) {
      stream->header_received_ += kFrameHeadBytes;  // the rest counts with the head's first frame
      stream->wire_received_ += kFrameHeadBytes;
    }
  }
  return kContinue;
}

int Http2Callbacks::on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Http2Session& self = session_of(user);
  if (self.stopped_) return kFatal;
  const int32_t id = frame->hd.stream_id;
  Http2Stream* stream = stream_of(session, id);
  if (self.role_ == Http2Session::Role::kServer && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    ++self.opened_;
    // One that comes while the GOAWAY still waits to be sent: the client will take it as not begun.
    const bool late = self.goaway_last_ >= 0 && id > self.goaway_last_;
    stream = late ? nullptr : self.handler_.on_stream_begin();
    if (self.stopped_) return kFatal;
    if (stream == nullptr) {
      self.stats_.inc(h2::kStreamRefusedErrors);
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      return kResetStream;
    }
    self.adopt(*stream, id);
    nghttp2_session_set_stream_user_data(session, id, stream);
    // Streams take turns, whatever the client says of priorities (RFC 9218 section 10).
    const nghttp2_extpri turns{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    nghttp2_session_change_extpri_stream_priority(session, id, &turns, 1);
  }
  if (stream == nullptr) {
    self.stats_.inc(h2::kHeadersCbNoStream);
    return kContinue;
  }
  stream->section_bytes_ = stream->section_fields_ = stream->cookies_ = 0;
  (stream->head_done_ ? stream->trailers : stream->head)->clear();
  return kContinue;
}

int Http2Callbacks::on_header(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name_buffer,
                              nghttp2_rcbuf* value_buffer, uint8_t, void* user) {
  Http2Session& self = session_of(user);
  Http2Stream* stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return kContinue;
  const std::string_view name = view(name_buffer), value = view(value_buffer);
  const Http2SessionOptions& o = self.options_;
  stream->section_bytes_ += static_cast<uint32_t>(name.size() + value.size());
  if (++stream->section_fields_ > o.max_header_count || stream->section_bytes_ > o.max_header_bytes ||
      (o.http2.max_header_field_bytes > 0 && name.size() + value.size() > o.http2.max_header_field_bytes)) {
    self.stats_.inc(h2::kHeaderOverflow);
    stream->details_ = stream->section_fields_ > o.max_header_count ? "http2.too_many_headers"
                                                                    : "http2.headers_too_large";
    return kResetStream;
  }
  if (o.http2.disallow_obs_text &&
      std::any_of(value.begin(), value.end(), [](char c) { return static_cast<unsigned char>(c) > 0x7f; })) {
    return malformed(self, *stream, "http2.invalid.header.field");
  }
  HeaderMap& map = stream->head_done_ ? *stream->trailers : *stream->head;
  const Header id = header_id(name);
  if (id == Header::kCookie) ++stream->cookies_;
  // The table that everybody shares is not copied from.
  const std::string_view kept = nghttp2_rcbuf_is_static(value_buffer) != 0 ? value : map.intern(value);
  map.add_view(id, id == Header::kOther ? map.intern(name) : http::name(id), kept);
  return kContinue;
}

// A field that no message may have: the message is malformed (RFC 9113 section 8.2.1).
int Http2Callbacks::on_invalid_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*, uint8_t,
                                      void*) {
  return kResetStream;  // nghttp2 makes this PROTOCOL_ERROR, and reports it as an invalid frame
}

int Http2Callbacks::malformed(Http2Session& self, Http2Stream& stream, std::string_view details) {
  self.stats_.inc(h2::kRxMessagingError);
  stream.details_ = details;
  if (!self.options_.http2.stream_error_on_invalid_http_message) {
    return self.abort(Http2Code::kProtocolError, details);
  }
  nghttp2_submit_rst_stream(self.session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_PROTOCOL_ERROR);
  return kResetStream;
}

int Http2Callbacks::on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user) {
  Http2Session& self = session_of(user);
  if (self.stopped_) return kFatal;
  Http2Stream* stream = stream_of(session, frame->hd.stream_id);
  if (stream != nullptr) stream->details_ = details_of(error);
  // A request that nghttp2 turns away: more of it may come before it is told so.
  if (stream == nullptr && frame->hd.type == NGHTTP2_HEADERS) self.closed_.reset(frame->hd.stream_id);
  if (error == NGHTTP2_ERR_REFUSED_STREAM) {
    self.stats_.inc(h2::kStreamRefusedErrors);
  } else if (error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING) {
    self.stats_.inc(h2::kRxMessagingError);
    if (!self.options_.http2.stream_error_on_invalid_http_message) {
      return self.abort(Http2Code::kProtocolError, details_of(error));
    }
  } else {
    self.details_ = details_of(error);
  }
  return kContinue;
}

// Makes of a request's head what HTTP/1 would give. False: it contradicts itself.
bool Http2Callbacks::finish_request_head(Http2Stream& stream) {
  HeaderMap& map = *stream.head;
  // Of several it is nghttp2 that complains.
  const std::string_view authority = map.get(map.has(Header::kAuthority) ? Header::kAuthority : Header::kHost);
  if (!split_host_port(authority).valid) return false;  // section 8.3.1; among others user information
  if (map.has(Header::kHost)) {
    const std::string_view host = map.get(Header::kHost);
    if (!map.has(Header::kAuthority)) {
      map.add_view(Header::kAuthority, host);
    } else if (!equal_ignoring_case(host, map.get(Header::kAuthority))) {
      return false;  // RFC 9113 section 8.3.1
    }
    map.remove(Header::kHost);
  }
  if (stream.cookies_ > 1) {  // section 8.2.3
    size_t size = 0;
    map.for_each([&](const HeaderMap::Entry& e) { size += e.id == Header::kCookie ? e.value.size() + 2 : 0; });
    char* const begin = map.allocate(size);
    char* at = begin;
    map.for_each([&](const HeaderMap::Entry& e) {
      if (e.id != Header::kCookie) return;
      if (at != begin) at = std::copy_n("; ", 2, at);
      at = std::copy(e.value.begin(), e.value.end(), at);
    });
    map.set_view(Header::kCookie, {begin, static_cast<size_t>(at - begin)});
  }
  return true;
}

int Http2Callbacks::headers_done(Http2Session& self, Http2Stream& stream, const nghttp2_frame& frame) {
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  stream.header_received_ += frame.hd.length + kFrameHeadBytes;
  stream.plain_header_received_ += stream.section_bytes_;
  if (stream.head_done_) {
    self.deliver(stream, false);
    if (stream.id_ == 0) return kContinue;
    stream.remote_ended_ = true;
    self.stats_.inc(h2::kTrailers);
    self.handler_.on_trailers(stream);
    return kContinue;
  }
  if (self.role_ == Http2Session::Role::kServer) {
    if (!finish_request_head(stream)) return malformed(self, stream, "http2.violation.of.messaging.rule");
  } else if (stream.head->get(Header::kStatus).starts_with('1')) {
    self.handler_.on_informational(stream);
    if (stream.id_ != 0) stream.head->clear();
    return kContinue;
  }
  stream.head_done_ = true;
  stream.remote_ended_ = end;
  self.handler_.on_headers(stream, end);
  return kContinue;
}

int Http2Callbacks::on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Http2Session& self = session_of(user);
  if (self.stopped_) return kFatal;
  Http2Stream* stream = frame->hd.stream_id != 0 ? stream_of(session, frame->hd.stream_id) : nullptr;
  if (stream != nullptr) stream->wire_received_ += frame->hd.length + kFrameHeadBytes;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (stream == nullptr) break;
      // RST_STREAM made here is not an error of nghttp2's frame.
      if (headers_done(self, *stream, *frame) == kFatal) return kFatal;
      break;
    case NGHTTP2_DATA: {
      const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      if ((frame->hd.flags & NGHTTP2_FLAG_PADDED) != 0) {
        if (!end && frame->hd.length <= frame->data.padlen) {
          if (self.count_empty_frame()) return kFatal;
        } else {
          self.empty_frames_ = 0;
        }
      }
      if (stream == nullptr || !end) break;
      stream->remote_ended_ = true;
      self.deliver(*stream, true);
      break;
    }
    case NGHTTP2_RST_STREAM:
      self.stats_.inc(h2::kRxReset);
      if (stream != nullptr) stream->remote_reset_ = true;
      break;
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) break;
      // Besides its acknowledgment nghttp2 only queues resets, of streams whose window grew too large: for that it is
      // the connection's error (section 6.9.2).
      if (nghttp2_session_get_outbound_queue_size(session) > self.queued_before_settings_ + 1) {
        return self.abort(Http2Code::kFlowControlError, "http2.flow.control.error");
      }
      self.handler_.on_settings();
      break;
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        uint64_t opaque;
        static_assert(sizeof opaque == sizeof frame->ping.opaque_data);
        std::copy_n(frame->ping.opaque_data, sizeof opaque, reinterpret_cast<uint8_t*>(&opaque));
        self.handler_.on_ping_ack(opaque);
      }
      break;
    case NGHTTP2_GOAWAY:
      self.handler_.on_goaway(frame->goaway.last_stream_id, static_cast<Http2Code>(frame->goaway.error_code));
      break;
    default: break;
  }
  return self.stopped_ ? kFatal : kContinue;
}

int Http2Callbacks::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t n, void* user) {
  Http2Session& self = session_of(user);
  if (self.stopped_) return kFatal;
  Http2Stream* stream = stream_of(session, id);
  if (stream == nullptr) {
    nghttp2_session_consume_connection(session, n);
    return kContinue;
  }
  if (n <= kCopyBytes || self.feeding_slice_ == nullptr) {
    stream->in_.append(data, n);
  } else {
    uint8_t* begin = const_cast<uint8_t*>(data);
    stream->in_.append(self.feeding_slice_->block, begin, begin + n);
  }
  self.hold(*stream, n);
  if (!stream->linked()) self.pending_.push_back(*stream);
  return kContinue;
}

int Http2Callbacks::on_close(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
  Http2Session& self = session_of(user);
  Http2Stream* stream = stream_of(session, id);
  if (stream == nullptr) return kContinue;
  nghttp2_session_set_stream_user_data(session, id, nullptr);
  self.forget(*stream);
  if (!self.stopped_) self.handler_.on_stream_closed(*stream, static_cast<Http2Code>(code));
  return kContinue;
}

// ---- what is sent

int Http2Callbacks::on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Http2Session& self = session_of(user);
  ++self.drain_frames_;
  const uint8_t type = frame->hd.type;
  if (control(type)) ++self.drain_control_;
  if (acknowledged(type) && self.queued_acks_ > 0) --self.queued_acks_;
  if (type == NGHTTP2_RST_STREAM) {
    self.stats_.inc(h2::kTxReset);
    self.closed_.reset(frame->hd.stream_id);
  } else if (type == NGHTTP2_GOAWAY) {
    self.stats_.inc(h2::kGoawaySent);
    if (frame->goaway.error_code != NGHTTP2_NO_ERROR) self.failed_ = true;
  } else if (type == NGHTTP2_DATA) {
    self.data_pieces_sent_ += 1 + frame->hd.length / kDataPieceBytes;
  }
  if (frame->hd.stream_id == 0) return kContinue;
  Http2Stream* stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return kContinue;
  // Of a head in several frames nghttp2 tells the whole length.
  const size_t frames =
      type == NGHTTP2_HEADERS ? std::max<size_t>((frame->hd.length + kFrameBytes - 1) / kFrameBytes, 1) : 1;
  const size_t bytes = frame->hd.length + frames * kFrameHeadBytes;
  stream->wire_sent_ += bytes;
  if (type == NGHTTP2_HEADERS) stream->header_sent_ += bytes;
  if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    stream->local_ended_ = true;
    if (stream->reset_when_sent_ && !stream->remote_ended_) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
  }
  return kContinue;
}

// A head that is larger than any peer would take, most likely: the stream cannot go on.
int Http2Callbacks::on_frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user) {
  Http2Session& self = session_of(user);
  if (acknowledged(frame->hd.type) && self.queued_acks_ > 0) --self.queued_acks_;
  if (frame->hd.type != NGHTTP2_HEADERS || error == NGHTTP2_ERR_STREAM_CLOSING || error == NGHTTP2_ERR_STREAM_CLOSED) {
    return kContinue;
  }
  // A request that was not begun: nghttp2 closes it, and the peer has never heard of the stream.
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) return kContinue;
  if (stream_of(session, frame->hd.stream_id) == nullptr) return kContinue;
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
  return kContinue;
}

ssize_t Http2Callbacks::read_data(nghttp2_session* session, int32_t id, uint8_t*, size_t limit, uint32_t* flags,
                                  nghttp2_data_source*, void*) {
  Http2Stream* stream = stream_of(session, id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const size_t n = std::min(limit, stream->out_.size());
  if (n == 0 && !stream->out_ended_) {
    stream->deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (n == stream->out_.size() && stream->out_ended_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->has_trailers_out_) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::span<nghttp2_nv> fields = to_nghttp2(*stream->trailers_out_);
      nghttp2_submit_trailer(session, id, fields.data(), fields.size());
    }
  }
  return static_cast<ssize_t>(n);
}

int Http2Callbacks::send_data(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t length,
                              nghttp2_data_source*, void* user) {
  Http2Session& self = session_of(user);
  base::Buffer& out = *self.draining_;
  out.append(head, kFrameHeadBytes);  // there is no padding: nobody asked for it
  Http2Stream* stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (length > 0) {
    if (length <= kCopyBytes) {
      out.append(stream->out_.linearize(length));
      stream->out_.drain(length);
    } else {
      out.move_from(stream->out_, length);
    }
    self.unsent_body_ -= length;
    self.handler_.on_sent(*stream);
  }
  return out.size() >= self.drain_limit_ ? NGHTTP2_ERR_PAUSE : kContinue;
}

}  // namespace millrace::http
