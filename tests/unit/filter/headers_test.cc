// What the connection manager does to headers, case by case as Envoy documents it.
#include <gmock/gmock.h>

#include "filter/request_headers.h"
#include "filter/response_headers.h"
#include "stats/names.h"
#include "stats/schema_http.h"
#include "unit/route/support.h"

namespace millrace::filter {
namespace {

namespace hs = stats::http;
using testing::MatchesRegex;

using List = std::vector<std::pair<std::string, std::string>>;

class RequestHeadersTest : public testing::Test {
 protected:
  RequestHeadersTest() {
    options.routes = route::compiled(route::table_of({route::prefix("/", "c")}));
    options.generate_request_id = false;
    from("203.0.113.9");
    local = *net::Address::parse_ip("192.0.2.1", 8080);
    connection.local_address = &local;
  }
  void from(std::string_view ip) {
    remote = *net::Address::parse_ip(ip, 40000);
    connection.remote_address = &remote;
  }
  void internal(std::string_view prefix, uint32_t length) {
    options.internal_ranges.push_back({*net::Address::parse_ip(prefix, 0), length});
  }
  RequestVerdict prepare(const List& more = {}, std::string_view path = "/", std::string_view authority = "a",
                         std::string_view method = "GET", bool upgrade = false) {
    headers.clear();
    headers.add(":method", method);
    headers.add(":path", path);
    headers.add(":authority", authority);
    for (const auto& [name, value] : more) headers.add(name, value);
    return prepare_request_headers(headers, options, {connection, prng, codec_stats, upgrade}, trusted);
  }
  std::string get(std::string_view name) const {
    return headers.has(name) ? headers.joined(name) : std::string("(none)");
  }
  std::string client() const { return trusted.empty() ? "(connection)" : trusted.ip_string(); }

  stats::Store store{1};
  stats::StatBlockPtr codec_block = store.add_block(stats::http1_codec::kSchema, stats::plain_name("http1."));
  stats::StatShard codec_stats = codec_block->main_shard();
  HcmOptions options;
  stream::ConnectionInfo connection;
  net::Address remote, local, trusted;
  base::Prng prng{5};
  http::HeaderMap headers;
};

// ---- who the client is

struct ForwardedCase {
  bool use_remote;
  uint32_t hops;
  const char* forwarded_for;      // null: absent
  const char* forwarded_proto;
  const char* want_for;           // what goes to the upstream
  const char* want_proto;
  const char* want_client;        // the trusted client
  const char* want_external;      // x-envoy-external-address
};

TEST_F(RequestHeadersTest, ForwardedForAndProtoByTheTrustInEarlierHops) {
  const ForwardedCase cases[] = {
      // An edge proxy: the connection is the client, whatever the header says.
      {true, 0, nullptr, nullptr, "203.0.113.9", "http", "(connection)", "203.0.113.9"},
      {true, 0, "1.1.1.1", "https", "1.1.1.1,203.0.113.9", "http", "(connection)", "203.0.113.9"},
      // Behind trusted proxies: the n-th address from the right, before ours is appended.
      {true, 1, "1.1.1.1", "https", "1.1.1.1,203.0.113.9", "https", "1.1.1.1", "1.1.1.1"},
      {true, 1, "9.9.9.9, 1.1.1.1", nullptr, "9.9.9.9, 1.1.1.1,203.0.113.9", "http", "1.1.1.1", "1.1.1.1"},
      {true, 2, "9.9.9.9, 1.1.1.1", "https", "9.9.9.9, 1.1.1.1,203.0.113.9", "https", "9.9.9.9", "9.9.9.9"},
      // Fewer addresses than hops, or none that is one: the connection.
      {true, 2, "1.1.1.1", "https", "1.1.1.1,203.0.113.9", "https", "(connection)", "203.0.113.9"},
      {true, 1, "junk", "https", "junk,203.0.113.9", "https", "(connection)", "203.0.113.9"},
      // Inside a mesh: the header is believed and not touched.
      {false, 0, nullptr, nullptr, "(none)", "http", "(connection)", "(none)"},
      {false, 0, "1.1.1.1", "https", "1.1.1.1", "https", "1.1.1.1", "(none)"},
      {false, 0, "9.9.9.9,1.1.1.1", nullptr, "9.9.9.9,1.1.1.1", "http", "1.1.1.1", "(none)"},
      {false, 1, "9.9.9.9,1.1.1.1", "https", "9.9.9.9,1.1.1.1", "https", "9.9.9.9", "(none)"},
      {false, 0, "2001:db8::7", nullptr, "2001:db8::7", "http", "2001:db8::7", "(none)"},
      {false, 0, "1.1.1.1:80", nullptr, "1.1.1.1:80", "http", "(connection)", "(none)"},
  };
  for (const ForwardedCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.use_remote << " " << c.hops << " "
                                    << (c.forwarded_for ? c.forwarded_for : "-"));
    options.use_remote_address = c.use_remote;
    options.xff_num_trusted_hops = c.hops;
    List more;
    if (c.forwarded_for != nullptr) more.emplace_back("x-forwarded-for", c.forwarded_for);
    if (c.forwarded_proto != nullptr) more.emplace_back("x-forwarded-proto", c.forwarded_proto);
    EXPECT_EQ(prepare(more).status, 0u);
    EXPECT_EQ(get("x-forwarded-for"), c.want_for);
    EXPECT_EQ(get("x-forwarded-proto"), c.want_proto);
    EXPECT_EQ(client(), c.want_client);
    EXPECT_EQ(get("x-envoy-external-address"), c.want_external);
  }
}

TEST_F(RequestHeadersTest, ForwardedForOnSeveralLinesIsOneList) {
  options.xff_num_trusted_hops = 1;
  prepare({{"x-forwarded-for", "9.9.9.9"}, {"x-forwarded-for", "1.1.1.1"}});
  EXPECT_EQ(client(), "9.9.9.9");
}

TEST_F(RequestHeadersTest, SkipXffAppendLeavesTheHeaderAlone) {
  options.use_remote_address = true;
  options.skip_xff_append = true;
  prepare({{"x-forwarded-for", "1.1.1.1"}});
  EXPECT_EQ(get("x-forwarded-for"), "1.1.1.1");
  prepare();
  EXPECT_EQ(get("x-forwarded-for"), "(none)");
}

TEST_F(RequestHeadersTest, TheForwardedPortIsTheOneTheClientCameTo) {
  options.use_remote_address = true;
  options.append_x_forwarded_port = true;
  prepare({{"x-forwarded-port", "1"}});
  EXPECT_EQ(get("x-forwarded-port"), "8080");
  options.xff_num_trusted_hops = 1;
  prepare({{"x-forwarded-port", "443"}});
  EXPECT_EQ(get("x-forwarded-port"), "443");
}

TEST_F(RequestHeadersTest, AddressesFromForwardedForAreCountedFromTheRight) {
  EXPECT_EQ(address_from_forwarded_for("1.1.1.1", 0).address.ip_string(), "1.1.1.1");
  EXPECT_TRUE(address_from_forwarded_for("1.1.1.1", 0).single);
  EXPECT_TRUE(address_from_forwarded_for("1.1.1.1", 1).address.empty());
  EXPECT_FALSE(address_from_forwarded_for("2.2.2.2 , 1.1.1.1 ", 0).single);
  EXPECT_EQ(address_from_forwarded_for("2.2.2.2 , 1.1.1.1 ", 0).address.ip_string(), "1.1.1.1");
  EXPECT_EQ(address_from_forwarded_for("2.2.2.2 , 1.1.1.1 ", 1).address.ip_string(), "2.2.2.2");
  for (const char* bad : {"", ",", "1.1.1.1,", "1.1.1", "example.com", "1.1.1.1 2.2.2.2"}) {
    EXPECT_TRUE(address_from_forwarded_for(bad, 0).address.empty()) << bad;
  }
}

// ---- inside and outside

TEST_F(RequestHeadersTest, AClientCannotCallItselfInternal) {
  for (bool use_remote : {true, false}) {
    options.use_remote_address = use_remote;
    prepare({{"x-envoy-internal", "true"}});
    EXPECT_EQ(get("x-envoy-internal"), "(none)");
  }
}

TEST_F(RequestHeadersTest, NoAddressIsInternalUnlessConfigured) {
  options.use_remote_address = true;
  from("10.1.2.3");
  prepare();
  EXPECT_EQ(get("x-envoy-internal"), "(none)");
  internal("10.0.0.0", 8);
  prepare();
  EXPECT_EQ(get("x-envoy-internal"), "true");
  EXPECT_EQ(get("x-envoy-external-address"), "(none)");
}

TEST_F(RequestHeadersTest, InternalNeedsExactlyOneHopThatIsInternal) {
  internal("10.0.0.0", 8);
  prepare({{"x-forwarded-for", "10.0.0.7"}});
  EXPECT_EQ(get("x-envoy-internal"), "true");
  prepare({{"x-forwarded-for", "10.0.0.7,10.0.0.8"}});
  EXPECT_EQ(get("x-envoy-internal"), "(none)");
  prepare();
  EXPECT_EQ(get("x-envoy-internal"), "(none)");
  options.use_remote_address = true;
  from("10.1.2.3");
  prepare({{"x-forwarded-for", "10.0.0.7"}});  // it has passed through somebody else
  EXPECT_EQ(get("x-envoy-internal"), "(none)");
}

TEST_F(RequestHeadersTest, HeadersThatSteerTheProxyAreTakenFromStrangers) {
  const List steering = {
      {"x-envoy-retry-on", "5xx"}, {"x-envoy-retry-grpc-on", "cancelled"}, {"x-envoy-max-retries", "9"},
      {"x-envoy-upstream-alt-stat-name", "x"}, {"x-envoy-upstream-rq-timeout-ms", "1"},
      {"x-envoy-upstream-rq-per-try-timeout-ms", "1"}, {"x-envoy-expected-rq-timeout-ms", "1"},
      {"x-envoy-force-trace", "1"}, {"x-envoy-ip-tags", "x"}, {"x-envoy-hedge-on-per-try-timeout", "true"},
      {"x-envoy-retriable-status-codes", "409"}, {"x-envoy-retriable-header-names", "x"}};
  const List edge_only = {{"x-envoy-decorator-operation", "x"}, {"x-envoy-downstream-service-cluster", "x"},
                          {"x-envoy-downstream-service-node", "x"}};
  List all = steering;
  all.insert(all.end(), edge_only.begin(), edge_only.end());
  internal("10.0.0.0", 8);

  prepare(all);
  for (const auto& [name, value] : steering) EXPECT_EQ(get(name), "(none)") << name;
  for (const auto& [name, value] : edge_only) EXPECT_EQ(get(name), value) << name;

  options.use_remote_address = true;
  prepare(all);
  for (const auto& [name, value] : all) EXPECT_EQ(get(name), "(none)") << name;

  from("10.0.0.1");
  prepare(all);
  for (const auto& [name, value] : all) EXPECT_EQ(get(name), value) << name;
}

TEST_F(RequestHeadersTest, TheRouteTablesInternalOnlyHeadersGoToo) {
  route::RouteTableOptions table = route::table_of({route::prefix("/", "c")});
  table.internal_only_headers = {"x-secret"};
  options.routes = route::compiled(table);
  internal("10.0.0.0", 8);
  prepare({{"x-secret", "1"}});
  EXPECT_EQ(get("x-secret"), "(none)");
  prepare({{"x-secret", "1"}, {"x-forwarded-for", "10.0.0.1"}});
  EXPECT_EQ(get("x-secret"), "1");
}

// ---- x-request-id, via, :scheme

TEST_F(RequestHeadersTest, RequestIdsAreMadeAtTheEdgeAndKeptInside) {
  options.generate_request_id = true;
  constexpr const char* kUuid4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
  prepare();
  const std::string first = get("x-request-id");
  EXPECT_THAT(first, MatchesRegex(kUuid4));
  prepare();
  EXPECT_NE(get("x-request-id"), first);
  prepare({{"x-request-id", "theirs"}});
  EXPECT_EQ(get("x-request-id"), "theirs");
  options.use_remote_address = true;  // now an edge: a stranger's id is replaced
  prepare({{"x-request-id", "theirs"}});
  EXPECT_THAT(get("x-request-id"), MatchesRegex(kUuid4));
  options.preserve_external_request_id = true;
  prepare({{"x-request-id", "theirs"}});
  EXPECT_EQ(get("x-request-id"), "theirs");
  options.generate_request_id = false;
  prepare();
  EXPECT_EQ(get("x-request-id"), "(none)");
}

TEST_F(RequestHeadersTest, ViaIsAppended) {
  options.via = "1.1 millrace";
  prepare();
  EXPECT_EQ(get("via"), "1.1 millrace");
  prepare({{"via", "1.0 other"}});
  EXPECT_EQ(get("via"), "1.0 other, 1.1 millrace");
}

TEST_F(RequestHeadersTest, TheSchemeFollowsTheSanitisedForwardedProto) {
  prepare({{"x-forwarded-proto", "https"}});
  EXPECT_EQ(get(":scheme"), "https");
  prepare({{"x-forwarded-proto", "gopher"}});
  EXPECT_EQ(get(":scheme"), "http");
  options.use_remote_address = true;
  prepare({{"x-forwarded-proto", "https"}});
  EXPECT_EQ(get(":scheme"), "http");
  prepare({{":scheme", "https"}});  // of an absolute-form target
  EXPECT_EQ(get(":scheme"), "https");
}

TEST_F(RequestHeadersTest, ASchemeToOverwriteWithIsUsed) {
  options.scheme_to_overwrite = "https";
  prepare();
  EXPECT_EQ(get(":scheme"), "https");
  prepare({{":scheme", "http"}});
  EXPECT_EQ(get(":scheme"), "https");
}

// ---- hop-by-hop

TEST_F(RequestHeadersTest, WhatConcernsOneConnectionStaysOnIt) {
  prepare({{"connection", "keep-alive, X-Mine ,close"}, {"x-mine", "1"}, {"keep-alive", "timeout=5"},
           {"proxy-connection", "keep-alive"}, {"transfer-encoding", "chunked"}, {"upgrade", "h2c"},
           {"http2-settings", "AAA"}, {"x-other", "2"}});
  for (const char* name : {"connection", "x-mine", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
                           "http2-settings"}) {
    EXPECT_EQ(get(name), "(none)") << name;
  }
  EXPECT_EQ(get("x-other"), "2");
}

TEST_F(RequestHeadersTest, EveryConnectionLineNominates) {
  prepare({{"connection", "x-one"}, {"connection", "x-two"}, {"x-one", "1"}, {"x-two", "2"}});
  EXPECT_EQ(get("x-one"), "(none)");
  EXPECT_EQ(get("x-two"), "(none)");
  EXPECT_EQ(get("connection"), "(none)");
}

TEST_F(RequestHeadersTest, ConnectionCannotTakeAwayWhatTheProxyRelaysOn) {
  prepare({{"connection", "host, :path, content-length, x-forwarded-for, x-forwarded-proto, connection"},
           {"content-length", "3"}, {"x-forwarded-for", "1.1.1.1"}});
  EXPECT_EQ(get(":path"), "/");
  EXPECT_EQ(get(":authority"), "a");
  EXPECT_EQ(get("content-length"), "3");
  EXPECT_EQ(get("x-forwarded-for"), "1.1.1.1");
}

TEST_F(RequestHeadersTest, OnlyTrailersMayBeAskedForWithTe) {
  prepare({{"te", "trailers"}});
  EXPECT_EQ(get("te"), "trailers");
  prepare({{"te", "gzip, Trailers;q=1"}});
  EXPECT_EQ(get("te"), "(none)");
  prepare({{"te", "gzip, trailers"}});
  EXPECT_EQ(get("te"), "trailers");
  prepare({{"te", "deflate"}});
  EXPECT_EQ(get("te"), "(none)");
  prepare({{"te", "gzip"}, {"te", "trailers"}});
  EXPECT_EQ(get("te"), "trailers");
}

TEST_F(RequestHeadersTest, AnUpgradeKeepsConnectionAndUpgrade) {
  prepare({{"connection", "keep-alive, Upgrade"}, {"upgrade", "websocket"}}, "/", "a", "GET", true);
  EXPECT_EQ(get("connection"), "upgrade");
  EXPECT_EQ(get("upgrade"), "websocket");
}

// ---- paths and hosts

struct PathCase {
  http::PathOptions options;
  const char* path;
  unsigned status;
  const char* want;
  int counter;
};

TEST_F(RequestHeadersTest, PathsAreNormalisedRefusedOrRedirected) {
  using enum http::EscapedSlashes;
  const PathCase cases[] = {
      {{.normalize = false}, "/a/../b//c", 0, "/a/../b//c", -1},
      {{.normalize = true}, "/a/../b//c?d=/../e", 0, "/b//c?d=/../e", -1},
      {{.normalize = true}, "/%41%2fb", 0, "/A%2fb", -1},
      {{.normalize = true}, "/a\\..\\b", 0, "/b", -1},
      {{.normalize = true}, "/%00", 400, nullptr, hs::kDownstreamRqFailedPathNormalization},
      {{.normalize = true, .merge_slashes = true}, "//a///b", 0, "/a/b", -1},
      {{.normalize = false, .merge_slashes = true}, "/a//../b", 0, "/a/../b", -1},
      {{.normalize = true, .escaped_slashes = kReject}, "/a%2Fb", 400, nullptr,
       hs::kDownstreamRqFailedPathNormalization},
      {{.normalize = true, .escaped_slashes = kUnescapeAndForward}, "/a%2Fb%5cc", 0, "/a/b/c", -1},
      {{.normalize = true, .escaped_slashes = kUnescapeAndRedirect}, "/a%2Fb?x", 307, "/a/b?x",
       hs::kDownstreamRqRedirectedWithNormalizedPath},
      {{.normalize = true}, "relative", 404, nullptr, hs::kDownstreamRqNonRelativePath},
  };
  for (const PathCase& c : cases) {
    SCOPED_TRACE(c.path);
    options.path = c.options;
    const RequestVerdict v = prepare({}, c.path);
    EXPECT_EQ(v.status, c.status);
    EXPECT_EQ(v.counter, c.counter);
    if (c.want != nullptr) { EXPECT_EQ(get(":path"), c.want); }
    EXPECT_EQ(v.location, c.status == 307 ? c.want : "");
  }
}

TEST_F(RequestHeadersTest, TheAsteriskOfOptionsIsNoPath) {
  EXPECT_EQ(prepare({}, "*", "a", "OPTIONS").status, 0u);
  EXPECT_EQ(get(":path"), "*");
}

struct HostCase {
  bool any, matching, dot;
  const char* authority;
  const char* want;
};

TEST_F(RequestHeadersTest, PortsAndDotsAreStrippedFromTheHostWhenAsked) {
  const HostCase cases[] = {
      {false, false, false, "a.com.:8080", "a.com.:8080"},
      {false, true, false, "a.com:8080", "a.com"},
      {false, true, false, "a.com:80", "a.com:80"},
      {true, false, false, "a.com:80", "a.com"},
      {true, false, false, "[2001:db8::1]:80", "[2001:db8::1]"},
      {true, false, false, "[2001:db8::1]", "[2001:db8::1]"},
      {false, false, true, "a.com.", "a.com"},
      {false, false, true, "a.com", "a.com"},
      {true, false, true, "a.com.:80", "a.com"},
      {false, false, true, "a.com.:80", "a.com:80"},  // the dot is the host's, not the end's
  };
  for (const HostCase& c : cases) {
    SCOPED_TRACE(c.authority);
    options.strip_any_host_port = c.any;
    options.strip_matching_host_port = c.matching;
    options.strip_trailing_host_dot = c.dot;
    prepare({}, "/", c.authority);
    EXPECT_EQ(get(":authority"), c.want);
  }
}

TEST_F(RequestHeadersTest, NamesWithUnderscoresAreAllowedDroppedOrRefused) {
  EXPECT_EQ(prepare({{"x_a", "1"}}).status, 0u);
  EXPECT_EQ(get("x_a"), "1");
  options.headers_with_underscores = UnderscoreHeaders::kDrop;
  EXPECT_EQ(prepare({{"x_a", "1"}, {"x-b", "2"}, {"_", "3"}}).status, 0u);
  EXPECT_EQ(get("x_a"), "(none)");
  EXPECT_EQ(get("_"), "(none)");
  EXPECT_EQ(get("x-b"), "2");
  options.headers_with_underscores = UnderscoreHeaders::kReject;
  const RequestVerdict refused = prepare({{"x_a", "1"}, {"x_b", "2"}});
  EXPECT_EQ(refused.status, 400u);
  EXPECT_EQ(refused.details, "http1.unexpected_underscore");
  EXPECT_EQ(prepare({{"x-b", "2"}}).status, 0u);
  EXPECT_EQ(codec_block->counter(stats::http1_codec::kDroppedHeadersWithUnderscores), 2u);  // headers
  EXPECT_EQ(codec_block->counter(stats::http1_codec::kRequestsRejectedWithUnderscoresInHeaders), 1u);  // requests
}

TEST_F(RequestHeadersTest, TheRouteDecidesOnUpgradesBeforeTheManager) {
  headers.add(":method", "GET");
  headers.add("upgrade", "WebSocket");
  EXPECT_FALSE(upgrade_allowed(headers, options, nullptr));
  options.upgrades.push_back({"websocket", true});
  EXPECT_TRUE(upgrade_allowed(headers, options, nullptr));
  route::RouteTableOptions table = route::table_of({route::prefix("/", "c")});
  table.virtual_hosts[0].routes[0].route.upgrade_configs.push_back({"websocket", false});
  const auto compiled = route::compiled(table);
  EXPECT_FALSE(upgrade_allowed(headers, options, &compiled->virtual_hosts()[0]->routes[0]));
  options.upgrades[0].enabled = false;
  table.virtual_hosts[0].routes[0].route.upgrade_configs[0].enabled = true;
  const auto again = route::compiled(table);
  EXPECT_TRUE(upgrade_allowed(headers, options, &again->virtual_hosts()[0]->routes[0]));
  headers.set(":method", "CONNECT");
  EXPECT_FALSE(upgrade_allowed(headers, options, nullptr));
}

// ---- responses

class ResponseHeadersTest : public testing::Test {
 protected:
  void prepare(const List& fields, ResponseFacts facts = {}) {
    headers.clear();
    headers.add(":status", "200");
    for (const auto& [name, value] : fields) headers.add(name, value);
    if (facts.date.empty()) facts.date = "now";
    prepare_response_headers(headers, options, facts);
  }
  std::string get(std::string_view name) const {
    return headers.has(name) ? headers.joined(name) : std::string("(none)");
  }
  HcmOptions options;
  http::HeaderMap headers;
};

TEST_F(ResponseHeadersTest, TheServerHeaderIsOverwrittenAddedOrLeft) {
  prepare({{"server", "nginx"}});
  EXPECT_EQ(get("server"), "envoy");
  options.server_name = "millrace";
  options.server_header_transformation = ServerHeader::kAppendIfAbsent;
  prepare({{"server", "nginx"}});
  EXPECT_EQ(get("server"), "nginx");
  prepare({});
  EXPECT_EQ(get("server"), "millrace");
  options.server_header_transformation = ServerHeader::kPassThrough;
  prepare({});
  EXPECT_EQ(get("server"), "(none)");
}

TEST_F(ResponseHeadersTest, TheDateIsTheUpstreamsOrOurs) {
  prepare({{"date", "theirs"}});
  EXPECT_EQ(get("date"), "theirs");
  prepare({});
  EXPECT_EQ(get("date"), "now");
}

TEST_F(ResponseHeadersTest, HopByHopFieldsStay) {
  prepare({{"connection", "close, x-hop"}, {"x-hop", "1"}, {"keep-alive", "timeout=5"},
           {"transfer-encoding", "chunked"}, {"upgrade", "h2c"}, {"proxy-connection", "x"}, {"x-kept", "1"}});
  for (const char* name : {"connection", "x-hop", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"}) {
    EXPECT_EQ(get(name), "(none)") << name;
  }
  EXPECT_EQ(get("x-kept"), "1");
  prepare({{"connection", "Upgrade"}, {"upgrade", "websocket"}}, {.upgrade = true});
  EXPECT_EQ(get("connection"), "upgrade");
  EXPECT_EQ(get("upgrade"), "websocket");
}

TEST_F(ResponseHeadersTest, RequestIdAndViaWhenAsked) {
  prepare({}, {.request_id = "id"});
  EXPECT_EQ(get("x-request-id"), "(none)");
  options.always_set_request_id_in_response = true;
  options.via = "1.1 millrace";
  prepare({{"via", "1.1 up"}}, {.request_id = "id"});
  EXPECT_EQ(get("x-request-id"), "id");
  EXPECT_EQ(get("via"), "1.1 up, 1.1 millrace");
}

}  // namespace
}  // namespace millrace::filter
