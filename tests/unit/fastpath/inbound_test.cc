// Inbound steering with real sockets. Each test of the program runs in a child with a network namespace of its own.
#include "fastpath/inbound.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include "fastpath/counters.h"
#include "fastpath/steering.h"
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
using testing::receive;
using testing::send_to;
using testing::TestPins;

InboundRule rule(uint8_t protocol, std::string_view ip, uint32_t length, PortRange ports, uint32_t socket = 0) {
  return {protocol, {address(ip, 0), length}, ports, socket};
}

TEST(InboundRules, PutTheRangesOfShorterPrefixesBehindTheirOwn) {
  const std::vector<InboundRule> rules{rule(IPPROTO_TCP, "10.0.0.0", 8, {1, 100}, 1),
                                       rule(IPPROTO_TCP, "10.1.0.0", 16, {50, 60}, 2),
                                       rule(IPPROTO_UDP, "10.0.0.0", 8, {7, 7}, 3),
                                       rule(IPPROTO_TCP, "::", 0, {9, 9}, 4)};
  const std::vector<InboundPrefix> compiled = compile_inbound(rules).value();
  ASSERT_EQ(compiled.size(), 4u);
  EXPECT_EQ(compiled[0].prefix.bits, 32u + 96 + 16);
  ASSERT_EQ(compiled[0].rule.count, 2u);
  EXPECT_EQ(compiled[0].rule.ranges[0].socket, 2u);
  EXPECT_EQ(compiled[0].rule.ranges[1].socket, 1u);
  for (size_t i = 1; i < compiled.size(); ++i) EXPECT_EQ(compiled[i].rule.count, 1u) << i;
}

TEST(InboundRules, RefuseTooManyRangesForOneAddress) {
  std::vector<InboundRule> rules;
  for (uint16_t port = 0; port < FP_INBOUND_RANGES; ++port) {
    rules.push_back(rule(IPPROTO_TCP, "10.0.0.0", 8, {port, port}));
  }
  EXPECT_TRUE(compile_inbound(rules).ok());
  rules.push_back(rule(IPPROTO_TCP, "0.0.0.0", 0, {1, 1}));
  EXPECT_EQ(compile_inbound(rules).error().code, base::ErrorCode::kResourceExhausted);
}

TEST(InboundRules, RefusePortsOutOfOrder) {
  const std::vector<InboundRule> rules{rule(IPPROTO_TCP, "10.0.0.0", 8, {5, 4})};
  EXPECT_EQ(compile_inbound(rules).error().code, base::ErrorCode::kInvalidArgument);
}

class InboundSteering : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    pins_ = std::make_unique<TestPins>();
  }
  // Runs in a namespace where the options' single inbound steering has this socket; "" or what went wrong.
  std::string in_netns(InboundOptions inbound, const std::function<std::string(std::unique_ptr<Steering>)>& body) {
    return in_child(nullptr, [&]() -> std::string {
      testing::enter_new_netns();
      inbound.loopback = inbound_loopback_;
      Options options;
      options.pin_dir = pins_->path();
      options.cgroups = {};
      options.inbound = {inbound};
      base::Result<std::unique_ptr<Steering>> steering = Steering::start(options);
      return steering.ok() ? body(std::move(*steering)) : steering.error().to_string();
    });
  }
  bool inbound_loopback_ = true;
  std::unique_ptr<TestPins> pins_;
};

Counts counts(const Steering& steering) { return Counters::open(steering.pins()).value().read(); }

// Dials and says what the accepted socket thinks it was reached at.
std::string reaches(int listener, const net::Address& to) {
  const Fd client = make_socket(to.family(), SOCK_STREAM);
  if (const std::string dialled = dial(client.get(), to); dialled != "ok") return dialled;
  const Fd accepted = accept_one(listener);
  return accepted ? local_of(accepted.get()).to_string() : "another listener";
}

TEST_F(InboundSteering, SendsARangeOfPortsToOneListener) {
  InboundOptions options;
  options.rules = {rule(IPPROTO_TCP, "127.0.0.0", 8, {1000, 2000}), rule(IPPROTO_TCP, "::1", 128, {1000, 2000}, 1)};
  EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
    const Fd v4 = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const Fd v6 = bind_socket(address("::1", 0), SOCK_STREAM);
    const int sockets[] = {v4.get(), v6.get()};
    if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
    std::string said;
    for (const net::Address& to : {address("127.0.0.1", 1000), address("127.9.9.9", 2000), address("127.0.0.1", 999),
                                   address("127.0.0.1", 2001)}) {
      said += reaches(v4.get(), to) + " ";
    }
    said += reaches(v6.get(), address("::1", 1500));
    return said + fmt::format(" {}", counts(*steering)[FP_INBOUND_STEERED]);
  }), "127.0.0.1:1000 127.9.9.9:2000 ECONNREFUSED ECONNREFUSED [::1]:1500 3");
}

TEST_F(InboundSteering, SpreadsOverAGroupOfWhichItKnowsOneSocket) {
  InboundOptions options;
  options.rules = {rule(IPPROTO_TCP, "127.0.0.0", 8, {1000, 2000})};
  EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
    const Fd first = bind_socket(address("127.0.0.1", 0), SOCK_STREAM, true);
    const Fd second = bind_socket(local_of(first.get()), SOCK_STREAM, true);
    const int sockets[] = {first.get()};
    if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
    std::vector<Fd> clients;
    for (int i = 0; i < 64; ++i) {
      clients.push_back(make_socket(AF_INET, SOCK_STREAM));
      if (dial(clients.back().get(), address("127.0.0.1", 1500)) != "ok") return "refused";
    }
    return accept_one(first.get()) && accept_one(second.get()) ? "both" : "one";
  }), "both");
}

TEST_F(InboundSteering, SendsDatagrams) {
  InboundOptions options;
  options.rules = {rule(IPPROTO_UDP, "0.0.0.0", 0, {53, 53})};
  EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
    const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
    const int sockets[] = {server.get()};
    if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
    const Fd client = make_socket(AF_INET, SOCK_DGRAM);
    (void)send_to(client.get(), "question", address("127.0.0.77", 53));
    return receive(server.get()).value_or("nothing");
  }), "question");
}

TEST_F(InboundSteering, LeavesLocalConnectionsAloneUnlessAsked) {
  inbound_loopback_ = false;
  InboundOptions options;
  options.rules = {rule(IPPROTO_TCP, "127.0.0.0", 8, {1, 65535})};
  EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
    const Fd ours = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const Fd app = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const int sockets[] = {ours.get()};
    if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
    return reaches(app.get(), local_of(app.get())) == local_of(app.get()).to_string() ? "app" : "ours";
  }), "app");
}

TEST_F(InboundSteering, LeavesLocalConnectionsToTheAddressOfADeviceAlone) {
  inbound_loopback_ = false;
  InboundOptions options;
  options.rules = {rule(IPPROTO_TCP, "192.0.2.1", 32, {1, 65535}), rule(IPPROTO_TCP, "2001:db8::1", 128, {1, 65535})};
  EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
    if (system("ip link add mr0 type veth peer name mr1 && ip addr add 192.0.2.1/24 dev mr0 && "
               "ip addr add 2001:db8::1/64 dev mr0 nodad && ip link set mr0 up && ip link set mr1 up") != 0) {
      return "ip";
    }
    const Fd ours = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const int sockets[] = {ours.get()};
    if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
    std::string said;
    for (const char* ip : {"192.0.2.1", "2001:db8::1"}) {
      const Fd app = bind_socket(address(ip, 0), SOCK_STREAM);
      said += reaches(app.get(), local_of(app.get())) == local_of(app.get()).to_string() ? "app " : "ours ";
    }
    return said;
  }), "app app ");
}

TEST_F(InboundSteering, RefusesOrPassesWhenTheSocketIsGone) {
  for (const bool drop : {true, false}) {
    InboundOptions options;
    options.drop_when_missing = drop;
    options.rules = {rule(IPPROTO_TCP, "127.0.0.0", 8, {1, 65535})};
    EXPECT_EQ(in_netns(options, [](std::unique_ptr<Steering> steering) -> std::string {
      Fd ours = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
      const Fd app = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
      const int sockets[] = {ours.get()};
      if (base::Result<void> done = steering->attach_inbound(0, sockets); !done) return done.error().to_string();
      if (reaches(ours.get(), local_of(app.get())) != local_of(app.get()).to_string()) return "not steered";
      ours.reset();
      return reaches(app.get(), local_of(app.get())) == local_of(app.get()).to_string() ? "app" : "refused";
    }), drop ? "refused" : "app");
  }
}

TEST_F(InboundSteering, OutlivesTheDaemonAndIsTakenOver) {
  InboundOptions options;
  options.rules = {rule(IPPROTO_TCP, "127.0.0.1", 32, {1000, 1000})};
  EXPECT_EQ(in_netns(options, [&](std::unique_ptr<Steering> first) -> std::string {
    const Fd old = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const int old_sockets[] = {old.get()};
    if (base::Result<void> done = first->attach_inbound(0, old_sockets); !done) return done.error().to_string();
    Options all = first->options();
    const std::vector<LinkState> before = link_states(first->pins());
    first.reset();
    if (reaches(old.get(), address("127.0.0.1", 1000)) != "127.0.0.1:1000") return "died with the daemon";
    base::Result<std::unique_ptr<Steering>> second = Steering::start(all);
    if (!second) return second.error().to_string();
    const Fd fresh = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
    const int fresh_sockets[] = {fresh.get()};
    if (base::Result<void> done = (*second)->attach_inbound(0, fresh_sockets); !done) return done.error().to_string();
    if (reaches(fresh.get(), address("127.0.0.1", 1000)) != "127.0.0.1:1000") return "not taken over";
    const std::vector<LinkState> after = link_states((*second)->pins());
    if (before.size() != 1 || after.size() != 1 || before[0].link_id != after[0].link_id) return "another link";
    all.inbound.clear();
    if (base::Result<void> done = (*second)->apply(all); !done) return done.error().to_string();
    return reaches(fresh.get(), address("127.0.0.1", 1000));
  }), "ECONNREFUSED");
}

}  // namespace
}  // namespace millrace::fastpath
