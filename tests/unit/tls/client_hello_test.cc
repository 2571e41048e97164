#include "tls/client_hello.h"

#include <gtest/gtest.h>

#include "unit/tls/hello_bytes.h"

namespace millrace::tls {
namespace {

using Verdict = ClientHelloReader::Verdict;

// The browser of the JA4 documentation: GREASE in front, two names for the same thing in each list.
std::string browser_message() {
  const std::string ciphers = numbers({0x8a8a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                                       0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035});
  const std::string extensions =
      extension(0x1a1a, "") + server_name("Www.Example.com") + extension(0x17, "") + extension(0xff01, "x") +
      extension(10, with_length(numbers({0x2a2a, 29, 23, 24}), 2)) + extension(11, with_length(std::string(1, 0), 1)) +
      extension(0x23, "") + alpn({"h2", "http/1.1"}) + extension(5, "12345") +
      extension(13, with_length(numbers({0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}), 2)) +
      extension(0x12, "") + extension(0x33, "share") + extension(0x2d, "mode") +
      extension(43, with_length(numbers({0x3a3a, 0x0304, 0x0303}), 1)) + extension(0x1b, "x") +
      extension(0x4469, "x") + extension(0xfafa, "x") + extension(0x15, std::string(100, '\0'));
  return hello_message(ciphers, extensions);
}

ClientHelloReader read(std::string_view bytes, size_t step, size_t limit = ClientHelloReader::kMessageBytesMax) {
  ClientHelloReader reader(limit);
  while (!bytes.empty() && reader.verdict() == Verdict::kMore) {
    reader.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return reader;
}

TEST(ClientHelloReader, ReadsNamesAndListsInTheClientsOrder) {
  const ClientHelloReader reader = read(in_records(browser_message()) + "what follows", 10000);
  ASSERT_EQ(reader.verdict(), Verdict::kDone);
  const ClientHello& hello = reader.hello();
  EXPECT_EQ(hello.server_name, "www.example.com");
  EXPECT_EQ(hello.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(hello.supported_versions, (std::vector<uint16_t>{0x3a3a, 0x0304, 0x0303}));
  EXPECT_EQ(hello.groups, (std::vector<uint16_t>{0x2a2a, 29, 23, 24}));
  EXPECT_EQ(reader.bytes_seen(), in_records(browser_message()).size());
}

TEST(ClientHelloReader, CaresNeitherForSegmentsNorForRecords) {
  const std::string message = browser_message();
  const std::string expected = ja4(read(in_records(message), 100000).hello());
  for (const size_t record : {1, 2, 3, 5, 100, 16384}) {
    for (const size_t step : {1, 2, 3, 4, 5, 6, 7, 50, 1000}) {
      const ClientHelloReader reader = read(in_records(message, record), step);
      ASSERT_EQ(reader.verdict(), Verdict::kDone) << record << " " << step;
      EXPECT_EQ(ja4(reader.hello()), expected);
    }
  }
}

TEST(ClientHelloReader, WaitsAtEveryPrefix) {
  const std::string bytes = in_records(browser_message(), 70);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_EQ(read(bytes.substr(0, n), 9).verdict(), Verdict::kMore) << n;
}

TEST(ClientHelloReader, KnowsOtherProtocolsByTheirFirstBytes) {
  EXPECT_EQ(read("G", 1).verdict(), Verdict::kNotTls);
  EXPECT_EQ(read("\x16\x02", 1).verdict(), Verdict::kNotTls);
  EXPECT_EQ(read(std::string("\x16\x03\x01\x00\x00", 5), 1).verdict(), Verdict::kNotTls);     // an empty record
  EXPECT_EQ(read("\x16\x03\x01\x7f\xff", 1).verdict(), Verdict::kNotTls);                     // a record too long
  EXPECT_EQ(read(std::string("\x16\x03\x01\x00\x05\x02", 6), 1).verdict(), Verdict::kNotTls); // a ServerHello
  EXPECT_EQ(read(std::string("\x15\x03\x01\x00\x02\x01", 6), 1).verdict(), Verdict::kNotTls); // an alert
}

TEST(ClientHelloReader, RefusesAMessageBeyondTheLimitAtItsHead) {
  const std::string message = hello_message(numbers({0x1301}), extension(0x15, std::string(2000, '\0')));
  EXPECT_EQ(read(in_records(message), 1, 1000).verdict(), Verdict::kTooLarge);
  EXPECT_EQ(read(in_records(message).substr(0, 9), 1, 1000).verdict(), Verdict::kTooLarge);
  EXPECT_EQ(read(in_records(message), 1, message.size()).verdict(), Verdict::kDone);
}

TEST(ClientHelloReader, CallsABrokenMessageNoTls) {
  const std::string ciphers = numbers({0x1301, 0x1302});
  const auto verdict = [&](const std::string& message) { return read(in_records(message), 1).verdict(); };
  EXPECT_EQ(verdict(hello_message(ciphers, "")), Verdict::kDone);
  EXPECT_EQ(verdict(hello_message(ciphers, extension(0, "short"))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, server_name(""))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, server_name(std::string_view("a\0b", 3)))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, alpn({""}))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, extension(5, "") + extension(5, ""))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, extension(43, with_length("odd", 1)))), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, extension(5, "") + "trailing")), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message("odd", "")), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message("", "")), Verdict::kNotTls);
  EXPECT_EQ(verdict(hello_message(ciphers, "", 0x0203)), Verdict::kNotTls);
}

TEST(Fingerprint, Ja4IsThatOfItsDocumentation) {
  EXPECT_EQ(ja4(read(in_records(browser_message()), 1000).hello()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

TEST(Fingerprint, Ja4OfABareClientHasZeros) {
  ClientHello hello;
  ASSERT_TRUE(parse_client_hello(hello_message(numbers({0x0a0a}), "", 0x0301), hello));
  EXPECT_EQ(ja4(hello), "t10i000000_000000000000_000000000000");
  hello.alpn = {std::string("\xab\x63\xcd")};
  EXPECT_EQ(ja4(hello).substr(8, 2), "ad");
}

TEST(Fingerprint, Ja3IsThatOfItsDocumentation) {
  ClientHello hello;
  hello.legacy_version = 769;
  hello.ciphers = {47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4};
  hello.extensions = {0, 10, 11};
  hello.groups = {23, 24, 25};
  hello.point_formats = {0};
  EXPECT_EQ(ja3(hello), "ada70206e40642a3e4461f35503241d5");
  ClientHello old;
  old.legacy_version = 769;
  old.ciphers = {4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99};
  EXPECT_EQ(ja3_text(old), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
  EXPECT_EQ(ja3(old), "de350869b8c85de67a350c8d186f11e6");
  old.ciphers.insert(old.ciphers.begin(), 0x4a4a);
  EXPECT_EQ(ja3(old), "de350869b8c85de67a350c8d186f11e6");
}

}  // namespace
}  // namespace millrace::tls
