// HTTP/1.1 message parser without io (RFC 9112, strict): bytes in, events out. Owned by one connection and used on
// its worker. Heads are parsed in place in the block they were received in: names and values are views, names
// folded to lower case where they lie, and the HeaderMap keeps the block. Only what follows the first, incomplete,
// piece of a head is copied into a block of the parser's, so that a head which trickles in pins one received block
// at most and is scanned once. Body bytes move from `in` to `body` as slices; chunk framing is taken off.
//
// What another parser could frame in another way is refused, never repaired. The same bytes give the same events
// however they are cut: apart from a bad method or protocol name, an error is reported once its line is whole or a
// limit is met. After kError the parser stays there: answer with status_hint() (requests) and close.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "http/header_map.h"

namespace millrace::http {

enum class MessageKind : uint8_t { kRequest, kResponse };

struct ParserOptions {
  MessageKind kind = MessageKind::kRequest;
  uint32_t max_header_bytes = 60 * 1024;  // of a head, its first line included; of a trailer section
  uint32_t max_header_count = 100;
  uint32_t max_chunk_extension_bytes = 16 * 1024;  // of a message
  bool allow_chunked_length = false;   // Content-Length next to chunked: drop it instead of refusing
  bool accept_http_10 = false;         // requests; otherwise 426
  bool allow_absolute_url = true;      // otherwise an absolute target becomes :path as it is
  bool allow_custom_methods = false;   // any token
  bool enable_trailers = true;         // otherwise trailers are checked and dropped (Envoy's default)
};

class Http1Parser {
 public:
  enum class Event : uint8_t {
    kNeedMore,   // `in` is used up
    kHeaders,    // the map is filled
    kData,       // bytes were moved to `body`
    kTrailers,   // the map is filled; comes with chunked bodies that have trailers
    kComplete,   // end of the message; the next call starts the next one
    kError,
  };

  explicit Http1Parser(const ParserOptions& options) : options_(options) {}
  Http1Parser(const Http1Parser&) = delete;
  Http1Parser& operator=(const Http1Parser&) = delete;

  // One event. `map` takes the head until kHeaders (it is cleared when a head begins and has to be the same one until
  // its kHeaders) and the trailers after that: pass another one from then on if the head is still needed.
  Event next(base::Buffer& in, HeaderMap& map, base::Buffer& body);
  // The peer ended its side. kComplete: a response that ends so; kNeedMore: between messages; kError: inside one.
  Event on_eof();
  // Responses: method of the request the next final response answers. Before its first byte.
  void set_request_method(std::string_view method);
  // Back to the state before the first message.
  void reset();

  // Of the current message, from kHeaders on.
  bool http_11() const { return http_11_; }
  bool keep_alive() const { return keep_alive_; }             // the connection may carry another message
  bool upgrade() const { return upgrade_; }                   // request: asked for; response: 101, or 2xx to CONNECT
  bool connect() const { return method_ == Method::kConnect; }
  bool head() const { return method_ == Method::kHead; }
  bool expect_continue() const { return expect_continue_; }   // the client waits for a 100 before it sends the body
  bool informational() const { return informational_; }       // 1xx other than 101: another head follows
  bool chunked() const { return chunked_; }
  bool has_content_length() const { return has_length_; }
  uint64_t content_length() const { return content_length_; } // as the header says, also where no body follows (HEAD)
  bool has_body() const { return has_body_; }
  unsigned status() const { return status_; }                 // responses
  // Nothing but kComplete follows the event just returned (the end_stream flag of Envoy).
  bool ended() const { return state_ == State::kDone; }
  // Some of a message has been read, and not all of it.
  bool in_message() const;

  // After kError.
  unsigned status_hint() const { return error_status_; }
  std::string_view detail() const { return error_detail_; }   // Envoy's response code detail
  std::string_view reason() const { return error_reason_; }   // for the log

 private:
  enum class State : uint8_t {
    kIdle,        // between messages
    kFirstLine,
    kFields,
    kLength,      // body of remaining_ bytes
    kUntilClose,
    kChunkSize,   // -> kChunkData, or after the last one -> kTrailers
    kChunkExtension,
    kChunkSizeLf,
    kChunkData,   // remaining_ bytes -> kChunkCr -> kChunkLf -> kChunkSize
    kChunkCr,
    kChunkLf,
    kTrailers,
    kDone,          // kComplete to be returned
    kError,
  };
  enum class Line : uint8_t { kPartial, kTaken, kEnd, kError };
  enum class Method : uint8_t { kOther, kHead, kConnect, kOptions };

  void begin_message(HeaderMap& map);
  Event read_head(base::Buffer& in, HeaderMap& map);
  Event read_spilled(base::Buffer& in, HeaderMap& map);
  void spill(const char* bytes, size_t n);
  Line parse_lines(char*& at, char* end, HeaderMap& map);
  Line parse_request_line(char*& at, char* end, HeaderMap& map);
  Line parse_status_line(char*& at, char* end, HeaderMap& map);
  Line parse_field(char*& at, char* end, HeaderMap& map);
  bool check_first_line_prefix(const char* p, const char* end);
  bool take_method(std::string_view method);
  bool take_target(std::string_view target, HeaderMap& map);
  bool take_absolute_target(std::string_view target, HeaderMap& map);
  bool take_field(Header id, std::string_view name, std::string_view value, HeaderMap& map);
  bool take_content_length(std::string_view value);
  bool take_transfer_encoding(std::string_view value);
  void take_connection(std::string_view value);
  Event finish_head(HeaderMap& map);
  bool finish_request(HeaderMap& map);
  bool finish_response(HeaderMap& map);
  Event read_chunked(base::Buffer& in, base::Buffer& body);
  // Takes bytes of chunk framing off [p, end); returns how many, stops where data or trailers begin.
  size_t parse_chunk_framing(const char* p, const char* end);

  bool fail(std::string_view reason, std::string_view detail = "http1.codec_error", unsigned status = 400);
  // Fails when the line is whole, i.e. [p, end) holds its LF; otherwise there is more to come.
  Line fail_line(const char* line, const char* p, const char* end, std::string_view reason);
  Line too_large();

  ParserOptions options_;
  State state_ = State::kIdle;
  Method method_ = Method::kOther;
  bool http_11_ = true, keep_alive_ = true, upgrade_ = false, expect_continue_ = false, informational_ = false;
  bool chunked_ = false, has_length_ = false, has_body_ = false;
  bool absolute_target_ = false, saw_host_ = false, saw_upgrade_ = false, saw_close_ = false, saw_keep_alive_ = false;
  bool connection_upgrade_ = false, expects_ = false, empty_line_skipped_ = false, trailers_kept_ = false;
  bool in_trailers_ = false, spilling_ = false;
  uint8_t chunk_digits_ = 0;
  uint16_t status_ = 0;
  uint16_t error_status_ = 0;
  uint32_t head_bytes_ = 0;   // of the lines taken
  uint32_t field_count_ = 0;
  uint32_t extension_bytes_ = 0;
  uint32_t spill_begin_ = 0, spill_end_ = 0;
  uint64_t content_length_ = 0;
  uint64_t remaining_ = 0;
  std::string_view host_;
  base::BlockRef spill_;
  std::string_view error_detail_, error_reason_;
};

}  // namespace millrace::http
