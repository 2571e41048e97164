#include "io/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace millrace::io {
namespace {

using base::milliseconds;

class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    base::Result<std::unique_ptr<Backend>> backend = make_uring_backend({.entries = 8, .ring_buffers = 4});
    ASSERT_TRUE(backend.ok()) << backend.error().to_string();
    loop = std::make_unique<Loop>(std::move(*backend));
  }
  std::unique_ptr<Loop> loop;
  std::vector<std::string> events;
};

struct Hooked {
  Hooked(Loop& l, std::vector<std::string>& e, std::string n) : loop(l), events(e), name(std::move(n)) {}
  void run() {
    events.push_back(name);
    if (next != nullptr) loop.at_turn_end(next->hook);
    if (again-- > 0) loop.at_turn_end(hook);
  }
  Loop& loop;
  std::vector<std::string>& events;
  std::string name;
  Hooked* next = nullptr;
  int again = 0;
  HookOf<&Hooked::run> hook{*this};
};

struct Noted final : Retired {
  Noted(std::vector<std::string>& e, std::string n) : events(e), name(std::move(n)) {}
  ~Noted() override {
    events.push_back("~" + name);
    if (on_end) on_end();
  }
  std::vector<std::string>& events;
  std::string name;
  std::function<void()> on_end;
};

TEST_F(LoopTest, RunsTurnHooksInOrderOnceEach) {
  Hooked a(*loop, events, "a"), b(*loop, events, "b");
  loop->at_turn_end(a.hook);
  loop->at_turn_end(b.hook);
  loop->at_turn_end(a.hook);  // scheduled already
  EXPECT_TRUE(events.empty());
  loop->turn(milliseconds(0));
  EXPECT_EQ(events, (std::vector<std::string>{"a", "b"}));
  loop->turn(milliseconds(0));
  EXPECT_EQ(events.size(), 2u);
}

TEST_F(LoopTest, HooksScheduledByHooksRunInTheSameTurn) {
  Hooked a(*loop, events, "a"), b(*loop, events, "b");
  a.next = &b;
  a.again = 1;
  loop->at_turn_end(a.hook);
  loop->turn(milliseconds(0));
  EXPECT_EQ(events, (std::vector<std::string>{"a", "b", "a", "b"}));
}

TEST_F(LoopTest, HeavyStepsGetTheirShareOfEachTurnInOrder) {
  struct Heavy {
    explicit Heavy(int* done_in) : done(done_in) {}
    void run() {
      ++*done;
      const base::MonotonicTime until = base::Clock::now() + base::microseconds(700);
      while (base::Clock::now() < until) {
      }
    }
    int* done;
    HookOf<&Heavy::run> hook{*this};
  };
  int done = 0;
  std::vector<std::unique_ptr<Heavy>> heavy;
  for (int i = 0; i < 6; ++i) {
    heavy.push_back(std::make_unique<Heavy>(&done));
    loop->at_heavy_turn(heavy.back()->hook);
  }
  heavy.pop_back();
  loop->turn(milliseconds(0));
  EXPECT_GE(done, 1);
  EXPECT_LE(done, 2);
  while (done < 5) loop->turn();  // does not sleep while any are left
  loop->turn(milliseconds(0));
  EXPECT_EQ(done, 5);
}

TEST_F(LoopTest, AHookThatIsDestroyedIsForgotten) {
  auto a = std::make_unique<Hooked>(*loop, events, "a");
  loop->at_turn_end(a->hook);
  a.reset();
  loop->turn(milliseconds(0));
  EXPECT_TRUE(events.empty());
}

TEST_F(LoopTest, RetiredObjectsGoAfterTheHooksOfTheirTurn) {
  Hooked a(*loop, events, "a"), last(*loop, events, "last");
  auto object = std::make_unique<Noted>(events, "object");
  object->on_end = [&] {  // a destructor may schedule and retire
    loop->at_turn_end(last.hook);
    loop->retire(std::make_unique<Noted>(events, "child"));
  };
  loop->retire(std::move(object));
  loop->at_turn_end(a.hook);
  loop->turn(milliseconds(0));
  EXPECT_EQ(events, (std::vector<std::string>{"a", "~object", "last", "~child"}));
}

TEST_F(LoopTest, WhatIsRetiredLastGoesWithTheLoop) {
  loop->retire(std::make_unique<Noted>(events, "object"));
  loop.reset();
  EXPECT_EQ(events, (std::vector<std::string>{"~object"}));
}

TEST_F(LoopTest, ReadsItsMailInOrderAndMessagesMayPostMore) {
  for (int i = 0; i < 3; ++i) {
    loop->post([this, i] {
      events.push_back(std::to_string(i));
      if (i == 0) loop->post([this] { events.push_back("later"); });
    });
  }
  EXPECT_TRUE(events.empty());
  loop->turn(milliseconds(0));
  EXPECT_EQ(events, (std::vector<std::string>{"0", "1", "2"}));
  loop->turn();  // there is mail: does not wait
  EXPECT_EQ(events.back(), "later");
}

TEST_F(LoopTest, MailLeftWhenTheLoopGoesIsDroppedUnread) {
  auto token = std::make_shared<int>(1);
  loop->post([this, token] { events.push_back("read"); });
  loop.reset();
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(LoopTest, StopEndsRunAtTheEndOfItsTurn) {
  Hooked a(*loop, events, "a");
  loop->post([&] {
    loop->stop();
    loop->at_turn_end(a.hook);
  });
  loop->run();
  EXPECT_EQ(events, (std::vector<std::string>{"a"}));
  loop->stop();  // before run(): it returns at once, and can run again
  loop->run();
  loop->post([&] { loop->stop(); });
  loop->run();
}

TEST_F(LoopTest, TimersFireAndTheClockMovesWithTheTurns) {
  struct Owner {
    void fire() { ++fired; }
    int fired = 0;
  } owner;
  TimerOf<&Owner::fire> timer(loop->timers(), owner);
  const base::MonotonicTime begin = base::Clock::now();
  timer.arm(milliseconds(5));
  while (owner.fired == 0) loop->turn();
  EXPECT_GE(base::Clock::now() - begin, milliseconds(5));
  EXPECT_GE(loop->now() - begin, milliseconds(5));
  EXPECT_GT(loop->turns(), 0u);
}

// A loop on a thread of its own, as a worker's; it goes once its users have gone.
class LoopThread {
 public:
  LoopThread() {
    thread_ = std::thread([this] {
      base::Result<std::unique_ptr<Backend>> backend = make_uring_backend({.entries = 8, .ring_buffers = 4});
      ASSERT_TRUE(backend.ok());
      Loop loop(std::move(*backend));
      loop_ = &loop;
      ready_.store(true, std::memory_order_release);
      ready_.notify_one();
      loop.run();
      released_.wait(false);
    });
    ready_.wait(false);
  }
  ~LoopThread() { join(); }
  Loop& loop() { return *loop_; }
  void join() {
    released_.store(true);
    released_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  Loop* loop_ = nullptr;
  std::atomic<bool> ready_{false}, released_{false};
  std::thread thread_;
};

// Under the thread sanitizer this is the test of the mailbox.
TEST(LoopThreads, PostsFromManyThreadsArriveOnceEachInOrderOfTheirSender) {
  constexpr int kSenders = 4, kMessages = 2000;
  LoopThread worker;
  std::vector<std::vector<int>> received(kSenders);
  int count = 0;
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < kMessages; ++i) {
        worker.loop().post([&, s, i] {
          received[static_cast<size_t>(s)].push_back(i);
          if (++count == kSenders * kMessages) worker.loop().stop();
        });
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  worker.join();
  for (const std::vector<int>& of_sender : received) {
    ASSERT_EQ(of_sender.size(), static_cast<size_t>(kMessages));
    EXPECT_TRUE(std::is_sorted(of_sender.begin(), of_sender.end()));
  }
}

TEST(LoopThreads, StopFromAnotherThreadWakesALoopThatSleeps) {
  LoopThread worker;
  worker.loop().stop();  // it has nothing to do and no timer: it waits without a limit
  worker.join();
}

}  // namespace
}  // namespace millrace::io
