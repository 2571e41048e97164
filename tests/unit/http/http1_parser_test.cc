#include "http/http1_parser.h"

#include <gtest/gtest.h>

#include "support/http1_transcript.h"

namespace millrace::http {
namespace {

using test::Feed;

ParserOptions request_options() {
  return {};
}
ParserOptions response_options() {
  ParserOptions options;
  options.kind = MessageKind::kResponse;
  return options;
}

// The transcript, after checking that every way of cutting the bytes gives the same one.
std::string parse(const ParserOptions& options, std::string_view bytes, bool eof = false,
                  std::string_view request_method = "GET") {
  Feed whole{{bytes}, false, eof, request_method};
  const std::string expected = test::transcript(options, whole);
  for (bool at_once : {false, true}) {
    Feed feed{{}, at_once, eof, request_method};
    for (size_t i = 0; i < bytes.size(); ++i) feed.pieces.push_back(bytes.substr(i, 1));
    EXPECT_EQ(test::transcript(options, feed), expected) << "byte by byte, at once: " << at_once;
    for (size_t i = 1; i < bytes.size(); ++i) {
      feed.pieces = {bytes.substr(0, i), bytes.substr(i)};
      EXPECT_EQ(test::transcript(options, feed), expected) << "cut at " << i << ", at once: " << at_once;
      if (testing::Test::HasFailure()) return expected;
    }
  }
  return expected;
}

std::string request(std::string_view bytes) {
  return parse(request_options(), bytes);
}
std::string response(std::string_view bytes, std::string_view method = "GET", bool eof = false) {
  return parse(response_options(), bytes, eof, method);
}

std::string refused(std::string_view reason, std::string_view detail = "http1.codec_error", int status = 400) {
  return "error " + std::to_string(status) + " " + std::string(detail) + ": " + std::string(reason) + "\n";
}

constexpr std::string_view kControl = "a bare CR or LF, or another control character";

TEST(Http1Request, ReadsHeadInPlaceWithNamesInLowerCase) {
  EXPECT_EQ(request("GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent:\tcurl/8 (x) \t\r\nX-EMPTY:\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/a?b=c\n  :authority=example.com:8080\n"
            "  user-agent=curl/8 (x)\n  x-empty=\ncomplete\n");
}

TEST(Http1Request, ViewsPointIntoTheReceivedBlockWhichOutlivesTheBuffer) {
  Http1Parser parser(request_options());
  HeaderMap map;
  base::Buffer body;
  {
    base::Buffer in;
    in.append("GET /path HTTP/1.1\r\nHost: h\r\nX-Long-Name: value\r\n\r\n");
    const char* begin = in.front().data();
    const size_t n = in.size();
    ASSERT_EQ(parser.next(in, map, body), Http1Parser::Event::kHeaders);
    EXPECT_TRUE(in.empty());
    for (std::string_view view : {map.get(Header::kPath), map.get(Header::kAuthority), map.get("x-long-name")}) {
      EXPECT_GE(view.data(), begin);
      EXPECT_LT(view.data(), begin + n);
    }
  }
  EXPECT_EQ(map.get("x-long-name"), "value");
}

TEST(Http1Request, LeavesPipelinedBytesInPlace) {
  EXPECT_EQ(request("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                    "HEAD /3 HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/1\n  :authority=h\ncomplete\n"
            "headers 1.1 keep-alive length=3 body\n  :method=POST\n  :path=/2\n  :authority=h\n  content-length=3\n"
            "data abc\ncomplete\n"
            "headers 1.1 ended\n  :method=HEAD\n  :path=/3\n  :authority=h\n  connection=Close\ncomplete\n");
}

TEST(Http1Request, MovesBodyWithoutCopy) {
  Http1Parser parser(request_options());
  HeaderMap map;
  base::Buffer in, body;
  in.append("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
  const char* data = in.front().data() + in.size() - 5;
  ASSERT_EQ(parser.next(in, map, body), Http1Parser::Event::kHeaders);
  EXPECT_FALSE(parser.ended());
  ASSERT_EQ(parser.next(in, map, body), Http1Parser::Event::kData);
  EXPECT_TRUE(parser.ended());
  EXPECT_EQ(body.front().data(), data);
  EXPECT_EQ(parser.next(in, map, body), Http1Parser::Event::kComplete);
  EXPECT_EQ(parser.next(in, map, body), Http1Parser::Event::kNeedMore);
}

TEST(Http1Request, StripsChunkFraming) {
  EXPECT_EQ(request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
                    "5\r\nhello\r\n00B;name=\"v\";x\r\n, big world\r\n0\r\n\r\n"),
            "headers 1.1 keep-alive chunked body\n  :method=POST\n  :path=/\n  :authority=h\n"
            "  transfer-encoding=Chunked\ndata hello, big world\ncomplete\n");
}

TEST(Http1Request, TellsTheEndWithTheLastChunkWhenItIsThere) {
  Http1Parser parser(request_options());
  HeaderMap map, trailers;
  base::Buffer in, body;
  in.append("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  ASSERT_EQ(parser.next(in, map, body), Http1Parser::Event::kHeaders);
  ASSERT_EQ(parser.next(in, trailers, body), Http1Parser::Event::kData);
  EXPECT_EQ(body.to_string(), "abcde");
  EXPECT_TRUE(parser.ended());
  EXPECT_EQ(parser.next(in, trailers, body), Http1Parser::Event::kComplete);
}

TEST(Http1Request, GivesTrailersWithoutForbiddenFields) {
  const std::string_view bytes =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
      "Grpc-Status: 0\r\nHost: evil\r\nIf-Match: x\r\nX-Sum: 1\r\n\r\n";
  const std::string head =
      "headers 1.1 keep-alive chunked body\n  :method=POST\n  :path=/\n  :authority=h\n"
      "  transfer-encoding=chunked\ndata a\n";
  EXPECT_EQ(request(bytes), head + "trailers\n  grpc-status=0\n  x-sum=1\ncomplete\n");
  ParserOptions options = request_options();
  options.enable_trailers = false;
  EXPECT_EQ(parse(options, bytes), head + "complete\n");
}

TEST(Http1Request, TakesAbsoluteTargetsOverHost) {
  EXPECT_EQ(
      request("GET HTTP://a.com:80/p?q HTTP/1.1\r\nHost: other\r\n\r\n"),
      "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/p?q\n  :authority=a.com:80\n  :scheme=http\ncomplete\n");
  EXPECT_EQ(
      request("GET https://a.com?q HTTP/1.1\r\nHost: a.com\r\n\r\n"),
      "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/?q\n  :authority=a.com\n  :scheme=https\ncomplete\n");
  EXPECT_EQ(
      request("OPTIONS http://a.com HTTP/1.1\r\nHost: a.com\r\n\r\n"),
      "headers 1.1 keep-alive ended\n  :method=OPTIONS\n  :path=*\n  :authority=a.com\n  :scheme=http\ncomplete\n");
  ParserOptions options = request_options();
  options.allow_absolute_url = false;
  EXPECT_EQ(parse(options, "GET http://a.com/p HTTP/1.1\r\nHost: b\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :method=GET\n  :path=http://a.com/p\n  :authority=b\ncomplete\n");
}

TEST(Http1Request, TakesAsteriskForOptionsOnly) {
  EXPECT_EQ(request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :method=OPTIONS\n  :path=*\n  :authority=h\ncomplete\n");
  EXPECT_EQ(request("GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
            refused("a request target in none of the four forms", "http1.invalid_url"));
}

TEST(Http1Request, LeavesBytesAfterConnectAndUpgradeRaw) {
  EXPECT_EQ(request("CONNECT a.com:443 HTTP/1.1\r\nHost: a.com\r\n\r\n\x16\x03tls"),
            "headers 1.1 keep-alive ended\n  :method=CONNECT\n  :authority=a.com:443\ncomplete\nraw \x16\x03tls\n");
  EXPECT_EQ(
      request("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nframes"),
      "headers 1.1 keep-alive upgrade ended\n  :method=GET\n  :path=/ws\n  :authority=h\n"
      "  connection=keep-alive, Upgrade\n  upgrade=websocket\ncomplete\nraw frames\n");
}

TEST(Http1Request, WantsBothUpgradeAndItsConnectionToken) {
  EXPECT_NE(request("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n").find("keep-alive ended"),
            std::string::npos);
  EXPECT_NE(request("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\n").find("keep-alive ended"),
            std::string::npos);
}

TEST(Http1Request, SeesExpectationOnlyWithABody) {
  EXPECT_TRUE(request("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n")
                  .starts_with("headers 1.1 keep-alive expect length=1 body\n"));
  EXPECT_TRUE(request("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
                  .starts_with("headers 1.1 keep-alive length=0 ended\n"));
}

TEST(Http1Request, LetsOneEmptyLinePass) {
  EXPECT_EQ(request("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/\n  :authority=h\ncomplete\n");
  EXPECT_EQ(request("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), refused("the method is not a token"));
  EXPECT_EQ(request("\r\n"), "");
}

TEST(Http1Request, AcceptsHttp10OnlyWhenTold) {
  const std::string_view bytes = "GET / HTTP/1.0\r\n\r\n";
  EXPECT_EQ(request(bytes), refused("HTTP/1.0 is not accepted", "low_version", 426));
  ParserOptions options = request_options();
  options.accept_http_10 = true;
  EXPECT_EQ(parse(options, bytes), "headers 1.0 ended\n  :method=GET\n  :path=/\ncomplete\n");
  EXPECT_EQ(
      parse(options, "GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n"),
      "headers 1.0 keep-alive ended\n  :method=GET\n  :path=/\n  :authority=h\n  connection=Keep-Alive\ncomplete\n");
  EXPECT_EQ(parse(options, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            refused("Transfer-Encoding in HTTP/1.0", "http1.invalid_transfer_encoding"));
}

TEST(Http1Request, AcceptsCustomMethodsOnlyWhenTold) {
  const std::string_view bytes = "BREW / HTTP/1.1\r\nHost: h\r\n\r\n";
  EXPECT_EQ(request(bytes), refused("an unknown method"));
  ParserOptions options = request_options();
  options.allow_custom_methods = true;
  EXPECT_EQ(parse(options, bytes),
            "headers 1.1 keep-alive ended\n  :method=BREW\n  :path=/\n  :authority=h\ncomplete\n");
}

TEST(Http1Request, DropsContentLengthNextToChunkedOnlyWhenTold) {
  const std::string_view bytes =
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  EXPECT_EQ(request(bytes),
            refused("Transfer-Encoding with Content-Length", "http1.content_length_and_chunked_not_allowed"));
  ParserOptions options = request_options();
  options.allow_chunked_length = true;
  EXPECT_EQ(parse(options, bytes),
            "headers 1.1 keep-alive chunked body\n  :method=POST\n  :path=/\n  :authority=h\n"
            "  transfer-encoding=chunked\ncomplete\n");
}

struct Refusal {
  std::string_view head;  // between "Host: h\r\n" and the empty line
  std::string_view reason;
  std::string_view detail = "http1.codec_error";
};

TEST(Http1Request, RefusesFieldsThatOthersMayReadDifferently) {
  using namespace std::string_view_literals;
  const std::string_view kName = "a malformed field name, or a folded line";
  const std::string_view kLength = "a malformed Content-Length";
  const std::string_view kCoding = "an unknown transfer coding", kTe = "http1.invalid_transfer_encoding";
  const Refusal refusals[] = {
      {"Content-Length: 5\r\nContent-Length: 5\r\n", "several Content-Length fields"},
      {"Content-Length: 5\r\nContent-Length: 6\r\n", "several Content-Length fields"},
      {"Content-Length: 5, 5\r\n", kLength},
      {"Content-Length: +5\r\n", kLength},
      {"Content-Length: -5\r\n", kLength},
      {"Content-Length: 0x5\r\n", kLength},
      {"Content-Length: 5 5\r\n", kLength},
      {"Content-Length:\r\n", kLength},
      {"Content-Length: 18446744073709551616\r\n", "a Content-Length out of range"},
      {"Content-Length: 9223372036854775808\r\n", "a Content-Length out of range"},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "several Transfer-Encoding fields", kTe},
      {"Transfer-Encoding: gzip, chunked\r\n", kCoding, kTe},
      {"Transfer-Encoding: chunked, gzip\r\n", kCoding, kTe},
      {"Transfer-Encoding: chunked, chunked\r\n", kCoding, kTe},
      {"Transfer-Encoding: identity\r\n", kCoding, kTe},
      {"Transfer-Encoding: xchunked\r\n", kCoding, kTe},
      {"Transfer-Encoding: \"chunked\"\r\n", kCoding, kTe},
      {"Transfer-Encoding: chunked;q=1\r\n", kCoding, kTe},
      {"Transfer-Encoding: \x0b"
       "chunked\r\n",
       kControl},
      {"Transfer-Encoding:\r\n", kCoding, kTe},
      {"Transfer-Encoding: chunked\t\r\n", "a tab around Transfer-Encoding", kTe},
      {"Transfer-Encoding:\tchunked\r\n", "a tab around Transfer-Encoding", kTe},
      {"Transfer-Encoding: chunked \t \r\n", "a tab around Transfer-Encoding", kTe},
      {"Content-Length: \t5\r\n", "a tab around Content-Length"},
      {"X: a\r\n folded\r\n", kName},
      {"X: a\r\n\tfolded\r\n", kName},
      {"X : a\r\n", kName},
      {"X\t: a\r\n", kName},
      {" X: a\r\n", kName},
      {": a\r\n", kName},
      {"X\r\n", kName},
      {"X y: a\r\n", kName},
      {"X\x80: a\r\n", kName},
      {"X\0: a\r\n"sv, kName},
      {"(X): a\r\n", kName},
      {"X: a\rb\r\n", kControl},
      {"X: a\r\r\n", kControl},
      {"X: a\n", kControl},
      {"X: a\nY: b\r\n", kControl},
      {"X: a\0b\r\n"sv, kControl},
      {"X: a\x01\r\n", kControl},
      {"X: a\x7f\r\n", kControl},
      {"Host: h\r\n", "several Host fields"},
      {"Host: other\r\n", "several Host fields"},
  };
  for (const Refusal& r : refusals) {
    std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\n";
    bytes.append(r.head).append("\r\n0\r\n\r\n");
    EXPECT_EQ(request(bytes), refused(r.reason, r.detail)) << bytes;
    // Not only at the end of the head, where a scan may take its slow path.
    bytes = "POST / HTTP/1.1\r\nHost: h\r\n";
    bytes.append(r.head).append("X-Padding: ").append(64, 'p').append("\r\n\r\n");
    EXPECT_EQ(request(bytes), refused(r.reason, r.detail)) << bytes;
  }
}

TEST(Http1Request, RefusesLongValuesWithAControlCharacterAnywhere) {
  const std::string value(70, 'v');
  for (size_t i = 0; i < value.size(); ++i) {
    for (char c : {'\0', '\x1f', '\x7f', '\n', '\r'}) {
      std::string bad = value;
      bad[i] = c;
      const std::string bytes = "GET / HTTP/1.1\r\nHost: h\r\nX: " + bad + "\r\n\r\n";
      ASSERT_EQ(test::transcript(request_options(), Feed{{bytes}}), refused(kControl)) << i;
    }
    std::string good = value;
    good[i] = i % 2 == 0 ? '\xff' : '~';
    const std::string bytes = "GET / HTTP/1.1\r\nHost: h\r\nX: " + good + "\r\n\r\n";
    ASSERT_TRUE(test::transcript(request_options(), Feed{{bytes}}).ends_with("x=" + good + "\ncomplete\n"));
  }
}

TEST(Http1Request, RefusesMalformedRequestLines) {
  using namespace std::string_view_literals;
  const std::string_view kMethod = "the method is not a token", kTarget = "a malformed request target";
  const std::string_view kVersion = "an unknown protocol version", kForm = "a request target in none of the four forms";
  const std::string_view kUrl = "http1.invalid_url";
  const Refusal refusals[] = {
      {" GET / HTTP/1.1", kMethod},
      {"G(T / HTTP/1.1", kMethod},
      {"\x16\x03\x01", kMethod},
      {"get / HTTP/1.1", "an unknown method"},
      {"GET", kMethod},
      {"GET /", kTarget},
      {"GET  / HTTP/1.1", kTarget},
      {"GET\t/ HTTP/1.1", kMethod},
      {"GET /\tHTTP/1.1", kTarget},
      {"GET / HTTP/1.1 ", kVersion},
      {"GET /  HTTP/1.1", kVersion},
      {"GET / a HTTP/1.1", kVersion},
      {"GET /\0 HTTP/1.1"sv, kTarget},
      {"GET /\x7f HTTP/1.1", kTarget},
      {"GET /a#b HTTP/1.1", kTarget},
      {"GET / HTTP/0.9", kVersion},
      {"GET / HTTP/1.2", kVersion},
      {"GET / HTTP/2.0", kVersion},
      {"GET / HTTP/1.10", kVersion},
      {"GET / HTTP/01.1", kVersion},
      {"GET / http/1.1", kVersion},
      {"GET / HTTP/1.1\r", kVersion},
      {"GET path HTTP/1.1", kForm, kUrl},
      {"GET ftp://h/ HTTP/1.1", kForm, kUrl},
      {"GET http:/h/ HTTP/1.1", kForm, kUrl},
      {"GET http:///p HTTP/1.1", "a request target with an invalid host", kUrl},
      {"GET http://user@h/p HTTP/1.1", "a request target with an invalid host", kUrl},
      {"GET http://h:99999/p HTTP/1.1", "a request target with an invalid host", kUrl},
      {"GET http://h\\p HTTP/1.1", "a request target with an invalid host", kUrl},
      {"CONNECT h HTTP/1.1", "a CONNECT target without host and port", kUrl},
      {"CONNECT h:0 HTTP/1.1", "a CONNECT target without host and port", kUrl},
      {"CONNECT /p HTTP/1.1", "a CONNECT target without host and port", kUrl},
      {"CONNECT http://h:80/ HTTP/1.1", "a CONNECT target without host and port", kUrl},
  };
  for (const Refusal& r : refusals) {
    std::string bytes(r.head);
    bytes += "\r\nHost: h\r\nX-Padding: 0123456789012345678901234567890123456789\r\n\r\n";
    EXPECT_EQ(request(bytes), refused(r.reason, r.detail)) << bytes;
  }
  EXPECT_EQ(request("GET / HTTP/1.1\nHost: h\n\n"), refused(kVersion));
  EXPECT_EQ(request(std::string(65, 'M') + " / HTTP/1.1\r\n"), refused(kMethod));
}

TEST(Http1Request, RefusesMissingOrInvalidHost) {
  EXPECT_EQ(request("GET / HTTP/1.1\r\nX: y\r\n\r\n"), refused("no Host field", "missing_host_header"));
  EXPECT_EQ(request("GET http://h/ HTTP/1.1\r\nX: y\r\n\r\n"), refused("no Host field", "missing_host_header"));
  for (std::string_view host :
       {"",    "a b", "a,b c", "a/b",    "a?b", "user@a", "a\\b",    "a:b",  "a:80:80", "[::1",
        "::1", "a\"", "<a>",   "[::1]x", "a]",  ":80",    "a:65536", "\x80", "a#",      "[]:80"}) {
    EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n"), refused("an invalid Host")) << host;
  }
  for (std::string_view host :
       {"a", "a.b-c_d:80", "127.0.0.1:1", "[::1]", "[fe80::1%25eth0]:443", "xn--a", "a:", "a~!$&'()*+,;="}) {
    EXPECT_TRUE(request("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n")
                    .ends_with(":authority=" + std::string(host) + "\ncomplete\n"))
        << host;
  }
}

TEST(Http1Request, RefusesConnectWithBody) {
  EXPECT_EQ(request("CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"),
            refused("CONNECT with a body", "http1.body_disallowed"));
  EXPECT_EQ(request("CONNECT h:1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
            refused("CONNECT with a body", "http1.body_disallowed"));
}

TEST(Http1Request, RefusesBadChunks) {
  using namespace std::string_view_literals;
  const std::string_view kSize = "a malformed chunk size";
  const Refusal refusals[] = {
      {"\r\n", kSize},
      {"g\r\n", kSize},
      {"+5\r\nhello\r\n", kSize},
      {"-5\r\n", kSize},
      {" 5\r\n", kSize},
      {"5 \r\nhello\r\n", kSize},
      {"5 ;x\r\nhello\r\n", kSize},
      {"0x5\r\n", kSize},
      {";x\r\n", kSize},
      {"5\nhello\r\n", kSize},
      {"5,5\r\n", kSize},
      {"5\0\r\n"sv, kSize},
      {"10000000000000000\r\n", "a chunk size out of range"},
      {"8000000000000000\r\n", "a chunk size out of range"},
      {"00000000000000005\r\nhello\r\n", "a chunk size out of range"},
      {"5\rhello\r\n", "a bare CR in a chunk size"},
      {"5;a\nhello\r\n", "a control character in a chunk extension"},
      {"5;a\0\r\nhello\r\n"sv, "a control character in a chunk extension"},
      {"5\r\nhello!\r\n", "a chunk longer than its size"},
      {"5\r\nhello\n", "a chunk longer than its size"},
      {"5\r\nhello\r!", "a bare CR after a chunk"},
  };
  for (const Refusal& r : refusals) {
    std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    bytes += r.head;
    const std::string text = request(bytes);
    EXPECT_TRUE(text.ends_with(refused(r.reason, r.detail))) << bytes << text;
  }
  EXPECT_TRUE(request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n")
                  .ends_with(refused("a malformed field name, or a folded line")));
  for (std::string_view field : {"Content-Length: 5", "Transfer-Encoding: chunked"}) {
    EXPECT_TRUE(request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + std::string(field) +
                        "\r\n\r\n")
                    .ends_with(refused("a framing field in the trailers")))
        << field;
  }
}

TEST(Http1Request, BoundsChunkExtensionsOfAMessage) {
  ParserOptions options = request_options();
  options.max_chunk_extension_bytes = 10;
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(parse(options, head + "1;12345\r\na\r\n1;12345\r\nb\r\n0\r\n\r\n").ends_with("data ab\ncomplete\n"));
  EXPECT_TRUE(parse(options, head + "1;12345\r\na\r\n1;123456\r\nb\r\n0\r\n\r\n")
                  .ends_with(refused("chunk extensions too long")));
}

TEST(Http1Request, LimitsHeadBytes) {
  const std::string_view bytes = "GET /0123456789 HTTP/1.1\r\nHost: h\r\nX: 0123456789\r\n\r\n";
  ParserOptions options = request_options();
  options.max_header_bytes = static_cast<uint32_t>(bytes.size());
  EXPECT_TRUE(parse(options, bytes).ends_with("complete\n"));
  for (uint32_t limit = 20; limit < bytes.size(); ++limit) {
    options.max_header_bytes = limit;
    EXPECT_EQ(parse(options, bytes), refused("the head is too large", "http1.headers_too_large", 431)) << limit;
  }
  // Without an end of line in sight.
  EXPECT_EQ(parse(options, "GET /" + std::string(200, 'a')),
            refused("the head is too large", "http1.headers_too_large", 431));
  EXPECT_EQ(parse(options, "GET / HTTP/1.1\r\nX: " + std::string(200, 'a')),
            refused("the head is too large", "http1.headers_too_large", 431));
}

TEST(Http1Request, LimitsFieldCountAndTrailers) {
  ParserOptions options = request_options();
  options.max_header_count = 3;
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
  EXPECT_TRUE(parse(options, head + "A: 1\r\n\r\n0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n").ends_with("complete\n"));
  EXPECT_EQ(parse(options, head + "A: 1\r\nB: 1\r\n\r\n"), refused("too many fields", "http1.too_many_headers", 431));
  EXPECT_TRUE(parse(options, head + "\r\n0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n")
                  .ends_with(refused("too many fields", "http1.too_many_headers", 431)));
  options.max_header_bytes = 80;
  EXPECT_TRUE(parse(options, head + "\r\n0\r\nA: " + std::string(80, 'x') + "\r\n\r\n")
                  .ends_with(refused("the trailers are too large", "http1.headers_too_large", 431)));
}

TEST(Http1Request, ReadsLargeHeadsInAnyPieces) {
  std::string bytes = "GET /" + std::string(9000, 'p') + " HTTP/1.1\r\nHost: h\r\n";
  std::string expected =
      "headers 1.1 keep-alive ended\n  :method=GET\n  :path=/" + std::string(9000, 'p') + "\n  :authority=h\n";
  for (int i = 0; i < 90; ++i) {
    const std::string n = std::to_string(i), value(static_cast<size_t>(i * 12), 'v');
    bytes += "X-" + n + ": " + value + "\r\n";
    expected += "  x-" + n + "=" + value + "\n";
  }
  bytes += "\r\n";
  expected += "complete\n";
  for (size_t piece : {1ul, 7ul, 100ul, 4096ul, 20000ul, bytes.size()}) {
    Feed feed;
    for (size_t i = 0; i < bytes.size(); i += piece) feed.pieces.push_back(std::string_view(bytes).substr(i, piece));
    for (bool at_once : {false, true}) {
      feed.at_once = at_once;
      EXPECT_EQ(test::transcript(request_options(), feed), expected) << piece;
    }
  }
}

TEST(Http1Request, TrickledHeadKeepsFewBlocks) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 90; ++i) bytes += "X-" + std::to_string(i) + ": " + std::string(200, 'v') + "\r\n";
  const size_t before = base::block_usage().live_bytes;
  Http1Parser parser(request_options());
  HeaderMap map;
  base::Buffer in, body;
  for (char c : bytes) {
    in.append(&c, 1);
    ASSERT_EQ(parser.next(in, map, body), Http1Parser::Event::kNeedMore);
  }
  EXPECT_LE(base::block_usage().live_bytes - before, 4 * bytes.size());
}

TEST(Http1Request, EofIsAnErrorOnlyInsideAMessage) {
  EXPECT_EQ(parse(request_options(), "", true), "");
  EXPECT_EQ(parse(request_options(), "\r\n", true), "");
  const std::string truncated = refused("the connection ended inside a message");
  EXPECT_EQ(parse(request_options(), "G", true), truncated);
  EXPECT_EQ(parse(request_options(), "GET / HTTP/1.1\r\nHost: h\r\n", true), truncated);
  EXPECT_TRUE(
      parse(request_options(), "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na", true).ends_with(truncated));
  EXPECT_TRUE(parse(request_options(), "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", true)
                  .ends_with(truncated));
}

TEST(Http1Response, ReadsBodiesByLengthChunksAndClose) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 404\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "1\r\na\r\n0\r\nX: y\r\n\r\n"),
            "headers 1.1 keep-alive length=2 body\n  :status=200\n  content-length=2\ndata hi\ncomplete\n"
            "headers 1.1 keep-alive chunked body\n  :status=404\n  transfer-encoding=chunked\ndata a\n"
            "trailers\n  x=y\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.0 200 \r\nServer: s\r\n\r\nall of it", "GET", true),
            "headers 1.0 body\n  :status=200\n  server=s\ndata all of it\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\n\r\n", "GET", true), "headers 1.1 body\n  :status=200\ncomplete\n");
}

TEST(Http1Response, HeadAnd204And304HaveNoBody) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HEAD"),
            "headers 1.1 keep-alive length=10 ended\n  :status=200\n  content-length=10\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
            "headers 1.1 keep-alive chunked ended\n  :status=200\n  transfer-encoding=chunked\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
            "headers 1.1 keep-alive ended\n  :status=204\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n"),
            "headers 1.1 keep-alive length=10 ended\n  :status=304\n  content-length=10\n  etag=\"x\"\ncomplete\n");
  EXPECT_EQ(response("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
            refused("Transfer-Encoding in a 1xx or 204", "http1.transfer_encoding_not_allowed"));
  EXPECT_EQ(response("HTTP/1.1 103 Hints\r\nContent-Length: 1\r\n\r\n"),
            refused("Content-Length in a 1xx or 204", "http1.content_length_not_allowed"));
}

TEST(Http1Response, InformationalHeadsComeBeforeTheFinalOne) {
  EXPECT_EQ(response("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                     "HEAD"),
            "informational 1.1 keep-alive\n  :status=100\ninformational 1.1 keep-alive\n  :status=103\n  link=</a>\n"
            "headers 1.1 keep-alive length=0 ended\n  :status=200\n  content-length=0\ncomplete\n");
}

TEST(Http1Response, SwitchingProtocolsAndConnectLeaveTheRestRaw) {
  EXPECT_EQ(response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nframe"),
            "headers 1.1 keep-alive upgrade ended\n  :status=101\n  upgrade=websocket\n  connection=upgrade\ncomplete\n"
            "raw frame\n");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\nbytes", "CONNECT"),
            "headers 1.1 keep-alive upgrade ended\n  :status=200\ncomplete\nraw bytes\n");
}

TEST(Http1Response, RefusesMalformedStatusLinesAndFraming) {
  const std::string_view kLine = "a malformed status line";
  for (std::string_view line :
       {"HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "HTTP/1.1 099 OK", "HTTP/1.2 200 OK",
        "HTTP/1.1 2x0 OK", "HTTP/1.1", "HTTP/1.10 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK"}) {
    EXPECT_EQ(response(std::string(line) + "\r\nA: b\r\n\r\n"), refused(kLine)) << line;
  }
  for (std::string_view line : {"HTTP/2 200", "ICY 200 OK", "http/1.1 200 OK", "\r\nHTTP/1.1 200 OK"}) {
    EXPECT_EQ(response(std::string(line) + "\r\n\r\n"), refused("not an HTTP/1 status line")) << line;
  }
  EXPECT_EQ(response("HTTP/1.1 200 O\x01K\r\n\r\n"), refused(kControl));
  EXPECT_EQ(response("HTTP/1.1 200 OK\n\n"), refused(kControl));
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            refused("Transfer-Encoding with Content-Length", "http1.content_length_and_chunked_not_allowed"));
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            refused("several Content-Length fields"));
  EXPECT_EQ(response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            refused("Transfer-Encoding in HTTP/1.0", "http1.invalid_transfer_encoding"));
}

TEST(Http1Parser, StaysInErrorUntilReset) {
  Http1Parser parser(request_options());
  HeaderMap map;
  base::Buffer in, body;
  in.append("\x01");
  EXPECT_EQ(parser.next(in, map, body), Http1Parser::Event::kError);
  EXPECT_EQ(parser.next(in, map, body), Http1Parser::Event::kError);
  EXPECT_FALSE(parser.keep_alive());
  parser.reset();
  in.clear();
  in.append("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(parser.next(in, map, body), Http1Parser::Event::kHeaders);
}

}  // namespace
}  // namespace millrace::http
