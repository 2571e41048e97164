// What one stream pays for being known and logged: resetting its StreamInfo, formatting Envoy's default line as text
// and as JSON, and the whole log call into a worker's buffer (/dev/null behind it).
#include <benchmark/benchmark.h>

#include "net/address.h"
#include "stream/access_log.h"

namespace millrace::stream {
namespace {

struct Exchange {
  Exchange() {
    connection.remote_address = &peer;
    info.connection = &connection;
    info.start_time = std::chrono::system_clock::now();
    info.start = base::MonotonicTime(base::seconds(1));
    info.end = info.start + base::milliseconds(12);
    info.protocol = Protocol::kHttp11;
    info.response_code = 200;
    info.bytes_sent = 64;
    info.upstream.host_address = &host;
    request.add(http::Header::kMethod, "GET");
    request.add(http::Header::kPath, "/api/v1/locations?near=here");
    request.add(http::Header::kAuthority, "locations.example");
    request.add(http::Header::kForwardedFor, "10.0.35.28");
    request.add(http::Header::kUserAgent, "curl/7.88.1");
    request.add(http::Header::kRequestId, "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2");
    response.add(http::Header::kEnvoyUpstreamServiceTime, "11");
  }
  FormatContext context() const {
    return {.info = &info, .request_headers = &request, .response_headers = &response};
  }
  net::Address peer = net::Address::parse_ip("10.1.10.23", 5000).value();
  net::Address host = net::Address::parse_ip("10.0.2.1", 80).value();
  ConnectionInfo connection;
  StreamInfo info;
  http::HeaderMap request, response;
};

void reset(benchmark::State& state) {
  StreamInfo info;
  for (auto _ : state) {
    info.reset();
    benchmark::DoNotOptimize(&info);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(reset);

void default_line(benchmark::State& state) {
  const Exchange exchange;
  const Formatter formatter = Formatter::compile(kDefaultAccessLogFormat).value();
  std::string out;
  for (auto _ : state) {
    out.clear();
    formatter.append(exchange.context(), out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(default_line);

void json_line(benchmark::State& state) {
  const Exchange exchange;
  JsonFormat::Object object;
  for (const char* text : {"%START_TIME%", "%REQ(:METHOD)%", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "%PROTOCOL%",
                           "%RESPONSE_CODE%", "%RESPONSE_FLAGS%", "%BYTES_RECEIVED%", "%BYTES_SENT%", "%DURATION%",
                           "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "%REQ(X-FORWARDED-FOR)%", "%REQ(USER-AGENT)%",
                           "%REQ(X-REQUEST-ID)%", "%REQ(:AUTHORITY)%", "%UPSTREAM_HOST%"}) {
    object.emplace_back("key" + std::to_string(object.size()), JsonFormat{std::string(text)});
  }
  const JsonFormatter formatter = JsonFormatter::compile(object).value();
  std::string out;
  for (auto _ : state) {
    out.clear();
    formatter.append(exchange.context(), out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(json_line);

void log_to_dev_null(benchmark::State& state) {
  const Exchange exchange;
  AccessLogFiles files;
  AccessLogOptions options;
  options.path = "/dev/null";
  const AccessLog log = AccessLog::compile(options, &files).value();
  AccessLogWriter writer(files);
  for (auto _ : state) log.log(exchange.context(), writer);
  writer.flush(false);
  files.drain(base::seconds(10));
  state.counters["dropped"] = static_cast<double>(files.counts().lines_dropped);
}
BENCHMARK(log_to_dev_null);

}  // namespace
}  // namespace millrace::stream

BENCHMARK_MAIN();
