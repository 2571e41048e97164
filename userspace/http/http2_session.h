// An HTTP/2 connection's protocol state without io (RFC 9113, 7541, 8441), in either role: feed() takes received bytes
// and reports to a handler, drain() gives the bytes to send. A thin layer over nghttp2, which this room alone knows.
// Owned by one connection and used on its worker. Nothing here may be destroyed from within a handler's call; a
// handler that is done calls stop().
//
// Streams belong to the owner, who derives from Http2Stream; the session knows one from on_stream_begin() (server) or
// request() (client) until on_stream_closed() or reset(), and must be told by neither that it went before. Several
// pieces of a stream's data that arrive in one feed() are reported as one; received data moves by reference to the
// block it was received in. Data to send waits in the stream and is framed by drain(), so that streams take turns.
//
// Flow control: received data counts against the stream's window until consume(). The connection's window is given back
// at once, as long as all that is held does not exceed it: a stream that nobody reads does not stall the others, and
// all streams of a connection together hold at most twice the connection's window.
//
// Malformed messages, floods and broken limits are handled here, counted in stats::http2_codec: a stream is reset, or
// the session fails: feed() returns an error, and what drain() gives says so to the peer (GOAWAY).
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>

#include "base/buffer.h"
#include "base/list.h"
#include "base/result.h"
#include "http/header_map.h"
#include "http/http2_closed_streams.h"
#include "http/http2_frame_heads.h"
#include "http/http2_options.h"
#include "stats/stats.h"

struct nghttp2_session;

namespace millrace::http {

// RFC 9113 section 7.
enum class Http2Code : uint32_t {
  kNoError = 0, kProtocolError = 1, kInternalError = 2, kFlowControlError = 3, kSettingsTimeout = 4, kStreamClosed = 5,
  kFrameSizeError = 6, kRefusedStream = 7, kCancel = 8, kCompressionError = 9, kConnectError = 10,
  kEnhanceYourCalm = 11, kInadequateSecurity = 12, kHttp11Required = 13,
};

// The first bytes of a client; a server may tell HTTP/2 from HTTP/1 by them.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class Http2Stream : private base::ListHook<Http2Stream> {
 public:
  Http2Stream() = default;
  Http2Stream(const Http2Stream&) = delete;
  Http2Stream& operator=(const Http2Stream&) = delete;

  int32_t id() const { return id_; }              // 0: the session does not know it
  size_t unsent() const { return out_.size(); }   // body bytes waiting for windows or their turn
  bool remote_reset() const { return remote_reset_; }
  bool remote_ended() const { return remote_ended_; }   // the peer sent END_STREAM
  bool local_ended() const { return local_ended_; }     // we did, on the wire
  // Why the session itself reset the stream, Envoy's response code detail; empty: it did not.
  std::string_view details() const { return details_; }
  uint64_t wire_bytes_received() const { return wire_received_; }
  uint64_t header_bytes_received() const { return header_received_; }
  uint64_t wire_bytes_sent() const { return wire_sent_; }
  uint64_t header_bytes_sent() const { return header_sent_; }
  // Names and values, before compression.
  uint64_t plain_header_bytes_received() const { return plain_header_received_; }
  uint64_t plain_header_bytes_sent() const { return plain_header_sent_; }

  // Where heads and trailers that arrive are put; the owner sets them before the session knows the stream.
  HeaderMap* head = nullptr;
  HeaderMap* trailers = nullptr;

 protected:
  ~Http2Stream() = default;

 private:
  friend class Http2Session;
  friend struct Http2Callbacks;
  friend class base::List<Http2Stream, Http2Stream>;
  friend class base::ListHook<Http2Stream>;

  void begin(int32_t id);

  int32_t id_ = 0;
  bool head_done_ = false;        // what comes next are trailers
  bool submitted_ = false;        // our (final) head was given to nghttp2
  bool deferred_ = false;         // nghttp2 waits for resume_data
  bool out_ended_ = false;        // nothing is added to out_
  bool has_trailers_out_ = false;
  bool reset_when_sent_ = false;
  bool remote_reset_ = false, remote_ended_ = false, local_ended_ = false;
  uint32_t section_bytes_ = 0, section_fields_ = 0, cookies_ = 0;
  uint64_t held_ = 0;             // bytes reported, or about to be, and not consumed
  uint64_t wire_received_ = 0, header_received_ = 0, wire_sent_ = 0, header_sent_ = 0;
  uint64_t plain_header_received_ = 0, plain_header_sent_ = 0;
  std::string_view details_;
  base::Buffer in_;               // of the running feed()
  base::Buffer out_;
  std::unique_ptr<HeaderMap> trailers_out_;
};

class Http2Handler {
 public:
  // Server: a stream begins. Null: it is refused.
  virtual Http2Stream* on_stream_begin() { return nullptr; }
  // The head is whole, in stream.head. Server: a request as HTTP/1 would give it, :authority set from Host where only
  // that came, cookie crumbs joined. Client: the final response.
  virtual void on_headers(Http2Stream& stream, bool end_stream) = 0;
  // Client: a 1xx head; stream.head is cleared after the call.
  virtual void on_informational(Http2Stream&) {}
  // All bytes count as held until consume(); take them.
  virtual void on_data(Http2Stream& stream, base::Buffer& data, bool end_stream) = 0;
  virtual void on_trailers(Http2Stream& stream) = 0;  // in stream.trailers; ends the stream's receiving side
  // Both sides ended, or one was reset: code, remote_reset() and details() say how. The session has forgotten it.
  virtual void on_stream_closed(Http2Stream& stream, Http2Code code) = 0;
  // Bytes of the stream's data went out: unsent() fell.
  virtual void on_sent(Http2Stream&) {}
  virtual void on_goaway(int32_t /*last_stream*/, Http2Code) {}
  virtual void on_settings() {}                       // the peer's; see peer_max_concurrent_streams()
  virtual void on_ping_ack(uint64_t /*opaque*/) {}

 protected:
  ~Http2Handler() = default;
};

struct Http2SessionOptions {
  const Http2Options& http2;            // outlives the session
  uint32_t max_header_bytes = 60 * 1024;  // names and values of one head or trailer section
  uint32_t max_header_count = 100;
};

class Http2Session {
 public:
  enum class Role : uint8_t { kServer, kClient };

  // The first drain() gives our preface and SETTINGS.
  Http2Session(Role role, const Http2SessionOptions& options, const stats::StatShard& stats, Http2Handler& handler);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Takes all of `in`. On an error drain() once more, send that and close.
  base::Result<void> feed(base::Buffer& in);
  // Frames into `out` until that holds limit_bytes (the last frame may go beyond).
  void drain(base::Buffer& out, size_t limit_bytes);
  // Of what was drained, so much has not been sent: what max_outbound_frames looks at. Before feed().
  void set_unsent(size_t bytes);
  bool wants_write() const;
  // Neither side has anything more to say: close.
  bool finished() const;
  // feed() failed or a fatal GOAWAY was made; details(): Envoy's response code detail.
  bool failed() const { return failed_; }
  std::string_view details() const { return details_; }
  // It is in feed() or drain(), as its handler's calls are.
  bool busy() const { return busy_; }
  // No event comes any more, also from a feed() that is running.
  void stop() { stopped_ = true; }

  // Client. False: this session takes no more requests (GOAWAY, stream ids used up).
  [[nodiscard]] bool request(Http2Stream& stream, const HeaderMap& headers, bool end_stream);
  uint32_t peer_max_concurrent_streams() const;
  bool peer_allows_connect() const;       // it sent SETTINGS_ENABLE_CONNECT_PROTOCOL

  // Server: the final head. Connection-specific fields are left out (RFC 9113 section 8.2.2).
  void send_headers(Http2Stream& stream, const HeaderMap& headers, bool end_stream);
  void send_informational(Http2Stream& stream, const HeaderMap& headers);
  // Either; after the head. Takes the bytes.
  void send_data(Http2Stream& stream, base::Buffer& data, bool end_stream);
  void send_trailers(Http2Stream& stream, const HeaderMap& trailers);
  // The session forgets the stream at once: no event for it comes any more. Pending data is dropped.
  void reset(Http2Stream& stream, Http2Code code);
  // As reset(), but says nothing to the peer: the connection ends anyway.
  void abandon(Http2Stream& stream);
  // Server: the response needs no more of the request; RST_STREAM(NO_ERROR) follows its end (RFC 9113 section 8.1).
  void reset_when_sent(Http2Stream& stream);
  void consume(Http2Stream& stream, size_t bytes);

  // Graceful end of a server: the notice (GOAWAY for all streams), a while later goaway(), which refuses those that
  // come after it.
  void shutdown_notice();
  void goaway(Http2Code code = Http2Code::kNoError);
  // Ends the session: GOAWAY, and nothing more is read.
  void terminate(Http2Code code);
  void ping(uint64_t opaque);

  size_t streams() const { return streams_; }
  uint64_t held() const { return held_; }           // bytes reported and not consumed, all streams
  uint64_t frames_received() const { return frames_received_; }

 private:
  friend struct Http2Callbacks;

  struct Mark {  // frames that end at this place of all bytes drained
    uint64_t end;
    uint32_t frames, control_frames;
  };

  // Of a stream that began: kReset is one that we have reset, or that our GOAWAY leaves out; kSkipped never was used.
  enum class StreamState : uint8_t { kOpen, kReset, kEnded, kSkipped };

  base::Result<void> feed_slices(base::Buffer& in);
  bool feed_slice(const base::Slice& slice);
  bool receive(const base::Slice& slice, const uint8_t* begin, const uint8_t* end);
  bool check_frame(const Http2FrameHeads::Head& head);
  StreamState state_of(int32_t id) const;
  void submit_settings(const Http2Options& o);
  void deliver(Http2Stream& stream, bool end_stream);
  void deliver_pending();
  void adopt(Http2Stream& stream, int32_t id);
  void forget(Http2Stream& stream);
  void hold(Http2Stream& stream, size_t bytes);
  void release(uint64_t bytes);
  // For callbacks: what they return to make feed() fail like this.
  int abort(Http2Code code, std::string_view details);
  base::Result<void> fail(Http2Code code, std::string_view details);
  bool count_empty_frame();  // true: one too many
  base::Result<void> check_outbound();
  void sync_gauges();

  const Role role_;
  const Http2SessionOptions options_;
  stats::StatShard stats_;
  Http2Handler& handler_;
  nghttp2_session* session_ = nullptr;
  bool failed_ = false, stopped_ = false, busy_ = false;
  std::string_view details_;
  Http2Code fail_code_ = Http2Code::kProtocolError;
  base::List<Http2Stream, Http2Stream> pending_;  // streams with data that was not reported yet
  const base::Slice* feeding_slice_ = nullptr;
  base::Buffer* draining_ = nullptr;
  size_t drain_limit_ = 0;
  size_t streams_ = 0;
  // Connection window: held_ bytes of it are with the owner, given_ of these were given back to the peer all the same.
  uint64_t held_ = 0, given_ = 0;
  int32_t goaway_last_ = -1;  // the last stream that our GOAWAY leaves, once there is one
  Http2FrameHeads heads_;
  Http2ClosedStreams closed_;
  size_t queued_before_settings_ = 0;
  uint64_t opened_ = 0, frames_received_ = 0;
  uint64_t priority_frames_ = 0, window_update_frames_ = 0, data_pieces_sent_ = 0;
  uint32_t empty_frames_ = 0;
  uint64_t drained_ = 0;
  uint64_t buffered_frames_ = 0, buffered_control_ = 0;
  uint64_t queued_acks_ = 0;  // and other PING and SETTINGS that wait in nghttp2
  uint32_t drain_frames_ = 0, drain_control_ = 0;
  uint64_t unsent_body_ = 0;
  uint64_t shown_frames_ = 0, shown_control_ = 0, shown_unsent_ = 0;  // this session's share of the gauges
  std::deque<Mark> marks_;
};

}  // namespace millrace::http
