#include "route/table.h"

#include "unit/route/support.h"

namespace millrace::route {
namespace {

using Path = PathMatch::Kind;

TEST(RouteTable, TakesTheFirstRouteThatMatchesNotTheLongest) {
  const auto table =
      compiled(table_of({prefix("/a", "short"), prefix("/a/b", "long"), whole("/x", "exact"), prefix("/", "rest")}));
  EXPECT_EQ(taken(*table, "h", "/a/b"), "short");
  EXPECT_EQ(taken(*table, "h", "/x"), "exact");
  EXPECT_EQ(taken(*table, "h", "/xy"), "rest");
  EXPECT_EQ(taken(*table, "h", "/"), "rest");
}

TEST(RouteTable, LeavesQueryAndFragmentOutOfThePath) {
  const auto table = compiled(table_of({whole("/a", "a"), prefix("/b?", "never"), prefix("/b", "b"),
                                        route_to(Path::kSafeRegex, "/c[0-9]", "c")}));
  EXPECT_EQ(taken(*table, "h", "/a?x=/b"), "a");
  EXPECT_EQ(taken(*table, "h", "/a#f"), "a");
  EXPECT_EQ(taken(*table, "h", "/b?x"), "b");
  EXPECT_EQ(taken(*table, "h", "/c7?x=1"), "c");
  EXPECT_EQ(taken(*table, "h", "/c77"), "none");
}

TEST(RouteTable, SeparatedPrefixEndsAtASlash) {
  const auto table = compiled(table_of({route_to(Path::kPathSeparatedPrefix, "/api/dev", "dev"),
                                        route_to(Path::kPathSeparatedPrefix, "/API", "api", false)}));
  EXPECT_EQ(taken(*table, "h", "/api/dev"), "dev");
  EXPECT_EQ(taken(*table, "h", "/api/dev/v1?x"), "dev");
  EXPECT_EQ(taken(*table, "h", "/api/developer"), "api");
  EXPECT_EQ(taken(*table, "h", "/Api"), "api");
  EXPECT_EQ(taken(*table, "h", "/apis"), "none");
}

TEST(RouteTable, IgnoresCaseOnlyWhereAsked) {
  const auto table = compiled(table_of({whole("/A", "upper"), route_to(Path::kPath, "/Foo", "folded", false),
                                        route_to(Path::kPrefix, "/Bar/", "bar", false)}));
  EXPECT_EQ(taken(*table, "h", "/a"), "none");
  EXPECT_EQ(taken(*table, "h", "/fOO"), "folded");
  EXPECT_EQ(taken(*table, "h", "/foo/"), "none");
  EXPECT_EQ(taken(*table, "h", "/BAR/x"), "bar");
}

TEST(RouteTable, ParametersOfThePathCanBeIgnored) {
  RouteTableOptions options = table_of({whole("/a", "a")});
  EXPECT_EQ(taken(*compiled(options), "h", "/a;v=1?q"), "none");
  options.ignore_path_parameters_in_path_matching = true;
  EXPECT_EQ(taken(*compiled(options), "h", "/a;v=1?q"), "a");
}

TEST(RouteTable, GoesOnToTheNextRouteWhenAConditionFails) {
  RouteOptions canary = prefix("/", "canary");
  HeaderMatch header;
  header.name = "x-canary";
  canary.match.headers.push_back(header);
  RouteOptions debug = prefix("/", "debug");
  QueryParameterMatch parameter;
  parameter.name = "debug";
  debug.match.query_parameters.push_back(parameter);
  RouteOptions grpc = prefix("/", "grpc");
  grpc.match.grpc = true;
  RouteOptions some = prefix("/", "some");
  some.match.runtime_fraction = Fraction{25, 100};
  const auto table = compiled(table_of({canary, debug, grpc, some, prefix("/", "rest")}));
  EXPECT_EQ(taken(*table, "h", "/", {{"x-canary", "1"}}, 50), "canary");
  EXPECT_EQ(taken(*table, "h", "/?debug", {}, 50), "debug");
  EXPECT_EQ(taken(*table, "h", "/", {{"content-type", "application/grpc+proto"}}, 50), "grpc");
  EXPECT_EQ(taken(*table, "h", "/", {{"content-type", "application/grpc-web"}}, 50), "rest");
  EXPECT_EQ(taken(*table, "h", "/", {}, 124), "some");
  EXPECT_EQ(taken(*table, "h", "/", {}, 125), "rest");
}

TEST(RouteTable, ConnectRoutesTakeConnectRequestsOnly) {
  const auto table = compiled(table_of({route_to(Path::kConnect, "", "tunnel"), prefix("/", "rest")}));
  EXPECT_EQ(taken(*table, "h", "/"), "rest");
  http::HeaderMap headers;
  fill(headers, {{":method", "CONNECT"}, {":authority", "a.com:443"}});
  const Route* route = table->match({headers});
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->name(), "tunnel");
  const auto plain = compiled(table_of({prefix("/", "rest"), prefix("", "everything")}));
  EXPECT_EQ(plain->match({headers}), nullptr);
}

TEST(RouteTable, FindsTheVirtualHostByDomain) {
  RouteTableOptions options;
  options.virtual_hosts = {virtual_host("a", {"a.com", "*.a.com"}, {prefix("/", "a")}),
                           virtual_host("b", {"b.com"}, {prefix("/b", "b")})};
  const auto table = compiled(options);
  EXPECT_EQ(taken(*table, "A.com", "/"), "a");
  EXPECT_EQ(taken(*table, "www.a.com", "/"), "a");
  EXPECT_EQ(taken(*table, "b.com", "/"), "none");
  EXPECT_EQ(taken(*table, "b.com:80", "/b"), "none");
  EXPECT_EQ(taken(*table, "c.com", "/b"), "none");
  options.ignore_port_in_host_matching = true;
  EXPECT_EQ(taken(*compiled(options), "b.com:80", "/b"), "b");
}

TEST(RouteTable, SendsPlainRequestsToTlsWhereRequired) {
  RouteTableOptions options = table_of({prefix("/", "a")});
  options.virtual_hosts[0].require_tls = RequireTls::kExternalOnly;
  const auto external = compiled(options);
  http::HeaderMap plain, secure, internal;
  fill_request(plain, "h", "/", {{"x-forwarded-proto", "http"}});
  fill_request(secure, "h", "/", {{"x-forwarded-proto", "https"}});
  fill_request(internal, "h", "/", {{"x-forwarded-proto", "http"}, {"x-envoy-internal", "true"}});
  EXPECT_EQ(external->match({plain})->action(), ActionKind::kRedirect);
  EXPECT_EQ(external->match({plain})->options->redirect.response_code, 301u);
  EXPECT_EQ(external->match({secure})->name(), "a");
  EXPECT_EQ(external->match({internal})->name(), "a");
  options.virtual_hosts[0].require_tls = RequireTls::kAll;
  const auto all = compiled(options);
  EXPECT_EQ(all->match({internal})->action(), ActionKind::kRedirect);
  http::HeaderMap unsaid;
  fill_request(unsaid, "h", "/");
  EXPECT_EQ(all->match({unsaid, 0, false})->action(), ActionKind::kRedirect);
  EXPECT_EQ(all->match({unsaid, 0, true})->name(), "a");
}

TEST(RouteTable, ErrorsNameTheFieldAndBothHoldersOfADomain) {
  RouteTableOptions options;
  options.virtual_hosts = {virtual_host("one", {"*"}, {}), virtual_host("two", {"b.com", "*"}, {})};
  EXPECT_EQ(compile_error(options),
            "virtual_hosts[1].domains[1]: \"*\" of virtual host \"two\" belongs to virtual host \"one\" "
            "(virtual_hosts[0]) already");
  options.virtual_hosts[1].domains = {"b.com", "B.com"};
  EXPECT_EQ(compile_error(options), "virtual_hosts[1].domains[1]: \"B.com\" stands twice in virtual host \"two\"");
}

TEST(RouteTable, ErrorsNameTheRouteAndItsField) {
  EXPECT_EQ(compile_error(table_of({prefix("/", "a"), route_to(Path::kSafeRegex, "/a(", "b")})),
            "virtual_hosts[0].routes[1].match.safe_regex: bad regex \"/a(\" at byte 0: missing ): /a(");
  EXPECT_EQ(compile_error(table_of({prefix("/", "")})), "virtual_hosts[0].routes[0].route.cluster: is empty");
  EXPECT_NE(compile_error(table_of({route_to(Path::kPathSeparatedPrefix, "/a/", "a")}))
                .find("virtual_hosts[0].routes[0].match.path_separated_prefix: \"/a/\""), std::string::npos);
  RouteOptions header = prefix("/", "a");
  header.match.headers.resize(2);
  header.match.headers[0].name = "x";
  EXPECT_EQ(compile_error(table_of({header})), "virtual_hosts[0].routes[0].match.headers[1]: name: is empty");
  RouteOptions edit = prefix("/", "a");
  edit.mutations.request_headers_to_add.push_back({.name = "Host", .value = "x"});
  EXPECT_EQ(compile_error(table_of({edit})),
            "virtual_hosts[0].routes[0].request_headers_to_add[0]: \":\"-prefixed and host headers may not be "
            "modified: \"host\"");
  RouteOptions body;
  body.action = ActionKind::kDirectResponse;
  body.direct_response.body = std::string(4097, 'x');
  EXPECT_EQ(compile_error(table_of({body})),
            "virtual_hosts[0].routes[0].direct_response.body: has 4097 bytes, max_direct_response_body_size_bytes "
            "allows 4096");
  RouteOptions group = prefix("/", "a");
  group.route.regex_rewrite = RegexRewrite{"/a", "\\1"};
  EXPECT_NE(compile_error(table_of({group})).find("routes[0].route.regex_rewrite: bad substitution"),
            std::string::npos);
}

RouteOptions weighted(std::vector<std::pair<std::string, uint32_t>> weights) {
  RouteOptions route;
  route.match.path.value = "/";
  route.route.cluster_kind = RouteAction::ClusterKind::kWeightedClusters;
  for (auto& [name, weight] : weights) {
    route.route.weighted_clusters.push_back({});
    route.route.weighted_clusters.back().name = name;
    route.route.weighted_clusters.back().weight = weight;
  }
  return route;
}

TEST(ChooseCluster, SpreadsByWeight) {
  const auto table = compiled(table_of({weighted({{"a", 1}, {"never", 0}, {"b", 3}, {"a", 6}})}));
  http::HeaderMap headers;
  fill_request(headers, "h", "/");
  const Route* route = table->match({headers});
  std::string chosen;
  for (uint64_t random = 100; random < 110; ++random) chosen += route->choose_cluster(headers, random).name;
  EXPECT_EQ(chosen, "abbbaaaaaa");
  EXPECT_EQ(table->clusters(), (std::vector<std::string>{"a", "never", "b"}));
  EXPECT_EQ(route->choose_cluster(headers, 1).id, 2u);
  EXPECT_EQ(route->choose_cluster(headers, 9).id, 0u);
}

TEST(ChooseCluster, TakesTheRandomValueOfAHeader) {
  RouteOptions options = weighted({{"a", 5}, {"b", 5}});
  options.route.weighted_clusters_random_header = "X-Random";
  const auto table = compiled(table_of({options}));
  http::HeaderMap headers;
  fill_request(headers, "h", "/", {{"x-random", "7"}});
  const Route* route = table->match({headers});
  EXPECT_EQ(route->choose_cluster(headers, 0).name, "b");
  headers.set("x-random", "seven");
  EXPECT_EQ(route->choose_cluster(headers, 0).name, "a");
}

TEST(ChooseCluster, ReadsTheClusterFromAHeader) {
  RouteOptions by_header = prefix("/", "X-Cluster");
  by_header.route.cluster_kind = RouteAction::ClusterKind::kClusterHeader;
  const auto table = compiled(table_of({by_header}));
  http::HeaderMap headers;
  fill_request(headers, "h", "/", {{"x-cluster", "blue"}});
  const Route* route = table->match({headers});
  EXPECT_EQ(route->choose_cluster(headers, 0).name, "blue");
  EXPECT_EQ(route->choose_cluster(headers, 0).id, kUnlistedCluster);
  headers.remove("x-cluster");
  EXPECT_TRUE(route->choose_cluster(headers, 0).name.empty());
}

TEST(ChooseCluster, RefusesWeightsThatDoNotAddUp) {
  EXPECT_EQ(compile_error(table_of({weighted({{"a", 0}})})),
            "virtual_hosts[0].routes[0].route.weighted_clusters: the weights add up to 0");
  RouteOptions total = weighted({{"a", 1}, {"b", 2}});
  total.route.total_weight = 100;
  EXPECT_EQ(compile_error(table_of({total})),
            "virtual_hosts[0].routes[0].route.weighted_clusters: the weights add up to 3, not to total_weight 100");
}

TEST(Route, UpgradeTypesIgnoreCase) {
  RouteOptions options = prefix("/", "a");
  options.route.upgrade_configs = {{"websocket", true}, {"h2c", false}};
  const auto table = compiled(table_of({options}));
  http::HeaderMap headers;
  fill_request(headers, "h", "/");
  const Route* route = table->match({headers});
  ASSERT_NE(route->upgrade("WebSocket"), nullptr);
  EXPECT_TRUE(route->upgrade("WebSocket")->enabled);
  EXPECT_FALSE(route->upgrade("h2c")->enabled);
  EXPECT_EQ(route->upgrade("foo"), nullptr);
}

// ---- what routes say for filters

struct Marked final : PerFilterConfig {};

TEST(FilterOverrides, TheLevelNearestToTheRouteDecides) {
  const auto table_level = std::make_shared<Marked>(), host_level = std::make_shared<Marked>(),
             route_level = std::make_shared<Marked>(), cluster_level = std::make_shared<Marked>();
  RouteOptions weighted = prefix("/w", "c");
  weighted.route.cluster_kind = RouteAction::ClusterKind::kWeightedClusters;
  weighted.route.weighted_clusters = {{.name = "a", .weight = 1, .filter_overrides = {{"two", cluster_level, true}}},
                                      {.name = "b", .weight = 1}};
  weighted.filter_overrides = {{"two", route_level, false}};
  RouteTableOptions options = table_of({weighted, prefix("/plain", "c")});
  options.filters = {"one", "two", "router"};
  options.filter_overrides = {{"one", table_level, true}, {"unknown", table_level, true}};
  options.virtual_hosts[0].filter_overrides = {{"one", nullptr, false}, {"two", host_level, true}};
  const auto table = compiled(options);
  EXPECT_TRUE(table->per_filter());
  const auto at = [&](std::string_view path, uint64_t random) -> const FilterOverrides& {
    http::HeaderMap headers;
    fill_request(headers, "h", path);
    return table->match({headers})->filter_overrides(headers, random);
  };
  const FilterOverrides& plain = at("/plain", 0);
  ASSERT_EQ(plain.size(), 3u);
  EXPECT_EQ(plain[0].config, table_level.get());  // the virtual host only switches
  EXPECT_FALSE(plain[0].disabled);
  EXPECT_EQ(plain[1].config, host_level.get());
  EXPECT_TRUE(plain[1].disabled);
  EXPECT_FALSE(plain[2].said);
  EXPECT_EQ(at("/w", 0)[1].config, cluster_level.get());
  EXPECT_TRUE(at("/w", 0)[1].disabled);
  EXPECT_EQ(at("/w", 1)[1].config, route_level.get());
  EXPECT_FALSE(at("/w", 1)[1].disabled);
}

TEST(FilterOverrides, AreNoneUnlessAFilterIsNamed) {
  RouteTableOptions options = table_of({prefix("/", "c")});
  options.filters = {"one"};
  options.filter_overrides = {{"other", nullptr, true}};
  const auto table = compiled(options);
  EXPECT_FALSE(table->per_filter());
  http::HeaderMap headers;
  fill_request(headers, "h", "/");
  EXPECT_TRUE(table->match({headers})->filter_overrides(headers, 0).empty());
}

}  // namespace
}  // namespace millrace::route
