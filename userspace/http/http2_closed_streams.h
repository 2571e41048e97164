// Which of a connection's streams that are over the peer may still send on (RFC 9113 section 5.1): those that we have
// reset, as it may not have heard of that; not those that it has ended itself, nor those it never used. Remembers a
// few of each; what it has forgotten it takes for a stream that we have reset. One file of the session's
// implementation, without io; ids are those of the client's streams, in either role.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

namespace millrace::http {

class Http2ClosedStreams {
 public:
  enum class Why : uint8_t { kUsed, kSkipped, kReset };

  // A stream begins; those between it and the last one never will (section 5.1.1).
  void begin(int32_t id) {
    if (id > last_ + 2) {
      skipped_[next_skipped_] = {last_ + 2, id - 2};
      next_skipped_ = (next_skipped_ + 1) % skipped_.size();
    }
    last_ = id;
  }
  // We have reset it, or refused it.
  void reset(int32_t id) {
    if (why(id) == Why::kReset) return;
    forgotten_ = std::max(forgotten_, reset_[next_reset_]);
    reset_[next_reset_] = id;
    next_reset_ = (next_reset_ + 1) % reset_.size();
  }

  int32_t last() const { return last_; }
  // Of a stream up to the last one that is not open.
  Why why(int32_t id) const {
    if (id <= forgotten_ || std::find(reset_.begin(), reset_.end(), id) != reset_.end()) return Why::kReset;
    const auto within = [id](const Range& r) { return r.first <= id && id <= r.last; };
    return std::any_of(skipped_.begin(), skipped_.end(), within) ? Why::kSkipped : Why::kUsed;
  }

 private:
  struct Range {
    int32_t first = 0, last = -1;
  };

  int32_t last_ = -1;
  int32_t forgotten_ = 0;  // the highest that was reset and is not in the list any more
  uint32_t next_reset_ = 0, next_skipped_ = 0;
  std::array<int32_t, 16> reset_{};
  std::array<Range, 4> skipped_{};
};

}  // namespace millrace::http
