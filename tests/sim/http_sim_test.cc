// A worker's whole HTTP path between simulated clients and servers: every client gets, for every request and in
// order, just the response that its server gave, or an honest failure; requests that must not be repeated are
// not; limits hold; and in the end nothing is left.
#include "filter/hcm_worker.h"
#include "router/http_router.h"
#include "sim/http_peers.h"
#include "sim/seeds.h"
#include "sim/worker.h"
#include "stats/names.h"
#include "stats/schema_http.h"

namespace millrace::sim {
namespace {

constexpr uint8_t kHosts = 3;

struct Scene {
  Scene(uint64_t seed, bool calm_in)
      : prng(seed), calm(calm_in), faults(draw_faults(prng, calm)), worker(prng.next(), faults),
        scenery{worker.network(), plans, worker.address()} {}
  bool all_over() const {
    return std::all_of(clients.begin(), clients.end(), [](const auto& client) { return client->over(); });
  }

  base::Prng prng;
  const bool calm;
  const Faults faults;
  Plans plans;
  std::vector<std::unique_ptr<Peer>> servers;
  std::vector<std::unique_ptr<Client>> clients;
  std::unique_ptr<filter::HcmConfig> config;
  stats::StatBlockPtr stats;
  size_t buffer_limits = 0;
  size_t streams_max = 0;
  Worker worker;
  Scenery scenery;
};

route::RouteOptions forward(const char* prefix, const char* cluster) {
  route::RouteOptions route;
  route.match.path.value = prefix;
  route.route.cluster = cluster;
  route.route.timeout = base::milliseconds(0);
  return route;
}

std::shared_ptr<const route::RouteTable> routes() {
  route::RouteTableOptions options;
  route::VirtualHostOptions& host = options.virtual_hosts.emplace_back();
  host.name = "sim";
  host.domains = {"*"};
  host.routes.push_back(forward("/plain/", "backend"));
  route::RouteOptions retry = forward("/retry/", "backend");
  route::RetryPolicy& policy = retry.route.retry_policy.emplace();
  policy.retry_on = route::retry_on::kGatewayError | route::retry_on::kReset | route::retry_on::kConnectFailure;
  policy.num_retries = 2;
  policy.base_interval = base::milliseconds(5);
  host.routes.push_back(std::move(retry));
  route::RouteOptions quick = forward("/short/", "backend");
  quick.route.timeout = base::milliseconds(300);
  host.routes.push_back(std::move(quick));
  host.routes.push_back(forward("/nocluster/", "unknown"));
  route::RouteOptions direct = forward("/direct/", "");
  direct.action = route::ActionKind::kDirectResponse;
  direct.direct_response = {200, std::string(kDirectBody)};
  host.routes.push_back(std::move(direct));
  route::RouteOptions redirect = forward("/redirect/", "");
  redirect.action = route::ActionKind::kRedirect;
  redirect.redirect.host_redirect = "elsewhere";
  host.routes.push_back(std::move(redirect));
  return route::RouteTable::compile(std::move(options)).value();
}

void set_up_clusters(Scene& s) {
  base::Prng& prng = s.prng;
  upstream::ClusterOptions cluster = Worker::cluster("backend", 1, kHosts);
  cluster.lb_policy = static_cast<upstream::LbPolicy>(prng.below(3));
  cluster.connect_timeout = base::milliseconds(50 + prng.below(200));
  cluster.per_connection_buffer_limit_bytes = static_cast<uint32_t>(1'000 + prng.below(64 * 1024));
  cluster.http.max_requests_per_connection = static_cast<uint32_t>(prng.below(3) == 0 ? 1 + prng.below(5) : 0);
  cluster.http.idle_timeout = base::milliseconds(prng.below(2) == 0 ? 1 + prng.below(50) : 60'000);
  const bool http2 = prng.below(3) == 0;
  if (http2) {
    cluster.http.protocol = upstream::HttpProtocol::kHttp2;
    if (prng.below(2) == 0) cluster.http.http2.max_concurrent_streams = static_cast<uint32_t>(1 + prng.below(4));
  }
  if (prng.below(4) == 0) cluster.http.max_connection_duration = base::milliseconds(1 + prng.below(200));
  for (upstream::Thresholds& limits : cluster.circuit_breakers.thresholds) {
    limits.max_retries = 1'000;
    if (!s.scenery.troubled || prng.below(3) != 0) continue;
    s.scenery.tight_breakers = true;
    limits.max_connections = static_cast<uint32_t>(1 + prng.below(4));
    limits.max_pending_requests = static_cast<uint32_t>(1 + prng.below(4));
    limits.max_requests = static_cast<uint32_t>(1 + prng.below(4));
    limits.max_retries = static_cast<uint32_t>(prng.below(3));
  }
  s.buffer_limits += cluster.per_connection_buffer_limit_bytes;
  s.worker.set_clusters({std::move(cluster)});
  for (uint8_t host = 1; host <= kHosts; ++host) {
    s.worker.network().serve(host_address(1, host), [&s, http2](Network::Socket socket) -> Peer* {
      if (http2) {
        s.servers.push_back(std::make_unique<Http2Server>(s.scenery, socket));
      } else {
        s.servers.push_back(std::make_unique<HttpServer>(s.scenery, socket));
      }
      return s.servers.back().get();
    });
  }
}

void set_up_listener(Scene& s) {
  base::Prng& prng = s.prng;
  filter::HcmOptions options;
  options.stat_prefix = "sim";
  options.routes = routes();
  options.stats = s.stats = s.worker.store().add_block(stats::http::kSchema, stats::http_name("sim"));
  options.stream_idle_timeout = base::seconds(30);
  options.enable_trailers = prng.below(2) == 0;
  options.drain_timeout = base::milliseconds(prng.below(200));
  if (prng.below(2) == 0) {
    options.http2.initial_stream_window_bytes = static_cast<uint32_t>(65'535 + prng.below(70'000));
    options.http2.max_concurrent_streams = static_cast<uint32_t>(1 + prng.below(6));
  }
  if (prng.below(4) == 0) options.max_requests_per_connection = static_cast<uint32_t>(1 + prng.below(5));
  if (prng.below(4) == 0) {
    options.idle_timeout = base::milliseconds(1 + prng.below(40));
    s.scenery.idle_closes = true;
  }
  if (prng.below(8) == 0) {
    options.max_connection_duration = base::milliseconds(1 + prng.below(300));
    s.scenery.idle_closes = true;
  }
  router::HttpRouterOptions router;
  for (const std::string& name : options.routes->clusters()) router.clusters.push_back(s.worker.clusters().find(name));
  options.filters.push_back(std::make_unique<router::HttpRouterConfig>(std::move(router)));
  s.config = std::make_unique<filter::HcmConfig>(std::move(options));
  const auto limit = static_cast<uint32_t>(1'000 + prng.below(64 * 1024));
  s.buffer_limits += limit;
  s.worker.listen(*s.config, limit);
}

void set_up(Scene& s) {
  base::Prng& prng = s.prng;
  s.scenery.troubled = !s.calm;
  set_up_clusters(s);
  set_up_listener(s);
  const bool troubled_plans = prng.below(2) == 0;
  const uint64_t clients = 1 + prng.below(6);
  for (uint64_t i = 0; i < clients; ++i) {
    std::vector<Plan*> plans;
    for (uint64_t n = 1 + prng.below(10); n > 0; --n) plans.push_back(&s.plans.add(prng, troubled_plans));
    const auto depth = static_cast<uint32_t>(prng.below(2) == 0 ? 1 : 1 + prng.below(6));
    const bool slow = prng.below(3) == 0;
    if (prng.below(2) == 0) {
      s.clients.push_back(std::make_unique<Http2Client>(s.scenery, std::move(plans), depth, slow));
      s.streams_max += depth;
    } else {
      s.clients.push_back(std::make_unique<HttpClient>(s.scenery, std::move(plans), depth, slow));
      s.streams_max += 1;
    }
    s.worker.network().at(base::microseconds(prng.below(20'000)),
                          [client = s.clients.back().get()] { client->start(); });
  }
  s.scenery.silent_closes = s.plans.some_close_silently();
  if (prng.below(8) == 0) {
    s.worker.network().at(base::microseconds(prng.below(100'000)), [&s] {
      s.scenery.idle_closes = true;
      s.worker.loop().post([&s] { s.worker.drain(); });
    });
  }
}

void check_plans(const Scene& s) {
  for (const auto& plan : s.plans.all) {
    EXPECT_EQ(plan->answered + plan->cut + plan->aborted, 1) << plan->target() << " has no outcome, or two";
    if (plan->method == "POST" && plan->route == Plan::Route::kPlain && !plan->requeued) {
      EXPECT_LE(plan->attempts, 1u) << plan->target() << " was sent more than once";
    }
    if (plan->answered && !plan->local) {
      EXPECT_GE(plan->attempts, 1u);
    }
  }
}

void check_statistics(const Scene& s) {
  namespace hs = stats::http;
  for (uint16_t gauge : {hs::kDownstreamRqActive, hs::kDownstreamCxActive, hs::kDownstreamCxHttp1Active,
                         hs::kDownstreamCxHttp2Active}) {
    EXPECT_EQ(s.stats->gauge(gauge), 0) << hs::kStats[gauge].name;
  }
  EXPECT_EQ(s.stats->counter(hs::kDownstreamCxTotal), s.stats->counter(hs::kDownstreamCxDestroy));
  EXPECT_EQ(s.stats->counter(hs::kDownstreamFlowControlPausedReadingTotal) >=
                s.stats->counter(hs::kDownstreamFlowControlResumedReadingTotal), true);
}

void run(uint64_t seed) {
  base::Prng prng(seed);
  Scene s(prng.next(), prng.below(2) == 0);
  set_up(s);
  // A stream holds up to the watermarks of both its connections, what came with the bytes that passed them,
  // what was read ahead before the reading stopped, and the body kept for a retry; one of HTTP/2 its window too.
  const size_t held_max = s.streams_max * (2 * s.buffer_limits + 8 * s.faults.window_max + 256 * 1024);
  const bool cut_short = prng.below(6) == 0;  // the daemon is stopped in the middle
  const base::nanoseconds limit = cut_short ? base::milliseconds(prng.below(200)) : base::milliseconds(600'000);
  while (!s.all_over() && s.worker.network().elapsed() < limit && !testing::Test::HasFailure()) {
    s.worker.turn();
    s.worker.check_limits();
    EXPECT_LE(s.worker.network().held_bytes(), held_max);
  }
  if (!cut_short) {
    EXPECT_TRUE(s.all_over()) << "a client hangs";
    if (s.all_over()) check_plans(s);
  }
  s.scenery.troubled = true;  // what is under way is cut
  s.worker.shut_down();
  check_statistics(s);
}

TEST(HttpSim, ClientsGetTheirOwnResponsesOrHonestFailuresAndNothingIsLeft) { for_each_seed(300, run); }

}  // namespace
}  // namespace millrace::sim
