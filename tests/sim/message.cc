#include "sim/message.h"

#include <algorithm>
#include <charconv>

namespace millrace::sim {

namespace {

bool parse_number(std::string_view text, uint64_t& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

MessageReader::Event MessageReader::bad(std::string why) {
  why_bad_ = std::move(why);
  return Event::kBad;
}

bool MessageReader::has(std::string_view name) const {
  return std::any_of(headers_.begin(), headers_.end(), [name](const auto& header) { return header.first == name; });
}

std::string_view MessageReader::get(std::string_view name) const {
  for (const auto& [key, value] : headers_) {
    if (key == name) return value;
  }
  return {};
}

bool MessageReader::take_line(std::string& line) {
  const size_t end = input_.find("\r\n");
  if (end == std::string::npos) return false;
  line = input_.substr(0, end);
  input_.erase(0, end + 2);
  return true;
}

bool MessageReader::parse_start(std::string_view line) {
  if (responses_) {
    uint64_t status = 0;
    if (!line.starts_with("HTTP/1.1 ") || line.size() < 12) return false;
    if (!parse_number(line.substr(9, 3), status, 10)) return false;
    status_ = static_cast<int>(status);
    return true;
  }
  const size_t first = line.find(' ');
  const size_t second = line.rfind(' ');
  if (first == std::string_view::npos || second <= first || line.substr(second) != " HTTP/1.1") return false;
  method_ = line.substr(0, first);
  target_ = line.substr(first + 1, second - first - 1);
  return true;
}

MessageReader::Event MessageReader::read_head() {
  const size_t end = input_.find("\r\n\r\n");
  if (end == std::string::npos) return Event::kNone;
  std::string line;
  take_line(line);
  if (!parse_start(line)) return bad("start line: " + line);
  headers_.clear();
  while (take_line(line) && !line.empty()) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || colon == 0) return bad("header: " + line);
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    size_t from = colon + 1;
    while (from < line.size() && line[from] == ' ') ++from;
    headers_.emplace_back(std::move(name), line.substr(from));
  }
  for (const char* once : {"content-length", "transfer-encoding", "host", "connection", "x-sim-id"}) {
    if (std::count_if(headers_.begin(), headers_.end(), [once](const auto& h) { return h.first == once; }) > 1) {
      return bad(std::string("given twice: ") + once);
    }
  }
  return choose_framing();
}

MessageReader::Event MessageReader::choose_framing() {
  const bool chunked = has("transfer-encoding");
  if (chunked && (get("transfer-encoding") != "chunked" || has("content-length"))) return bad("ambiguous length");
  uint64_t length = 0;
  if (has("content-length") && !parse_number(get("content-length"), length, 10)) return bad("content-length");
  if (responses_ && (answers_head_ || status_ / 100 == 1 || status_ == 204 || status_ == 304)) {
    end_pending_ = true;
  } else if (chunked) {
    state_ = State::kChunkSize;
  } else if (has("content-length") && length > 0) {
    left_ = length;
    state_ = State::kLength;
  } else if (responses_ && !has("content-length")) {
    state_ = State::kUntilClose;
  } else {
    end_pending_ = true;
  }
  return Event::kHead;
}

MessageReader::Event MessageReader::read_counted(State after) {
  if (input_.empty()) return Event::kNone;
  const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, input_.size()));
  body_ = input_.substr(0, n);
  input_.erase(0, n);
  left_ -= n;
  if (left_ == 0) {
    state_ = after;
    end_pending_ = after == State::kHead;
  }
  return Event::kBody;
}

MessageReader::Event MessageReader::next() {
  if (end_pending_) {
    end_pending_ = false;
    return Event::kEnd;
  }
  std::string line;
  while (true) {
    switch (state_) {
      case State::kHead: return input_.empty() ? Event::kNone : read_head();
      case State::kLength: return read_counted(State::kHead);
      case State::kChunk: return read_counted(State::kChunkEnd);
      case State::kUntilClose:
        left_ = input_.size();
        if (left_ == 0) return Event::kNone;
        body_ = std::move(input_);
        input_.clear();
        return Event::kBody;
      case State::kChunkSize:
        if (!take_line(line)) return Event::kNone;
        if (!parse_number(line, left_, 16)) return bad("chunk size: " + line);
        state_ = left_ > 0 ? State::kChunk : State::kTrailers;
        break;
      case State::kChunkEnd:
        if (input_.size() < 2) return Event::kNone;
        if (!take_line(line) || !line.empty()) return bad("chunk without an end");
        state_ = State::kChunkSize;
        break;
      case State::kTrailers:
        if (!take_line(line)) return Event::kNone;
        if (!line.empty()) break;
        state_ = State::kHead;
        return Event::kEnd;
    }
  }
}

MessageReader::Event MessageReader::end_of_stream() {
  if (state_ == State::kUntilClose) {
    state_ = State::kHead;
    return Event::kEnd;
  }
  return idle() ? Event::kNone : bad("ended inside a message");
}

}  // namespace millrace::sim
