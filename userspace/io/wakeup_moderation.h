// Decides when a sleep may last a little longer so that one wake-up finds several completions, as network cards
// moderate interrupts. Waking a thread that sleeps costs the waker an inter-processor interrupt (in a virtual machine
// an exit to the host as well) and the sleeper two context switches; at tens of thousands of short sleeps a second that
// is a large part of all work, on both sides. A thread that sleeps seldom, or finds many completions whenever it
// wakes, gains nothing and is left alone: then nothing is added to latency either.
#pragma once
#include <cstdint>

#include "base/clock.h"

namespace millrace::io {

struct WakeupModerationOptions {
  // A sleep ends when `completions` are there, or after `wait` with what is there. wait 0: off.
  base::nanoseconds wait{20'000};
  uint32_t completions = 8;
  uint64_t rate_min = 100'000;  // completions a second at which it begins: some are due within `wait`
};

class WakeupModeration {
 public:
  explicit WakeupModeration(const WakeupModerationOptions& options) : options_(options) {}

  // After every turn: how many completions it delivered. True when it is time for decide().
  bool on_turn(uint32_t completions) {
    completions_ += completions;
    return ++turns_ == kWindowTurns;
  }
  void decide(base::MonotonicTime now) {
    const int64_t elapsed_ns = base::nanoseconds(now - began_).count();
    const bool frequent = static_cast<int64_t>(completions_) * 1'000'000'000 >=
                          static_cast<int64_t>(options_.rate_min) * elapsed_ns;
    // It makes the batches larger itself, so it ends later (at twice `completions` a turn) than it begins (3/4).
    const bool small = completions_ * 4 < uint64_t{options_.completions} * (active_ ? 8 : 3) * kWindowTurns;
    active_ = options_.wait.count() > 0 && frequent && small;
    began_ = now;
    completions_ = 0;
    turns_ = 0;
  }
  bool active() const { return active_; }
  const WakeupModerationOptions& options() const { return options_; }

 private:
  static constexpr uint32_t kWindowTurns = 64;  // the decision holds for this many turns
  WakeupModerationOptions options_;
  base::MonotonicTime began_{};
  uint64_t completions_ = 0;
  uint32_t turns_ = 0;
  bool active_ = false;
};

}  // namespace millrace::io
