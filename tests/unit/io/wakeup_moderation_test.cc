#include "io/wakeup_moderation.h"

#include <gtest/gtest.h>

namespace millrace::io {
namespace {

class WakeupModerationTest : public testing::Test {
 protected:
  // Turns enough for a decision, each with `completions` and this long after the one before.
  void turns(uint32_t completions, base::nanoseconds apart) {
    for (bool decided = false; !decided;) {
      now_ += apart;
      decided = moderation_.on_turn(completions);
    }
    moderation_.decide(now_);
  }

  base::MonotonicTime now_ = base::MonotonicTime() + std::chrono::hours(1);
  WakeupModeration moderation_{{}};  // 20 us, 8 completions, 100,000 a second
};

TEST_F(WakeupModerationTest, RareCompletionsAreNotHeldUp) {
  turns(1, base::milliseconds(1));
  turns(1, base::milliseconds(1));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, FrequentSmallTurnsAreGathered) {
  turns(3, base::microseconds(15));  // the first window began when the clock did
  turns(3, base::microseconds(15));
  EXPECT_TRUE(moderation_.active());
}

TEST_F(WakeupModerationTest, LargeTurnsNeedNoGathering) {
  turns(10, base::microseconds(25));
  turns(10, base::microseconds(25));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, ItsOwnLargerBatchesDoNotEndIt) {
  turns(3, base::microseconds(15));
  turns(3, base::microseconds(15));
  turns(8, base::microseconds(40));
  EXPECT_TRUE(moderation_.active());
  turns(16, base::microseconds(40));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, EndsWhenTheLoadGoes) {
  turns(3, base::microseconds(15));
  turns(3, base::microseconds(15));
  turns(3, base::microseconds(100));
  EXPECT_FALSE(moderation_.active());
}

TEST(WakeupModerationOptionsTest, NoWaitIsOff) {
  WakeupModeration moderation({.wait = base::nanoseconds(0)});
  base::MonotonicTime now;
  for (int i = 0; i < 200; ++i) {
    now += base::microseconds(15);
    if (moderation.on_turn(3)) moderation.decide(now);
  }
  EXPECT_FALSE(moderation.active());
}

}  // namespace
}  // namespace millrace::io
