// The TCP proxy between simulated clients and servers: both byte streams of a session pass exactly, half-closes
// pass on, back-pressure holds, and however a session ends nothing of it is left.
#include <algorithm>
#include <map>

#include "router/tcp_proxy.h"
#include "sim/seeds.h"
#include "sim/streamer.h"
#include "sim/worker.h"
#include "stats/names.h"
#include "stats/schema_tcp.h"

namespace millrace::sim {
namespace {

struct Scene {
  Scene(uint64_t seed, bool calm_in)
      : prng(seed), calm(calm_in), clients_wait(prng.below(2) == 0), faults(draw_faults(prng, calm)),
        worker(prng.next(), faults) {}
  uint64_t draw_bytes() { return prng.below(prng.below(4) == 0 ? 300'000 : 3'000); }
  Streamer::Manner draw_manner(bool may_wait) {
    if (prng.below(3) != 0) {
      return may_wait && prng.below(2) == 0 ? Streamer::Manner::kWaits : Streamer::Manner::kPolite;
    }
    return prng.below(4) == 0 ? Streamer::Manner::kSilent : Streamer::Manner::kAborts;
  }
  Streamer& add(std::vector<std::unique_ptr<Streamer>>& list) {
    const bool may_wait = (&list == &clients) == clients_wait;  // not both ends of a session
    list.push_back(std::make_unique<Streamer>(worker.network(), ++next_id, draw_bytes(), draw_manner(may_wait)));
    return *list.back();
  }
  bool all_over() const {
    const auto over = [](const auto& streamer) { return streamer->over(); };
    return std::all_of(clients.begin(), clients.end(), over) && std::all_of(servers.begin(), servers.end(), over);
  }

  base::Prng prng;
  bool calm, clients_wait;
  Faults faults;
  uint64_t next_id = 0;
  std::vector<std::unique_ptr<Streamer>> clients, servers;
  std::unique_ptr<router::TcpProxyConfig> config;
  size_t buffer_limit = 0;
  mutable Worker worker;
};

void set_up(Scene& s) {
  base::Prng& prng = s.prng;
  upstream::ClusterOptions cluster = Worker::cluster("backend", 1, 2);
  cluster.connect_timeout = base::milliseconds(50 + prng.below(200));
  cluster.per_connection_buffer_limit_bytes = static_cast<uint32_t>(1 + prng.below(64 * 1024));
  if (!s.calm && prng.below(3) == 0) {
    upstream::Thresholds& limits = cluster.circuit_breakers.thresholds[0];
    limits.max_connections = static_cast<uint32_t>(1 + prng.below(4));
    limits.max_pending_requests = static_cast<uint32_t>(1 + prng.below(4));
    limits.max_requests = static_cast<uint32_t>(1 + prng.below(4));
  }
  s.buffer_limit = cluster.per_connection_buffer_limit_bytes;
  s.worker.set_clusters({std::move(cluster)});
  for (uint8_t host = 1; host <= 2; ++host) {
    s.worker.network().serve(host_address(1, host), [&s](Network::Socket socket) -> Peer* {
      Streamer& server = s.add(s.servers);
      server.attach(socket);
      return &server;
    });
  }
  router::TcpProxyOptions options;
  options.stat_prefix = "sim";
  options.clusters.push_back({s.worker.clusters().find("backend"), "backend", 1});
  options.idle_timeout = base::seconds(20);
  options.max_connect_attempts = static_cast<uint32_t>(1 + prng.below(3));
  if (prng.below(2) == 0) {
    options.backoff_base = base::milliseconds(1 + prng.below(30));
    options.backoff_max = base::milliseconds(100);
  }
  options.stats = s.worker.store().add_block(stats::tcp::kSchema, stats::tcp_name("sim"));
  s.config = std::make_unique<router::TcpProxyConfig>(std::move(options));
  const auto limit = static_cast<uint32_t>(1 + prng.below(64 * 1024));
  s.buffer_limit += limit;
  s.worker.listen(*s.config, limit);
  const uint64_t clients = 1 + prng.below(8);
  for (uint64_t i = 0; i < clients; ++i) {
    Streamer& client = s.add(s.clients);
    s.worker.network().at(base::microseconds(prng.below(50'000)), [&s, &client] {
      client.attach(s.worker.network().dial(s.worker.address(), client));
    });
  }
}

void check_direction(const Scene& s, const Streamer& from, const Streamer& to, bool broken) {
  EXPECT_LE(to.in().received(), from.out().sent());
  const bool whole = to.saw_end() && to.in().complete();
  if (s.calm && from.polite() && to.polite()) {
    EXPECT_TRUE(whole) << to.describe() << "; " << from.describe();
  }
  if (to.saw_end() && from.polite() && to.polite() && !broken) {
    EXPECT_TRUE(to.in().complete()) << "stream " << to.out().id() << " ended early";
  }
}

void check_sessions(const Scene& s) {
  std::map<uint64_t, const Streamer*> by_id;
  for (const auto& client : s.clients) by_id[client->out().id()] = client.get();
  for (const auto& server : s.servers) by_id[server->out().id()] = server.get();
  const bool broken = s.worker.network().breaks() > 0;
  for (const auto& client : s.clients) {
    if (!client->in().known()) {
      continue;
    }
    ASSERT_TRUE(by_id.contains(client->in().id()));
    const Streamer& server = *by_id[client->in().id()];
    if (server.in().known()) {
      EXPECT_EQ(server.in().id(), client->out().id()) << "two sessions mixed";
    }
    check_direction(s, server, *client, broken);
    check_direction(s, *client, server, broken);
  }
  // One that goes at once may never be connected.
  const auto polite = std::count_if(s.clients.begin(), s.clients.end(), [](const auto& c) { return c->polite(); });
  if (s.calm) {
    EXPECT_GE(s.servers.size(), static_cast<size_t>(polite));
  }
}

void run(uint64_t seed) {
  base::Prng prng(seed);
  Scene s(prng.next(), prng.below(2) == 0);
  set_up(s);
  // What a session may hold, each way: up to the watermark, what came with the bytes that passed it, and what
  // was read ahead before the reading stopped.
  const size_t held_max = s.clients.size() * 2 * (s.buffer_limit + 4 * s.faults.window_max);
  const bool cut_short = prng.below(5) == 0;  // the daemon is stopped in the middle
  const base::nanoseconds limit = cut_short ? base::milliseconds(prng.below(200)) : base::milliseconds(600'000);
  while (!s.all_over() && s.worker.network().elapsed() < limit && !testing::Test::HasFailure()) {
    s.worker.turn();
    s.worker.check_limits();
    EXPECT_LE(s.worker.network().held_bytes(), held_max);
  }
  if (!cut_short) {
    for (const auto* list : {&s.clients, &s.servers}) {
      for (const auto& streamer : *list) EXPECT_TRUE(streamer->over()) << "hangs: " << streamer->describe();
    }
    check_sessions(s);
  }
  s.worker.shut_down();
}

TEST(TcpProxySim, SessionsPassBothStreamsAndLeaveNothing) { for_each_seed(300, run); }

}  // namespace
}  // namespace millrace::sim
