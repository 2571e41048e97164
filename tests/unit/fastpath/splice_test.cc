// The short-circuit on real sockets: whatever path bytes take, the app sees the same.
#include "fastpath/splice.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "fastpath/splice_offers.h"
#include "splice_support.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::receive;
using testing::send_text;
using testing::SpliceBench;

class SpliceTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    bench_.emplace(GetParam());
  }
  std::optional<SpliceBench> bench_;
};
INSTANTIATE_TEST_SUITE_P(Families, SpliceTest, ::testing::Values("127.0.0.1", "::1"));

TEST_P(SpliceTest, LeavesSocketsAloneUntilTheirConnectionIsOffered) {
  auto hop = bench_->connect();
  ASSERT_TRUE(send_text(hop.app.get(), "one"));
  EXPECT_EQ(receive(hop.daemon.get()), "one");
  EXPECT_EQ(bench_->count("record_added"), 2u);
  EXPECT_EQ(bench_->count("member_added"), 0u);
}

TEST_P(SpliceTest, LeavesBlockingSocketsAlone) {
  auto hop = bench_->connect();
  ASSERT_EQ(fcntl(hop.app.get(), F_SETFL, O_RDWR), 0);
  EXPECT_EQ(bench_->offers().offer_hop(hop.daemon.get()).error().code, base::ErrorCode::kUnsupported);
  EXPECT_EQ(bench_->count("member_blocking"), 1u);
  EXPECT_EQ(bench_->count("member_added"), 0u);
}

TEST_P(SpliceTest, OffersNothingThatAProbeHasSwitchedOff) {
  bench_->restart({.pieces = {.hop_v4 = false, .hop_v6 = false, .joined_v4 = true, .joined_v6 = true}});
  auto down = bench_->connect();
  auto up = bench_->connect();
  EXPECT_EQ(bench_->offers().offer_hop(down.daemon.get()).error().code, base::ErrorCode::kUnsupported);
  EXPECT_TRUE(bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0).ok());
  bench_->restart({.pieces = {.hop_v4 = true, .hop_v6 = true, .joined_v4 = false, .joined_v6 = false}});
  auto other_down = bench_->connect();
  auto other_up = bench_->connect();
  EXPECT_TRUE(bench_->offers().offer_hop(other_down.daemon.get()).ok());
  EXPECT_EQ(bench_->offers().join(other_down.daemon.get(), other_up.daemon.get(), 0, 0).error().code,
            base::ErrorCode::kUnsupported);
}

TEST_P(SpliceTest, StopsHandingOverToASocketThatBlocksNow) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_EQ(fcntl(hop.app.get(), F_SETFL, O_RDWR), 0);
  ASSERT_TRUE(send_text(hop.daemon.get(), "one"));
  EXPECT_EQ(receive(hop.app.get()), "one");
  EXPECT_EQ(bench_->count("pass_reader"), 1u);
}

TEST_P(SpliceTest, WaitsForTheAppToAccept) {
  auto [dialled, listener] = bench_->dial_only();
  EXPECT_EQ(bench_->offers().offer_hop(dialled.get()).error().code, base::ErrorCode::kUnreachable);
  const Fd app(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
  auto offer = bench_->offers().offer_hop(dialled.get());
  ASSERT_TRUE(offer.ok()) << offer.error().to_string();
  ASSERT_TRUE(send_text(dialled.get(), "one"));
  EXPECT_EQ(receive(app.get()), "one");
  EXPECT_EQ(bench_->count("redirected_hop"), 1u);
}

TEST_P(SpliceTest, HandsMessagesOverBothWaysOnAHop) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(offer.ok()) << offer.error().to_string();
  ASSERT_TRUE(send_text(hop.app.get(), "question"));
  EXPECT_EQ(receive(hop.daemon.get()), "question");
  ASSERT_TRUE(send_text(hop.daemon.get(), "answer"));
  EXPECT_EQ(receive(hop.app.get()), "answer");
  EXPECT_EQ(bench_->count("redirected_hop"), 2u);
}

TEST_P(SpliceTest, LeavesConnectionsToOtherPortsAlone) {
  SpliceBench::Hop other = bench_->connect_elsewhere();
  ASSERT_TRUE(send_text(other.app.get(), "one"));
  EXPECT_EQ(receive(other.daemon.get()), "one");
  EXPECT_EQ(bench_->offers().offer_hop(other.daemon.get()).error().code, base::ErrorCode::kNotFound);
  EXPECT_EQ(bench_->count("record_added"), 0u);
}

TEST_P(SpliceTest, DoesNotOvertakeBytesThatWaitInTcp) {
  auto hop = bench_->connect();
  ASSERT_TRUE(send_text(hop.app.get(), "one "));
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(send_text(hop.app.get(), "two"));
  EXPECT_EQ(bench_->count("pass_unread_tcp"), 1u);
  EXPECT_EQ(testing::receive_all(hop.daemon.get(), 7), "one two");
  ASSERT_TRUE(send_text(hop.app.get(), "three"));
  EXPECT_EQ(receive(hop.daemon.get()), "three");
  EXPECT_EQ(bench_->count("redirected_hop"), 1u);
}

TEST_P(SpliceTest, GoesBackToTcpInOrderWhenTheReaderIsSlow) {
  bench_->restart({.budget_bytes = 1000, .bulk_bytes = 0, .pieces = {}});
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  const std::string first(600, 'a'), second(600, 'b'), third(10, 'c');
  for (const std::string& text : {first, second, third}) ASSERT_TRUE(send_text(hop.app.get(), text));
  EXPECT_EQ(bench_->count("redirected_hop"), 1u);
  EXPECT_EQ(bench_->count("demoted_slow"), 1u);
  EXPECT_EQ(bench_->count("pass_unread_tcp"), 1u);
  EXPECT_EQ(testing::receive_all(hop.daemon.get(), 1210), first + second + third);
}

TEST_P(SpliceTest, PutsAOneWayFlowBackOnTcpUntilItTurns) {
  bench_->restart({.budget_bytes = 1 << 20, .bulk_bytes = 1000, .pieces = {}});
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(send_text(hop.app.get(), std::string(500, 'a')));
    EXPECT_EQ(testing::receive_all(hop.daemon.get(), 500).size(), 500u);
  }
  EXPECT_EQ(bench_->count("redirected_hop"), 2u);
  EXPECT_EQ(bench_->count("demoted_bulk"), 1u);
  ASSERT_TRUE(send_text(hop.daemon.get(), "answer"));
  ASSERT_TRUE(send_text(hop.app.get(), "next"));
  EXPECT_EQ(bench_->count("redirected_hop"), 4u);
}

TEST_P(SpliceTest, JoinsAppToApp) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(pair.ok()) << pair.error().to_string();
  ASSERT_TRUE(send_text(down.app.get(), "question"));
  EXPECT_EQ(receive(up.app.get()), "question");
  ASSERT_TRUE(send_text(up.app.get(), "answer"));
  EXPECT_EQ(receive(down.app.get()), "answer");
  EXPECT_EQ(bench_->count("redirected_joined"), 2u);
  EXPECT_EQ(pair->traffic(SpliceDirection::kFromDownstream).bytes, 8u);
  EXPECT_EQ(pair->traffic(SpliceDirection::kFromUpstream).bytes, 6u);
}

TEST_P(SpliceTest, JoinsOnlyWhenTheDaemonHasHandedEverythingOn) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  ASSERT_TRUE(send_text(down.app.get(), "one "));
  EXPECT_EQ(receive(down.daemon.get()), "one ");
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "two "));
  EXPECT_EQ(receive(down.daemon.get()), "two ") << "the daemon still has what came before";
  EXPECT_EQ(bench_->count("pass_in_daemon"), 1u);
  ASSERT_TRUE(send_text(up.daemon.get(), "one two "));
  pair->report(SpliceDirection::kFromDownstream, 8);
  ASSERT_TRUE(send_text(down.app.get(), "three "));
  EXPECT_EQ(bench_->count("pass_to_app"), 1u) << "the app has not read it yet";
  EXPECT_EQ(receive(up.app.get()), "one two ");
  EXPECT_EQ(receive(down.daemon.get()), "three ");
  ASSERT_TRUE(send_text(up.daemon.get(), "three "));
  EXPECT_EQ(receive(up.app.get()), "three ");
  pair->report(SpliceDirection::kFromDownstream, 14);
  ASSERT_TRUE(send_text(down.app.get(), "four"));
  EXPECT_EQ(receive(up.app.get()), "four");
  EXPECT_EQ(bench_->count("redirected_joined"), 1u);
}

TEST_P(SpliceTest, CountsHopsAmongWhatTheDaemonHasToHandOn) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto offer = bench_->offers().offer_hop(down.daemon.get());
  ASSERT_TRUE(send_text(down.app.get(), "one"));
  EXPECT_EQ(bench_->count("redirected_hop"), 1u);
  offer->withdraw();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "two"));
  EXPECT_EQ(bench_->count("pass_in_daemon"), 1u);
  EXPECT_EQ(testing::receive_all(down.daemon.get(), 6), "onetwo");
}

TEST_P(SpliceTest, WithdrawnPairsGoThroughTheDaemonAgainInOrder) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "one "));
  pair->withdraw();
  ASSERT_TRUE(send_text(down.app.get(), "two"));
  EXPECT_EQ(receive(down.daemon.get()), "two");
  ASSERT_TRUE(send_text(up.daemon.get(), "two"));
  EXPECT_EQ(testing::receive_all(up.app.get(), 7), "one two");
}

TEST_P(SpliceTest, GivesACellToAnotherPairWithoutMixingThem) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "one "));
  pair->withdraw();
  auto other_down = bench_->connect();
  auto other_up = bench_->connect();
  auto other = bench_->offers().join(other_down.daemon.get(), other_up.daemon.get(), 0, 0);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(send_text(down.app.get(), "two"));
  ASSERT_TRUE(send_text(other_down.app.get(), "question"));
  EXPECT_EQ(receive(down.daemon.get()), "two");
  EXPECT_EQ(receive(up.app.get()), "one ");
  EXPECT_EQ(receive(other_up.app.get()), "question");
  EXPECT_EQ(bench_->count("redirected_joined"), 2u);
  EXPECT_EQ(bench_->count("dropped_ended"), 0u);
}

TEST_P(SpliceTest, JoinsAnAppAgainWhereItsFirstPairWasWithdrawn) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "one"));
  EXPECT_EQ(receive(up.app.get()), "one");
  pair->withdraw();
  pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(pair.ok()) << pair.error().to_string();
  ASSERT_TRUE(send_text(down.app.get(), "two"));
  EXPECT_EQ(receive(up.app.get()), "two");
  ASSERT_TRUE(send_text(up.app.get(), "three"));
  EXPECT_EQ(receive(down.app.get()), "three");
  EXPECT_EQ(bench_->count("redirected_joined"), 3u);
}

TEST_P(SpliceTest, JoinsAppsThatWereHops) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto offer = bench_->offers().offer_hop(down.daemon.get());
  ASSERT_TRUE(send_text(down.app.get(), "one"));
  EXPECT_EQ(receive(down.daemon.get()), "one");
  ASSERT_TRUE(send_text(up.daemon.get(), "one"));
  EXPECT_EQ(receive(up.app.get()), "one");
  offer->withdraw();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 3, 0);
  ASSERT_TRUE(send_text(down.app.get(), "two"));
  EXPECT_EQ(receive(up.app.get()), "two");
  EXPECT_EQ(bench_->count("redirected_joined"), 1u);
}

TEST_P(SpliceTest, PassesWhenTheOtherEndIsGone) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  hop.daemon.reset();
  EXPECT_TRUE(send_text(hop.app.get(), "one"));  // the reset comes as an answer to it
  EXPECT_EQ(bench_->count("redirected_hop"), 0u);
  EXPECT_FALSE(send_text(hop.app.get(), "two"));
}

TEST_P(SpliceTest, TellsAJoinedAppThatTheDaemonDied) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "one"));
  down.daemon.reset();
  up.daemon.reset();
  EXPECT_EQ(receive(up.app.get()), "one");
  EXPECT_EQ(receive(up.app.get()), "");  // end of stream
  EXPECT_TRUE(send_text(down.app.get(), "two"));
  EXPECT_FALSE(send_text(down.app.get(), "three"));
  EXPECT_EQ(bench_->count("redirected_joined"), 1u);
}

TEST_P(SpliceTest, KeepsUnreadBytesWhenBothEndsHaveShut) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(send_text(hop.app.get(), "last words"));
  ASSERT_EQ(shutdown(hop.app.get(), SHUT_WR), 0);
  ASSERT_EQ(shutdown(hop.daemon.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(hop.app.get()), "");
  EXPECT_EQ(receive(hop.daemon.get()), "last words");
  EXPECT_EQ(receive(hop.daemon.get()), "");
}

TEST_P(SpliceTest, AnswersAfterAHalfClose) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "question"));
  ASSERT_EQ(shutdown(down.app.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(down.daemon.get()), "");
  ASSERT_EQ(shutdown(up.daemon.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(up.app.get()), "question");
  EXPECT_EQ(receive(up.app.get()), "");
  ASSERT_TRUE(send_text(up.app.get(), "answer"));
  EXPECT_EQ(receive(down.app.get()), "answer");
  EXPECT_FALSE(send_text(down.app.get(), "more")) << "sent after shutdown";
  EXPECT_EQ(bench_->count("redirected_joined"), 2u);
}

TEST_P(SpliceTest, SaysWhenAnAppClosedOverUnreadBytes) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "unread"));
  EXPECT_FALSE(pair->lost_at_close(SpliceDirection::kFromDownstream));
  up.app.reset();
  EXPECT_EQ(receive(up.daemon.get()), "");
  EXPECT_TRUE(pair->lost_at_close(SpliceDirection::kFromDownstream));
  EXPECT_FALSE(pair->lost_at_close(SpliceDirection::kFromUpstream));
}

TEST_P(SpliceTest, CallsNothingLostThatCanStillBeRead) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "unread"));
  ASSERT_EQ(shutdown(up.daemon.get(), SHUT_WR), 0);
  ASSERT_EQ(shutdown(up.app.get(), SHUT_WR), 0);
  EXPECT_EQ(receive(up.daemon.get()), "");
  EXPECT_FALSE(pair->lost_at_close(SpliceDirection::kFromDownstream));
  EXPECT_EQ(receive(up.app.get()), "unread");
}

TEST_P(SpliceTest, PassesAResetOnAndKeepsWhatCameBefore) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "one"));
  const linger at_once{1, 0};
  ASSERT_EQ(setsockopt(down.app.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  down.app.reset();
  char byte;
  EXPECT_EQ(recv(down.daemon.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  ASSERT_EQ(setsockopt(up.daemon.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  up.daemon.reset();
  EXPECT_EQ(receive(up.app.get()), "one");
  EXPECT_EQ(recv(up.app.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(SpliceTest, WakesEdgeTriggeredWaitersForEachMessage) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  const Fd waiter(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(epoll_ctl(waiter.get(), EPOLL_CTL_ADD, hop.app.get(), &event), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(epoll_wait(waiter.get(), &event, 1, 0), 0);
    ASSERT_TRUE(send_text(hop.daemon.get(), "one"));
    EXPECT_EQ(epoll_wait(waiter.get(), &event, 1, 2000), 1);
    EXPECT_EQ(receive(hop.app.get()), "one");
  }
  EXPECT_EQ(bench_->count("redirected_hop"), 3u);
}

TEST_P(SpliceTest, LeavesTheSameAddressInAnotherNamespaceAlone) {
  const net::Address at = bench_->address();
  const std::string answer = testing::in_child(nullptr, [&at]() -> std::string {
    testing::enter_new_netns();
    const Fd listener = testing::bind_socket(at, SOCK_STREAM);
    const Fd app = testing::make_socket(at.family(), SOCK_STREAM);
    return testing::dial(app.get(), at);
  });
  EXPECT_EQ(answer, "ok");
  EXPECT_EQ(bench_->count("record_added"), 0u);
  auto hop = bench_->connect();
  EXPECT_EQ(bench_->count("record_added"), 2u);
}

TEST(SpliceCapabilities, AreThree) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  const std::string answer = testing::in_child(nullptr, [&bench]() -> std::string {
    if (!testing::become_nobody({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON})) return "cannot become nobody";
    bench.restart({});
    auto down = bench.connect();
    auto up = bench.connect();
    auto pair = bench.offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
    if (!pair) return pair.error().to_string();
    return send_text(down.app.get(), "question") ? receive(up.app.get()).value_or("nothing") : "not sent";
  });
  EXPECT_EQ(answer, "question");
}

TEST(SpliceFamilies, TakesAMappedAddressForTheIpv4OneThatItIs) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  const Fd app = testing::make_socket(AF_INET6, SOCK_STREAM);
  ASSERT_EQ(testing::dial(app.get(), bench.address(), true), "ok");
  ASSERT_EQ(fcntl(app.get(), F_SETFL, O_RDWR | O_NONBLOCK), 0);
  const Fd daemon = bench.accept();
  auto offer = bench.offers().offer_hop(daemon.get());
  ASSERT_TRUE(offer.ok()) << offer.error().to_string();
  ASSERT_TRUE(send_text(app.get(), "question"));
  EXPECT_EQ(receive(daemon.get()), "question");
  ASSERT_TRUE(send_text(daemon.get(), "answer"));
  EXPECT_EQ(receive(app.get()), "answer");
  EXPECT_EQ(bench.count("redirected_hop"), 2u);
}

TEST(SpliceFamilies, LeavesMptcpAlone) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
  if (!listener) GTEST_SKIP() << "no MPTCP";
  ASSERT_EQ(listen(listener.get(), 8), 0);  // picks a port
  const net::Address at = testing::address("127.0.0.1", testing::local_of(listener.get()).port());
  ASSERT_TRUE(bench.splice().set_services({at}).ok());
  const Fd app(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
  ASSERT_EQ(testing::dial(app.get(), at), "ok");
  const Fd accepted = testing::accept_one(listener.get());
  ASSERT_TRUE(send_text(app.get(), "question"));
  EXPECT_EQ(receive(accepted.get()), "question");
  EXPECT_EQ(bench.count("record_added"), 0u);
}

TEST(SpliceFamilies, TakesAnyAddressForEveryOneOfThisHost) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  ASSERT_TRUE(bench.splice().set_services({testing::address("0.0.0.0", bench.address().port())}).ok());
  auto hop = bench.connect();
  EXPECT_TRUE(bench.offers().offer_hop(hop.daemon.get()).ok());
  ASSERT_TRUE(bench.splice().set_services({}).ok());
  auto other = bench.connect();
  EXPECT_FALSE(bench.offers().offer_hop(other.daemon.get()).ok());
}

// The daemon: accepts two connections on the address, joins them, says so.
void serve_as_daemon(const std::string& cgroup, std::string_view ip) {
  const Fd listener = testing::bind_socket(testing::address(ip, 0), SOCK_STREAM);
  const net::Address at = testing::local_of(listener.get());
  auto splice = Splice::start({});
  if (!splice || !splice->attach(Cgroup::open(cgroup)->place()) || !splice->set_services({at})) return;
  auto offers = SpliceOffers::open(*splice, 0, 1);
  dprintf(STDOUT_FILENO, "%u\n", at.port());
  const Fd down = testing::accept_one(listener.get()), up = testing::accept_one(listener.get());
  auto pair = offers->join(down.get(), up.get(), 0, 0);
  dprintf(STDOUT_FILENO, "%s\n", pair.ok() ? "joined" : pair.error().what.c_str());
  for (;;) pause();
}

TEST_P(SpliceTest, LosesNothingWhenTheDaemonIsKilled) {
  testing::Child daemon(nullptr, [this] { serve_as_daemon(bench_->cgroup(), GetParam()); });
  const net::Address at = testing::address(GetParam(), static_cast<uint16_t>(std::stoi("0" + daemon.line())));
  Fd apps[2];
  for (Fd& app : apps) {
    app = testing::make_socket(at.family(), SOCK_STREAM);
    ASSERT_EQ(fcntl(app.get(), F_SETFL, O_RDWR | O_NONBLOCK), 0);  // before the daemon can ask
    const std::string dialled = testing::dial(app.get(), at);
    ASSERT_TRUE(dialled == "ok" || dialled == "EINPROGRESS") << dialled;
  }
  ASSERT_EQ(daemon.line(), "joined");
  ASSERT_TRUE(send_text(apps[0].get(), "last words"));
  daemon.kill();
  EXPECT_EQ(receive(apps[1].get()), "last words");
  EXPECT_EQ(receive(apps[1].get()), "");
  EXPECT_EQ(receive(apps[0].get()), "");
  EXPECT_TRUE(send_text(apps[0].get(), "x"));  // the reset comes as an answer to it
  EXPECT_FALSE(send_text(apps[0].get(), "y"));
}

TEST_P(SpliceTest, TellsFionreadOfWhatWaits) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(send_text(hop.app.get(), "12345"));
  int waiting = -1;
  ASSERT_EQ(ioctl(hop.daemon.get(), FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 5);
}

TEST_P(SpliceTest, StopsAFastSenderAtASleepingReader) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  const uint64_t before = testing::tcp_memory_bytes();
  const std::string chunk(64 * 1024, 'x');
  uint64_t sent = 0;
  for (ssize_t n; sent < (uint64_t{2} << 30); sent += static_cast<uint64_t>(n)) {
    n = send(down.app.get(), chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      EXPECT_EQ(errno, EAGAIN);
      break;
    }
  }
  EXPECT_LT(sent, uint64_t{64} << 20);
  EXPECT_LT(testing::tcp_memory_bytes(), before + (uint64_t{64} << 20));
  EXPECT_EQ(bench_->count("demoted_slow"), 1u);
}

TEST_P(SpliceTest, KeepsNothingOfConnectionsThatClosed) {
  for (int i = 0; i < 200; ++i) {
    auto down = bench_->connect();
    auto up = bench_->connect();
    auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
    ASSERT_TRUE(pair.ok());
    ASSERT_TRUE(send_text(down.app.get(), "question"));
    ASSERT_EQ(receive(up.app.get()), "question");
  }
  EXPECT_EQ(bench_->count("redirected_joined"), 200u);
  EXPECT_TRUE(bench_->settles([this] { return bench_->splice().members().empty(); }));
  EXPECT_EQ(bench_->count("record_left"), 800u);
}

TEST_P(SpliceTest, ListsMembersWithTheirPath) {
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "question"));
  const auto members = bench_->splice().members();
  ASSERT_EQ(members.size(), 4u);
  int joined = 0;
  for (const SpliceMember& member : members) {
    if (member.local != testing::local_of(down.app.get())) continue;
    ++joined;
    EXPECT_EQ(member.remote, testing::local_of(down.daemon.get()));
    EXPECT_EQ(member.path, "redirected_joined");
    EXPECT_EQ(member.joined_bytes, 8u);
    EXPECT_TRUE(member.active);
    EXPECT_NE(member.far_cookie, 0u);
  }
  EXPECT_EQ(joined, 1);
}

TEST_P(SpliceTest, WorksWhereTheKernelLetsProgramsReadByCallsOnly) {
  SpliceOptions options;
  options.direct_reads = false;
  bench_->restart(options);
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(send_text(hop.app.get(), "question"));
  EXPECT_EQ(receive(hop.daemon.get()), "question");
  auto down = bench_->connect();
  auto up = bench_->connect();
  auto pair = bench_->offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "question"));
  EXPECT_EQ(receive(up.app.get()), "question");
  EXPECT_EQ(bench_->count("redirected_hop"), 1u);
  EXPECT_EQ(bench_->count("redirected_joined"), 1u);
}

TEST_P(SpliceTest, PassesEverythingWhenSwitchedOff) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  bench_->splice().switch_on(false);
  ASSERT_TRUE(send_text(hop.app.get(), "one"));
  EXPECT_EQ(receive(hop.daemon.get()), "one");
  EXPECT_EQ(bench_->count("pass_off"), 1u);
}

TEST_P(SpliceTest, ServesConnectionsAfterTheShortCircuitIsGone) {
  auto hop = bench_->connect();
  auto offer = bench_->offers().offer_hop(hop.daemon.get());
  ASSERT_TRUE(send_text(hop.app.get(), "one "));
  *offer = HopOffer();
  bench_->stop();
  ASSERT_TRUE(send_text(hop.app.get(), "two"));
  EXPECT_EQ(testing::receive_all(hop.daemon.get(), 7), "one two");
}

}  // namespace
}  // namespace millrace::fastpath
