// Cost of the HTTP/1.1 codec alone: a typical request of eight fields parsed in place, a small response, the heads
// written back, chunk framing. Buffers are filled outside the measured code where possible; the "fill" line is the
// price of what could not be left out.
#include <benchmark/benchmark.h>

#include "http/http1_parser.h"
#include "http/http1_writer.h"

namespace millrace::http {
namespace {

constexpr std::string_view kRequest =
    "GET /api/v1/items/42?fields=name,price HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=3f2a9c7e41b84d0d; theme=dark\r\n"
    "Referer: https://shop.example.com/items\r\n\r\n";

constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n"
    "Content-Length: 64\r\nConnection: keep-alive\r\n\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123";

// A message that lies in a block, as after a receive; the parser folds names in place, so it can be read again.
struct Received {
  explicit Received(std::string_view bytes) : block(base::make_block(bytes.size())), size(bytes.size()) {
    bytes.copy(reinterpret_cast<char*>(block->data), bytes.size());
  }
  void fill(base::Buffer& in) { in.append(block, block->data, block->data + size); }
  base::BlockRef block;
  size_t size;
};

void fill(benchmark::State& state) {
  Received received(kRequest);
  base::Buffer in;
  for (auto _ : state) {
    received.fill(in);
    benchmark::DoNotOptimize(in.front().data());
    in.drain(received.size);
  }
}
BENCHMARK(fill);

void parse(benchmark::State& state, MessageKind kind, std::string_view bytes) {
  Received received(bytes);
  ParserOptions options;
  options.kind = kind;
  Http1Parser parser(options);
  HeaderMap headers;
  base::Buffer in, body;
  for (auto _ : state) {
    received.fill(in);
    Http1Parser::Event event;
    while ((event = parser.next(in, headers, body)) != Http1Parser::Event::kComplete) {
      if (event == Http1Parser::Event::kError) return state.SkipWithError("refused");
    }
    headers.clear();
    body.clear();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK_CAPTURE(parse, request, MessageKind::kRequest, kRequest);
BENCHMARK_CAPTURE(parse, response, MessageKind::kResponse, kResponse);

void write(benchmark::State& state, MessageKind kind, std::string_view bytes) {
  ParserOptions options;
  options.kind = kind;
  Http1Parser parser(options);
  HeaderMap headers;
  base::Buffer in, body, out;
  in.append(bytes);
  parser.next(in, headers, body);
  for (auto _ : state) {
    const bool done = kind == MessageKind::kRequest ? write_request_head(headers, {}, {}, out)
                                                    : write_response_head(headers, {}, {}, out);
    if (!done) return state.SkipWithError("refused");
    out.clear();
  }
}
BENCHMARK_CAPTURE(write, request, MessageKind::kRequest, kRequest);
BENCHMARK_CAPTURE(write, response, MessageKind::kResponse, kResponse);

void chunked_body(benchmark::State& state) {
  std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 8; ++i) bytes += "400\r\n" + std::string(1024, 'x') + "\r\n";
  bytes += "0\r\n\r\n";
  Received received(bytes);
  Http1Parser parser({});
  HeaderMap headers;
  base::Buffer in, body;
  for (auto _ : state) {
    received.fill(in);
    while (parser.next(in, headers, body) != Http1Parser::Event::kComplete) {
    }
    headers.clear();
    body.clear();
  }
}
BENCHMARK(chunked_body);

}  // namespace
}  // namespace millrace::http

BENCHMARK_MAIN();
