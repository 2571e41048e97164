// What a route match costs, by the number of routes: each lookup takes the last route of the table. The bar is that the
// last of 10,000 prefix or path routes costs at most 1.5 times the only one.
//   bench_route_match [--benchmark_filter=...]
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "http/header_map.h"
#include "route/table.h"

namespace {

using namespace millrace;
using Kind = route::PathMatch::Kind;

std::shared_ptr<const route::RouteTable> table_with(Kind kind, size_t routes) {
  route::RouteTableOptions options;
  auto& host = options.virtual_hosts.emplace_back();
  host.name = "all";
  host.domains = {"*"};
  for (size_t i = 0; i < routes; ++i) {
    auto& route = host.routes.emplace_back();
    route.match.path.kind = kind;
    route.match.path.value = fmt::format("/service-{}/v1", routes == 1 ? 9'999 : i);
    route.route.cluster = "c";
  }
  return *route::RouteTable::compile(std::move(options));
}

void match_last(benchmark::State& state, Kind kind) {
  const auto routes = static_cast<size_t>(state.range(0));
  const auto table = table_with(kind, routes);
  http::HeaderMap headers;
  headers.add(http::Header::kMethod, "GET");
  headers.add(http::Header::kAuthority, "www.example.com");
  const std::string path = fmt::format("/service-{}/v1", routes == 1 ? 9'999 : routes - 1);
  headers.add(http::Header::kPath, kind == Kind::kPath ? path : path + "/users/42?verbose=1");
  for (auto _ : state) benchmark::DoNotOptimize(table->match({headers}));
}

BENCHMARK_CAPTURE(match_last, prefix, Kind::kPrefix)->Arg(1)->Arg(100)->Arg(10'000);
BENCHMARK_CAPTURE(match_last, path, Kind::kPath)->Arg(1)->Arg(100)->Arg(10'000);
BENCHMARK_CAPTURE(match_last, path_separated_prefix, Kind::kPathSeparatedPrefix)->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace

BENCHMARK_MAIN();
