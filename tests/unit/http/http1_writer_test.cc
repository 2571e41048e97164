#include "http/http1_writer.h"

#include <gtest/gtest.h>

#include "support/http1_transcript.h"

namespace millrace::http {
namespace {

constexpr Framing kNone{};
constexpr Framing kChunked{Framing::Kind::kChunked, 0};
constexpr Framing length(uint64_t n) {
  return {Framing::Kind::kContentLength, n};
}

void put_request(HeaderMap& map, std::string_view method, std::string_view path, std::string_view authority) {
  map.add(Header::kMethod, method);
  map.add(Header::kPath, path);
  map.add(Header::kAuthority, authority);
}

std::string request(const HeaderMap& map, Framing framing, WriterOptions options = {}) {
  base::Buffer out;
  return write_request_head(map, framing, options, out) ? out.to_string() : "refused " + out.to_string();
}

std::string response(const HeaderMap& map, Framing framing, WriterOptions options = {}) {
  base::Buffer out;
  return write_response_head(map, framing, options, out) ? out.to_string() : "refused " + out.to_string();
}

TEST(Http1Writer, WritesRequestWithHostFirst) {
  HeaderMap map;
  map.add("x-a", "1");
  put_request(map, "POST", "/p?q", "h:80");
  map.add(Header::kScheme, "http");
  map.add(Header::kContentType, "text/plain");
  EXPECT_EQ(request(map, length(18446744073709551615u)),
            "POST /p?q HTTP/1.1\r\nhost: h:80\r\nx-a: 1\r\ncontent-type: text/plain\r\n"
            "content-length: 18446744073709551615\r\n\r\n");
}

TEST(Http1Writer, WritesConnectWithItsAuthority) {
  HeaderMap map;
  map.add(Header::kMethod, "CONNECT");
  map.add(Header::kAuthority, "h:443");
  EXPECT_EQ(request(map, kNone), "CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n");
}

TEST(Http1Writer, WritesResponse) {
  HeaderMap map;
  map.add(Header::kStatus, "404");
  map.add(Header::kServer, "envoy");
  EXPECT_EQ(response(map, length(0)), "HTTP/1.1 404 Not Found\r\nserver: envoy\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(response(map, kNone, {false, true}), "HTTP/1.0 404 Not Found\r\nserver: envoy\r\n\r\n");
  map.set(Header::kStatus, "799");
  EXPECT_EQ(response(map, kNone), "HTTP/1.1 799 Unknown\r\nserver: envoy\r\n\r\n");
}

TEST(Http1Writer, FramesAsToldWhateverTheMapHolds) {
  HeaderMap map;
  map.add(Header::kStatus, "200");
  map.add(Header::kContentLength, "7");
  map.add(Header::kTransferEncoding, "chunked");
  EXPECT_EQ(response(map, kNone), "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(response(map, length(3)), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
  EXPECT_EQ(response(map, kChunked), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  EXPECT_EQ(response(map, {Framing::Kind::kAsIs, 0}), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
}

TEST(Http1Writer, CapitalisesNamesWhenAsked) {
  HeaderMap map;
  put_request(map, "GET", "/", "h");
  map.add("x-request-id", "a");
  map.add("foo_b2r.te", "b");
  EXPECT_EQ(request(map, kChunked, {true, false}),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: a\r\nFoo_B2r.Te: b\r\nTransfer-Encoding: chunked\r\n\r\n");
}

TEST(Http1Writer, LeavesOutWhatWouldEndTheHeadEarly) {
  using namespace std::string_view_literals;
  HeaderMap map;
  map.add(Header::kStatus, "200");
  map.add("x-a", "1\r\nx-evil: 1");
  map.add("x-b", "1\n");
  map.add("x-c", "\0"sv);
  map.add("x-d\r\nx-evil", "1");
  map.add("x-e: 1", "1");
  map.add(Header::kVia, "1\r");
  map.add("x-good", "\xc3\xa4\tb");
  EXPECT_EQ(response(map, kNone), "HTTP/1.1 200 OK\r\nx-good: \xc3\xa4\tb\r\n\r\n");
}

TEST(Http1Writer, RefusesImpossibleFirstLines) {
  for (std::string_view path : {"", "/a b", "/a\r\nx: y", "/a\n", "/a#b"}) {
    HeaderMap map;
    put_request(map, "GET", path, "h");
    EXPECT_EQ(request(map, kNone), "refused ") << path;
  }
  for (std::string_view method : {"", "G T", "GET\r\n"}) {
    HeaderMap map;
    put_request(map, method, "/", "h");
    EXPECT_EQ(request(map, kNone), "refused ") << method;
  }
  HeaderMap evil_host;
  put_request(evil_host, "GET", "/", "h\r\nx: y");
  EXPECT_EQ(request(evil_host, kNone), "refused ");
  for (std::string_view status : {"", "20", "2000", "abc", "099"}) {
    HeaderMap map;
    map.add(Header::kStatus, status);
    EXPECT_EQ(response(map, kNone), "refused ") << status;
  }
}

TEST(Http1Writer, MovesBodyIntoChunks) {
  base::Buffer body, out;
  body.append("0123456789abcdef");
  const char* data = body.front().data();
  write_chunk(body, out);
  EXPECT_TRUE(body.empty());
  EXPECT_EQ(out.slice(1).view().data(), data);
  write_chunk(body, out);  // nothing: an empty chunk would end the body
  write_last_chunk(nullptr, {}, out);
  EXPECT_EQ(out.to_string(), "10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

TEST(Http1Writer, WritesTrailers) {
  HeaderMap trailers;
  trailers.add(Header::kGrpcStatus, "0");
  trailers.add("x-bad", "a\nb");
  base::Buffer out;
  write_last_chunk(&trailers, {true, false}, out);
  EXPECT_EQ(out.to_string(), "0\r\nGrpc-Status: 0\r\n\r\n");
}

TEST(Http1Writer, ParserReadsWhatWasWritten) {
  base::Buffer out, body;
  for (int i = 0; i < 20; ++i) {
    HeaderMap map, trailers;
    put_request(map, "POST", "/path/" + std::to_string(i), "host-" + std::to_string(i));
    for (int k = 0; k < i; ++k) map.add("x-" + std::to_string(k), std::string(static_cast<size_t>(k * i), 'v'));
    ASSERT_TRUE(write_request_head(map, i % 2 == 0 ? kChunked : length(5), {}, out));
    body.append("hello");
    if (i % 2 == 0) {
      write_chunk(body, out);
      trailers.add("x-sum", std::to_string(i));
      write_last_chunk(i % 4 == 0 ? &trailers : nullptr, {}, out);
    } else {
      out.move_from(body);
    }
  }
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    expected += i % 2 == 0 ? "headers 1.1 keep-alive chunked body\n" : "headers 1.1 keep-alive length=5 body\n";
    expected += "  :method=POST\n  :path=/path/" + n + "\n  :authority=host-" + n + "\n";
    for (int k = 0; k < i; ++k) {
      expected += "  x-" + std::to_string(k) + "=" + std::string(static_cast<size_t>(k * i), 'v') + "\n";
    }
    expected += i % 2 == 0 ? "  transfer-encoding=chunked\ndata hello\n" : "  content-length=5\ndata hello\n";
    if (i % 4 == 0) expected += "trailers\n  x-sum=" + n + "\n";
    expected += "complete\n";
  }
  const std::string bytes = out.to_string();
  EXPECT_EQ(test::transcript({}, {{bytes}}), expected);
}

}  // namespace
}  // namespace millrace::http
