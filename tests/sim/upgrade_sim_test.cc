// Upgraded connections (websocket) through the HTTP path: both byte streams pass exactly, whoever ends first is
// heard to the end, and nothing is left.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "filter/hcm_worker.h"
#include "router/http_router.h"
#include "sim/seeds.h"
#include "sim/streamer.h"
#include "sim/worker.h"
#include "stats/names.h"
#include "stats/schema_http.h"

namespace millrace::sim {
namespace {

using Manner = Streamer::Manner;

struct Scene {
  Scene(uint64_t seed, bool calm_in)
      : prng(seed), calm(calm_in), clients_wait(prng.below(2) == 0), faults(draw_faults(prng, calm)),
        worker(prng.next(), faults) {}
  Streamer& add(std::vector<std::unique_ptr<Streamer>>& list) {
    const bool waits = (&list == &clients) == clients_wait;
    Manner manner = waits ? Manner::kWaits : Manner::kPolite;
    if (prng.below(4) == 0) manner = prng.below(3) == 0 ? Manner::kSilent : Manner::kAborts;
    const uint64_t bytes = prng.below(prng.below(4) == 0 ? 300'000 : 3'000);
    list.push_back(std::make_unique<Streamer>(worker.network(), ++next_id, bytes, manner));
    return *list.back();
  }
  bool all_over() const {
    // A connection that was made for a request which went away may lie idle in its pool.
    const auto over = [](const auto& streamer) { return streamer->over(); };
    const auto over_or_idle = [](const auto& streamer) { return streamer->over() || !streamer->greeted(); };
    return std::all_of(clients.begin(), clients.end(), over) &&
           std::all_of(servers.begin(), servers.end(), over_or_idle);
  }

  base::Prng prng;
  const bool calm, clients_wait;
  const Faults faults;
  uint64_t next_id = 0;
  std::vector<std::unique_ptr<Streamer>> clients, servers;
  std::unique_ptr<filter::HcmConfig> config;
  stats::StatBlockPtr stats;
  size_t buffer_limits = 0;
  Worker worker;
};

void set_up_cluster(Scene& s) {
  upstream::ClusterOptions cluster = Worker::cluster("backend", 1, 1);
  cluster.connect_timeout = base::milliseconds(50 + s.prng.below(200));
  cluster.per_connection_buffer_limit_bytes = static_cast<uint32_t>(1'000 + s.prng.below(64 * 1024));
  s.buffer_limits += cluster.per_connection_buffer_limit_bytes;
  s.worker.set_clusters({std::move(cluster)});
  s.worker.network().serve(host_address(1, 1), [&s](Network::Socket socket) -> Peer* {
    Streamer& server = s.add(s.servers);
    server.attach(socket);
    server.greet("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                 "GET /chat HTTP/1.1\r\n", false);
    return &server;
  });
}

void set_up(Scene& s) {
  set_up_cluster(s);
  base::Prng& prng = s.prng;
  route::RouteTableOptions table;
  route::VirtualHostOptions& host = table.virtual_hosts.emplace_back();
  host.name = "sim";
  host.domains = {"*"};
  route::RouteOptions& route = host.routes.emplace_back();
  route.match.path.value = "/";
  route.route.cluster = "backend";
  filter::HcmOptions options;
  options.stat_prefix = "sim";
  options.routes = route::RouteTable::compile(std::move(table)).value();
  options.stats = s.stats = s.worker.store().add_block(stats::http::kSchema, stats::http_name("sim"));
  options.stream_idle_timeout = base::seconds(20);
  options.upgrades.push_back({"websocket", true});
  router::HttpRouterOptions router;
  router.clusters.push_back(s.worker.clusters().find("backend"));
  options.filters.push_back(std::make_unique<router::HttpRouterConfig>(std::move(router)));
  s.config = std::make_unique<filter::HcmConfig>(std::move(options));
  const auto limit = static_cast<uint32_t>(1'000 + prng.below(64 * 1024));
  s.buffer_limits += limit;
  s.worker.listen(*s.config, limit);
  for (uint64_t n = 1 + prng.below(6); n > 0; --n) {
    Streamer& client = s.add(s.clients);
    client.greet("GET /chat HTTP/1.1\r\nHost: sim\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                 "HTTP/1.1 101 Switching Protocols\r\n", true);
    s.worker.network().at(base::microseconds(prng.below(50'000)), [&s, &client] {
      client.attach(s.worker.network().dial(s.worker.address(), client));
    });
  }
}

void check_direction(const Scene& s, const Streamer& from, const Streamer& to) {
  EXPECT_LE(to.in().received(), from.out().sent());
  if (!from.polite() || !to.polite()) return;
  // The one who waits writes on after the other's end. A server's end ends the exchange, as everywhere in HTTP/1; a
  // client's does not.
  const bool after_server = from.manner() == Manner::kWaits && s.clients_wait;
  if (s.calm && !after_server) {
    EXPECT_TRUE(to.saw_end() && to.in().complete())
        << to.describe() << "; " << from.describe();
  }
}

void check_sessions(const Scene& s) {
  std::map<uint64_t, const Streamer*> by_id;
  for (const auto& server : s.servers) by_id[server->out().id()] = server.get();
  const bool aborts = std::any_of(s.servers.begin(), s.servers.end(),
                                  [](const auto& server) { return server->manner() == Manner::kAborts; });
  for (const auto& client : s.clients) {
    if (s.calm && !aborts) {  // who resets may take its 101 with it
      EXPECT_FALSE(client->refused());
    }
    if (!client->in().known()) continue;
    ASSERT_TRUE(by_id.contains(client->in().id()));
    const Streamer& server = *by_id[client->in().id()];
    if (server.in().known()) {
      EXPECT_EQ(server.in().id(), client->out().id()) << "two sessions mixed";
    }
    check_direction(s, server, *client);
    check_direction(s, *client, server);
  }
}

void run(uint64_t seed) {
  base::Prng prng(seed);
  Scene s(prng.next(), prng.below(2) == 0);
  set_up(s);
  const size_t held_max = s.clients.size() * 2 * (s.buffer_limits + 4 * s.faults.window_max);
  const bool cut_short = prng.below(6) == 0;
  const base::nanoseconds limit = cut_short ? base::milliseconds(prng.below(200)) : base::milliseconds(600'000);
  while (!s.all_over() && s.worker.network().elapsed() < limit && !testing::Test::HasFailure()) {
    s.worker.turn();
    s.worker.check_limits();
    EXPECT_LE(s.worker.network().held_bytes(), held_max);
  }
  if (!cut_short) {
    for (const auto* list : {&s.clients, &s.servers}) {
      for (const auto& streamer : *list) {
        EXPECT_TRUE(s.all_over() || streamer->over()) << "hangs: " << streamer->describe();
      }
    }
    if (s.all_over()) check_sessions(s);
  }
  s.worker.shut_down();
  namespace hs = stats::http;
  for (uint16_t gauge : {hs::kDownstreamRqActive, hs::kDownstreamCxActive, hs::kDownstreamCxUpgradesActive}) {
    EXPECT_EQ(s.stats->gauge(gauge), 0) << hs::kStats[gauge].name;
  }
}

TEST(UpgradeSim, SessionsPassBothStreamsAndLeaveNothing) { for_each_seed(300, run); }

}  // namespace
}  // namespace millrace::sim
