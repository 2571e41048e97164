// Millrace's own gRPC client as a program, for grpc_client_test.py: calls a server on 127.0.0.1 over a real loop and
// prints what it hears, one event to a line.
//
//   grpc_probe PORT unary PATH DEADLINE_MS MESSAGE...     one call after the other
//   grpc_probe PORT echo PATH COUNT BYTES                 a stream: COUNT messages of BYTES as writable() allows
//   grpc_probe PORT watch PATH EVENTS                     a persistent stream; ends after so many events
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "io/backend.h"
#include "upstream/grpc_client.h"

namespace {

using namespace millrace;

template <class... Args>
void say(fmt::format_string<Args...> text, Args&&... args) {
  fmt::print(text, std::forward<Args>(args)...);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

uint32_t number(std::string_view text) {
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

class Probe : upstream::GrpcUnaryCall::Handler, upstream::GrpcStreamHandler, upstream::GrpcPersistentStream::Handler {
 public:
  Probe(io::Loop& loop, upstream::ThreadLocalCluster& cluster, std::vector<std::string_view> arguments)
      : loop_(loop), cluster_(cluster), arguments_(std::move(arguments)), call_(cluster, *this),
        stream_(cluster, *this),
        watch_(cluster, {.path = std::string(arguments_.at(1)), .back_off_base = base::milliseconds(20)}, *this) {}

  void run() {
    const std::string_view mode = arguments_.at(0);
    if (mode == "unary") {
      next_call();
    } else if (mode == "echo") {
      message_ = std::string(number(arguments_.at(3)), 'x');
      stream_.start({.path = arguments_.at(1)});
      send_more();
    } else {
      watch_.start();
    }
    loop_.run();
    watch_.stop();
    cluster_.close();
    for (int i = 0; i < 4; ++i) loop_.turn(base::milliseconds(1));
  }

 private:
  void next_call() {
    if (next_ >= arguments_.size()) return loop_.stop();
    call_.start({.path = arguments_.at(1), .deadline = base::milliseconds(number(arguments_.at(2)))},
                arguments_[next_++]);
  }
  void on_reply(upstream::GrpcUnaryCall&, const upstream::GrpcStatus& status, base::Buffer& message) override {
    say("{} {} [{}]", status.code, status.message, message.to_string());
    next_call();
  }

  void send_more() {
    const uint32_t count = number(arguments_.at(2));
    while (sent_ < count && stream_.writable()) {
      stream_.send(message_, ++sent_ == count);
      if (!stream_.writable()) ++waits_;
    }
  }
  void on_message(upstream::GrpcStream&, base::Buffer& message) override {
    if (message.to_string() == message_) ++echoed_;
  }
  void on_writable(upstream::GrpcStream&) override { send_more(); }
  void on_closed(upstream::GrpcStream&, const upstream::GrpcStatus& status, const http::HeaderMap& trailers) override {
    say("{} {} echoed {} waited {} {}", status.code, status.message, echoed_, waits_ > 0, trailers.get("mood"));
    loop_.stop();
  }

  void on_begin(upstream::GrpcPersistentStream& stream) override {
    event("begin");
    stream.send("hello");
  }
  void on_message(upstream::GrpcPersistentStream&, base::Buffer& message) override {
    event("message " + message.to_string());
  }
  void on_end(upstream::GrpcPersistentStream&, const upstream::GrpcStatus& status) override {
    event(fmt::format("end {}", status.code));
  }
  void event(std::string_view what) {
    say("{}", what);
    if (++events_ == number(arguments_.at(2))) loop_.stop();
  }

  io::Loop& loop_;
  upstream::ThreadLocalCluster& cluster_;
  std::vector<std::string_view> arguments_;
  upstream::GrpcUnaryCall call_;
  upstream::GrpcStream stream_;
  upstream::GrpcPersistentStream watch_;
  std::string message_;
  size_t next_ = 3;
  uint32_t sent_ = 0, echoed_ = 0, waits_ = 0, events_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend({});
  if (!backend.ok()) {
    say("{}", backend.error().to_string());
    return 1;
  }
  io::Loop loop(std::move(*backend));
  stats::Store store(1);
  upstream::ClusterOptions options;
  options.name = "peer";
  options.http.protocol = upstream::HttpProtocol::kHttp2;
  auto& endpoint = options.endpoints.emplace_back().endpoints.emplace_back();
  endpoint.address = net::Address::parse_ip("127.0.0.1", static_cast<uint16_t>(number(argv[1]))).value();
  upstream::Cluster cluster(std::move(options), store);
  upstream::ThreadLocalCluster local(cluster, loop, 0);
  Probe(loop, local, {argv + 2, argv + argc}).run();
  return 0;
}
