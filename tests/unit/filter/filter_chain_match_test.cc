#include "filter/filter_chain_match.h"

#include <gtest/gtest.h>

namespace millrace::filter {
namespace {

net::Address address(std::string_view text) { return net::Address::parse_ip_port(text).value(); }

net::Cidr range(std::string_view ip, uint32_t bits) { return {net::Address::parse_ip(ip, 0).value(), bits}; }

// A connection whose facts a test changes one by one.
struct Facts {
  std::string to = "10.0.0.1:443", from = "192.0.2.1:5000", direct = {};
  std::string server_name = {}, transport = "raw_buffer";
  std::vector<std::string> alpn = {};
};

class FilterChainMatchTest : public testing::Test {
 protected:
  void chain(const FilterChainMatch& match) { EXPECT_EQ(index.add(match, count++), std::nullopt); }
  std::optional<size_t> find(const Facts& facts) const {
    const net::Address to = address(facts.to), from = address(facts.from);
    const net::Address direct = facts.direct.empty() ? from : address(facts.direct);
    return index.find({to, from, direct, facts.server_name, facts.transport, facts.alpn});
  }
  FilterChainIndex index;
  size_t count = 0;
};

TEST_F(FilterChainMatchTest, OneChainWithoutConditionsNeedsNoFacts) {
  chain({});
  EXPECT_EQ(index.only(), 0u);
  EXPECT_EQ(find({}), 0u);
  chain({.destination_port = 80});
  EXPECT_EQ(index.only(), std::nullopt);
}

TEST_F(FilterChainMatchTest, TheDestinationPortComesFirstAndForGood) {
  chain({.prefix_ranges = {range("10.0.0.1", 32)}});
  chain({.destination_port = 443, .server_names = {"a.test"}});
  EXPECT_EQ(find({.to = "10.0.0.1:80"}), 0u);
  EXPECT_EQ(find({.server_name = "a.test"}), 1u);
  EXPECT_EQ(find({.server_name = "b.test"}), std::nullopt) << "no way back to the chains without a port";
}

TEST_F(FilterChainMatchTest, TheLongestPrefixOfTheDestinationWins) {
  chain({.prefix_ranges = {range("10.0.0.0", 8)}});
  chain({.prefix_ranges = {range("10.1.0.0", 16), range("fd00::", 16)}});
  chain({.prefix_ranges = {range("10.1.2.3", 32)}});
  EXPECT_EQ(find({.to = "10.2.0.1:1"}), 0u);
  EXPECT_EQ(find({.to = "10.1.2.4:1"}), 1u);
  EXPECT_EQ(find({.to = "10.1.2.3:1"}), 2u);
  EXPECT_EQ(find({.to = "[fd00::7]:1"}), 1u);
  EXPECT_EQ(find({.to = "11.0.0.1:1"}), std::nullopt);
  EXPECT_EQ(find({.to = "[fe80::7]:1"}), std::nullopt);
  chain({});
  EXPECT_EQ(find({.to = "11.0.0.1:1"}), 3u);
}

TEST_F(FilterChainMatchTest, AServerNameBeatsItsWildcardsTheLongestFirst) {
  chain({.server_names = {"a.b.test"}});
  chain({.server_names = {"*.b.test"}});
  chain({.server_names = {"*.test"}});
  EXPECT_EQ(find({.server_name = "a.b.test"}), 0u);
  EXPECT_EQ(find({.server_name = "x.b.test"}), 1u);
  EXPECT_EQ(find({.server_name = "y.x.b.test"}), 1u);
  EXPECT_EQ(find({.server_name = "b.test"}), 2u);
  EXPECT_EQ(find({.server_name = "test"}), std::nullopt) << "a wildcard is for names below";
  EXPECT_EQ(find({}), std::nullopt);
  chain({});
  EXPECT_EQ(find({.server_name = "other"}), 3u);
  EXPECT_EQ(find({}), 3u);
}

TEST_F(FilterChainMatchTest, TransportThenApplicationProtocolsInTheClientsOrder) {
  chain({.transport_protocol = "tls", .application_protocols = {"h2", "x"}});
  chain({.transport_protocol = "tls", .application_protocols = {"http/1.1"}});
  chain({.transport_protocol = "tls"});
  chain({.transport_protocol = "raw_buffer"});
  EXPECT_EQ(find({.transport = "tls", .alpn = {"http/1.1", "h2"}}), 1u);
  EXPECT_EQ(find({.transport = "tls", .alpn = {"none", "h2"}}), 0u);
  EXPECT_EQ(find({.transport = "tls", .alpn = {"none"}}), 2u);
  EXPECT_EQ(find({.transport = "tls"}), 2u);
  EXPECT_EQ(find({}), 3u);
}

TEST_F(FilterChainMatchTest, DirectPeerThenTypeThenAddressAndPortOfTheSource) {
  chain({.direct_source_prefix_ranges = {range("192.0.2.0", 24)}, .source_ports = {5000}});
  chain({.direct_source_prefix_ranges = {range("192.0.2.0", 24)}});
  chain({.source_type = SourceType::kSameIpOrLoopback});
  chain({.source_type = SourceType::kExternal, .source_prefix_ranges = {range("198.51.100.0", 24)}});
  EXPECT_EQ(find({}), 0u);
  EXPECT_EQ(find({.from = "192.0.2.9:5001"}), 1u);
  EXPECT_EQ(find({.from = "127.0.0.1:5000"}), 2u);
  EXPECT_EQ(find({.from = "10.0.0.1:5000"}), 2u) << "the same address as the destination";
  EXPECT_EQ(find({.from = "198.51.100.7:5000"}), 3u);
  EXPECT_EQ(find({.from = "203.0.113.1:5000"}), std::nullopt);
  EXPECT_EQ(find({.from = "203.0.113.1:5001", .direct = "192.0.2.7:1"}), 1u);
}

TEST_F(FilterChainMatchTest, ChainsThatMatchAlikeAreFound) {
  chain({.prefix_ranges = {range("10.0.0.0", 8)}, .server_names = {"a.test", "*.b.test"}});
  EXPECT_EQ(index.add({.prefix_ranges = {range("10.9.9.9", 8)}, .server_names = {"c.test", "*.b.test"}}, 7), 0u);
  EXPECT_EQ(index.add({.prefix_ranges = {range("10.0.0.0", 9)}, .server_names = {"a.test"}}, 8), std::nullopt);
}

TEST_F(FilterChainMatchTest, AUnixSocketHasNoAddressToMatch) {
  chain({.destination_port = 1});
  chain({.source_type = SourceType::kSameIpOrLoopback});
  const net::Address pipe = net::Address::pipe("/run/x").value();
  const std::vector<std::string> none;
  EXPECT_EQ(index.find({pipe, pipe, pipe, "", "raw_buffer", none}), 1u);
}

}  // namespace
}  // namespace millrace::filter
