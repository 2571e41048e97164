// Connect-time services with real sockets: clients are children in a cgroup, the endpoints live in the test.
#include "fastpath/services.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>

#include "fastpath/counters.h"
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
using testing::receive;
using testing::send_text;
using testing::send_to;
using testing::TestCgroup;
using testing::TestPins;

class ServicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_NEEDS_BPF();
    apps_ = std::make_unique<TestCgroup>();
    pins_ = std::make_unique<TestPins>();
    options_.pin_dir = pins_->path();
    options_.cgroups = {apps_->path()};
    options_.services.emplace();
  }
  void start() {
    base::Result<std::unique_ptr<Steering>> steering = Steering::start(options_);
    ASSERT_TRUE(steering.ok()) << steering.error().to_string();
    steering_ = std::move(*steering);
  }
  void set(const net::Address& service, uint8_t proto, std::vector<Endpoint> endpoints) {
    const base::Result<void> done = steering_->services()->update(service, proto, endpoints);
    ASSERT_TRUE(done.ok()) << done.error().to_string();
  }
  Counts counts() { return Counters::open(steering_->pins()).value().read(); }
  std::string app(const std::function<std::string()>& body) { return in_child(apps_.get(), body); }

  std::unique_ptr<TestCgroup> apps_;
  std::unique_ptr<TestPins> pins_;
  Options options_;
  std::unique_ptr<Steering> steering_;
  const net::Address vip_v4_ = address("192.0.2.10", 80);
  const net::Address vip_v6_ = address("2001:db8::10", 80);
};

// "ok <peer as shown>" or the errno.
std::string dial_once(const net::Address& to, bool mapped = false, int type = SOCK_STREAM) {
  const Fd fd = make_socket(mapped ? AF_INET6 : to.family(), type);
  const std::string result = dial(fd.get(), to, mapped);
  return result == "ok" ? "ok " + peer_of(fd.get()).to_string() : result;
}

TEST_F(ServicesTest, SendAConnectToAnEndpointAndShowTheService) {
  start();
  const Fd v4 = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd v6 = bind_socket(address("::1", 0), SOCK_STREAM);
  set(vip_v4_, IPPROTO_TCP, {{local_of(v4.get())}});
  set(vip_v6_, IPPROTO_TCP, {{local_of(v6.get())}});
  EXPECT_EQ(app([&] { return dial_once(vip_v4_); }), "ok 192.0.2.10:80");
  EXPECT_TRUE(accept_one(v4.get()));
  EXPECT_EQ(app([&] { return dial_once(vip_v4_, true); }), "ok 192.0.2.10:80");
  EXPECT_TRUE(accept_one(v4.get()));
  EXPECT_EQ(app([&] { return dial_once(vip_v6_); }), "ok [2001:db8::10]:80");
  EXPECT_TRUE(accept_one(v6.get()));
  EXPECT_EQ(counts()[FP_BALANCED_TCP], 3u);
}

TEST_F(ServicesTest, ChooseByWeight) {
  start();
  const Fd heavy = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd light = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd none = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const int room = 8 << 20;  // the whole run fits into the sockets
  for (const int fd : {heavy.get(), light.get()}) setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  set(vip_v4_, IPPROTO_UDP, {{local_of(heavy.get()), 3}, {local_of(light.get()), 1}, {local_of(none.get()), 0}});
  constexpr int kDials = 1600;
  ASSERT_EQ(app([&]() -> std::string {
    for (int i = 0; i < kDials; ++i) {
      const Fd fd = make_socket(AF_INET, SOCK_DGRAM);
      if (dial(fd.get(), vip_v4_) != "ok" || !send_text(fd.get(), "x")) return "failed";
    }
    return "ok";
  }), "ok");
  const auto drain = [](int fd) {
    int got = 0;
    for (char c; recv(fd, &c, 1, MSG_DONTWAIT) == 1;) ++got;
    return got;
  };
  const int at_heavy = drain(heavy.get());
  EXPECT_EQ(at_heavy + drain(light.get()), kDials);
  EXPECT_NEAR(at_heavy, kDials * 3 / 4, 120);  // seven standard deviations
  EXPECT_EQ(drain(none.get()), 0);
}

TEST_F(ServicesTest, LeaveOtherProtocolsPortsAndProcessesAlone) {
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd other = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  set(local_of(server.get()), IPPROTO_TCP, {{local_of(other.get())}});
  EXPECT_EQ(in_child(nullptr, [&] { return dial_once(local_of(server.get())); }).substr(0, 2), "ok");
  EXPECT_TRUE(accept_one(server.get()));
  EXPECT_EQ(app([&] { return dial_once(local_of(server.get()), false, SOCK_DGRAM); }).substr(0, 2), "ok");
  EXPECT_EQ(counts()[FP_BALANCED_UDP], 0u);
  EXPECT_EQ(app([&] { return dial_once(local_of(server.get())); }), "ok " + local_of(server.get()).to_string());
  EXPECT_TRUE(accept_one(other.get()));
}

TEST_F(ServicesTest, NeverBalanceTheDaemonItself) {
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd other = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  EXPECT_EQ(app([&]() -> std::string {
    start();
    set(local_of(server.get()), IPPROTO_TCP, {{local_of(other.get())}});
    return dial_once(local_of(server.get()));
  }), "ok " + local_of(server.get()).to_string());
  EXPECT_TRUE(accept_one(server.get()));
}

TEST_F(ServicesTest, WithoutEndpointPassOrRefuse) {
  start();
  const Fd listener = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const net::Address service = local_of(listener.get());
  set(service, IPPROTO_TCP, {});
  EXPECT_EQ(app([&] { return dial_once(service); }), "ok " + service.to_string());
  options_.services->refuse_when_empty = true;
  ASSERT_TRUE(steering_->apply(options_).ok());
  set(service, IPPROTO_TCP, {{address("127.0.0.1", 1), 0}});
  EXPECT_EQ(app([&] { return dial_once(service); }), "ECONNREFUSED");
  EXPECT_EQ(app([&] { return dial_once(service, true); }), "ECONNREFUSED");
  set(service, IPPROTO_UDP, {});
  EXPECT_EQ(app([&] {
    return send_to(make_socket(AF_INET, SOCK_DGRAM).get(), "x", service);
  }), "ECONNREFUSED");
  EXPECT_EQ(counts()[FP_SERVICE_EMPTY_PASSED], 1u);
  EXPECT_EQ(counts()[FP_SERVICE_EMPTY_REFUSED], 3u);
}

TEST_F(ServicesTest, FollowAnUpdateAndARemoval) {
  start();
  const Fd first = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd second = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const net::Address service = local_of(first.get());
  set(service, IPPROTO_TCP, {{local_of(second.get())}});
  EXPECT_EQ(app([&] { return dial_once(service); }), "ok " + service.to_string());
  EXPECT_TRUE(accept_one(second.get()));
  ASSERT_TRUE(steering_->services()->remove(service, IPPROTO_TCP).ok());
  EXPECT_EQ(app([&] { return dial_once(service); }), "ok " + service.to_string());
  EXPECT_TRUE(accept_one(first.get()));
  EXPECT_EQ(steering_->services()->size(), 0u);
}

TEST_F(ServicesTest, AreNeverTornByUpdatesMeanwhile) {
  options_.services->slots_max = 96;  // so that ranges come round again and again
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd other = bind_socket(address("127.0.0.2", 0), SOCK_DGRAM);
  const net::Address a = local_of(server.get()), b = local_of(other.get());
  set(vip_v4_, IPPROTO_UDP, {{a}});
  // A mixture of the two sets would be an address and port at which nobody listens, or the service's own.
  Child client(apps_.get(), [&] {
    int wrong = 0;
    for (int i = 0; i < 20000; ++i) {
      const Fd fd = make_socket(AF_INET, SOCK_DGRAM);
      if (dial(fd.get(), vip_v4_) != "ok" || !send_text(fd.get(), "x")) ++wrong;
      char none;
      if (recv(fd.get(), &none, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED) ++wrong;
    }
    dprintf(STDOUT_FILENO, "%d\n", wrong);
  });
  std::string said;
  for (int i = 0; said.empty(); ++i) {
    std::vector<Endpoint> endpoints(static_cast<size_t>(1 + i % 30), Endpoint{i % 2 == 0 ? a : b});
    set(vip_v4_, IPPROTO_UDP, endpoints);
    for (const int fd : {server.get(), other.get()}) {
      for (char c; recv(fd, &c, 1, MSG_DONTWAIT) == 1;) continue;
    }
    if (client.readable_now()) said = client.line();
  }
  EXPECT_EQ(said, "0");
  EXPECT_EQ(counts()[FP_BALANCED_UDP] + counts()[FP_SERVICE_CHANGING], 20000u);
  EXPECT_LT(counts()[FP_SERVICE_CHANGING], 20u);
}

TEST_F(ServicesTest, DoNotTakeTheSlotsOfAnotherGeneration) {
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd other = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  set(local_of(server.get()), IPPROTO_TCP, {{local_of(other.get())}});
  const Fd slots(bpf_obj_get(steering_->pins().map_path("fp_slots").c_str()));
  const uint32_t first = 0;
  fp_slot slot{};
  ASSERT_EQ(bpf_map_lookup_elem(slots.get(), &first, &slot), 0);
  ++slot.generation;  // as if the range belonged to another service by now
  ASSERT_EQ(bpf_map_update_elem(slots.get(), &first, &slot, BPF_ANY), 0);
  EXPECT_EQ(app([&] { return dial_once(local_of(server.get())); }), "ok " + local_of(server.get()).to_string());
  EXPECT_TRUE(accept_one(server.get()));
  EXPECT_EQ(counts()[FP_SERVICE_CHANGING], 1u);
}

TEST_F(ServicesTest, GoOnWithoutTheDaemonAndAreTakenOver) {
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  set(vip_v4_, IPPROTO_TCP, {{local_of(server.get())}});
  set(vip_v6_, IPPROTO_TCP, {{address("::1", 9)}});
  steering_.reset();
  EXPECT_EQ(app([&] { return dial_once(vip_v4_); }), "ok 192.0.2.10:80");
  start();
  ASSERT_EQ(steering_->services()->size(), 2u);
  EXPECT_EQ(steering_->services()->endpoint_count(), 2u);
  set(vip_v4_, IPPROTO_TCP, {{local_of(server.get())}});
  ASSERT_TRUE(steering_->services()->remove_unclaimed().ok());
  const std::vector<ServiceState> left = steering_->services()->list();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].address, vip_v4_);
  EXPECT_EQ(left[0].endpoints, std::vector<net::Address>{local_of(server.get())});
  EXPECT_EQ(app([&] { return dial_once(vip_v4_); }), "ok 192.0.2.10:80");
}

TEST_F(ServicesTest, EndWithAConfigurationThatHasNone) {
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const Fd other = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  set(local_of(server.get()), IPPROTO_TCP, {{local_of(other.get())}});
  options_.services.reset();
  options_.capture.emplace();
  options_.capture->listener_v4 = address("127.0.0.1", 1);
  ASSERT_TRUE(steering_->apply(options_).ok());
  EXPECT_EQ(app([&] { return dial_once(local_of(server.get())); }), "ok " + local_of(server.get()).to_string());
  EXPECT_TRUE(accept_one(server.get()));
}

TEST_F(ServicesTest, RefuseWhatTheyCannotDo) {
  start();
  const std::vector<Endpoint> v6{{address("::1", 1)}};
  EXPECT_EQ(steering_->services()->update(vip_v4_, IPPROTO_TCP, v6).error().code, base::ErrorCode::kUnsupported);
  EXPECT_EQ(steering_->services()->update(address("0.0.0.0", 80), IPPROTO_TCP, {}).error().code,
            base::ErrorCode::kInvalidArgument);
  EXPECT_EQ(steering_->services()->update(vip_v4_, IPPROTO_SCTP, {}).error().code,
            base::ErrorCode::kInvalidArgument);
}

TEST_F(ServicesTest, SayWhenThereIsNoRoomAndKeepWhatTheyHad) {
  options_.services->slots_max = 4;
  options_.services->services_max = 1;
  start();
  set(vip_v4_, IPPROTO_TCP, {{address("127.0.0.1", 1)}});
  const std::vector<Endpoint> many(4, Endpoint{address("127.0.0.1", 2)});
  EXPECT_EQ(steering_->services()->update(vip_v4_, IPPROTO_TCP, many).error().code,
            base::ErrorCode::kResourceExhausted);
  EXPECT_EQ(steering_->services()->list().at(0).endpoints.at(0).port(), 1);
  EXPECT_EQ(steering_->services()->update(address("192.0.2.11", 1), IPPROTO_TCP, {}).error().code,
            base::ErrorCode::kResourceExhausted);
}

TEST_F(ServicesTest, ResetConnectionsToARemovedEndpointButNoOthers) {
  options_.services->reset_removed = true;
  start();
  const struct { const char* loopback; net::Address service; bool mapped; } cases[] = {
      {"127.0.0.1", vip_v4_, false}, {"127.0.0.1", vip_v4_, true}, {"::1", vip_v6_, false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.service.to_string() + (c.mapped ? " mapped" : ""));
    const Fd server = bind_socket(address(c.loopback, 0), SOCK_STREAM);
    const net::Address endpoint = local_of(server.get());
    set(c.service, IPPROTO_TCP, {{endpoint}});
    Child balanced(apps_.get(), [&] {
      const Fd fd = make_socket(c.mapped ? AF_INET6 : c.service.family(), SOCK_STREAM);
      dprintf(STDOUT_FILENO, "%s\n", dial(fd.get(), c.service, c.mapped).c_str());
      char byte;
      const ssize_t n = read(fd.get(), &byte, 1);
      dprintf(STDOUT_FILENO, "%s\n", n < 0 ? strerrorname_np(errno) : "read");
    });
    Child direct(apps_.get(), [&] {
      const Fd fd = make_socket(endpoint.family(), SOCK_STREAM);
      dprintf(STDOUT_FILENO, "%s\n", dial(fd.get(), endpoint).c_str());
      char byte;
      dprintf(STDOUT_FILENO, "%s\n", read(fd.get(), &byte, 1) == 1 ? "read" : "reset");
    });
    ASSERT_EQ(balanced.line(), "ok");
    ASSERT_EQ(direct.line(), "ok");
    const Fd one = accept_one(server.get()), two = accept_one(server.get());
    set(c.service, IPPROTO_TCP, {{address(c.loopback, 1)}});
    EXPECT_EQ(balanced.line(), "ECONNABORTED");
    (void)send_text(one.get(), "x");
    (void)send_text(two.get(), "x");
    EXPECT_EQ(direct.line(), "read");
  }
  EXPECT_EQ(steering_->services()->resets(), 3u);
}

// A server that answers each datagram with the port that it came to; in the test's process, after the fact.
void answer(int fd) {
  net::Address from;
  ASSERT_TRUE(receive(fd, &from).has_value());
  ASSERT_EQ(send_to(fd, std::to_string(local_of(fd).port()), from), "ok");
}

// Sends to the service without connecting; "<answer> from <source shown>" once the endpoint has answered.
void ask(const net::Address& service, bool mapped) {
  const Fd fd = make_socket(mapped ? AF_INET6 : service.family(), SOCK_DGRAM);
  dprintf(STDOUT_FILENO, "%s\n", send_to(fd.get(), "?", service, mapped).c_str());
  net::Address from;
  const std::optional<std::string> text = receive(fd.get(), &from);
  dprintf(STDOUT_FILENO, "%s from %s\n", text.value_or("nothing").c_str(), from.to_string().c_str());
}

TEST_F(ServicesTest, BalanceDatagramsOfUnconnectedSockets) {
  start();
  const Fd v4 = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd v6 = bind_socket(address("::1", 0), SOCK_DGRAM);
  set(vip_v4_, IPPROTO_UDP, {{local_of(v4.get())}});
  set(vip_v6_, IPPROTO_UDP, {{local_of(v6.get())}});
  const struct { net::Address service; bool mapped; int server; } cases[] = {
      {vip_v4_, false, v4.get()}, {vip_v4_, true, v4.get()}, {vip_v6_, false, v6.get()}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.service.to_string() + (c.mapped ? " mapped" : ""));
    Child client(apps_.get(), [&] { ask(c.service, c.mapped); });
    ASSERT_EQ(client.line(), "ok");
    answer(c.server);
    EXPECT_EQ(client.line(), fmt::format("{} from {}", local_of(c.server).port(), c.service.to_string()));
  }
  EXPECT_EQ(counts()[FP_BALANCED_DATAGRAM], 3u);
  EXPECT_EQ(counts()[FP_DATAGRAM_ANSWERED], 3u);
}

TEST_F(ServicesTest, KeepAnUnconnectedSocketOnOneEndpoint) {
  start();
  const Fd first = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd second = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  set(vip_v4_, IPPROTO_UDP, {{local_of(first.get())}, {local_of(second.get())}});
  ASSERT_EQ(app([&]() -> std::string {
    std::vector<Fd> sockets;  // all open, so that no two have the same port
    for (int socket = 0; socket < 64; ++socket) {
      sockets.push_back(make_socket(AF_INET, SOCK_DGRAM));
      for (int i = 0; i < 3; ++i) {
        if (send_to(sockets.back().get(), "x", vip_v4_) != "ok") return "failed";
      }
    }
    return "ok";
  }), "ok");
  std::map<uint16_t, int> senders[2];
  for (int i = 0; i < 2; ++i) {
    for (int n = 0; n < 192; ++n) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      char c;
      if (recvfrom((i == 0 ? first : second).get(), &c, 1, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from),
                   &size) != 1) break;
      ++senders[i][from.sin_port];
    }
  }
  EXPECT_GT(senders[0].size(), 5u);
  EXPECT_GT(senders[1].size(), 5u);
  EXPECT_EQ(senders[0].size() + senders[1].size(), 64u);  // no socket is seen by both
}

TEST_F(ServicesTest, BalanceConnectedUdpAndShowTheServiceAsSource) {
  start();
  const Fd v4 = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  const Fd v6 = bind_socket(address("::1", 0), SOCK_DGRAM);
  set(vip_v4_, IPPROTO_UDP, {{local_of(v4.get())}});
  set(vip_v6_, IPPROTO_UDP, {{local_of(v6.get())}});
  for (const bool is_v6 : {false, true}) {
    const net::Address service = is_v6 ? vip_v6_ : vip_v4_;
    SCOPED_TRACE(service.to_string());
    Child client(apps_.get(), [&] {
      const Fd fd = make_socket(service.family(), SOCK_DGRAM);
      dprintf(STDOUT_FILENO, "%s\n", dial(fd.get(), service).c_str());
      (void)send_text(fd.get(), "?");
      net::Address from;
      (void)receive(fd.get(), &from);
      dprintf(STDOUT_FILENO, "%s %s\n", from.to_string().c_str(), peer_of(fd.get()).to_string().c_str());
    });
    ASSERT_EQ(client.line(), "ok");
    answer(is_v6 ? v6.get() : v4.get());
    EXPECT_EQ(client.line(), service.to_string() + " " + service.to_string());
  }
  EXPECT_EQ(counts()[FP_BALANCED_UDP], 2u);
}

TEST_F(ServicesTest, ShowAnEndpointThatIsAskedDirectlyAsItself) {
  start();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_DGRAM);
  set(vip_v4_, IPPROTO_UDP, {{local_of(server.get())}});
  Child client(apps_.get(), [&] {
    const Fd fd = make_socket(AF_INET, SOCK_DGRAM);
    for (const net::Address& to : {vip_v4_, local_of(server.get())}) {
      dprintf(STDOUT_FILENO, "%s\n", send_to(fd.get(), "?", to).c_str());
      net::Address from;
      (void)receive(fd.get(), &from);
      dprintf(STDOUT_FILENO, "%s\n", from.to_string().c_str());
    }
  });
  ASSERT_EQ(client.line(), "ok");
  answer(server.get());
  EXPECT_EQ(client.line(), vip_v4_.to_string());
  ASSERT_EQ(client.line(), "ok");
  answer(server.get());
  EXPECT_EQ(client.line(), local_of(server.get()).to_string());
}

}  // namespace
}  // namespace millrace::fastpath
