// Outbound capture with real sockets: clients are children in a cgroup of their own, the daemon is the test.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fastpath/capture_rules.h"
#include "fastpath/counters.h"
#include "fastpath/object.h"
#include "fastpath/original_dst.h"
#include "fastpath/steering.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::accept_one;
using testing::address;
using testing::bind_socket;
using testing::Child;
using testing::dial;
using testing::in_child;
using testing::local_of;
using testing::make_socket;
using testing::peer_of;
using testing::TestCgroup;
using testing::TestPins;

enum class Form { kV4, kV6, kMapped };

// "ok <peer as getpeername shows it>" or the name of an errno.
std::string dial_once(const net::Address& to, Form form) {
  const Fd fd = make_socket(form == Form::kV4 ? AF_INET : AF_INET6, SOCK_STREAM);
  const std::string result = dial(fd.get(), to, form == Form::kMapped);
  return result == "ok" ? "ok " + peer_of(fd.get()).to_string() : result;
}

class Capture : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    apps_ = std::make_unique<TestCgroup>();
    pins_ = std::make_unique<TestPins>();
    proxy_v4_ = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    proxy_v6_ = bind_socket(address("::1", 0), SOCK_STREAM);
    server_v4_ = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    server_v6_ = bind_socket(address("::1", 0), SOCK_STREAM);
    ASSERT_TRUE(proxy_v4_ && proxy_v6_ && server_v4_ && server_v6_);
    options_.pin_dir = pins_->path();
    options_.cgroups = {apps_->path()};
    options_.capture.emplace();
    options_.capture->listener_v4 = local_of(proxy_v4_.get());
    options_.capture->listener_v6 = local_of(proxy_v6_.get());
    options_.capture->loopback = true;
  }

  void start() {
    base::Result<std::unique_ptr<Steering>> steering = Steering::start(options_);
    ASSERT_TRUE(steering.ok()) << steering.error().to_string();
    steering_ = std::move(*steering);
  }
  Counts counts() { return Counters::open(steering_->pins()).value().read(); }
  std::string app_dials(const net::Address& to, Form form = Form::kV4) {
    return in_child(apps_.get(), [&] { return dial_once(to, form); });
  }
  // What a client in the cgroup that dials the server sees, and who got the connection.
  void expect_captured(Form form) {
    const bool v6 = form == Form::kV6;
    const net::Address server = local_of(v6 ? server_v6_.get() : server_v4_.get());
    EXPECT_EQ(app_dials(server, form), "ok " + server.to_string());
    const Fd accepted = accept_one(v6 ? proxy_v6_.get() : proxy_v4_.get());
    ASSERT_TRUE(accepted);
    EXPECT_EQ(OriginalDst::open(steering_->pins())->lookup(accepted.get()), server);
  }
  void expect_not_captured() {
    const net::Address server = local_of(server_v4_.get());
    EXPECT_EQ(app_dials(server), "ok " + server.to_string());
    EXPECT_TRUE(accept_one(server_v4_.get()));
  }

  std::unique_ptr<TestCgroup> apps_;
  std::unique_ptr<TestPins> pins_;
  Fd proxy_v4_, proxy_v6_, server_v4_, server_v6_;
  Options options_;
  std::unique_ptr<Steering> steering_;
};

TEST_F(Capture, SendsIpv4ToTheListenerAndShowsTheDialledPeer) {
  start();
  expect_captured(Form::kV4);
  const Counts seen = counts();
  EXPECT_EQ(seen[FP_CAPTURED], 1u);
  EXPECT_EQ(seen[FP_PEERNAME_SHOWN], 1u);
  EXPECT_EQ(seen[FP_ORIGINAL_PUBLISHED], 1u);
}

TEST_F(Capture, SendsIpv6ToTheListener) {
  start();
  expect_captured(Form::kV6);
}

TEST_F(Capture, SendsMappedIpv4ToTheIpv4Listener) {
  start();
  expect_captured(Form::kMapped);
}

TEST_F(Capture, LetsAFamilyWithoutListenerPass) {
  options_.capture->listener_v6 = {};
  start();
  const net::Address server = local_of(server_v6_.get());
  EXPECT_EQ(app_dials(server, Form::kV6), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(server_v6_.get()));
  EXPECT_EQ(counts()[FP_PASS_NO_FAMILY], 1u);
}

TEST_F(Capture, LeavesProcessesOfOtherCgroupsAlone) {
  start();
  const net::Address server = local_of(server_v4_.get());
  EXPECT_EQ(in_child(nullptr, [&] { return dial_once(server, Form::kV4); }), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(server_v4_.get()));
}

TEST_F(Capture, LeavesTheDaemonsOwnSocketsAlone) {
  const net::Address server = local_of(server_v4_.get());
  EXPECT_EQ(in_child(apps_.get(), [&]() -> std::string {
    base::Result<std::unique_ptr<Steering>> daemon = Steering::start(options_);
    return daemon.ok() ? dial_once(server, Form::kV4) : daemon.error().to_string();
  }), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(server_v4_.get()));
}

TEST_F(Capture, LeavesTheListenerReachableByItsOwnAddress) {
  start();
  const net::Address proxy = local_of(proxy_v4_.get());
  EXPECT_EQ(app_dials(proxy), "ok " + proxy.to_string());
  const Fd accepted = accept_one(proxy_v4_.get());
  ASSERT_TRUE(accepted);
  EXPECT_EQ(OriginalDst::open(steering_->pins())->lookup(accepted.get()), std::nullopt);
}

TEST_F(Capture, GivesADirectConnectionNoLeftOverOriginal) {
  options_.capture->listener_v4 = address("127.0.0.1", 15001);
  start();
  EXPECT_EQ(in_child(nullptr, [&]() -> std::string {
    testing::enter_new_netns();
    const Fd listener = bind_socket(address("127.0.0.1", 15001), SOCK_STREAM);
    apps_->join();
    std::string said;
    for (const uint16_t port : {uint16_t{1001}, uint16_t{15001}}) {
      // The same four-tuple twice; a reset frees it at once. The first original is never asked for.
      const Fd dialler = make_socket(AF_INET, SOCK_STREAM);
      const int one = 1;
      const linger reset{1, 0};
      setsockopt(dialler.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
      setsockopt(dialler.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      sockaddr_storage storage{};
      const socklen_t size = address("127.0.0.1", 40001).to_sockaddr(storage);
      if (bind(dialler.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return "bind";
      said += dial(dialler.get(), address("127.0.0.1", port)) + " ";
      const Fd accepted = accept_one(listener.get());
      if (port != 15001) continue;
      const auto dst = OriginalDst::open(steering_->pins())->lookup(accepted.get());
      said += dst ? dst->to_string() : "none";
    }
    return said;
  }), "ok ok none");
}

TEST_F(Capture, LeavesSocketsOfADeviceAlone) {
  start();
  EXPECT_EQ(in_child(apps_.get(), [&]() -> std::string {
    testing::enter_new_netns();
    if (system("ip link add mr0 type veth peer name mr1 && ip addr add 192.0.2.1/24 dev mr0 && "
               "ip link set mr0 up && ip link set mr1 up") != 0) return "ip";
    const Fd listener = bind_socket(address("127.0.0.1", options_.capture->listener_v4.port()), SOCK_STREAM);
    const Fd client = make_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    if (setsockopt(client.get(), SOL_SOCKET, SO_BINDTODEVICE, "mr0", 4) != 0) return "bind to device";
    return dial(client.get(), address("192.0.2.2", 80));  // on its way, where the device leads
  }), "EINPROGRESS");
  EXPECT_EQ(counts()[FP_PASS_BOUND], 1u);
}

TEST_F(Capture, LeavesLinkLocalAndUnspecifiedAddressesAlone) {
  const CaptureRules rules = CaptureRules::compile(*options_.capture).value();
  ASSERT_EQ(rules.addresses.size(), 1u);  // link-local; loopback is asked for
  options_.capture->loopback = false;
  EXPECT_EQ(CaptureRules::compile(*options_.capture)->addresses.size(), 5u);
  start();
  const net::Address server = local_of(server_v4_.get());
  EXPECT_EQ(app_dials(address("0.0.0.0", server.port())).substr(0, 3), "ok ");
  EXPECT_TRUE(accept_one(server_v4_.get()));
}

TEST_F(Capture, ExcludesPorts) {
  const uint16_t port = local_of(server_v4_.get()).port();
  options_.capture->exclude_ports = {{port, port}};
  start();
  expect_not_captured();
}

TEST_F(Capture, TakesOnlyIncludedPorts) {
  options_.capture->include_ports = {{1, 1}};
  start();
  expect_not_captured();
  const uint16_t port = local_of(server_v4_.get()).port();
  options_.capture->include_ports.push_back({port, port});
  ASSERT_TRUE(steering_->apply(options_).ok());
  expect_captured(Form::kV4);
}

TEST_F(Capture, TakesTheLongestPrefixOfTheAddressRules) {
  options_.capture->exclude_addresses = {{address("127.0.0.0", 0), 8}};
  start();
  expect_not_captured();
  options_.capture->include_addresses = {{address("127.0.0.1", 0), 32}};
  ASSERT_TRUE(steering_->apply(options_).ok());
  expect_captured(Form::kV4);
}

TEST_F(Capture, ExcludesLoopbackUnlessAsked) {
  options_.capture->loopback = false;
  start();
  expect_not_captured();
}

TEST_F(Capture, ExcludesUsers) {
  options_.capture->exclude_users = {12345};
  start();
  const net::Address server = local_of(server_v4_.get());
  EXPECT_EQ(in_child(apps_.get(), [&]() -> std::string {
    return setuid(12345) == 0 ? dial_once(server, Form::kV4) : "setuid";
  }), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(server_v4_.get()));
  expect_captured(Form::kV4);
}

TEST_F(Capture, TakesTheNearestCgroupRule) {
  const TestCgroup out(apps_->path());
  const TestCgroup in_again(out.path());
  options_.capture->exclude_cgroups = {out.path()};
  options_.capture->include_cgroups = {apps_->path(), in_again.path()};
  start();
  const net::Address server = local_of(server_v4_.get());
  const auto dials = [&] { return dial_once(server, Form::kV4); };
  EXPECT_EQ(in_child(&out, dials), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(server_v4_.get()));
  EXPECT_EQ(in_child(&in_again, dials), "ok " + server.to_string());
  EXPECT_TRUE(accept_one(proxy_v4_.get()));
  expect_captured(Form::kV4);
}

TEST_F(Capture, BypassesADeadDaemon) {
  start();
  steering_.reset();
  proxy_v4_.reset();
  expect_not_captured();
}

TEST_F(Capture, RefusesForADeadDaemonIfAskedTo) {
  options_.capture->refuse_when_dead = true;
  start();
  expect_captured(Form::kV4);
  steering_.reset();
  proxy_v4_.reset();
  EXPECT_EQ(app_dials(local_of(server_v4_.get())), "ECONNREFUSED");
  EXPECT_EQ(app_dials(local_of(server_v4_.get()), Form::kMapped), "ECONNREFUSED");
}

TEST_F(Capture, IsAdoptedByTheNextDaemon) {
  start();
  const std::vector<LinkState> before = link_states(steering_->pins());
  ASSERT_EQ(before.size(), 5u);  // connect4, connect6, getpeername4, getpeername6, sockops
  steering_.reset();
  // Nobody lives, but the listener does (as with a supervisor's socket): capture goes on.
  EXPECT_TRUE(app_dials(local_of(server_v4_.get())).starts_with("ok "));
  EXPECT_TRUE(accept_one(proxy_v4_.get()));
  start();
  EXPECT_TRUE(steering_->pins().adopted());
  const std::vector<LinkState> after = link_states(steering_->pins());
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].link_id, before[i].link_id) << after[i].name;
    EXPECT_NE(after[i].program_id, before[i].program_id) << after[i].name;
  }
  expect_captured(Form::kV4);
  EXPECT_EQ(counts()[FP_CAPTURED], 2u);  // the counters were adopted as well
}

TEST_F(Capture, MovesToOtherCgroups) {
  start();
  const TestCgroup other;
  options_.cgroups = {other.path()};
  ASSERT_TRUE(steering_->apply(options_).ok());
  expect_not_captured();
  EXPECT_EQ(link_states(steering_->pins()).size(), 5u);
}

TEST_F(Capture, StopsWithDetach) {
  start();
  ASSERT_TRUE(detach(pins_->path(), true).ok());
  expect_not_captured();
  EXPECT_NE(access(pins_->path().c_str(), F_OK), 0);
}

TEST_F(Capture, LeavesTheOriginalOnTheAcceptedSocketOfADaemonInItsCgroup) {
  const TestCgroup daemon;
  options_.daemon_cgroup = daemon.path();
  const net::Address server = local_of(server_v4_.get());
  // The listener has to be the daemon's: accepted sockets belong to the cgroup of their listener.
  Child proxy(&daemon, [&] {
    const Fd listener = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    options_.capture->listener_v4 = local_of(listener.get());
    base::Result<std::unique_ptr<Steering>> steering = Steering::start(options_);
    dprintf(STDOUT_FILENO, "%s\n", steering.ok() ? "up" : steering.error().to_string().c_str());
    const Fd accepted = accept_one(listener.get());
    const auto dst = OriginalDst::open((*steering)->pins())->lookup(accepted.get());
    const Counts seen = Counters::open((*steering)->pins())->read();
    dprintf(STDOUT_FILENO, "%s %d\n", dst ? dst->to_string().c_str() : "none",
            static_cast<int>(seen[FP_ORIGINAL_DELIVERED]));
  });
  ASSERT_EQ(proxy.line(), "up");
  EXPECT_EQ(app_dials(server), "ok " + server.to_string());
  EXPECT_EQ(proxy.line(), server.to_string() + " 1");
}

// What a third-party proxy in `cgroup` learns about a connection that it accepts at `at`.
std::string asks_original_dst(int listener, bool v6) {
  const Fd accepted = accept_one(listener);
  sockaddr_storage storage{};
  socklen_t size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (getsockopt(accepted.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, 80, &storage, &size) != 0) return "refused";
  return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size).to_string();
}

TEST_F(Capture, AnswersSoOriginalDstToThirdParties) {
  const TestCgroup third;
  for (const bool v6 : {false, true}) {
    SCOPED_TRACE(v6);
    Child proxy(&third, [&] {
      const Fd listener = bind_socket(address(v6 ? "::1" : "127.0.0.1", 0), SOCK_STREAM);
      dprintf(STDOUT_FILENO, "%d\n", local_of(listener.get()).port());
      dprintf(STDOUT_FILENO, "%s\n", asks_original_dst(listener.get(), v6).c_str());
      dprintf(STDOUT_FILENO, "%s\n", asks_original_dst(listener.get(), v6).c_str());
    });
    const net::Address listener = address(v6 ? "::1" : "127.0.0.1", static_cast<uint16_t>(std::stoi(proxy.line())));
    (v6 ? options_.capture->listener_v6 : options_.capture->listener_v4) = listener;
    options_.original_dst_cgroups = {third.path()};
    start();
    const net::Address server = local_of(v6 ? server_v6_.get() : server_v4_.get());
    EXPECT_EQ(app_dials(server, v6 ? Form::kV6 : Form::kV4), "ok " + server.to_string());
    EXPECT_EQ(proxy.line(), server.to_string());
    const Fd direct = make_socket(listener.family(), SOCK_STREAM);
    EXPECT_EQ(dial(direct.get(), listener), "ok");  // not captured: as without the hook
    EXPECT_EQ(proxy.line(), "refused");
    steering_.reset();
  }
}

// A client and a listener in a network namespace of their own, whose four-tuple is the same in each such namespace.
// Prints what the listener is told once a byte came through `go`.
void run_pod(const TestCgroup& apps, uint16_t proxy_port, uint16_t client_port, const net::Address& to, int go,
             const PinDir& pins) {
  testing::enter_new_netns();
  const Fd listener = bind_socket(address("127.0.0.1", proxy_port), SOCK_STREAM);
  apps.join();  // the listener stays outside of the steered cgroup, so its sockets ask by the flow
  const Fd dialler = make_socket(AF_INET, SOCK_STREAM);
  sockaddr_storage storage{};
  const socklen_t size = address("127.0.0.1", client_port).to_sockaddr(storage);
  bind(dialler.get(), reinterpret_cast<sockaddr*>(&storage), size);
  dprintf(STDOUT_FILENO, "%s\n", dial(dialler.get(), to).c_str());
  char byte;
  if (read(go, &byte, 1) != 1) return;
  const Fd accepted = accept_one(listener.get());
  const auto dst = OriginalDst::open(pins)->lookup(accepted.get());
  dprintf(STDOUT_FILENO, "%s %s\n", peer_of(accepted.get()).to_string().c_str(),
          dst ? dst->to_string().c_str() : "none");
}

TEST_F(Capture, KeepsPodsWithTheSameAddressesApart) {
  options_.capture->listener_v4 = address("127.0.0.1", 15001);
  start();
  int go[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);
  const Fd go_out(go[0]), go_in(go[1]);
  const auto pod = [&](uint16_t port) {
    run_pod(*apps_, 15001, 40001, address("127.0.0.1", port), go_out.get(), steering_->pins());
  };
  Child first(nullptr, [&] { pod(1001); });
  Child second(nullptr, [&] { pod(1002); });
  ASSERT_EQ(first.line(), "ok");
  ASSERT_EQ(second.line(), "ok");
  ASSERT_EQ(write(go_in.get(), "gg", 2), 2);
  EXPECT_EQ(first.line(), "127.0.0.1:40001 127.0.0.1:1001");
  EXPECT_EQ(second.line(), "127.0.0.1:40001 127.0.0.1:1002");
}

TEST_F(Capture, FindsTheOriginalOfAFastOpenedConnection) {
  options_.capture->listener_v4 = address("127.0.0.1", 15001);
  start();
  EXPECT_EQ(in_child(nullptr, [&]() -> std::string {
    testing::enter_new_netns();
    const Fd sysctl(open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC));
    if (::write(sysctl.get(), "1543", 4) != 4) return "sysctl";  // both sides, no cookies asked
    apps_->join();
    const Fd listener = bind_socket(address("127.0.0.1", 15001), SOCK_STREAM);
    const int queue = 16;
    setsockopt(listener.get(), IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue);
    const Fd client = make_socket(AF_INET, SOCK_STREAM);
    sockaddr_storage storage{};
    const socklen_t size = address("127.0.0.1", 1001).to_sockaddr(storage);
    if (sendto(client.get(), "hello", 5, MSG_FASTOPEN, reinterpret_cast<sockaddr*>(&storage), size) != 5) return "send";
    const Fd accepted = accept_one(listener.get());
    tcp_info info{};
    socklen_t info_size = sizeof info;
    getsockopt(accepted.get(), IPPROTO_TCP, TCP_INFO, &info, &info_size);
    const bool in_syn = (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
    const auto dst = OriginalDst::open(steering_->pins())->lookup(accepted.get());
    return fmt::format("{} {}", in_syn ? "data in SYN" : "no fast open", dst ? dst->to_string() : "none");
  }), "data in SYN 127.0.0.1:1001");
}

TEST_F(Capture, NeedsAListener) {
  options_.capture->listener_v4 = options_.capture->listener_v6 = {};
  EXPECT_EQ(CaptureRules::compile(*options_.capture).error().code, base::ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace::fastpath
