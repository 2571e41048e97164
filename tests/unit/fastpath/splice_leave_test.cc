// Pairs and hops that are taken apart: their sockets are TCP's alone again, and no byte is lost or overtaken by it.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "fastpath/splice.h"
#include "fastpath/splice_offers.h"
#include "splice_support.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::receive;
using testing::send_text;
using testing::SpliceBench;
using enum SpliceDirection;

class SpliceLeaveTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    bench_.emplace(GetParam());
    down_ = bench_->connect();
    up_ = bench_->connect();
  }

  void join(uint64_t from_downstream = 0, uint64_t from_upstream = 0) {
    auto made = bench_->offers().join(down_.daemon.get(), up_.daemon.get(), from_downstream, from_upstream);
    ASSERT_TRUE(made.ok()) << made.error().to_string();
    pair_ = std::move(*made);
  }
  bool dissolves() {
    return SpliceBench::settles([this] { return pair_.dissolve(); });
  }
  // Through the daemon, and not past it.
  void expect_relayed(const std::string& text) {
    ASSERT_TRUE(send_text(down_.app.get(), text));
    ASSERT_EQ(receive(down_.daemon.get()), text);
    ASSERT_TRUE(send_text(up_.daemon.get(), text));
  }
  // What the message program has seen.
  uint64_t seen() {
    uint64_t messages = 0;
    for (const SpliceCount& count : bench_->splice().counts()) {
      const bool of_messages = count.name.starts_with("pass_") || count.name.starts_with("redirected_") ||
                               count.name.starts_with("demoted_");
      if (of_messages) messages += count.messages;
    }
    return messages;
  }

  std::optional<SpliceBench> bench_;
  SpliceBench::Hop down_, up_;
  JoinedPair pair_;
};
INSTANTIATE_TEST_SUITE_P(Families, SpliceLeaveTest, ::testing::Values("127.0.0.1", "::1"));

TEST_P(SpliceLeaveTest, SendsWithoutTheProgramAfterAPairWasTakenApart) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "one"));
  EXPECT_EQ(receive(up_.app.get()), "one");
  ASSERT_TRUE(send_text(up_.app.get(), "answer"));
  EXPECT_EQ(receive(down_.app.get()), "answer");
  ASSERT_TRUE(dissolves());
  EXPECT_EQ(bench_->count("member_left"), 2u);
  EXPECT_EQ(pair_.traffic(kFromDownstream).bytes, 3u);
  pair_.withdraw();
  const uint64_t before = seen();
  expect_relayed("two");
  EXPECT_EQ(receive(up_.app.get()), "two");
  EXPECT_EQ(seen(), before);
}

TEST_P(SpliceLeaveTest, WaitsForTheReaderOfWhatWasHandedOver) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "one"));
  EXPECT_FALSE(pair_.dissolve());
  EXPECT_TRUE(SpliceBench::settles([this] { return pair_.dissolve() || bench_->count("member_left") == 1; }))
      << "the app without unread bytes need not wait";
  expect_relayed("two");
  EXPECT_FALSE(pair_.dissolve());
  std::string read(2, '\0');
  ASSERT_EQ(recv(up_.app.get(), read.data(), 2, 0), 2);
  EXPECT_FALSE(pair_.dissolve()) << "one byte is left";
  EXPECT_EQ(bench_->count("member_left"), 1u);
  EXPECT_EQ(read + testing::receive_all(up_.app.get(), 4), "onetwo");
  EXPECT_TRUE(dissolves());
  EXPECT_EQ(bench_->count("member_left"), 2u);
}

TEST_P(SpliceLeaveTest, PassesWhatIsSentWhileItWaits) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "one"));
  ASSERT_TRUE(send_text(up_.app.get(), "answer"));  // unread as well: nobody can leave
  EXPECT_FALSE(pair_.dissolve());
  EXPECT_EQ(bench_->count("member_left"), 0u);
  expect_relayed("two");
  EXPECT_EQ(bench_->count("pass_on_tcp"), 1u);
  EXPECT_EQ(testing::receive_all(up_.app.get(), 6), "onetwo");
  EXPECT_EQ(receive(down_.app.get()), "answer");
  EXPECT_TRUE(dissolves());
}

TEST_P(SpliceLeaveTest, JoinsAnewWhatWasTakenApart) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "one"));
  EXPECT_EQ(receive(up_.app.get()), "one");
  ASSERT_TRUE(dissolves());
  pair_.withdraw();
  expect_relayed("two");
  EXPECT_EQ(receive(up_.app.get()), "two");
  join(3, 0);
  ASSERT_TRUE(send_text(down_.app.get(), "three"));
  EXPECT_EQ(receive(up_.app.get()), "three");
  EXPECT_EQ(bench_->count("redirected_joined"), 2u);
  EXPECT_EQ(bench_->count("member_added"), 4u);
}

TEST_P(SpliceLeaveTest, TellsOfAnAppThatClosesOverUnreadBytesBeforeItCouldLeave) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "unread"));
  EXPECT_FALSE(pair_.dissolve());
  up_.app.reset();
  EXPECT_EQ(receive(up_.daemon.get()), "");
  EXPECT_TRUE(pair_.lost_at_close(kFromDownstream));
}

TEST_P(SpliceLeaveTest, ResetsAsTcpDoesAfterItHasLeft) {
  join();
  ASSERT_TRUE(dissolves());
  expect_relayed("unread");
  ASSERT_TRUE(SpliceBench::settles([this] {
    char byte;
    return recv(up_.app.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
  }));
  up_.app.reset();
  char byte;
  EXPECT_EQ(recv(up_.daemon.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(SpliceLeaveTest, EndsInOrderAfterAHalfCloseWhileItWaits) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "question"));
  EXPECT_FALSE(pair_.dissolve());
  ASSERT_EQ(shutdown(down_.app.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(down_.daemon.get()), "");
  ASSERT_EQ(shutdown(up_.daemon.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(up_.app.get()), "question");
  EXPECT_EQ(receive(up_.app.get()), "");
  EXPECT_TRUE(dissolves());
  ASSERT_TRUE(send_text(up_.app.get(), "answer"));
  EXPECT_EQ(receive(up_.daemon.get()), "answer");
}

TEST_P(SpliceLeaveTest, StaysAPairWhoseEndCanBeAskedForAfterAnAppHasClosed) {
  join();
  ASSERT_TRUE(send_text(down_.app.get(), "unread"));
  up_.app.reset();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(pair_.dissolve());
  EXPECT_TRUE(pair_.lost_at_close(kFromDownstream));
}

TEST_P(SpliceLeaveTest, TakesAHopApart) {
  auto hop = bench_->offers().offer_hop(down_.daemon.get());
  ASSERT_TRUE(hop.ok());
  ASSERT_TRUE(send_text(down_.app.get(), "one"));
  EXPECT_FALSE(hop->dissolve());
  EXPECT_EQ(receive(down_.daemon.get()), "one");
  EXPECT_TRUE(SpliceBench::settles([&] { return hop->dissolve(); }));
  EXPECT_FALSE(*hop);
  EXPECT_EQ(bench_->count("member_left"), 2u);
  const uint64_t before = seen();
  ASSERT_TRUE(send_text(down_.app.get(), "two"));
  EXPECT_EQ(receive(down_.daemon.get()), "two");
  ASSERT_TRUE(send_text(down_.daemon.get(), "answer"));
  EXPECT_EQ(receive(down_.app.get()), "answer");
  EXPECT_EQ(seen(), before);
  hop = bench_->offers().offer_hop(down_.daemon.get());
  ASSERT_TRUE(hop.ok());
  ASSERT_TRUE(send_text(down_.app.get(), "three"));
  EXPECT_EQ(receive(down_.daemon.get()), "three");
  EXPECT_EQ(bench_->count("redirected_hop"), 2u);
}

// Small messages downstream to upstream; after each `answer_every` of them one back. Whether all arrived.
bool talk(const SpliceBench::Hop& down, const SpliceBench::Hop& up, int messages, int answer_every) {
  for (int i = 1; i <= messages; ++i) {
    char byte = 'x';
    if (send(down.app.get(), &byte, 1, MSG_NOSIGNAL) != 1) return false;
    if (recv(up.app.get(), &byte, 1, MSG_DONTWAIT) != 1) return false;  // past the daemon it is there at once
    if (i % answer_every != 0) continue;
    if (send(up.app.get(), &byte, 1, MSG_NOSIGNAL) != 1) return false;
    if (recv(down.app.get(), &byte, 1, MSG_DONTWAIT) != 1) return false;
  }
  return true;
}

TEST_P(SpliceLeaveTest, PutsAFloodOfSmallMessagesBackOnTcp) {
  join();
  ASSERT_TRUE(talk(down_, up_, FP_SPLICE_FLOOD_MESSAGES, 1 << 20));
  EXPECT_TRUE(pair_.put_back());
  expect_relayed("two");
  EXPECT_EQ(receive(up_.app.get()), "two");
  EXPECT_EQ(bench_->count("redirected_joined"), uint64_t{FP_SPLICE_FLOOD_MESSAGES});
  EXPECT_EQ(bench_->count("pass_on_tcp"), 1u);
}

TEST_P(SpliceLeaveTest, TakesADialogueForNoFlood) {
  join();
  ASSERT_TRUE(talk(down_, up_, 3 * FP_SPLICE_FLOOD_MESSAGES, 8));
  EXPECT_FALSE(pair_.put_back());
}

TEST_P(SpliceLeaveTest, LeavesAFloodWhereThePolicyIsAlways) {
  SpliceOptions always;
  always.rule = rule_always();
  bench_->restart(always);
  down_ = bench_->connect();
  up_ = bench_->connect();
  join();
  ASSERT_TRUE(talk(down_, up_, 2 * FP_SPLICE_FLOOD_MESSAGES, 1 << 20));
  EXPECT_FALSE(pair_.put_back());
}

}  // namespace
}  // namespace millrace::fastpath
