// What a worker pays for TLS, without io: a full and a resumed handshake (both sides together, and the server's side
// alone), and bytes through records.
#include <benchmark/benchmark.h>
#include <time.h>

#include <cstdlib>
#include <string>

#include "tls/context.h"
#include "unit/tls/pki.h"

namespace millrace::tls {
namespace {

using namespace test;
using ContextPtr = std::shared_ptr<const Context>;

const Issued& root() {
  static const Issued issued = Issued::authority("Root");
  return issued;
}

ContextPtr server_context(KeyKind kind, Version version, bool mutual = false) {
  ServerOptions options;
  options.common.certificates = {root().issue({.common_name = "s", .sans = "DNS:s.example", .key = kind}).options()};
  options.common.parameters.version_max = version;
  if (mutual) {
    options.common.validation.emplace();
    options.common.validation->trusted_ca = inline_source(root().pem());
    options.require_client_certificate = true;
  }
  return *Context::make(options, nullptr);
}

ContextPtr client_context(Version version, bool resumes, bool mutual = false) {
  ClientOptions options;
  options.common.parameters.version_max = version;
  options.max_session_keys = resumes ? 8 : 0;
  options.sni = "s.example";
  if (mutual) options.common.certificates = {root().issue({.common_name = "c"}).options()};
  return *Context::make(options, nullptr);
}

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Connected {
  std::unique_ptr<net::Transport> server, client;
  base::Buffer to_server, to_client, server_plain, client_plain;
  double server_seconds = 0;

  Connected(const Context& server_side, const Context& client_side) {
    client = client_side.create({});
    take(client->start(to_server));
    double before = thread_seconds();
    server = server_side.create({});
    take(server->start(to_client));
    while (true) {
      take(server->receive(to_server, server_plain, to_client));
      server_seconds += thread_seconds() - before;
      take(client->receive(to_client, client_plain, to_server));
      if (to_server.empty()) break;
      before = thread_seconds();
    }
    if (!server->established() || !client->established()) std::abort();
  }
  static void take(const base::Result<void>& result) {
    if (!result) std::abort();
  }
  // What a first answer carries along: the tickets of TLS 1.3.
  void answer() {
    base::Buffer plain;
    plain.append("hello");
    const double before = thread_seconds();
    take(server->send(plain, to_client, 1 << 20));
    server_seconds += thread_seconds() - before;
    take(client->receive(to_client, client_plain, to_server));
  }
};

void handshakes(benchmark::State& state, KeyKind kind, Version version, bool resumes, bool mutual = false) {
  const ContextPtr server = server_context(kind, version, mutual), client = client_context(version, resumes, mutual);
  Connected(*server, *client).answer();  // makes the session that is resumed
  double seconds = 0;
  bool reused = false;
  for (auto _ : state) {
    Connected pair(*server, *client);
    pair.answer();
    seconds += pair.server_seconds;
    reused = pair.server->facts()->session_reused();
  }
  if (reused != resumes) state.SkipWithError("not the kind of handshake that was meant");
  state.counters["server_us"] = benchmark::Counter(1e6 * seconds / static_cast<double>(state.iterations()));
}
BENCHMARK_CAPTURE(handshakes, ecdsa_tls13_full, KeyKind::kP256, Version::kTls13, false);
BENCHMARK_CAPTURE(handshakes, ecdsa_tls13_resumed, KeyKind::kP256, Version::kTls13, true);
BENCHMARK_CAPTURE(handshakes, ecdsa_tls12_full, KeyKind::kP256, Version::kTls12, false);
BENCHMARK_CAPTURE(handshakes, ecdsa_tls12_resumed, KeyKind::kP256, Version::kTls12, true);
BENCHMARK_CAPTURE(handshakes, rsa_tls13_full, KeyKind::kRsa2048, Version::kTls13, false);
BENCHMARK_CAPTURE(handshakes, ecdsa_tls13_mutual, KeyKind::kP256, Version::kTls13, false, true);

void seal(benchmark::State& state) {
  Connected pair(*server_context(KeyKind::kP256, Version::kTls13), *client_context(Version::kTls13, false));
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    base::Buffer plain, wire;
    plain.append(bytes);
    Connected::take(pair.server->send(plain, wire, 1 << 24));
    benchmark::DoNotOptimize(wire.size());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(seal)->Arg(64)->Arg(1024)->Arg(16384)->Arg(262144);

void seal_and_open(benchmark::State& state) {
  Connected pair(*server_context(KeyKind::kP256, Version::kTls13), *client_context(Version::kTls13, false));
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    base::Buffer plain, wire, out, answer;
    plain.append(bytes);
    Connected::take(pair.server->send(plain, wire, 1 << 24));
    Connected::take(pair.client->receive(wire, out, answer));
    benchmark::DoNotOptimize(out.size());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(seal_and_open)->Arg(64)->Arg(1024)->Arg(16384)->Arg(262144);

}  // namespace
}  // namespace millrace::tls

BENCHMARK_MAIN();
