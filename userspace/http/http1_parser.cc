#include "http/http1_parser.h"

#include <algorithm>
#include <cstring>

#include "http/chars.h"
#include "http/scan.h"

namespace millrace::http {
namespace {

constexpr size_t kMethodBytesMax = 64;
constexpr std::string_view kControlCharacter = "a bare CR or LF, or another control character";
constexpr std::string_view kVersionPrefix = "HTTP/1.";
constexpr unsigned kChunkDigitsMax = 16;  // leading zeros included
constexpr uint32_t kSpillBytesMin = 4096;

const char* find_lf(const char* p, const char* end) {
  return p == end ? nullptr : static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p)));
}

}  // namespace

void Http1Parser::reset() {
  spill_.reset();
  state_ = State::kIdle;
  method_ = Method::kOther;
  error_status_ = 0;
  error_detail_ = error_reason_ = {};
}

void Http1Parser::set_request_method(std::string_view method) {
  method_ = method == "HEAD" ? Method::kHead : method == "CONNECT" ? Method::kConnect : Method::kOther;
}

bool Http1Parser::in_message() const {
  switch (state_) {
    case State::kIdle:
    case State::kDone: return false;
    // Whatever of the first line has come was spilled; an empty line before it does not count.
    case State::kFirstLine: return spill_begin_ != spill_end_;
    default: return true;
  }
}

void Http1Parser::begin_message(HeaderMap& map) {
  if (map.size() != 0) map.clear();
  state_ = State::kFirstLine;
  http_11_ = keep_alive_ = true;
  upgrade_ = expect_continue_ = informational_ = chunked_ = has_length_ = has_body_ = false;
  absolute_target_ = saw_host_ = saw_upgrade_ = saw_close_ = saw_keep_alive_ = false;
  connection_upgrade_ = expects_ = empty_line_skipped_ = trailers_kept_ = in_trailers_ = false;
  chunk_digits_ = 0;
  spilling_ = false;
  status_ = 0;
  head_bytes_ = field_count_ = extension_bytes_ = spill_begin_ = spill_end_ = 0;
  content_length_ = remaining_ = 0;
  host_ = {};
}

Http1Parser::Event Http1Parser::next(base::Buffer& in, HeaderMap& map, base::Buffer& body) {
  switch (state_) {
    case State::kIdle:
      if (in.empty()) return Event::kNeedMore;
      begin_message(map);
      [[fallthrough]];
    case State::kFirstLine:
    case State::kFields:
    case State::kTrailers: return read_head(in, map);
    case State::kLength: {
      if (in.empty()) return Event::kNeedMore;
      const size_t n = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      body.move_from(in, n);
      remaining_ -= n;
      if (remaining_ == 0) state_ = State::kDone;
      return Event::kData;
    }
    case State::kUntilClose:
      if (in.empty()) return Event::kNeedMore;
      body.move_from(in);
      return Event::kData;
    case State::kDone: state_ = State::kIdle; return Event::kComplete;
    case State::kError: return Event::kError;
    default: {
      const Event event = read_chunked(in, body);
      return event == Event::kNeedMore && state_ == State::kTrailers ? read_head(in, map) : event;
    }
  }
}

Http1Parser::Event Http1Parser::on_eof() {
  if (state_ == State::kUntilClose || state_ == State::kDone) {
    state_ = State::kIdle;
    return Event::kComplete;
  }
  if (state_ == State::kError) return Event::kError;
  if (!in_message()) return Event::kNeedMore;
  fail("the connection ended inside a message");
  return Event::kError;
}

Http1Parser::Event Http1Parser::read_head(base::Buffer& in, HeaderMap& map) {
  if (spilling_) return read_spilled(in, map);
  in.drain(0);  // empty slices at the front
  if (in.empty()) return Event::kNeedMore;
  base::BlockRef block = in.front_block();
  char* const begin = const_cast<char*>(in.front().data());
  char* const end = begin + in.front().size();
  char* at = begin;
  map.hold(block);
  const Line line = parse_lines(at, end, map);
  if (line == Line::kError) return Event::kError;
  in.drain(static_cast<size_t>((line == Line::kEnd ? at : end) - begin));
  if (line == Line::kEnd) return finish_head(map);
  const size_t partial = static_cast<size_t>(end - at);
  if (head_bytes_ + partial > options_.max_header_bytes) {
    too_large();
    return Event::kError;
  }
  spilling_ = true;
  spill(at, partial);
  return read_spilled(in, map);
}

// The head did not fit its first block: line by line through a block of ours.
Http1Parser::Event Http1Parser::read_spilled(base::Buffer& in, HeaderMap& map) {
  for (in.drain(0); !in.empty(); in.drain(0)) {
    const std::string_view front = in.front();
    const char* lf = find_lf(front.data(), front.data() + front.size());
    const size_t n = lf == nullptr ? front.size() : static_cast<size_t>(lf + 1 - front.data());
    if (head_bytes_ + (spill_end_ - spill_begin_) + n > options_.max_header_bytes) {
      too_large();
      return Event::kError;
    }
    spill(front.data(), n);
    in.drain(n);
    if (lf == nullptr) continue;
    map.hold(spill_);
    char* at = reinterpret_cast<char*>(spill_->data) + spill_begin_;
    const Line line = parse_lines(at, reinterpret_cast<char*>(spill_->data) + spill_end_, map);
    if (line == Line::kError) return Event::kError;
    MILLRACE_DCHECK(at == reinterpret_cast<char*>(spill_->data) + spill_end_);
    spill_begin_ = spill_end_;
    if (line == Line::kEnd) {
      spilling_ = false;
      spill_.reset();
      return finish_head(map);
    }
  }
  if (state_ == State::kFirstLine && spill_begin_ != spill_end_) {
    const char* line = reinterpret_cast<const char*>(spill_->data) + spill_begin_;
    if (!check_first_line_prefix(line, line + (spill_end_ - spill_begin_))) return Event::kError;
  }
  return Event::kNeedMore;
}

void Http1Parser::spill(const char* bytes, size_t n) {
  if (n == 0) return;
  if (!spill_ || spill_end_ + n > spill_->capacity) {
    const uint32_t partial = spill_end_ - spill_begin_;
    base::BlockRef block = base::make_block(std::max<size_t>(kSpillBytesMin, 2 * (partial + n)));
    if (partial != 0) std::memcpy(block->data, spill_->data + spill_begin_, partial);
    spill_ = std::move(block);  // lines parsed from the old one are kept by the map
    spill_begin_ = 0;
    spill_end_ = partial;
  }
  std::memcpy(spill_->data + spill_end_, bytes, n);
  spill_end_ += static_cast<uint32_t>(n);
}

// Takes whole lines off [at, end).
Http1Parser::Line Http1Parser::parse_lines(char*& at, char* end, HeaderMap& map) {
  if (state_ == State::kFirstLine) {
    const Line line = options_.kind == MessageKind::kRequest ? parse_request_line(at, end, map)
                                                             : parse_status_line(at, end, map);
    if (line != Line::kTaken) return line;
    state_ = State::kFields;
  }
  Line line = Line::kTaken;
  while (line == Line::kTaken) line = parse_field(at, end, map);
  return line;
}

// What a first line can be refused for before it is whole: a client that speaks another protocol (TLS, say) gets its
// answer at once. False: failed.
bool Http1Parser::check_first_line_prefix(const char* p, const char* end) {
  const char* const line = p;
  if (options_.kind == MessageKind::kResponse) {
    const size_t n = std::min(static_cast<size_t>(end - p), kVersionPrefix.size());
    return std::memcmp(p, kVersionPrefix.data(), n) == 0 || fail("not an HTTP/1 status line");
  }
  if (*p == '\r' && !empty_line_skipped_) return true;
  while (p != end && chars::is(*p, chars::kToken) && p - line < static_cast<ptrdiff_t>(kMethodBytesMax)) ++p;
  if (p == end) return true;
  if (*p != ' ' || p == line) return fail("the method is not a token");
  return true;
}

Http1Parser::Line Http1Parser::parse_request_line(char*& at, char* end, HeaderMap& map) {
  if (at != end && *at == '\r' && !empty_line_skipped_) {  // RFC 9112 section 2.2: one empty line is let pass
    if (end - at < 2) return Line::kPartial;
    if (at[1] != '\n') return fail_line(at, at, end, "a bare CR");
    empty_line_skipped_ = true;
    head_bytes_ += 2;
    at += 2;
  }
  if (at == end) return Line::kPartial;
  if (!check_first_line_prefix(at, end)) return Line::kError;
  char* const line = at;
  const char* p = line;
  while (p != end && *p != ' ') ++p;
  if (p == end) return Line::kPartial;
  const std::string_view method(line, static_cast<size_t>(p - line));
  const char* const target_begin = ++p;
  p = scan::target_end(p, end);
  if (p == end) return Line::kPartial;
  if (*p != ' ' || p == target_begin) return fail_line(line, p, end, "a malformed request target");
  const std::string_view target(target_begin, static_cast<size_t>(p - target_begin));
  ++p;
  constexpr std::string_view kVersion11 = "HTTP/1.1\r\n", kVersion10 = "HTTP/1.0\r\n";
  const std::string_view version(p, std::min<size_t>(kVersion11.size(), static_cast<size_t>(end - p)));
  if (version == kVersion10) {
    http_11_ = false;
  } else if (version != kVersion11) {
    return fail_line(line, p, end, "an unknown protocol version");
  }
  p += kVersion11.size();
  head_bytes_ += static_cast<uint32_t>(p - line);
  if (head_bytes_ > options_.max_header_bytes) return too_large();
  at += p - line;
  if (!take_method(method)) return Line::kError;
  map.add_view(Header::kMethod, method);
  return take_target(target, map) ? Line::kTaken : Line::kError;
}

Http1Parser::Line Http1Parser::parse_status_line(char*& at, char* end, HeaderMap& map) {
  if (at == end) return Line::kPartial;
  if (!check_first_line_prefix(at, end)) return Line::kError;
  constexpr size_t kFixedBytes = 12;  // HTTP/1.1 200
  const char* const line = at;
  if (static_cast<size_t>(end - line) <= kFixedBytes) return fail_line(line, line, end, "a malformed status line");
  const char* status = line + kVersionPrefix.size() + 2;
  const bool version_known = line[7] == '1' || line[7] == '0';
  if (!version_known || line[8] != ' ' || !chars::all({status, 3}, chars::kDigit) || status[0] == '0' ||
      (status[3] != ' ' && status[3] != '\r')) {
    return fail_line(line, line, end, "a malformed status line");
  }
  const char* p = scan::value_end(status + 3, end);
  if (end - p < 2 || p[0] != '\r' || p[1] != '\n') return fail_line(line, p, end, kControlCharacter);
  p += 2;
  head_bytes_ += static_cast<uint32_t>(p - line);
  if (head_bytes_ > options_.max_header_bytes) return too_large();
  at += p - line;
  http_11_ = line[7] == '1';
  status_ = static_cast<uint16_t>((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
  map.add_view(Header::kStatus, {status, 3});
  return Line::kTaken;
}

Http1Parser::Line Http1Parser::parse_field(char*& at, char* end, HeaderMap& map) {
  char* const line = at;
  if (line == end) return Line::kPartial;
  char* p = line;
  if (*p == '\r') {
    if (end - p < 2) return Line::kPartial;
    if (p[1] != '\n') return fail_line(line, p, end, "a bare CR");
    head_bytes_ += 2;
    if (head_bytes_ > options_.max_header_bytes) return too_large();
    at += 2;
    return Line::kEnd;
  }
  char folded[scan::kFoldedMax];
  const size_t folded_size = scan::fold_usual_name(p, end, folded);
  if (folded_size != 0) {
    p += folded_size;
  } else {
    for (char c; p != end && (c = chars::kTokenLower[static_cast<unsigned char>(*p)]) != 0; ++p) *p = c;
    if (p == end) return Line::kPartial;
    if (*p != ':' || p == line) return fail_line(line, p, end, "a malformed field name, or a folded line");
  }
  const size_t name_size = static_cast<size_t>(p - line);
  ++p;
  while (p != end && (*p == ' ' || *p == '\t')) ++p;
  const char* const value_begin = p;
  const char* value_end = scan::value_end(p, end);
  if (end - value_end < 2 || value_end[0] != '\r' || value_end[1] != '\n') {
    return fail_line(line, value_end, end, kControlCharacter);
  }
  at = line + (value_end + 2 - line);
  while (value_end != value_begin && (value_end[-1] == ' ' || value_end[-1] == '\t')) --value_end;
  head_bytes_ += static_cast<uint32_t>(at - line);
  if (head_bytes_ > options_.max_header_bytes) return too_large();
  if (++field_count_ > options_.max_header_count) {
    fail("too many fields", "http1.too_many_headers", 431);
    return Line::kError;
  }
  const std::string_view value(value_begin, static_cast<size_t>(value_end - value_begin));
  const Header id = header_id({folded_size != 0 ? folded : line, name_size});
  if (folded_size != 0 && id == Header::kOther) std::memcpy(line, folded, name_size);
  const std::string_view name = id == Header::kOther ? std::string_view(line, name_size) : http::name(id);
  return take_field(id, name, value, map) ? Line::kTaken : Line::kError;
}

Http1Parser::Event Http1Parser::read_chunked(base::Buffer& in, base::Buffer& body) {
  bool moved = false;
  for (in.drain(0); !in.empty(); in.drain(0)) {
    if (state_ == State::kChunkData) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      body.move_from(in, n);
      remaining_ -= n;
      moved = true;
      if (remaining_ == 0) state_ = State::kChunkCr;
      continue;
    }
    if (state_ == State::kTrailers) break;
    const std::string_view front = in.front();
    const size_t used = parse_chunk_framing(front.data(), front.data() + front.size());
    if (state_ == State::kError) return moved ? Event::kData : Event::kError;  // what was good goes first
    in.drain(used);
  }
  if (state_ == State::kTrailers) {
    in_trailers_ = true;
    head_bytes_ = field_count_ = spill_begin_ = spill_end_ = 0;
    spilling_ = false;
    if (in.front().starts_with("\r\n")) {  // the usual end: spares the caller a turn, and tells it with the last bytes
      in.drain(2);
      state_ = moved ? State::kDone : State::kIdle;
      return moved ? Event::kData : Event::kComplete;
    }
  }
  return moved ? Event::kData : Event::kNeedMore;
}

size_t Http1Parser::parse_chunk_framing(const char* p, const char* end) {
  const char* const begin = p;
  for (; p != end; ++p) {
    const char c = *p;
    switch (state_) {
      case State::kChunkSize:
        if (chars::is(c, chars::kHex)) {
          if (++chunk_digits_ > kChunkDigitsMax || remaining_ >> 59 != 0) return fail("a chunk size out of range"), 0;
          remaining_ = remaining_ << 4 | chars::hex_value(c);
        } else if (chunk_digits_ != 0 && c == '\r') {
          state_ = State::kChunkSizeLf;
        } else if (chunk_digits_ != 0 && c == ';') {
          state_ = State::kChunkExtension;
        } else {
          return fail("a malformed chunk size"), 0;
        }
        break;
      case State::kChunkExtension:
        if (c == '\r') {
          state_ = State::kChunkSizeLf;
        } else if (!chars::is(c, chars::kFieldValue)) {
          return fail("a control character in a chunk extension"), 0;
        } else if (++extension_bytes_ > options_.max_chunk_extension_bytes) {
          return fail("chunk extensions too long"), 0;
        }
        break;
      case State::kChunkSizeLf:
        if (c != '\n') return fail("a bare CR in a chunk size"), 0;
        chunk_digits_ = 0;
        state_ = remaining_ == 0 ? State::kTrailers : State::kChunkData;
        return static_cast<size_t>(p + 1 - begin);
      case State::kChunkCr:
        if (c != '\r') return fail("a chunk longer than its size"), 0;
        state_ = State::kChunkLf;
        break;
      default:  // kChunkLf
        if (c != '\n') return fail("a bare CR after a chunk"), 0;
        state_ = State::kChunkSize;
        break;
    }
  }
  return static_cast<size_t>(p - begin);
}

bool Http1Parser::fail(std::string_view reason, std::string_view detail, unsigned status) {
  state_ = State::kError;
  keep_alive_ = false;
  error_reason_ = reason;
  error_detail_ = detail;
  error_status_ = static_cast<uint16_t>(status);
  return false;
}

Http1Parser::Line Http1Parser::fail_line(const char* line, const char* p, const char* end, std::string_view reason) {
  const char* lf = find_lf(p, end);
  if (lf == nullptr) return Line::kPartial;
  if (head_bytes_ + static_cast<size_t>(lf + 1 - line) > options_.max_header_bytes) return too_large();
  fail(reason);
  return Line::kError;
}

Http1Parser::Line Http1Parser::too_large() {
  fail(in_trailers_ ? "the trailers are too large" : "the head is too large", "http1.headers_too_large", 431);
  return Line::kError;
}

}  // namespace millrace::http
