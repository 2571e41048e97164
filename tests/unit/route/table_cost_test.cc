// The last of 10,000 routes may cost 1.5 times the only one. CPU time of this thread, not the clock on the
// wall; the best of many short rounds, taken in turns, is what the code costs when nobody interrupts it.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>

#include "unit/route/support.h"

// Costs mean nothing under a sanitizer: its instrumented loads cost more than the lookups do.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace millrace::route {
namespace {

using Path = PathMatch::Kind;

int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

std::shared_ptr<const RouteTable> table_with(Path kind, size_t first, size_t last) {
  std::vector<RouteOptions> routes;
  for (size_t i = first; i <= last; ++i) routes.push_back(route_to(kind, fmt::format("/service-{}/v1", i), "c"));
  return compiled(table_of(std::move(routes)));
}

int64_t cost_of_round(const RouteTable& table, const http::HeaderMap& headers) {
  const int64_t start = thread_cpu_ns();
  for (int i = 0; i < 5'000; ++i) {
    if (table.match({headers}) == nullptr) ADD_FAILURE();
  }
  return thread_cpu_ns() - start;
}

double ratio(Path kind, std::string_view path) {
  const auto one = table_with(kind, 9'999, 9'999);
  const auto many = table_with(kind, 0, 9'999);
  http::HeaderMap headers;
  fill_request(headers, "www.example.com", path);
  int64_t best_one = INT64_MAX;
  int64_t best_many = INT64_MAX;
  for (int round = 0; round < 40; ++round) {
    best_one = std::min(best_one, cost_of_round(*one, headers));
    best_many = std::min(best_many, cost_of_round(*many, headers));
  }
  return static_cast<double>(best_many) / static_cast<double>(best_one);
}

TEST(RouteTableCost, TheLastOfTenThousandCostsAtMostOneAndAHalfTimesTheOnlyOne) {
  EXPECT_LE(ratio(Path::kPrefix, "/service-9999/v1/users/42?verbose=1"), 1.5);
  EXPECT_LE(ratio(Path::kPath, "/service-9999/v1"), 1.5);
  EXPECT_LE(ratio(Path::kPathSeparatedPrefix, "/service-9999/v1/users"), 1.5);
}

}  // namespace
}  // namespace millrace::route

#endif
