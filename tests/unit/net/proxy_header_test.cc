#include "net/proxy_header.h"

#include <gtest/gtest.h>

#include "net/proxy_transport.h"
#include "support/toy_transport.h"

namespace millrace::net {
namespace {

Address address(std::string_view text) { return Address::parse_ip_port(text).value(); }

TEST(ProxyHeader, VersionOneIsALineOfText) {
  const Address source = address("192.0.2.1:40000"), destination = address("10.0.0.1:443");
  EXPECT_EQ(proxy_header(ProxyVersion::kV1, &source, &destination), "PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\r\n");
  const Address source6 = address("[2001:db8::1]:1"), destination6 = address("[::1]:2");
  EXPECT_EQ(proxy_header(ProxyVersion::kV1, &source6, &destination6), "PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
  EXPECT_EQ(proxy_header(ProxyVersion::kV1, &source6, &destination), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(proxy_header(ProxyVersion::kV1, nullptr, nullptr), "PROXY UNKNOWN\r\n");
}

TEST(ProxyHeader, VersionTwoIsBinary) {
  const std::string signature("\r\n\r\n\0\r\nQUIT\n", 12);
  const Address source = address("192.0.2.1:258"), destination = address("10.0.0.1:443");
  EXPECT_EQ(proxy_header(ProxyVersion::kV2, &source, &destination),
            signature + std::string("\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x01\x02\x01\xbb", 16));
  const Address source6 = address("[2001:db8::1]:1"), destination6 = address("[::1]:2");
  const std::string six = proxy_header(ProxyVersion::kV2, &source6, &destination6);
  EXPECT_EQ(six.substr(12, 4), std::string("\x21\x21\x00\x24", 4));
  EXPECT_EQ(six.size(), 16u + 36);
  const Address pipe = Address::pipe("/run/a").value();
  EXPECT_EQ(proxy_header(ProxyVersion::kV2, &pipe, &pipe).size(), 16u + 216);
  EXPECT_EQ(proxy_header(ProxyVersion::kV2, nullptr, nullptr), signature + std::string("\x20\x00\x00\x00", 4));
}

TEST(ProxyTransport, ComesBeforeWhateverItWraps) {
  const Address source = address("192.0.2.1:40000"), destination = address("10.0.0.1:443");
  TransportFactory::Ask ask;
  ask.source = &source;
  ask.destination = &destination;
  const auto plain = ProxyTransportFactory(ProxyVersion::kV1, nullptr).create(ask);
  base::Buffer in, out, wire;
  EXPECT_FALSE(plain->established());
  ASSERT_TRUE(plain->start(wire).ok());
  EXPECT_TRUE(plain->established());
  EXPECT_FALSE(plain->announces_end());
  out.append("hello");
  ASSERT_TRUE(plain->send(out, wire, 1).ok());
  EXPECT_EQ(wire.to_string(), "PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\r\nhello");
  const auto toy = ProxyTransportFactory(ProxyVersion::kV1, std::make_shared<test::ToyFactory>(true)).create(ask);
  wire.clear();
  ASSERT_TRUE(toy->start(wire).ok());
  EXPECT_EQ(wire.to_string(), "PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\r\n" +
                                  test::ToyTransport::record(test::ToyTransport::Type::kHello, "toy"));
  EXPECT_FALSE(toy->established());
}

}  // namespace
}  // namespace millrace::net
