#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <vector>

#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;

std::string pattern(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return out;
}

class EveryVersion : public testing::TestWithParam<Version> {
 protected:
  EveryVersion() {
    server_.common.parameters.version_min = client_.common.parameters.version_min = Version::kTls10;
    server_.common.parameters.version_max = Version::kTls13;
    client_.common.parameters.version_max = GetParam();
    server_.common.parameters.cipher_suites =
        client_.common.parameters.cipher_suites = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"};
  }
  std::string expected() const {
    switch (GetParam()) {
      case Version::kTls10: return "TLSv1";
      case Version::kTls11: return "TLSv1.1";
      case Version::kTls12: return "TLSv1.2";
      default: return "TLSv1.3";
    }
  }
  ServerOptions server_ = server_options();
  ClientOptions client_ = client_options();
};
INSTANTIATE_TEST_SUITE_P(Versions, EveryVersion,
                         testing::Values(Version::kTls10, Version::kTls11, Version::kTls12, Version::kTls13));

TEST_P(EveryVersion, ShakesHandsAndCarriesBytesBothWays) {
  Pair pair(make(server_), make(client_));
  ASSERT_TRUE(pair.established()) << pair.client().error << pair.server().error;
  EXPECT_EQ(pair.server().transport->facts()->version(), expected());
  EXPECT_EQ(pair.client().transport->facts()->version(), expected());
  pair.send_to_server("GET / HTTP/1.1\r\n\r\n");
  pair.send_to_client("HTTP/1.1 200 OK\r\n\r\n");
  pair.pump();
  EXPECT_EQ(pair.server().plain.to_string(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(pair.client().plain.to_string(), "HTTP/1.1 200 OK\r\n\r\n");
}

TEST_P(EveryVersion, CarriesMuchInSmallSegments) {
  Pair pair(make(server_), make(client_));
  const std::string up = pattern(300000), down = pattern(500001);
  pair.send_to_server(up);
  pair.send_to_client(down);
  pair.pump(1447);
  EXPECT_EQ(pair.server().plain.to_string(), up);
  EXPECT_EQ(pair.client().plain.to_string(), down);
}

TEST_P(EveryVersion, ReadsByteByByte) {
  const ContextPtr server = make(server_), client = make(client_);
  End a{server->create({}), {}, {}, {}}, b{client->create({}), {}, {}, {}};
  base::Buffer to_a, to_b;
  b.take(b.transport->start(to_a));
  const auto drip = [](base::Buffer& from, End& to, base::Buffer& answer) {
    const std::string bytes = from.to_string();
    from.clear();
    for (const char byte : bytes) {
      to.wire.append(&byte, 1);
      to.take(to.transport->receive(to.wire, to.plain, answer));
    }
  };
  for (int i = 0; i < 6; ++i) {
    drip(to_a, a, to_b);
    drip(to_b, b, to_a);
  }
  ASSERT_TRUE(a.transport->established() && b.transport->established()) << a.error << b.error;
  base::Buffer plain;
  plain.append(pattern(2000));
  b.take(b.transport->send(plain, to_a, 100000));
  drip(to_a, a, to_b);
  EXPECT_EQ(a.plain.to_string(), pattern(2000));
}

TEST_P(EveryVersion, EndsEachDirectionWithCloseNotify) {
  Pair pair(make(server_), make(client_));
  pair.send_to_server("last words");
  pair.client().transport->close_notify(pair.to_server());
  pair.pump();
  EXPECT_TRUE(pair.server().transport->ended());
  EXPECT_EQ(pair.server().plain.to_string(), "last words");
  EXPECT_FALSE(pair.client().transport->ended());
  pair.send_to_client("the other half still speaks");
  pair.server().transport->close_notify(pair.to_client());
  pair.pump();
  EXPECT_EQ(pair.client().plain.to_string(), "the other half still speaks");
  EXPECT_TRUE(pair.client().transport->ended());
  EXPECT_EQ(pair.server().error + pair.client().error, "");
}

TEST_P(EveryVersion, DoesNotTakeATruncatedStreamForItsEnd) {
  Pair pair(make(server_), make(client_));
  pair.send_to_server(pattern(5000));
  base::Buffer half;
  half.move_from(pair.to_server(), 2500);
  EXPECT_TRUE(pair.server().transport->receive(half, pair.server().plain, pair.to_client()).ok());
  EXPECT_FALSE(pair.server().transport->ended());
  EXPECT_TRUE(pair.server().plain.empty());  // nothing unauthenticated comes out
}

TEST_P(EveryVersion, RefusesAFlippedBit) {
  Counters counters;
  Pair pair(make(server_, counters.block), make(client_));
  pair.send_to_server("transfer 100");
  std::string bytes = pair.to_server().to_string();
  bytes[bytes.size() - 3] ^= 1;
  pair.to_server().clear();
  pair.to_server().append(bytes);
  pair.pump();
  EXPECT_TRUE(pair.server().plain.empty());
  EXPECT_NE(pair.server().error.find("BAD_DECRYPT"), std::string::npos) << pair.server().error;
  EXPECT_EQ(counters(stats::tls::kConnectionError), 1);
  EXPECT_FALSE(pair.client().error.empty());  // it was told by an alert
}

TEST(Session, SpeaksTls13AsServerAndTls12AsClientUnlessToldOtherwise) {
  ClientOptions client = client_options();
  client.common.parameters = {};
  Pair pair(make(server_options()), make(client));
  ASSERT_TRUE(pair.established());
  EXPECT_EQ(pair.client().transport->facts()->version(), "TLSv1.2");
  Pair newer(make(server_options()), make(client_options()));
  EXPECT_EQ(newer.client().transport->facts()->version(), "TLSv1.3");
}

TEST(Session, RefusesOldVersionsByDefault) {
  ClientOptions client = client_options();
  client.common.parameters.version_min = Version::kTls10;
  client.common.parameters.version_max = Version::kTls11;
  client.common.parameters.cipher_suites = {"ECDHE-ECDSA-AES128-SHA"};
  Counters counters;
  Pair pair(make(server_options(), counters.block), make(client));
  EXPECT_FALSE(pair.established());
  EXPECT_TRUE(
      pair.server().error.starts_with("TLS_error:|268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL"))
      << pair.server().error;
  EXPECT_TRUE(pair.server().error.ends_with(":TLS_error_end"));
  EXPECT_EQ(counters(stats::tls::kConnectionError), 1);
}

TEST(Session, SaysWhatAPlainHttpRequestIs) {
  const ContextPtr server = make(server_options());
  for (const std::string_view bytes : {"GET / HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n"}) {
    End end{server->create({}), {}, {}, {}};
    base::Buffer out;
    end.wire.append(bytes);
    end.take(end.transport->receive(end.wire, end.plain, out));
    EXPECT_NE(end.error.find(bytes[0] == 'G' ? ":HTTP_REQUEST:" : ":HTTPS_PROXY_REQUEST:"), std::string::npos)
        << end.error;
    EXPECT_FALSE(end.transport->receive(end.wire, end.plain, out).ok());  // and it stays failed
  }
}

TEST(Session, RefusesGarbageWithoutWaitingForMoreOfIt) {
  const ContextPtr server = make(server_options());
  for (const std::string& bytes : {std::string("\0\0\0\0\0\0", 6), std::string("\x16\x03\x01\xff\xff z", 7),
                                   std::string("\x17\x03\x03\x00\x01z", 6), std::string("\x16\x02\x01\x00\x01z", 6)}) {
    End end{server->create({}), {}, {}, {}};
    base::Buffer out;
    end.wire.append(bytes);
    end.take(end.transport->receive(end.wire, end.plain, out));
    EXPECT_TRUE(end.error.starts_with("TLS_error:|")) << end.error;
  }
}

TEST(Session, MakesFullRecordsOfManySmallSlicesAndStopsAtTheLimit) {
  Pair pair(make(server_options()), make(client_options()));
  base::Buffer plain, wire;
  const std::string bytes = pattern(200);
  for (int i = 0; i < 400; ++i) {
    base::Buffer one;
    one.append(bytes);
    plain.move_from(one);
  }
  ASSERT_TRUE(pair.client().transport->send(plain, wire, 1).ok());
  EXPECT_EQ(plain.size(), 80000u - 16384u);
  EXPECT_LT(wire.size(), 16384u + 64u);
  ASSERT_TRUE(pair.client().transport->send(plain, wire, 1 << 20).ok());
  EXPECT_TRUE(plain.empty());
  EXPECT_LT(wire.size(), 80000u + 5 * 64u);
  pair.to_server().move_from(wire);
  pair.pump();
  EXPECT_EQ(pair.server().plain.size(), 80000u);
}

TEST(Session, DoesNotCutLargePiecesToFillUpARecord) {
  Pair pair(make(server_options()), make(client_options()));
  base::Buffer plain, wire;
  const std::string bytes = pattern(100 + 3 * 16384);
  plain.append(std::string_view(bytes).substr(0, 100));
  for (size_t at = 100; at < bytes.size(); at += 16384) {
    base::Buffer piece;
    piece.append(std::string_view(bytes).substr(at, 16384));
    plain.move_from(piece);
  }
  ASSERT_TRUE(pair.client().transport->send(plain, wire, 1 << 20).ok());
  std::vector<size_t> records;
  const std::string sent = wire.to_string();
  for (size_t at = 0; at + 5 <= sent.size(); at += 5 + records.back()) {
    const size_t high = static_cast<uint8_t>(sent[at + 3]), low = static_cast<uint8_t>(sent[at + 4]);
    records.push_back(high << 8 | low);
  }
  ASSERT_EQ(records.size(), 4u);
  EXPECT_LT(records[0], 100u + 64u);
  EXPECT_GE(records[1], 16384u);
  pair.to_server().move_from(wire);
  pair.pump();
  EXPECT_EQ(pair.server().plain.to_string(), bytes);
}

TEST(Session, NegotiatesAlpnByTheServersOrder) {
  ServerOptions server = server_options();
  server.common.alpn = {"h2", "http/1.1"};
  ClientOptions client = client_options();
  client.common.alpn = {"http/1.1", "h2"};
  Pair pair(make(server), make(client));
  EXPECT_EQ(pair.server().transport->protocol(), "h2");
  EXPECT_EQ(pair.client().transport->protocol(), "h2");
  const std::string own[] = {"http/1.1"};
  net::TransportFactory::Ask other;
  other.alpn = own;
  Pair asked(make(server), make(client), other);
  EXPECT_EQ(asked.client().transport->protocol(), "http/1.1");
  other.alpn = {};
  other.alpn_fallback = own;
  Pair configured(make(server), make(client), other);
  EXPECT_EQ(configured.client().transport->protocol(), "h2");
  client.common.alpn.clear();
  Pair fallen_back(make(server), make(client), other);
  EXPECT_EQ(fallen_back.client().transport->protocol(), "http/1.1");
  client.common.alpn = {"imap"};
  Pair none(make(server), make(client));
  EXPECT_TRUE(none.established());
  EXPECT_EQ(none.server().transport->protocol(), "");
}

TEST(Session, SendsTheServerNameItIsAskedFor) {
  ClientOptions options = client_options();
  options.common.validation.reset();
  const ContextPtr server = make(server_options());
  const auto seen = [&](const ClientOptions& client, net::TransportFactory::Ask ask) {
    Pair pair(server, make(client), ask);
    return std::string(pair.server().transport->facts()->server_name());
  };
  EXPECT_EQ(seen(options, {}), "server.example");
  EXPECT_EQ(seen(options, ask("", "endpoint.example")), "server.example");
  EXPECT_EQ(seen(options, ask("asked.example", "endpoint.example")), "asked.example");
  options.auto_host_sni = true;
  EXPECT_EQ(seen(options, ask("", "endpoint.example")), "endpoint.example");
  EXPECT_EQ(seen(options, {}), "server.example");
  options.sni.clear();
  EXPECT_EQ(seen(options, {}), "");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_P(EveryVersion, AnIdleConnectionCostsLittleMemory) {
  constexpr size_t kConnections = 200;
  constexpr size_t kBytesMax = 24 * 1024;
  const ContextPtr server = make(server_), client = make(client_);
  const auto round_trip = [](Pair& pair) {
    pair.send_to_server(pattern(20000));
    pair.send_to_client(pattern(20000));
    pair.pump();
    pair.server().plain.clear();
    pair.client().plain.clear();
  };
  std::vector<std::unique_ptr<Pair>> pairs;
  pairs.reserve(kConnections);
  pairs.push_back(std::make_unique<Pair>(server, client));
  round_trip(*pairs.back());
  base::trim_block_cache();
  const size_t before = mallinfo2().uordblks;
  while (pairs.size() <= kConnections) {
    pairs.push_back(std::make_unique<Pair>(server, client));
    round_trip(*pairs.back());
  }
  for (const auto& pair : pairs) {
    pair->server().transport->release_buffers();
    pair->client().transport->release_buffers();
  }
  base::trim_block_cache();
  const size_t both_ends = (mallinfo2().uordblks - before) / kConnections;
  RecordProperty("bytes_of_both_ends", static_cast<int>(both_ends));
  EXPECT_LT(both_ends, kBytesMax);  // two connections
}
#endif

TEST(Session, OutlivesItsContext) {
  ContextPtr server = make(server_options()), client = make(client_options());
  Pair pair(server, client);
  server.reset();
  client.reset();
  pair.send_to_server("still here");
  pair.pump();
  EXPECT_EQ(pair.server().plain.to_string(), "still here");
  EXPECT_EQ(pair.server().transport->facts()->local_certificate().dns_sans.front(), "server.example");
}

}  // namespace
}  // namespace millrace::tls
