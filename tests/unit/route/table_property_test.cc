// The compiled table against a plain walk over the routes, on random tables and paths. A failure prints its seed.
#include <re2/re2.h>

#include "base/prng.h"
#include "unit/route/support.h"

namespace millrace::route {
namespace {

using base::Prng;
using Path = PathMatch::Kind;

std::string random_path(Prng& prng, size_t max_bytes) {
  static constexpr std::string_view kBytes = "/abAB;";
  std::string path = "/";
  for (size_t n = prng.below(max_bytes + 1); n > 0; --n) path += kBytes[prng.below(kBytes.size())];
  return path;
}

RouteOptions random_route(Prng& prng, uint32_t number) {
  static constexpr std::string_view kRegexes[] = {"/a.*",      "/[ab]+",  ".*",    "(?i)/ab?/.*",
                                                  "/a/(a|b)*", "/(a|A)b", "/|/a+", "/ab/b$"};
  static constexpr Path kKinds[] = {Path::kPrefix, Path::kPath, Path::kSafeRegex, Path::kPathSeparatedPrefix};
  const Path kind = kKinds[prng.below(4)];
  std::string value = random_path(prng, 5);
  if (kind == Path::kSafeRegex) value = kRegexes[prng.below(8)];
  if (kind == Path::kPathSeparatedPrefix) value += 'a';
  if (kind == Path::kPrefix && prng.below(10) == 0) value = "";
  RouteOptions route = route_to(kind, value, std::to_string(number), prng.below(3) != 0);
  if (prng.below(3) == 0) {
    HeaderMatch header;
    header.name = "x";
    header.kind = HeaderMatch::Kind::kString;
    header.string.value = std::to_string(prng.below(3));
    route.match.headers.push_back(header);
  }
  return route;
}

bool folded_equal(std::string_view a, std::string_view b, bool case_sensitive) {
  return case_sensitive ? a == b : http::equal_ignoring_case(a, b);
}

bool path_matches(const PathMatch& match, std::string_view path) {
  const std::string& value = match.value;
  const bool begins = folded_equal(path.substr(0, value.size()), value, match.case_sensitive);
  switch (match.kind) {
    case Path::kPrefix: return begins;
    case Path::kPath: return folded_equal(path, value, match.case_sensitive);
    case Path::kPathSeparatedPrefix: return begins && (path.size() == value.size() || path[value.size()] == '/');
    default: return RE2::FullMatch(re2::StringPiece(path.data(), path.size()), value);
  }
}

std::string walk(const std::vector<RouteOptions>& routes, std::string_view path, std::string_view x) {
  path = path.substr(0, path.find('?'));
  for (const RouteOptions& route : routes) {
    if (!path_matches(route.match.path, path)) continue;
    if (route.match.headers.empty() || route.match.headers[0].string.value == x) return route.name;
  }
  return "none";
}

void compare(uint64_t seed, size_t max_routes, size_t path_bytes) {
  Prng prng(seed);
  std::vector<RouteOptions> routes;
  for (size_t n = 1 + prng.below(max_routes); n > 0; --n) {
    routes.push_back(random_route(prng, static_cast<uint32_t>(routes.size())));
  }
  const auto table = compiled(table_of(routes));
  for (int i = 0; i < 60; ++i) {
    std::string path = random_path(prng, path_bytes);
    if (prng.below(4) == 0) path += "?a=/b";
    const std::string x = std::to_string(prng.below(4));
    ASSERT_EQ(taken(*table, "h", path, {{"x", x}}), walk(routes, path, x)) << "seed " << seed << " path " << path;
  }
}

TEST(RouteTableProperty, AgreesWithAWalkOnSmallTables) {
  for (uint64_t seed = 1; seed <= 2000 && !testing::Test::HasFatalFailure(); ++seed) compare(seed, 8, 6);
}

TEST(RouteTableProperty, AgreesWithAWalkOnLargeTables) {
  for (uint64_t seed = 1; seed <= 30 && !testing::Test::HasFatalFailure(); ++seed) compare(seed, 400, 9);
}

TEST(RouteTableProperty, AgreesWithAWalkWherePrefixesNestDeeply) {
  Prng prng(7);
  std::vector<RouteOptions> routes;
  for (size_t n = 2 * Candidates::kMaxLists; n > 0; --n) {
    RouteOptions route = prefix("/" + std::string(n, 'a'), std::to_string(n));
    if (n % 2 == 0) route.match.headers.push_back({.name = "y"});
    routes.push_back(route);
  }
  const auto table = compiled(table_of(routes));
  for (size_t n = 0; n < 3 * Candidates::kMaxLists; ++n) {
    const std::string path = "/" + std::string(n, 'a') + "b";
    EXPECT_EQ(taken(*table, "h", path),
              n == 0 ? "none" : std::to_string(std::min<size_t>(n, 95) - (n < 95 && n % 2 == 0)))
        << path;
  }
}

}  // namespace
}  // namespace millrace::route
