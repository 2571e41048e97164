// A plain HTTP/1 message reader of the simulated clients and servers: independent of the daemon's parser,
// strict about what the daemon may write, slow and simple.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::sim {

class MessageReader {
 public:
  enum class Event : uint8_t { kNone, kHead, kBody, kEnd, kBad };

  explicit MessageReader(bool responses) : responses_(responses) {}
  void append(std::string_view bytes) { input_ += bytes; }
  bool idle() const { return state_ == State::kHead && input_.empty(); }
  bool in_body() const { return state_ != State::kHead; }
  size_t waiting() const { return input_.size(); }
  // Before the head of a response is read: whether it answers HEAD.
  void answers_head(bool yes) { answers_head_ = yes; }
  Event next();
  // The sender ended: kEnd when that ends the message, kNone between messages, else kBad.
  Event end_of_stream();

  // Of the message begun by kHead.
  std::string_view target() const { return target_; }   // of a request
  std::string_view method() const { return method_; }
  int status() const { return status_; }                // of a response
  bool has(std::string_view name) const;
  std::string_view get(std::string_view name) const;    // empty when there is none; given twice is kBad's business
  const std::string& body() const { return body_; }     // of kBody
  const std::string& why_bad() const { return why_bad_; }

 private:
  enum class State : uint8_t { kHead, kLength, kChunkSize, kChunk, kChunkEnd, kTrailers, kUntilClose };
  Event bad(std::string why);
  Event read_head();
  bool parse_start(std::string_view line);
  Event choose_framing();
  Event read_counted(State after);
  bool take_line(std::string& line);

  bool responses_;
  bool answers_head_ = false;
  bool end_pending_ = false;
  State state_ = State::kHead;
  std::string input_, body_, method_, target_, why_bad_;
  std::vector<std::pair<std::string, std::string>> headers_;
  int status_ = 0;
  uint64_t left_ = 0;
};

}  // namespace millrace::sim
