#include "io/wakeup_moderation.h"

#include <gtest/gtest.h>

namespace millrace::io {
namespace {

constexpr uint32_t kWindowTurns = 64, kSampleWindows = 8;

class WakeupModerationTest : public testing::Test {
 protected:
  // So many decisions, after turns each with `completions` and this long after the one before.
  void windows(uint32_t count, uint32_t completions, base::nanoseconds apart) {
    for (uint32_t turn = 0; turn < count * kWindowTurns; ++turn) {
      now_ += apart;
      if (moderation_.on_turn(completions)) moderation_.decide(now_);
    }
  }
  // Sampled without; the first window began when the clock did.
  void begin() {
    windows(1, 3, base::microseconds(15));
    windows(kSampleWindows, 3, base::microseconds(15));
  }
  // The decisions until it is tried again.
  uint32_t until_active() {
    uint32_t count = 0;
    for (; !moderation_.active() && count < 100'000; ++count) windows(1, 3, base::microseconds(15));
    return count;
  }

  base::MonotonicTime now_ = base::MonotonicTime() + std::chrono::hours(1);
  WakeupModeration moderation_{{}};  // 20 us, 8 completions, 100,000 a second
};

TEST_F(WakeupModerationTest, RareCompletionsAreNotHeldUp) {
  windows(100, 1, base::milliseconds(1));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, FrequentSmallTurnsAreGathered) {
  begin();
  EXPECT_TRUE(moderation_.active());
}

TEST_F(WakeupModerationTest, LargeTurnsNeedNoGathering) {
  windows(100, 10, base::microseconds(25));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, ItsOwnLargerBatchesDoNotEndIt) {
  begin();
  windows(kSampleWindows + 1, 8, base::microseconds(40));
  EXPECT_TRUE(moderation_.active());
  windows(1, 16, base::microseconds(40));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, StaysIfNoFewerCompletionsComeWithIt) {
  begin();
  windows(kSampleWindows, 6, base::microseconds(30));
  windows(1000, 6, base::microseconds(30));
  EXPECT_TRUE(moderation_.active());
}

TEST_F(WakeupModerationTest, EndsIfFewerCompletionsComeWithIt) {
  begin();
  windows(kSampleWindows - 1, 6, base::microseconds(35));
  EXPECT_TRUE(moderation_.active());
  windows(1, 6, base::microseconds(35));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, EndsAtOnceIfItMakesCompletionsRare) {
  begin();
  windows(1, 6, base::microseconds(100));
  EXPECT_FALSE(moderation_.active());
}

TEST_F(WakeupModerationTest, IsTriedAgainLaterAfterEachFailure) {
  begin();
  windows(1, 6, base::microseconds(100));
  const uint32_t first = until_active();
  windows(1, 6, base::microseconds(100));
  const uint32_t second = until_active();
  EXPECT_GT(first, kSampleWindows);
  EXPECT_EQ(second, first * 2);
}

TEST_F(WakeupModerationTest, IsComparedAgainAfterAWhile) {
  begin();
  windows(kSampleWindows, 6, base::microseconds(30));
  windows(1024, 6, base::microseconds(30));
  EXPECT_FALSE(moderation_.active());
  EXPECT_EQ(until_active(), kSampleWindows);
}

TEST_F(WakeupModerationTest, EndsWhenTheLoadGoes) {
  begin();
  windows(kSampleWindows, 6, base::microseconds(30));
  windows(1, 3, base::microseconds(100));
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
