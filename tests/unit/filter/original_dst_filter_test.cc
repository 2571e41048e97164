#include "filter/original_dst_filter.h"

#include <gtest/gtest.h>

#include <map>

#include "unit/upstream/fake_network.h"

namespace millrace::filter {
namespace {

net::Address address(std::string_view text) { return net::Address::parse_ip_port(text).value(); }

struct Source final : net::OriginalDestinationSource {
  std::optional<net::Address> lookup(int fd) const override {
    const auto found = known.find(fd);
    return found == known.end() ? std::nullopt : std::optional(found->second);
  }
  std::map<int, net::Address> known;
};

class OriginalDstFilterTest : public testing::Test {
 protected:
  OriginalDstFilterTest() {
    auto backend = std::make_unique<upstream::FakeNetwork>();
    network = backend.get();
    loop = std::make_unique<io::Loop>(std::move(backend));
  }
  // What the connection's local address is after the filter; empty: nothing was restored.
  std::string restored(std::string_view local, std::string_view before_nat = {}) {
    const int fd = network->listen();
    auto& peer = network->peer(static_cast<size_t>(fd));
    peer.local = address(local);
    if (!before_nat.empty()) peer.before_nat = address(before_nat);
    if (!in_source.empty()) source.known[fd] = address(in_source);
    auto connection = net::Connection::accepted(*loop, fd);
    std::unique_ptr<ListenerFilterMemory> memory;
    AcceptedConnection accepted{*connection, bound, &source, 0, memory};
    EXPECT_EQ(OriginalDstFilter().inspect(accepted), ListenerFilterStatus::kContinue);
    EXPECT_EQ(connection->direct_local_address(), address(local));
    const std::string found =
        connection->local_address_restored() ? connection->local_address().to_string() : std::string();
    EXPECT_EQ(connection->local_address().to_string(), found.empty() ? local : found);
    net::Connection::close(std::move(connection), net::CloseMode::kNow);
    loop->turn(base::nanoseconds(0));
    return found;
  }

  upstream::FakeNetwork* network = nullptr;
  std::unique_ptr<io::Loop> loop;
  Source source;
  std::string in_source;
  std::vector<net::Address> bound{address("127.0.0.1:15001")};
};

TEST_F(OriginalDstFilterTest, TakesWhatTheKernelsNatRemembers) {
  EXPECT_EQ(restored("127.0.0.1:15001", "10.1.2.3:80"), "10.1.2.3:80");
  bound = {address("[::1]:15001")};
  EXPECT_EQ(restored("[::1]:15001", "[2001:db8::1]:80"), "[2001:db8::1]:80");
}

TEST_F(OriginalDstFilterTest, AsksTheSourceFirst) {
  in_source = "10.9.9.9:443";
  EXPECT_EQ(restored("127.0.0.1:15001", "10.1.2.3:80"), "10.9.9.9:443");
  EXPECT_EQ(restored("127.0.0.1:15001"), "10.9.9.9:443");
}

TEST_F(OriginalDstFilterTest, LeavesADirectConnectionAlone) {
  EXPECT_EQ(restored("127.0.0.1:15001"), "");
  EXPECT_EQ(restored("127.0.0.1:15001", "127.0.0.1:15001"), "") << "tracked, not redirected";
}

TEST_F(OriginalDstFilterTest, TakesTheSocketsOwnAddressWhenTheListenerIsElsewhere) {
  EXPECT_EQ(restored("10.1.2.3:80"), "10.1.2.3:80");
  EXPECT_EQ(restored("10.1.2.3:15001"), "10.1.2.3:15001");
  EXPECT_EQ(restored("10.1.2.3:80", "10.1.2.3:80"), "10.1.2.3:80") << "TPROXY with connection tracking";
}

TEST_F(OriginalDstFilterTest, CountsEveryAddressWithItsPortAsAWildcardListenersOwn) {
  bound = {address("0.0.0.0:15001")};
  EXPECT_EQ(restored("10.0.0.1:15001"), "");
  EXPECT_EQ(restored("10.0.0.1:80"), "10.0.0.1:80");
  EXPECT_EQ(restored("[fd00::1]:15001"), "[fd00::1]:15001");
  bound = {address("[::]:15001")};
  EXPECT_EQ(restored("[fd00::1]:15001"), "");
  EXPECT_EQ(restored("10.0.0.1:15001"), "") << "an IPv4 client of both families' listener";
  bound.push_back(address("0.0.0.0:80"));
  EXPECT_EQ(restored("10.0.0.1:80"), "") << "an additional address";
}

TEST_F(OriginalDstFilterTest, TakesARedirectToItsOwnPortFromAnotherAddress) {
  bound = {address("0.0.0.0:15001")};
  EXPECT_EQ(restored("10.0.0.1:15001", "10.1.2.3:15001"), "10.1.2.3:15001");
}

TEST_F(OriginalDstFilterTest, KeepsWhatAListenerBeforeHasRestored) {
  const int fd = network->listen();
  network->peer(static_cast<size_t>(fd)).local = address("127.0.0.1:15001");
  auto connection = net::Connection::accepted(*loop, fd);
  source.known[fd] = address("10.1.2.3:80");
  std::unique_ptr<ListenerFilterMemory> memory;
  AcceptedConnection first{*connection, bound, &source, 0, memory};
  OriginalDstFilter().inspect(first);
  source.known.clear();  // it answers once
  const net::Address other = address("0.0.0.0:80");
  AcceptedConnection second{*connection, {&other, 1}, &source, 0, memory};
  OriginalDstFilter().inspect(second);
  EXPECT_EQ(connection->local_address().to_string(), "10.1.2.3:80");
  net::Connection::close(std::move(connection), net::CloseMode::kNow);
  loop->turn(base::nanoseconds(0));
}

}  // namespace
}  // namespace millrace::filter
