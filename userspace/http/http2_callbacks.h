// What Http2Session is called back for by nghttp2, and the conversion of header maps to nghttp2's form; one file of the
// session's implementation, not for others. Callbacks run within feed() or drain(), on the session's worker.
#pragma once
#include <nghttp2/nghttp2.h>

#include <span>

#include "http/http2_session.h"

namespace millrace::http {

struct Http2Callbacks {
  // The same for all sessions of the process; made once, read only.
  static const nghttp2_session_callbacks* get();

  static Http2Stream* stream_of(nghttp2_session* session, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user);
  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name,
                       nghttp2_rcbuf* value, uint8_t flags, void* user);
  static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name,
                               nghttp2_rcbuf* value, uint8_t flags, void* user);
  static int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user);
  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data, size_t n, void* user);
  static int on_close(nghttp2_session* session, int32_t id, uint32_t code, void* user);
  static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user);
  static ssize_t read_data(nghttp2_session* session, int32_t id, uint8_t*, size_t limit, uint32_t* flags,
                           nghttp2_data_source*, void* user);
  static int send_data(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t length,
                       nghttp2_data_source*, void* user);

  static int check_request_stream(Http2Session& self, int32_t id);
  static int malformed(Http2Session& self, Http2Stream& stream, std::string_view details);
  static int headers_done(Http2Session& self, Http2Stream& stream, const nghttp2_frame& frame);
  static bool finish_request_head(Http2Stream& stream);
};

// Fields in nghttp2's form, pseudo headers first; the views are those of the map. What belongs to one connection only
// is left out. Valid until the next call on this thread.
std::span<nghttp2_nv> to_nghttp2(const HeaderMap& headers);

}  // namespace millrace::http
