// Bytes in both directions at once, sizes and pauses by a seeded generator, budgets so small that the path changes all
// the time: each reader compares every byte with what was sent at that place.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fastpath/splice.h"
#include "fastpath/splice_offers.h"
#include "splice_support.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::SpliceBench;
using enum SpliceDirection;

constexpr uint64_t kBytes = uint64_t{24} << 20;  // each way
constexpr size_t kMessageMax = 30000;
constexpr int kPatienceMs = 5000;

// A text whose length no message size divides, so that a byte in the wrong place shows.
const std::string& text() {
  static const std::string made = [] {
    std::mt19937 random(7);
    std::string out(1048573, '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  }();
  return made;
}

// One send or recv of what a socket takes or has; the thread waits, the socket does not block.
template <class Call>
ssize_t when_ready(int fd, short events, Call call) {
  for (;;) {
    const ssize_t n = call();
    if (n >= 0 || errno != EAGAIN) return n;
    pollfd wait{fd, events, 0};
    if (poll(&wait, 1, kPatienceMs) == 0) return -1;
  }
}

ssize_t send_some(int fd, const char* data, size_t size) {
  return when_ready(fd, POLLOUT, [=] { return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT); });
}

ssize_t receive_some(int fd, char* data, size_t size) {
  return when_ready(fd, POLLIN, [=] { return recv(fd, data, size, MSG_DONTWAIT); });
}

// What one direction has brought so far.
struct Progress {
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<bool> broken{false};  // a byte was not the one that was sent at its place
};

// Sends the text over and over in random pieces; now and then waits until the reader has all of it.
void write_text(int fd, unsigned seed, const Progress& progress) {
  std::mt19937 random(seed);
  for (uint64_t sent = 0; sent < kBytes;) {
    const size_t at = sent % text().size();
    const size_t size = std::min<uint64_t>({1 + random() % kMessageMax, text().size() - at, kBytes - sent});
    const ssize_t n = send_some(fd, text().data() + at, size);
    if (n <= 0) return;
    sent += static_cast<uint64_t>(n);
    if (random() % 8 != 0) continue;
    while (progress.read_bytes.load() < sent && !progress.broken.load()) std::this_thread::yield();
  }
  shutdown(fd, SHUT_WR);
}

bool is_text(uint64_t from, const char* data, size_t size) {
  while (size > 0) {
    const size_t at = from % text().size();
    const size_t part = std::min(size, text().size() - at);
    if (text().compare(at, part, data, part) != 0) return false;
    from += part;
    data += part;
    size -= part;
  }
  return true;
}

// Until the end of the stream, or a wrong byte, which ends the connection so that nobody waits.
void read_text(int fd, unsigned seed, Progress& progress) {
  std::mt19937 random(seed);
  std::array<char, 70000> chunk;
  for (;;) {
    const ssize_t n = receive_some(fd, chunk.data(), 1 + random() % chunk.size());
    if (n <= 0) return;
    if (!is_text(progress.read_bytes.load(), chunk.data(), static_cast<size_t>(n))) {
      progress.broken = true;
      shutdown(fd, SHUT_RDWR);
      return;
    }
    progress.read_bytes += static_cast<uint64_t>(n);
  }
}

bool send_whole(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = send_some(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// A pair that is taken apart and joined anew, again and again, while the relays report to it.
class Restless {
 public:
  Restless(SpliceBench& bench, const SpliceBench::Hop& down, const SpliceBench::Hop& up)
      : bench_(bench), down_(down), up_(up) {}

  void report(SpliceDirection direction, uint64_t handed_on) {
    const std::lock_guard lock(mutex_);
    handed_on_[static_cast<size_t>(direction)] = handed_on;
    if (pair_) pair_.report(direction, handed_on);
  }
  // Until stop(); how often it was taken apart.
  int run() {
    int times = 0;
    for (std::mt19937 random(5); !stopped_.load(); wait_ms(random() % 3)) {
      const std::lock_guard lock(mutex_);
      if (!pair_) {
        auto made = bench_.offers().join(down_.daemon.get(), up_.daemon.get(), handed_on_[0], handed_on_[1]);
        if (made.ok()) pair_ = std::move(*made);
      } else if (pair_.dissolve()) {
        pair_.withdraw();
        ++times;
      }
    }
    return times;
  }
  void stop() { stopped_ = true; }

 private:
  static void wait_ms(uint64_t ms) { poll(nullptr, 0, static_cast<int>(ms)); }

  SpliceBench& bench_;
  const SpliceBench::Hop &down_, &up_;
  std::mutex mutex_;
  JoinedPair pair_;
  uint64_t handed_on_[2] = {};
  std::atomic<bool> stopped_{false};
};

// What the daemon does for one direction: hands on, reports, passes the end of the stream on.
template <class Pair>
void relay(int from, int to, Pair* pair, SpliceDirection direction) {
  std::array<char, 16384> chunk;
  uint64_t handed_on = 0;
  for (ssize_t n; (n = receive_some(from, chunk.data(), chunk.size())) > 0;) {
    if (!send_whole(to, chunk.data(), static_cast<size_t>(n))) return;
    handed_on += static_cast<uint64_t>(n);
    if (pair != nullptr) pair->report(direction, handed_on);
  }
  shutdown(to, SHUT_WR);
}

struct Duplex {
  Progress at_up, at_down;

  // Both apps write and read, each in two threads.
  std::vector<std::thread> start(int down, int up) {
    std::vector<std::thread> threads;
    threads.emplace_back(write_text, down, 1u, std::cref(at_up));
    threads.emplace_back(write_text, up, 2u, std::cref(at_down));
    threads.emplace_back(read_text, up, 3u, std::ref(at_up));
    threads.emplace_back(read_text, down, 4u, std::ref(at_down));
    return threads;
  }
};

class SpliceDuplexTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    bench_.emplace(GetParam());
    bench_->restart({.budget_bytes = 40000, .bulk_bytes = 200000, .pieces = {}});
  }
  std::optional<SpliceBench> bench_;
};
INSTANTIATE_TEST_SUITE_P(Families, SpliceDuplexTest, ::testing::Values("127.0.0.1", "::1"));

TEST_P(SpliceDuplexTest, BringsEveryByteOfAJoinedPairInOrder) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(pair.ok());
  Duplex duplex;
  std::vector<std::thread> threads = duplex.start(down.app.get(), up.app.get());
  threads.emplace_back(relay<JoinedPair>, down.daemon.get(), up.daemon.get(), &*pair, kFromDownstream);
  threads.emplace_back(relay<JoinedPair>, up.daemon.get(), down.daemon.get(), &*pair, kFromUpstream);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(duplex.at_up.read_bytes, kBytes);
  EXPECT_EQ(duplex.at_down.read_bytes, kBytes);
  EXPECT_GT(bench_->count("redirected_joined"), 10u);
  EXPECT_GT(bench_->count("demoted_slow"), 10u);
  EXPECT_GT(bench_->count("pass_in_daemon") + bench_->count("pass_to_app"), 10u);
}

TEST_P(SpliceDuplexTest, BringsEveryByteOfAPairThatIsTakenApartAndJoinedAgain) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  Restless pair(*bench_, down, up);
  Duplex duplex;
  std::vector<std::thread> threads = duplex.start(down.app.get(), up.app.get());
  threads.emplace_back(relay<Restless>, down.daemon.get(), up.daemon.get(), &pair, kFromDownstream);
  threads.emplace_back(relay<Restless>, up.daemon.get(), down.daemon.get(), &pair, kFromUpstream);
  int times = 0;
  std::thread restless([&] { times = pair.run(); });
  for (std::thread& thread : threads) thread.join();
  pair.stop();
  restless.join();
  EXPECT_EQ(duplex.at_up.read_bytes, kBytes);
  EXPECT_EQ(duplex.at_down.read_bytes, kBytes);
  EXPECT_GT(times, 0);
  EXPECT_GT(bench_->count("redirected_joined"), 0u);
}

// Threads that share a socket have no order among them, but nothing of any may be lost while one of them is in the
// middle of a call.
TEST_P(SpliceDuplexTest, LosesNothingOfThreadsThatSendOnOneSocketWhileItsPairIsTakenApart) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  Restless pair(*bench_, down, up);
  constexpr size_t kSenders = 3, kMessages = 20'000, kSize = 100;
  std::vector<std::thread> senders;
  for (size_t i = 0; i < kSenders; ++i) {
    senders.emplace_back([fd = down.app.get()] {
      for (size_t n = 0; n < kMessages; ++n) {
        if (!send_whole(fd, text().data(), kSize)) return;
      }
    });
  }
  uint64_t received = 0;
  std::thread reader([&received, fd = up.app.get()] {
    std::array<char, 5000> chunk;
    for (ssize_t n; (n = receive_some(fd, chunk.data(), chunk.size())) > 0;) received += static_cast<uint64_t>(n);
  });
  std::thread relaying(relay<Restless>, down.daemon.get(), up.daemon.get(), &pair, kFromDownstream);
  std::thread restless([&pair] { pair.run(); });
  for (std::thread& sender : senders) sender.join();
  shutdown(down.app.get(), SHUT_WR);
  relaying.join();
  reader.join();
  pair.stop();
  restless.join();
  EXPECT_EQ(received, uint64_t{kSenders * kMessages * kSize});
}

TEST_P(SpliceDuplexTest, BringsEveryByteOverTwoHopsInOrder) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto first = bench_->offers().offer_hop(down.daemon.get());
  auto second = bench_->offers().offer_hop(up.daemon.get());
  ASSERT_TRUE(first.ok() && second.ok());
  Duplex duplex;
  std::vector<std::thread> threads = duplex.start(down.app.get(), up.app.get());
  threads.emplace_back(relay<JoinedPair>, down.daemon.get(), up.daemon.get(), nullptr, kFromDownstream);
  threads.emplace_back(relay<JoinedPair>, up.daemon.get(), down.daemon.get(), nullptr, kFromUpstream);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(duplex.at_up.read_bytes, kBytes);
  EXPECT_EQ(duplex.at_down.read_bytes, kBytes);
  EXPECT_GT(bench_->count("redirected_hop"), 10u);
  EXPECT_GT(bench_->count("pass_unread_tcp"), 10u);
}

}  // namespace
}  // namespace millrace::fastpath
