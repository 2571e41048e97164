#include "io/timer.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/prng.h"

namespace millrace::io {
namespace {

using base::milliseconds;

// A wheel with a clock of its own, in milliseconds.
struct Wheel {
  base::MonotonicTime start = base::MonotonicTime{} + base::seconds(1000);
  TimerWheel wheel{start};
  int64_t now_ms = 0;

  void go_to(int64_t ms) {
    now_ms = ms;
    wheel.set_now(start + milliseconds(ms));
    wheel.advance();
  }
  // In milliseconds from the start; -1: no timer is linked.
  int64_t next_ms() const {
    const base::nanoseconds d = wheel.until_next(start + milliseconds(now_ms));
    if (d == base::nanoseconds::max()) return -1;
    return now_ms + std::chrono::duration_cast<milliseconds>(d).count();
  }
  // As a loop does it: sleeps until the wheel wants to be looked at.
  void sleep_until(int64_t ms) {
    while (true) {
      const int64_t next = next_ms();
      if (next < 0 || next > ms) break;
      go_to(next);
    }
    go_to(ms);
  }
};

struct Probe {
  explicit Probe(Wheel& w, std::vector<int>* order = nullptr, int id = 0) : wheel(w), order_(order), id_(id) {}
  void arm(int64_t ms) {
    armed_at = wheel.now_ms;
    wanted = armed_at + ms;
    timer.arm(milliseconds(ms));
  }
  void on_fire() {
    ++fired;
    fired_at = wheel.now_ms;
    if (order_ != nullptr) order_->push_back(id_);
    if (again > 0) {
      --again;
      arm(again_after);
    }
  }
  Wheel& wheel;
  std::vector<int>* order_;
  int id_;
  int fired = 0, again = 0;
  int64_t again_after = 0, armed_at = 0, wanted = 0, fired_at = -1;
  TimerOf<&Probe::on_fire> timer{wheel.wheel, *this};
};

TEST(Timer, FiresOnceAndNeverEarly) {
  for (int64_t after : {0, 1, 2, 62, 63, 64, 65, 4095, 4096, 4097, 262'143, 262'145, 20'000'000}) {
    Wheel w;
    Probe p(w);
    p.arm(after);
    EXPECT_TRUE(p.timer.armed());
    w.sleep_until(after);
    EXPECT_EQ(p.fired, 0) << after;  // the reading of the clock may be a tick old
    w.sleep_until(after + 1);
    EXPECT_EQ(p.fired, 1) << after;
    EXPECT_FALSE(p.timer.armed());
    w.sleep_until(after + 100'000);
    EXPECT_EQ(p.fired, 1);
    EXPECT_EQ(w.next_ms(), -1);
  }
}

TEST(Timer, ANegativeDelayIsNone) {
  Wheel w;
  Probe p(w);
  p.arm(-5);
  w.go_to(1);
  EXPECT_EQ(p.fired, 1);
}

TEST(Timer, FiresInTheOrderOfDeadlinesHoweverLateTheWheelIsLookedAt) {
  Wheel w;
  w.go_to(50);
  std::vector<int> order;
  std::vector<std::unique_ptr<Probe>> probes;
  const std::vector<int64_t> delays = {700, 3, 12, 13, 14, 5000, 64, 65, 1, 300'000, 128, 70'000, 40};
  for (int64_t delay : delays) {
    probes.push_back(std::make_unique<Probe>(w, &order, static_cast<int>(delay)));
    probes.back()->arm(delay);
  }
  w.go_to(400'000);  // one look after all are due
  EXPECT_EQ(order, (std::vector<int>{1, 3, 12, 13, 14, 40, 64, 65, 128, 700, 5000, 70'000, 300'000}));
}

TEST(Timer, ArmingLaterIsNoticedWhenTheOldSlotComesUp) {
  Wheel w;
  Probe p(w);
  p.arm(10);
  w.go_to(5);
  p.arm(100);
  w.sleep_until(105);
  EXPECT_EQ(p.fired, 0);
  w.sleep_until(106);
  EXPECT_EQ(p.fired, 1);
}

TEST(Timer, ArmingEarlierMovesIt) {
  Wheel w;
  Probe p(w);
  p.arm(100'000);
  p.arm(10);
  w.go_to(11);
  EXPECT_EQ(p.fired, 1);
  w.sleep_until(200'000);
  EXPECT_EQ(p.fired, 1);
}

TEST(Timer, DisarmedDoesNotFireAndCanBeArmedAgain) {
  Wheel w;
  Probe p(w);
  p.arm(10);
  p.timer.disarm();
  EXPECT_FALSE(p.timer.armed());
  w.go_to(20);
  EXPECT_EQ(p.fired, 0);
  p.arm(5);
  w.go_to(26);
  EXPECT_EQ(p.fired, 1);
  p.arm(10);
  p.timer.disarm();
  p.arm(3);  // while it is still linked at its old place
  w.go_to(30);
  EXPECT_EQ(p.fired, 2);
}

TEST(Timer, FarDeadlinesBeyondTheWheelsRangeWait) {
  Wheel w;
  Probe p(w);
  const int64_t days40 = 40ll * 24 * 3600 * 1000;
  p.arm(days40);
  w.sleep_until(days40);
  EXPECT_EQ(p.fired, 0);
  w.sleep_until(days40 + 1);
  EXPECT_EQ(p.fired, 1);
}

TEST(Timer, ALeapOverTheWholeWheelLosesNone) {
  Wheel w;
  Probe soon(w), later(w), far(w);
  soon.arm(3);
  later.arm(5'000'000);
  far.arm(3'000'000'000);
  w.go_to(2'500'000'000);
  EXPECT_EQ(soon.fired, 1);
  EXPECT_EQ(later.fired, 1);
  EXPECT_EQ(far.fired, 0);
  w.go_to(3'000'000'001);
  EXPECT_EQ(far.fired, 1);
}

TEST(Timer, ArmedByItsOwnCallbackItFiresInALaterLook) {
  Wheel w;
  Probe p(w);
  p.again = 3;
  p.again_after = 0;
  p.arm(0);
  w.go_to(10);
  EXPECT_EQ(p.fired, 1);
  w.go_to(11);
  EXPECT_EQ(p.fired, 2);
  w.go_to(12);
  w.go_to(13);
  w.go_to(14);
  EXPECT_EQ(p.fired, 4);
}

TEST(Timer, DestroyedWhileLinkedIsForgotten) {
  Wheel w;
  Probe stays(w);
  stays.arm(100);
  {
    Probe goes(w), goes_too(w);
    goes.arm(10);
    goes_too.arm(5000);
  }
  w.sleep_until(10'000);
  EXPECT_EQ(stays.fired, 1);
  EXPECT_EQ(w.next_ms(), -1);
}

// Both are due at once; the first to fire takes the other away.
TEST(Timer, ACallbackMayDestroyDisarmOrPostponeAnotherThatIsDue) {
  Wheel w;
  Probe victim(w), postponed(w);
  auto doomed = std::make_unique<Probe>(w);
  struct Killer {
    Killer(Wheel& wheel, std::function<void()> f) : act(std::move(f)), timer(wheel.wheel, *this) {}
    void on_fire() { act(); }
    std::function<void()> act;
    TimerOf<&Killer::on_fire> timer;
  } killer(w, [&] {
    doomed.reset();
    victim.timer.disarm();
    postponed.arm(50);
  });
  killer.timer.arm(milliseconds(5));
  victim.arm(5);
  postponed.arm(6);
  doomed->arm(7);
  w.go_to(30);
  EXPECT_EQ(victim.fired, 0);
  EXPECT_EQ(postponed.fired, 0);
  w.go_to(81);
  EXPECT_EQ(postponed.fired, 1);
}

// Against a plain model: whatever is armed, moved and disarmed, a timer fires in the first look at or after its
// deadline, and the loop is never told to sleep past one.
TEST(Timer, AgreesWithAModelUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    base::Prng prng(seed);
    Wheel w;
    std::vector<std::unique_ptr<Probe>> probes;
    for (int i = 0; i < 40; ++i) probes.push_back(std::make_unique<Probe>(w));
    std::map<size_t, int64_t> deadlines;  // of those armed: the first tick at which they may fire
    std::vector<int> fires(probes.size());
    for (int step = 0; step < 3000; ++step) {
      const size_t i = prng.below(probes.size());
      switch (prng.below(4)) {
        case 0: {
          const int64_t after = static_cast<int64_t>(prng.below(1ull << (1 + prng.below(26))));
          probes[i]->arm(after);
          deadlines[i] = w.now_ms + after + 1;
          break;
        }
        case 1:
          if (prng.below(3) == 0) {
            probes[i]->timer.disarm();
            deadlines.erase(i);
          }
          break;
        case 2: {
          w.go_to(w.now_ms + static_cast<int64_t>(prng.below(1ull << (1 + prng.below(18)))));
          break;
        }
        case 3: {
          const int64_t next = w.next_ms();
          if (next >= 0) w.go_to(std::max(next, w.now_ms));
          break;
        }
      }
      for (auto at = deadlines.begin(); at != deadlines.end();) {
        if (at->second <= w.now_ms) {
          ++fires[at->first];
          at = deadlines.erase(at);
        } else {
          ++at;
        }
      }
      for (size_t k = 0; k < probes.size(); ++k) ASSERT_EQ(probes[k]->fired, fires[k]) << "step " << step;
      const int64_t next = w.next_ms();
      for (const auto& [k, deadline] : deadlines) ASSERT_TRUE(next >= 0 && next <= deadline) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace millrace::io
