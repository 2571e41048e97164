#include "net/address.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace millrace::net {
namespace {

TEST(Address, ReadsAnIpAddressWithItsPort) {
  for (const char* text : {"1.2.3.4:80", "[::1]:65535", "[2001:db8::1]:0"}) {
    const auto found = Address::parse_ip_port(text);
    ASSERT_TRUE(found.ok()) << text;
    EXPECT_EQ(found->to_string(), text);
  }
}

TEST(Address, RefusesWhatIsNotAnIpAddressWithAPort) {
  for (const char* text : {"", ":", ":80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:-1", "1.2.3.4:65536", "1.2.3.4:80 ",
                           "::1:80", "[::1]", "[::1]80", "[1.2.3.4]:80", "[::1:80", "a.example:80", "[]:80"}) {
    EXPECT_FALSE(Address::parse_ip_port(text).ok()) << text;
  }
}

TEST(Address, TellsAddressesApartByHash) {
  std::unordered_set<size_t> seen;
  size_t made = 0;
  for (int port = 1; port <= 100; ++port) {
    for (const char* ip : {"10.0.0.1", "10.0.0.2", "1.0.0.10", "fd00::1", "fd00::2", "1::fd00"}) {
      seen.insert(Address::parse_ip(ip, static_cast<uint16_t>(port)).value().hash());
      ++made;
    }
  }
  seen.insert(Address::pipe("/run/a").value().hash());
  seen.insert(Address::pipe("/run/b").value().hash());
  EXPECT_EQ(seen.size(), made + 2);
  EXPECT_EQ(Address::parse_ip("::1", 80).value().hash(), Address::parse_ip("0::0001", 80).value().hash());
}

}  // namespace
}  // namespace millrace::net
