// Takes a JSON array that comes in pieces apart into its elements, without understanding them: brackets and strings are
// all it knows, what an element is worth its reader says. Sans-IO; one stream's.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::transcode {

class JsonArraySplitter {
 public:
  // An element beyond that many bytes is an error.
  explicit JsonArraySplitter(size_t element_bytes_max) : element_bytes_max_(element_bytes_max) {}

  // Calls f(std::string_view element) -> base::Result<void> for each element that is complete. Errors are final.
  template <class F>
  base::Result<void> feed(std::string_view bytes, F&& f) {
    for (const char c : bytes) {
      switch (step(c)) {
        case Step::kMore: break;
        case Step::kElement: {
          if (base::Result<void> done = f(std::string_view(element_)); !done.ok()) return done;
          element_.clear();
          break;
        }
        case Step::kWrong: return error();
      }
    }
    return {};
  }
  // Whether the array was closed, or nothing but space came.
  bool complete() const { return state_ == State::kAfter || state_ == State::kBefore; }
  base::Error error() const;

 private:
  enum class State : uint8_t { kBefore, kFirst, kElement, kNext, kAfter };
  enum class Step : uint8_t { kMore, kElement, kWrong };
  Step step(char c);
  Step within(char c);
  Step wrong(const char* why) {
    why_ = why;
    return Step::kWrong;
  }

  const size_t element_bytes_max_;
  std::string element_;
  const char* why_ = "the JSON array is not complete";
  State state_ = State::kBefore;
  uint32_t depth_ = 0;      // of brackets within the element
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace millrace::transcode
