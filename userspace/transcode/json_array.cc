#include "transcode/json_array.h"

namespace millrace::transcode {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

base::Error JsonArraySplitter::error() const {
  return base::Error{base::ErrorCode::kProtocol, base::Side::kDownstream, 0, why_};
}

JsonArraySplitter::Step JsonArraySplitter::step(char c) {
  switch (state_) {
    case State::kBefore:
      if (is_space(c)) return Step::kMore;
      if (c != '[') return wrong("expected a JSON array");
      state_ = State::kFirst;
      return Step::kMore;
    case State::kFirst:
    case State::kNext:
      if (is_space(c)) return Step::kMore;
      if (c == ']' && state_ == State::kFirst) {
        state_ = State::kAfter;
        return Step::kMore;
      }
      state_ = State::kElement;
      depth_ = 0;
      return within(c);
    case State::kElement: return within(c);
    case State::kAfter: return is_space(c) ? Step::kMore : wrong("something follows the JSON array");
  }
  return Step::kWrong;
}

JsonArraySplitter::Step JsonArraySplitter::within(char c) {
  if (!in_string_ && depth_ == 0 && (c == ',' || c == ']')) {
    if (element_.find_first_not_of(" \t\r\n") == std::string::npos) {
      return wrong("an element of the JSON array is empty");
    }
    state_ = c == ',' ? State::kNext : State::kAfter;
    return Step::kElement;
  }
  if (element_.size() >= element_bytes_max_) return wrong("an element of the JSON array is too large");
  element_ += c;
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    return Step::kMore;
  }
  if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    if (depth_ == 0) return wrong("the brackets of the JSON array do not match");
    --depth_;
  }
  return Step::kMore;
}

}  // namespace millrace::transcode
