#include "route/rewrite.h"

#include "stream/stream_info.h"
#include "unit/route/support.h"

namespace millrace::route {
namespace {

using http::Header;
using Path = PathMatch::Kind;

// One table, one request, what a route makes of it.
struct Exchange {
  explicit Exchange(RouteTableOptions options, std::string_view host, std::string_view path, Fields more = {})
      : table(compiled(std::move(options))) {
    fill_request(request, host, path, more);
    if (table != nullptr) route = table->match({request});
    context.info = &info;
    context.request_headers = &request;
    context.response_headers = &response;
  }
  Exchange& forward(uint64_t random = 0, RewriteOptions options = {}) {
    cluster = route->choose_cluster(request, random);
    rewrite_request(*route, cluster, request, context, options);
    return *this;
  }
  Exchange& answer() {
    rewrite_response(*route, cluster.weighted, response, context);
    return *this;
  }
  std::string location() { return std::string(redirect_location(*route, request, response)); }
  std::string path() const { return std::string(request.get(Header::kPath)); }

  std::shared_ptr<const RouteTable> table;
  http::HeaderMap request, response;
  stream::StreamInfo info;
  stream::FormatContext context;
  const Route* route = nullptr;
  ClusterChoice cluster;
};

RouteTableOptions with_prefix_rewrite(Path kind, std::string match, std::string rewrite) {
  RouteOptions route = route_to(kind, std::move(match), "c");
  route.route.prefix_rewrite = std::move(rewrite);
  return table_of({route});
}

TEST(RewritePath, ReplacesWhatTheMatchTookAndKeepsTheQuery) {
  EXPECT_EQ(Exchange(with_prefix_rewrite(Path::kPrefix, "/static", "/"), "h", "/static?a=1").forward().path(), "/?a=1");
  EXPECT_EQ(Exchange(with_prefix_rewrite(Path::kPrefix, "/a/", "/b/"), "h", "/a/x/y?q").forward().path(), "/b/x/y?q");
  EXPECT_EQ(Exchange(with_prefix_rewrite(Path::kPath, "/a", "/b"), "h", "/a?q").forward().path(), "/b?q");
  EXPECT_EQ(Exchange(with_prefix_rewrite(Path::kPathSeparatedPrefix, "/a", "/b"), "h", "/a/x").forward().path(),
            "/b/x");
  EXPECT_EQ(Exchange(with_prefix_rewrite(Path::kSafeRegex, "/a.*", "/b"), "h", "/axyz?q").forward().path(), "/b?q");
}

TEST(RewritePath, RemembersTheOriginalUnlessSuppressed) {
  Exchange kept(with_prefix_rewrite(Path::kPrefix, "/a", "/b"), "h", "/a/x?q");
  EXPECT_EQ(kept.forward().request.get(Header::kEnvoyOriginalPath), "/a/x?q");
  Exchange suppressed(with_prefix_rewrite(Path::kPrefix, "/a", "/b"), "h", "/a/x?q");
  EXPECT_FALSE(suppressed.forward(0, {.set_original = false}).request.has(Header::kEnvoyOriginalPath));
  Exchange untouched(table_of({prefix("/", "c")}), "h", "/a");
  EXPECT_FALSE(untouched.forward().request.has(Header::kEnvoyOriginalPath));
}

TEST(RewritePath, RegexWorksOnThePathWithoutQuery) {
  RouteOptions route = prefix("/", "c");
  route.route.regex_rewrite = RegexRewrite{"^/service/([^/]+)(/.*)$", "\\2/instance/\\1"};
  EXPECT_EQ(Exchange(table_of({route}), "h", "/service/foo/v1/api?x=/service/").forward().path(),
            "/v1/api/instance/foo?x=/service/");
  EXPECT_EQ(Exchange(table_of({route}), "h", "/other?x").forward().path(), "/other?x");
  route.route.regex_rewrite = RegexRewrite{".*", ""};
  EXPECT_EQ(Exchange(table_of({route}), "h", "/kept").forward().path(), "/kept");
}

RouteTableOptions with_host_rewrite(HostRewrite rewrite, bool append = false) {
  RouteOptions route = prefix("/", "c");
  route.route.host_rewrite = std::move(rewrite);
  route.route.append_x_forwarded_host = append;
  return table_of({route});
}

TEST(RewriteHost, ByLiteralHeaderOrPath) {
  Exchange literal(with_host_rewrite({HostRewrite::Kind::kLiteral, "new.com", {}}), "old.com", "/");
  EXPECT_EQ(literal.forward().request.get(Header::kAuthority), "new.com");
  EXPECT_EQ(literal.request.get(Header::kEnvoyOriginalHost), "old.com");
  EXPECT_FALSE(literal.request.has(Header::kForwardedHost));
  Exchange header(with_host_rewrite({HostRewrite::Kind::kHeader, "X-Host", {}}), "old.com", "/", {{"x-host", "h.com"}});
  EXPECT_EQ(header.forward().request.get(Header::kAuthority), "h.com");
  Exchange missing(with_host_rewrite({HostRewrite::Kind::kHeader, "X-Host", {}}), "old.com", "/");
  EXPECT_EQ(missing.forward().request.get(Header::kAuthority), "old.com");
  const HostRewrite by_path{HostRewrite::Kind::kPathRegex, "", {"^/(.+)/.+$", "\\1"}};
  EXPECT_EQ(Exchange(with_host_rewrite(by_path), "old.com", "/p.com/x?/y").forward().request.get(Header::kAuthority),
            "p.com");
  EXPECT_EQ(Exchange(with_host_rewrite(by_path), "old.com", "/x").forward().request.get(Header::kAuthority), "old.com");
}

TEST(RewriteHost, AppendsTheOldHostOnceWhenAsked) {
  const HostRewrite literal{HostRewrite::Kind::kLiteral, "new.com", {}};
  Exchange first(with_host_rewrite(literal, true), "old.com", "/");
  EXPECT_EQ(first.forward().request.get(Header::kForwardedHost), "old.com");
  Exchange second(with_host_rewrite(literal, true), "old.com", "/", {{"x-forwarded-host", "front.com"}});
  EXPECT_EQ(second.forward().request.get(Header::kForwardedHost), "front.com,old.com");
  Exchange same(with_host_rewrite(literal, true), "old.com", "/", {{"x-forwarded-host", "front.com, old.com"}});
  EXPECT_EQ(same.forward().request.get(Header::kForwardedHost), "front.com, old.com");
}

HeaderMutations request_add(std::string name, std::string value,
                            AppendAction action = AppendAction::kAppendIfExistsOrAdd) {
  HeaderMutations out;
  out.request_headers_to_add.push_back({std::move(name), std::move(value), action, false});
  return out;
}

TEST(HeaderEdits, FourWaysToAdd) {
  RouteOptions route = prefix("/", "c");
  auto& add = route.mutations.request_headers_to_add;
  add.push_back({"X-Append", "new", AppendAction::kAppendIfExistsOrAdd, false});
  add.push_back({"x-absent", "new", AppendAction::kAddIfAbsent, false});
  add.push_back({"x-absent-2", "new", AppendAction::kAddIfAbsent, false});
  add.push_back({"x-over", "new", AppendAction::kOverwriteIfExistsOrAdd, false});
  add.push_back({"x-over-2", "new", AppendAction::kOverwriteIfExistsOrAdd, false});
  add.push_back({"x-exists", "new", AppendAction::kOverwriteIfExists, false});
  add.push_back({"x-exists-2", "new", AppendAction::kOverwriteIfExists, false});
  add.push_back({"user-agent", "millrace", AppendAction::kOverwriteIfExistsOrAdd, false});
  Exchange exchange(table_of({route}), "h", "/",
                    {{"x-append", "old"}, {"x-absent", "old"}, {"x-over", "old"}, {"x-over", "older"},
                     {"x-exists", "old"}, {"user-agent", "curl"}});
  const http::HeaderMap& request = exchange.forward().request;
  EXPECT_EQ(request.joined("x-append"), "old, new");
  EXPECT_EQ(request.joined("x-absent"), "old");
  EXPECT_EQ(request.joined("x-absent-2"), "new");
  EXPECT_EQ(request.joined("x-over"), "new");
  EXPECT_EQ(request.joined("x-over-2"), "new");
  EXPECT_EQ(request.joined("x-exists"), "new");
  EXPECT_FALSE(request.has("x-exists-2"));
  EXPECT_EQ(request.joined("user-agent"), "millrace");
}

TEST(HeaderEdits, FormatsOperatorsAndLeavesOutEmptyValues) {
  RouteOptions route = prefix("/", "c");
  route.mutations = request_add("x-copy", "<%REQ(x-from)%>");
  route.mutations.request_headers_to_add.push_back(
      {"x-none", "%REQ(x-missing)%", AppendAction::kAppendIfExistsOrAdd, false});
  route.mutations.request_headers_to_add.push_back(
      {"x-kept", "%REQ(x-missing)%", AppendAction::kAppendIfExistsOrAdd, true});
  route.mutations.request_headers_to_add.push_back({"x-percent", "100%%", AppendAction::kAppendIfExistsOrAdd, false});
  Exchange exchange(table_of({route}), "h", "/", {{"x-from", "me"}});
  const http::HeaderMap& request = exchange.forward().request;
  EXPECT_EQ(request.get("x-copy"), "<me>");
  EXPECT_FALSE(request.has("x-none"));
  EXPECT_TRUE(request.has("x-kept"));
  EXPECT_EQ(request.get("x-percent"), "100%");
}

TEST(HeaderEdits, RemovesFirstAndMakesAllValuesBeforeItWrites) {
  RouteOptions route = prefix("/", "c");
  route.mutations.request_headers_to_remove = {"X-Gone", "user-agent"};
  route.mutations.request_headers_to_add = {
      {"x-gone", "back", AppendAction::kAddIfAbsent, false},
      {"x-a", "1", AppendAction::kOverwriteIfExistsOrAdd, false},
      {"x-b", "%REQ(x-a)%", AppendAction::kOverwriteIfExistsOrAdd, false}};
  Exchange exchange(table_of({route}), "h", "/", {{"x-gone", "old"}, {"x-a", "0"}, {"user-agent", "curl"}});
  const http::HeaderMap& request = exchange.forward().request;
  EXPECT_EQ(request.joined("x-gone"), "back");
  EXPECT_EQ(request.get("x-a"), "1");
  EXPECT_EQ(request.get("x-b"), "0");
  EXPECT_FALSE(request.has(Header::kUserAgent));
}

TEST(HeaderEdits, MoreOfThemThanTheStackHolds) {
  RouteOptions route = prefix("/", "c");
  for (int i = 0; i < 100; ++i) {
    route.mutations.request_headers_to_add.push_back(
        {"x-" + std::to_string(i), "v", AppendAction::kAppendIfExistsOrAdd, false});
  }
  Exchange exchange(table_of({route}), "h", "/");
  EXPECT_EQ(exchange.forward().request.size(), 104u);
}

RouteTableOptions with_levels() {
  RouteOptions route;
  route.match.path.value = "/";
  route.route.cluster_kind = RouteAction::ClusterKind::kWeightedClusters;
  route.route.weighted_clusters.resize(1);
  route.route.weighted_clusters[0].name = "c";
  route.route.weighted_clusters[0].weight = 1;
  const auto level = [](std::string value) {
    HeaderMutations out;
    out.request_headers_to_add = {{"x-all", value, AppendAction::kAppendIfExistsOrAdd, false},
                                  {"x-last", value, AppendAction::kOverwriteIfExistsOrAdd, false}};
    out.response_headers_to_add = out.request_headers_to_add;
    return out;
  };
  route.route.weighted_clusters[0].mutations = level("cluster");
  route.mutations = level("route");
  RouteTableOptions options = table_of({route});
  options.virtual_hosts[0].mutations = level("host");
  options.mutations = level("table");
  return options;
}

TEST(HeaderEdits, GoFromTheMostSpecificLevelToTheLeast) {
  Exchange exchange(with_levels(), "h", "/");
  exchange.forward().answer();
  for (const http::HeaderMap* headers : {&exchange.request, &exchange.response}) {
    EXPECT_EQ(headers->joined("x-all"), "cluster, route, host, table");
    EXPECT_EQ(headers->joined("x-last"), "table");
  }
}

TEST(HeaderEdits, GoTheOtherWayWhereTheMostSpecificWins) {
  RouteTableOptions options = with_levels();
  options.most_specific_header_mutations_wins = true;
  Exchange exchange(options, "h", "/");
  exchange.forward().answer();
  EXPECT_EQ(exchange.response.joined("x-all"), "table, host, route, cluster");
  EXPECT_EQ(exchange.request.joined("x-last"), "cluster");
}

TEST(HeaderEdits, RefuseAValueThatCannotBeAHeader) {
  RouteOptions route = prefix("/", "c");
  route.mutations = request_add("x", "a\nb");
  EXPECT_EQ(compile_error(table_of({route})),
            "virtual_hosts[0].routes[0].request_headers_to_add[0]: the value has bytes that no header may carry");
  route.mutations = request_add("x", "%NO_SUCH_OPERATOR%");
  EXPECT_NE(compile_error(table_of({route})).find("NO_SUCH_OPERATOR"), std::string::npos);
  route.mutations = {};
  route.mutations.response_headers_to_remove = {":status"};
  EXPECT_NE(compile_error(table_of({route})).find("response_headers_to_remove[0]"), std::string::npos);
}

RouteTableOptions redirecting(RedirectAction redirect, Path kind = Path::kPrefix, std::string match = "/old") {
  RouteOptions route = route_to(kind, std::move(match), "");
  route.action = ActionKind::kRedirect;
  route.redirect = std::move(redirect);
  return table_of({route});
}

std::string location(const RedirectAction& redirect, std::string_view path, std::string_view host = "h.com",
                     std::string_view proto = "http") {
  return Exchange(redirecting(redirect), host, path, {{"x-forwarded-proto", proto}}).location();
}

TEST(Redirect, KeepsWhatItIsNotToldToChange) {
  EXPECT_EQ(location({}, "/old/x?a=1"), "http://h.com/old/x?a=1");
  EXPECT_EQ(location({.host_redirect = "new.com"}, "/old"), "http://new.com/old");
  EXPECT_EQ(location({.scheme_redirect = "ftp"}, "/old"), "ftp://h.com/old");
  EXPECT_EQ(location({.strip_query = true}, "/old?x"), "http://h.com/old");
}

TEST(Redirect, DropsTheDefaultPortOfTheSchemeItLeaves) {
  EXPECT_EQ(location({.https_redirect = true}, "/old", "h.com:80"), "https://h.com/old");
  EXPECT_EQ(location({.https_redirect = true}, "/old", "h.com:8080"), "https://h.com:8080/old");
  EXPECT_EQ(location({.https_redirect = true}, "/old", "[::1]:80"), "https://[::1]/old");
  EXPECT_EQ(location({.https_redirect = true}, "/old", "[::1]"), "https://[::1]/old");
  EXPECT_EQ(location({.https_redirect = true, .port_redirect = 8443}, "/old", "h.com:8080"), "https://h.com:8443/old");
  EXPECT_EQ(location({.scheme_redirect = "http"}, "/old", "h.com:443", "https"), "http://h.com/old");
  EXPECT_EQ(location({}, "/old", "h.com:80"), "http://h.com:80/old");
}

TEST(Redirect, ReplacesThePath) {
  using Kind = RedirectAction::Path;
  EXPECT_EQ(location({.path = Kind::kReplace, .path_value = "/new"}, "/old?bar=1"), "http://h.com/new?bar=1");
  EXPECT_EQ(location({.path = Kind::kReplace, .path_value = "/new", .strip_query = true}, "/old?bar=1"),
            "http://h.com/new");
  EXPECT_EQ(location({.path = Kind::kReplace, .path_value = "/new?foo=1", .strip_query = true}, "/old?bar=1"),
            "http://h.com/new?foo=1");
  EXPECT_EQ(location({.path = Kind::kPrefixRewrite, .path_value = "/new"}, "/old/x?bar=1"), "http://h.com/new/x?bar=1");
  EXPECT_EQ(location({.path = Kind::kPrefixRewrite, .path_value = "/new", .strip_query = true}, "/old/x?bar=1"),
            "http://h.com/new/x");
  EXPECT_EQ(location({.path = Kind::kRegexRewrite, .regex_rewrite = {"/old/(.*)", "/new/\\1"}}, "/old/x?/old/y"),
            "http://h.com/new/x?/old/y");
}

}  // namespace
}  // namespace millrace::route
