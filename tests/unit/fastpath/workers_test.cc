// The choice among the listeners of an SO_REUSEPORT group, with real sockets.
#include "fastpath/workers.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "fastpath/counters.h"
#include "fastpath/own_process.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::accept_one;
using testing::address;
using testing::bind_socket;
using testing::dial;
using testing::in_child;
using testing::local_of;
using testing::make_socket;
using testing::TestPins;

class Workers : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    pins_ = std::make_unique<TestPins>();
    dir_.emplace(PinDir::open(pins_->path()).value());
    first_ = bind_socket(address("127.0.0.1", 0), SOCK_STREAM, true);
    second_ = bind_socket(local_of(first_.get()), SOCK_STREAM, true);
    ASSERT_TRUE(first_ && second_);
  }
  Counts counts() { return Counters::open(*dir_).value().read(); }
  // Dials `times` from the CPU; the connections stay queued.
  void dial_from(int cpu, int times) {
    const net::Address to = local_of(second_.get());
    ASSERT_EQ(in_child(nullptr, [&]() -> std::string {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpu, &set);
      if (sched_setaffinity(0, sizeof set, &set) != 0) return "no such CPU";
      for (int i = 0; i < times; ++i) {
        const Fd fd = make_socket(to.family(), SOCK_STREAM);
        if (dial(fd.get(), to) != "ok") return "refused";
      }
      return "ok";
    }), "ok");
  }

  std::unique_ptr<TestPins> pins_;
  std::optional<PinDir> dir_;
  Fd first_, second_;
};

TEST_F(Workers, KeepAConnectionOnItsCpu) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two CPUs";
  const WorkerSocket sockets[] = {{first_.get(), {1}}, {second_.get(), {0}}};
  const base::Result<void> done = steer_workers(*dir_, sockets);
  ASSERT_TRUE(done.ok()) << done.error().to_string();
  dial_from(0, 30);
  dial_from(1, 20);
  EXPECT_EQ(counts()[FP_WORKER_OF_CPU], 50u);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(accept_one(first_.get())) << i;
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(accept_one(second_.get())) << i;
}

TEST_F(Workers, SpreadWhatNoCpuNames) {
  const WorkerSocket sockets[] = {{first_.get(), {}}, {second_.get(), {}}};
  ASSERT_TRUE(steer_workers(*dir_, sockets).ok());
  dial_from(0, 64);
  EXPECT_EQ(counts()[FP_WORKER_OTHER], 64u);
  EXPECT_TRUE(accept_one(first_.get()));
  EXPECT_TRUE(accept_one(second_.get()));
}

TEST_F(Workers, MoveQueuedConnectionsOfAListenerThatCloses) {
  const WorkerSocket sockets[] = {{first_.get(), {0}}, {second_.get(), {}}};
  ASSERT_TRUE(steer_workers(*dir_, sockets).ok());
  dial_from(0, 5);
  EXPECT_EQ(counts()[FP_WORKER_OF_CPU], 5u);
  first_.reset();
  EXPECT_EQ(counts()[FP_WORKER_MIGRATED], 5u);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(accept_one(second_.get())) << i;
  dial_from(0, 1);  // the CPU's worker is gone
  EXPECT_EQ(counts()[FP_WORKER_OTHER], 1u);
  EXPECT_TRUE(accept_one(second_.get()));
}

TEST_F(Workers, OfTheNextDaemonTakeOver) {
  const WorkerSocket old_sockets[] = {{first_.get(), {0}}};
  ASSERT_TRUE(steer_workers(*dir_, old_sockets).ok());
  const WorkerSocket new_sockets[] = {{second_.get(), {0}}};
  ASSERT_TRUE(steer_workers(*dir_, new_sockets).ok());
  dial_from(0, 8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(accept_one(second_.get())) << i;
}

TEST_F(Workers, NeedASocketWithReusePort) {
  const Fd lone = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const WorkerSocket sockets[] = {{lone.get(), {}}};
  EXPECT_FALSE(steer_workers(*dir_, sockets).ok());
}

}  // namespace
}  // namespace millrace::fastpath
