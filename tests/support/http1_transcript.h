// What Http1Parser makes of some bytes, as text, for comparing runs: one line per event, body bytes joined. The bytes
// come as pieces, each in a block of its own, either one after the other or all at once.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "http/http1_parser.h"

namespace millrace::test {

struct Feed {
  std::vector<std::string_view> pieces;
  bool at_once = false;      // all pieces are in the buffer before the first call
  bool eof = true;
  std::string_view request_method = "GET";  // responses
};

class Transcript {
 public:
  Transcript(const http::ParserOptions& options, const Feed& feed) : parser_(options) {
    if (options.kind == http::MessageKind::kResponse) parser_.set_request_method(feed.request_method);
    for (std::string_view piece : feed.pieces) {
      append_block(piece);
      if (!feed.at_once) run();
    }
    run();
    if (feed.eof && !raw_ && !failed_) take(parser_.on_eof());
    flush_body();
    if (raw_) text_ += "raw " + in_.to_string() + "\n";
    else if (!failed_ && parser_.in_message()) text_ += "in message\n";
  }

  const std::string& text() const { return text_; }
  // No kData without bytes, no kNeedMore with input left.
  bool sound() const { return sound_; }

 private:
  using Event = http::Http1Parser::Event;

  void append_block(std::string_view piece) {
    if (piece.empty()) return;
    base::BlockRef block = base::make_block(piece.size());
    piece.copy(reinterpret_cast<char*>(block->data), piece.size());
    block->appendable = true;
    uint8_t* begin = block->data;
    in_.append(std::move(block), begin, begin + piece.size());
  }

  void run() {
    if (raw_ || failed_) return;
    while (take(parser_.next(in_, after_head_ ? trailers_ : headers_, body_))) {
    }
  }

  bool take(Event event) {
    if (event == Event::kData) {
      sound_ = sound_ && !body_.empty();
      data_ += body_.to_string();
      body_.clear();
      return true;
    }
    if (event == Event::kNeedMore) {
      sound_ = sound_ && in_.empty();
      return false;
    }
    flush_body();
    switch (event) {
      case Event::kHeaders:
        text_ += parser_.informational() ? "informational" : "headers";
        text_ += parser_.http_11() ? " 1.1" : " 1.0";
        if (parser_.keep_alive()) text_ += " keep-alive";
        if (parser_.upgrade()) text_ += " upgrade";
        if (parser_.expect_continue()) text_ += " expect";
        if (parser_.chunked()) text_ += " chunked";
        if (parser_.has_content_length()) text_ += " length=" + std::to_string(parser_.content_length());
        if (parser_.has_body()) text_ += " body";
        if (parser_.ended()) text_ += " ended";
        text_ += "\n";
        put(headers_);
        after_head_ = !parser_.informational();
        return true;
      case Event::kTrailers:
        text_ += "trailers\n";
        put(trailers_);
        return true;
      case Event::kComplete:
        text_ += "complete\n";
        after_head_ = false;
        headers_.clear();
        trailers_.clear();
        raw_ = parser_.upgrade() || parser_.connect();
        return !raw_;
      default:
        failed_ = true;
        text_ += "error " + std::to_string(parser_.status_hint()) + " " + std::string(parser_.detail()) + ": " +
                 std::string(parser_.reason()) + "\n";
        return false;
    }
  }

  void put(const http::HeaderMap& map) {
    map.for_each([this](const http::HeaderMap::Entry& e) {
      text_.append("  ").append(e.name).append("=").append(e.value).append("\n");
    });
  }

  void flush_body() {
    if (!data_.empty()) text_ += "data " + data_ + "\n";
    data_.clear();
  }

  http::Http1Parser parser_;
  base::Buffer in_, body_;
  http::HeaderMap headers_, trailers_;
  bool after_head_ = false, raw_ = false, failed_ = false, sound_ = true;
  std::string text_, data_;
};

inline std::string transcript(const http::ParserOptions& options, const Feed& feed) {
  const Transcript whole(options, feed);
  return whole.sound() ? whole.text() : "unsound: " + whole.text();
}

}  // namespace millrace::test
