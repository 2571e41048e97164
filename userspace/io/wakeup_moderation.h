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

// Whether it pays is tried, as it depends on what cannot be seen from here: clients that wait for our answers, fewer
// than fill a batch, are only slowed down by it. If fewer completions come with it than without, it is off again, each
// time for longer; if not, it stays on for a while, until the next comparison.
//
//   without --sampled, frequent and small--> trial --no fewer completions--> with --after a while--> without
//      \_________________________fewer____________/
class WakeupModeration {
 public:
  explicit WakeupModeration(const WakeupModerationOptions& options) : options_(options) {}

  // After every turn: how many completions it delivered. True when it is time for decide().
  bool on_turn(uint32_t completions) {
    completions_ += completions;
    return ++turns_ == kWindowTurns;
  }
  void decide(base::MonotonicTime now) {
    const uint64_t elapsed_ns = static_cast<uint64_t>(base::nanoseconds(now - began_).count());
    const uint64_t completions = completions_;
    began_ = now;
    completions_ = 0;
    turns_ = 0;
    if (options_.wait.count() == 0) return;
    sample_.completions += completions;
    sample_.elapsed_ns += elapsed_ns;
    // It makes the batches larger itself, so it ends later (at twice `completions` a turn) than it begins (3/4).
    const bool small = completions * 4 < uint64_t{options_.completions} * (active() ? 8 : 3) * kWindowTurns;
    if (!small) return enter(Phase::kWithout, kSampleWindows);
    if (Sample{completions, elapsed_ns}.per_s() < options_.rate_min) {
      return phase_ == Phase::kTrial ? give_up() : enter(Phase::kWithout, kSampleWindows);
    }
    if (--windows_left_ == 0) advance();
  }
  bool active() const { return phase_ != Phase::kWithout; }
  const WakeupModerationOptions& options() const { return options_; }

 private:
  enum class Phase : uint8_t { kWithout, kTrial, kWith };
  struct Sample {
    uint64_t completions = 0, elapsed_ns = 0;
    uint64_t per_s() const { return completions * 1'000'000'000 / (elapsed_ns + 1); }
  };
  static constexpr uint32_t kWindowTurns = 64;     // decisions are made after as many turns
  static constexpr uint32_t kSampleWindows = 8;    // what is compared: tens of milliseconds
  static constexpr uint32_t kWithWindows = 1024;   // between comparisons: seconds
  static constexpr uint32_t kHoldWindowsMin = 64;  // after a trial that failed, doubled each time
  static constexpr uint32_t kHoldWindowsMax = 8192;

  void advance() {
    switch (phase_) {
      case Phase::kWithout:
        per_s_without_ = sample_.per_s();
        return enter(Phase::kTrial, kSampleWindows);
      case Phase::kTrial:
        if (sample_.per_s() * 100 < per_s_without_ * 97) return give_up();
        hold_windows_ = kHoldWindowsMin;
        return enter(Phase::kWith, kWithWindows);
      case Phase::kWith: return enter(Phase::kWithout, kSampleWindows);
    }
  }
  void give_up() {
    enter(Phase::kWithout, hold_windows_);
    if (hold_windows_ < kHoldWindowsMax) hold_windows_ *= 2;
  }
  void enter(Phase phase, uint32_t windows) {
    // Small ones in between do not shorten what a failed trial has to wait.
    if (phase == Phase::kWithout && phase_ == Phase::kWithout && windows_left_ > windows) windows = windows_left_;
    phase_ = phase;
    windows_left_ = windows;
    sample_ = {};
  }

  WakeupModerationOptions options_;
  base::MonotonicTime began_{};
  uint64_t completions_ = 0;  // of this window
  uint32_t turns_ = 0;
  Phase phase_ = Phase::kWithout;
  uint32_t windows_left_ = kSampleWindows;  // of this phase
  uint32_t hold_windows_ = kHoldWindowsMin;
  Sample sample_;             // of this phase
  uint64_t per_s_without_ = 0;
};

}  // namespace millrace::io
