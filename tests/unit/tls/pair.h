// A client and a server of ours, joined by two buffers: the network is a function call.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "stats/names.h"
#include "stats/schema_tls.h"
#include "stats/stats.h"
#include "tls/context.h"
#include "unit/tls/pki.h"

namespace millrace::tls::test {

using ContextPtr = std::shared_ptr<const Context>;

template <class Options>
ContextPtr make(const Options& options, stats::StatBlockPtr stats = nullptr) {
  base::Result<ContextPtr> made = Context::make(options, std::move(stats));
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().what);
  return made.ok() ? *made : nullptr;
}
template <class Options>
std::string refusal(const Options& options) {
  base::Result<ContextPtr> made = Context::make(options, nullptr);
  return made.ok() ? std::string("accepted") : made.error().what;
}

struct End {
  std::unique_ptr<net::Transport> transport;
  base::Buffer wire;   // what has arrived and was not yet read
  base::Buffer plain;  // what was read
  std::string error;

  void take(base::Result<void> result) {
    if (!result && error.empty()) error = result.error().what;
  }
};

class Pair {
 public:
  Pair(const ContextPtr& server, const ContextPtr& client, net::TransportFactory::Ask ask = {}) {
    server_.transport = server->create({});
    client_.transport = client->create(ask);
    client_.take(client_.transport->start(to_server_));
    server_.take(server_.transport->start(to_client_));
    pump();
  }
  End& client() { return client_; }
  End& server() { return server_; }
  bool established() const { return client_.transport->established() && server_.transport->established(); }

  // Carries bytes both ways, `step` at a time, until nothing moves.
  void pump(size_t step = 1 << 20) {
    bool moved = true;
    while (moved) {
      moved = false;
      moved |= carry(to_server_, server_, to_client_, step);
      moved |= carry(to_client_, client_, to_server_, step);
    }
  }
  void send_to_server(std::string_view bytes) { send(client_, to_server_, bytes); }
  void send_to_client(std::string_view bytes) { send(server_, to_client_, bytes); }
  base::Buffer& to_server() { return to_server_; }
  base::Buffer& to_client() { return to_client_; }

 private:
  static void send(End& from, base::Buffer& wire, std::string_view bytes) {
    base::Buffer plain;
    plain.append(bytes);
    while (!plain.empty() && from.error.empty()) from.take(from.transport->send(plain, wire, 100000));
  }
  static bool carry(base::Buffer& from, End& to, base::Buffer& answer, size_t step) {
    if (from.empty()) return false;
    to.wire.move_from(from, std::min(step, from.size()));
    to.take(to.transport->receive(to.wire, to.plain, answer));
    return true;
  }

  End client_, server_;
  base::Buffer to_server_, to_client_;
};

// One authority and what it issued, made once for all tests of the program.
struct World {
  Issued root = Issued::authority("Root");
  Issued other_root = Issued::authority("Other Root");
  Issued server = root.issue({.common_name = "server", .sans = "DNS:server.example,DNS:*.wild.example"});
  Issued client = root.issue({.common_name = "client",
                              .sans = "URI:spiffe://mesh/ns/a,DNS:client.example,email:me@client.example,IP:10.1.2.3"});
  static const World& get() {
    static const World world;
    return world;
  }
};

inline ServerOptions server_options() {
  ServerOptions options;
  options.common.certificates = {World::get().server.options()};
  return options;
}
// Trusts the root; up to TLS 1.3.
inline ClientOptions client_options() {
  ClientOptions options;
  options.common.parameters.version_max = Version::kTls13;
  options.common.validation.emplace();
  options.common.validation->trusted_ca = inline_source(World::get().root.pem());
  options.sni = "server.example";
  return options;
}

inline net::TransportFactory::Ask ask(std::string_view server_name, std::string_view host_name = {}) {
  net::TransportFactory::Ask out;
  out.server_name = server_name;
  out.host_name = host_name;
  return out;
}

struct Counters {
  stats::Store store{1};
  stats::StatBlockPtr block = store.add_block(stats::tls::kSchema, stats::plain_name("ssl."));
  uint64_t operator()(uint16_t index) const { return block->counter(index); }
};

}  // namespace millrace::tls::test
