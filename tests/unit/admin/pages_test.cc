#include "admin/pages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "fixture.h"
#include "stats/names.h"
#include "stats/schema_cluster.h"

namespace millrace::admin {
namespace {

using nlohmann::json;
using testing::Test;

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(AdminTest, ReadyFollowsTheState) {
  const Answer live = get("/ready");
  EXPECT_EQ(live.status, 200u);
  EXPECT_EQ(live.body, "LIVE\n");
  state_ = ServerState::kDraining;
  const Answer draining = get("/ready");
  EXPECT_EQ(draining.status, 503u);
  EXPECT_EQ(draining.body, "DRAINING\n");
  state_ = ServerState::kInitializing;
  EXPECT_EQ(get("/ready").body, "INITIALIZING\n");
  state_ = ServerState::kPreInitializing;
  EXPECT_EQ(get("/ready").body, "PRE_INITIALIZING\n");
}

TEST_F(AdminTest, AnswersCarryEnvoysHeaders) {
  const Answer answer = get("/ready");
  EXPECT_EQ(answer.headers.at("content-type"), "text/plain; charset=UTF-8");
  EXPECT_EQ(answer.headers.at("cache-control"), "no-cache, max-age=0");
  EXPECT_EQ(answer.headers.at("x-content-type-options"), "nosniff");
  EXPECT_EQ(answer.headers.at("server"), "envoy");
  EXPECT_TRUE(answer.headers.at("date").ends_with(" GMT"));
  EXPECT_EQ(answer.headers.at("content-length"), "5");
  EXPECT_EQ(answer.headers.count("connection"), 0u);
}

TEST_F(AdminTest, ServerInfoIsTheMessageOfEnvoysApi) {
  context_.facts = [] {
    ServerFacts facts;
    facts.version = "v1";
    facts.uptime_current_epoch = base::seconds(12);
    facts.uptime_all_epochs = base::seconds(30);
    facts.command_line_options = {{"concurrency", uint64_t{2}}, {"mode", "Serve"}, {"cpuset_threads", true}};
    facts.node.id = "n\"1";
    facts.node.zone = "z";
    facts.node.metadata_json = R"({"a":[1]})";
    return facts;
  };
  const Answer answer = get("/server_info");
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  const json info = json::parse(answer.body);
  EXPECT_EQ(info["version"], "v1");
  EXPECT_EQ(info["state"], "LIVE");
  EXPECT_EQ(info["hot_restart_version"], "disabled");
  EXPECT_EQ(info["uptime_current_epoch"], "12s");
  EXPECT_EQ(info["uptime_all_epochs"], "30s");
  EXPECT_EQ(info["command_line_options"], json::parse(R"({"concurrency":2,"mode":"Serve","cpuset_threads":true})"));
  EXPECT_EQ(info["node"]["id"], "n\"1");
  EXPECT_EQ(info["node"]["locality"]["zone"], "z");
  EXPECT_EQ(info["node"]["metadata"]["a"][0], 1);
}

TEST_F(AdminTest, UnknownPathsGetTheListOfPages) {
  const Answer answer = get("/nonsense?x=1");
  EXPECT_EQ(answer.status, 404u);
  EXPECT_TRUE(answer.body.starts_with("invalid path. admin commands are:\n"));
  EXPECT_TRUE(contains(answer.body, "  /stats/prometheus: "));
  EXPECT_TRUE(contains(answer.body, "  /quitquitquit (POST): "));
  const Answer help = get("/help");
  EXPECT_EQ(help.status, 200u);
  EXPECT_EQ("invalid path. " + help.body, answer.body);
}

TEST_F(AdminTest, EveryPageIsInTheIndexAndTheHelp) {
  const Answer index = get("/");
  EXPECT_EQ(index.headers.at("content-type"), "text/html; charset=UTF-8");
  for (const Page& page : pages()) {
    if (page.path == "/") continue;
    const std::string link = (page.acts ? "action=\"" : "href=\"") + std::string(page.path.substr(1)) + '"';
    EXPECT_TRUE(contains(index.body, link)) << page.path;
    EXPECT_TRUE(contains(help_text(), page.path));
  }
  EXPECT_TRUE(std::is_sorted(pages().begin(), pages().end(),
                             [](const Page& a, const Page& b) { return a.path < b.path; }));
}

TEST_F(AdminTest, WhatChangesTheServerNeedsPost) {
  for (const Page& page : pages()) {
    if (!page.acts) continue;
    const Answer answer = get(page.path);
    EXPECT_EQ(answer.status, 405u) << page.path;
    EXPECT_EQ(answer.headers.at("allow"), "POST");
  }
  EXPECT_EQ(get("/ready", "PUT").status, 405u);
  EXPECT_EQ(post("/ready").status, 200u);
}

TEST_F(AdminTest, EnvoysOtherPagesSayThatTheyAreMissing) {
  for (const char* path : {"/contention", "/init_dump", "/heapprofiler", "/stats/recentlookups"}) {
    const Answer answer = post(path);
    EXPECT_EQ(answer.status, 501u) << path;
    EXPECT_TRUE(contains(answer.body, path));
  }
}

TEST_F(AdminTest, OnlyAllowedPathsAreServed) {
  options_.allow_paths = {{route::StringMatch::Kind::kExact, "/ready", false},
                          {route::StringMatch::Kind::kPrefix, "/stats", false}};
  EXPECT_EQ(get("/ready?x").status, 200u);
  EXPECT_EQ(get("/stats/prometheus").status, 200u);
  EXPECT_EQ(get("/config_dump").status, 403u);
  EXPECT_EQ(post("/quitquitquit").status, 403u);
  EXPECT_EQ(get("/nonsense").status, 403u);
}

TEST_F(AdminTest, ABadMatcherOfAllowPathsIsAnError) {
  options_.allow_paths = {{route::StringMatch::Kind::kSafeRegex, "(", false}};
  const auto server = AdminServer::create(*loop_, options_, context_);
  ASSERT_FALSE(server.ok());
  EXPECT_TRUE(server.error().what.starts_with("admin.allow_paths[0]: "));
}

class AdminStatsTest : public AdminTest {
 protected:
  void SetUp() override {
    AdminTest::SetUp();
    block_ = store_.add_block(stats::cluster::kSchema, stats::cluster_name("up<1>"));
    block_->inc(stats::kMainShard, stats::cluster::kUpstreamCxTotal, 3);
  }
  stats::StatBlockPtr block_;
};

TEST_F(AdminStatsTest, TextHasOneLineForEach) {
  const Answer answer = get("/stats");
  EXPECT_EQ(answer.headers.at("transfer-encoding"), "chunked");
  EXPECT_TRUE(contains(answer.body, "cluster.up<1>.upstream_cx_total: 3\n"));
  EXPECT_TRUE(contains(answer.body, "cluster.up<1>.upstream_rq_timeout: 0\n"));
}

TEST_F(AdminStatsTest, FiltersByNameUseAndType) {
  EXPECT_EQ(get("/stats?filter=up.*cx_total%24").body, "cluster.up<1>.upstream_cx_total: 3\n");
  const std::string used = get("/stats?usedonly&filter=^cluster").body;
  EXPECT_EQ(used, "cluster.up<1>.upstream_cx_total: 3\n");
  EXPECT_FALSE(contains(get("/stats?type=Gauges").body, "upstream_cx_total"));
  EXPECT_TRUE(contains(get("/stats?type=Counters").body, "upstream_cx_total"));
}

TEST_F(AdminStatsTest, RefusesWhatItDoesNotUnderstand) {
  const Answer regex = get("/stats?filter=%5B");
  EXPECT_EQ(regex.status, 400u);
  EXPECT_TRUE(contains(regex.body, "missing ]"));
  EXPECT_EQ(get("/stats/prometheus?filter=%5B").status, 400u);
  EXPECT_EQ(get("/stats?type=Numbers").status, 400u);
  EXPECT_EQ(get("/stats?format=xml").status, 400u);
  EXPECT_EQ(get("/stats?histogram_buckets=round").status, 400u);
  EXPECT_EQ(get("/stats/prometheus?histogram_buckets=disjoint").status, 400u);
  EXPECT_EQ(get("/stats/prometheus?histogram_buckets=detailed").status, 400u);
}

TEST_F(AdminStatsTest, JsonIsAnArrayOfNamesAndValues) {
  const Answer answer = get("/stats?format=json&filter=upstream_cx_total");
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  EXPECT_EQ(json::parse(answer.body)["stats"][0],
            json::parse(R"({"name":"cluster.up<1>.upstream_cx_total","value":3})"));
}

TEST_F(AdminStatsTest, PrometheusHasTwoPaths) {
  const std::string line = "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"up<1>\"} 3\n";
  EXPECT_TRUE(contains(get("/stats/prometheus").body, line));
  EXPECT_TRUE(contains(get("/stats?format=prometheus").body, line));
}

TEST_F(AdminStatsTest, PrometheusShowsHistogramsAsBucketsOrSummaries) {
  block_->worker(0).record(stats::cluster::kUpstreamRqTime, 1);
  const std::string type = "# TYPE envoy_cluster_upstream_rq_time ";
  EXPECT_TRUE(contains(get("/stats/prometheus").body, type + "histogram\n"));
  EXPECT_TRUE(contains(get("/stats/prometheus?histogram_buckets=cumulative").body, type + "histogram\n"));
  for (const char* target : {"/stats/prometheus?histogram_buckets=summary",
                             "/stats?format=prometheus&histogram_buckets=summary"}) {
    const std::string body = get(target).body;
    EXPECT_TRUE(contains(body, type + "summary\n"));
    EXPECT_FALSE(contains(body, "_bucket{"));
  }
}

TEST_F(AdminStatsTest, HtmlIsEscaped) {
  const Answer answer = get("/stats?format=html&filter=cx_total");
  EXPECT_EQ(answer.headers.at("content-type"), "text/html; charset=UTF-8");
  EXPECT_TRUE(contains(answer.body, "cluster.up&lt;1&gt;.upstream_cx_total: 3\n"));
  EXPECT_TRUE(answer.body.ends_with("</html>\n"));
}

TEST_F(AdminStatsTest, GaugesAreBroughtUpToDateFirst) {
  make_clusters(3, 2);
  int refreshed = 0;
  context_.refresh_stats = [&] { ++refreshed; };
  EXPECT_EQ(get("/stats?filter=c2.membership_total").body, "cluster.c2.membership_total: 2\n");
  EXPECT_EQ(refreshed, 1);
}

TEST_F(AdminStatsTest, CountersAreReset) {
  EXPECT_EQ(post("/reset_counters").body, "OK\n");
  EXPECT_EQ(block_->counter(stats::cluster::kUpstreamCxTotal), 0u);
}

TEST_F(AdminTest, ClustersAsText) {
  make_clusters(2, 1);
  const Answer answer = get("/clusters");
  EXPECT_TRUE(answer.body.starts_with(
      "c0::observability_name::c0\n"
      "c0::default_priority::max_connections::1024\nc0::default_priority::max_pending_requests::1024\n"
      "c0::default_priority::max_requests::1024\nc0::default_priority::max_retries::3\n"
      "c0::high_priority::max_connections::1024\nc0::high_priority::max_pending_requests::1024\n"
      "c0::high_priority::max_requests::1024\nc0::high_priority::max_retries::3\n"
      "c0::added_via_api::false\n"
      "c0::127.0.0.1:1::cx_active::0\nc0::127.0.0.1:1::cx_connect_fail::0\nc0::127.0.0.1:1::cx_total::0\n"
      "c0::127.0.0.1:1::rq_active::0\nc0::127.0.0.1:1::rq_error::0\nc0::127.0.0.1:1::rq_success::0\n"
      "c0::127.0.0.1:1::rq_timeout::0\nc0::127.0.0.1:1::rq_total::0\nc0::127.0.0.1:1::hostname::\n"
      "c0::127.0.0.1:1::health_flags::healthy\nc0::127.0.0.1:1::weight::1\nc0::127.0.0.1:1::region::r\n"
      "c0::127.0.0.1:1::zone::z\nc0::127.0.0.1:1::sub_zone::\nc0::127.0.0.1:1::canary::false\n"
      "c0::127.0.0.1:1::priority::0\nc0::127.0.0.1:1::success_rate::-1\n"
      "c0::127.0.0.1:1::local_origin_success_rate::-1\nc1::observability_name::c1\n"))
      << answer.body;
}

TEST_F(AdminTest, ClustersAsJson) {
  make_clusters(2, 2);
  upstream::Host& sick = *context_.clusters()->at(1).hosts()[0];
  sick.set(upstream::HealthFlag::kFailedActiveHc);
  sick.add_connection(2);
  const json all = json::parse(get("/clusters?format=json").body)["cluster_statuses"];
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["name"], "c0");
  EXPECT_EQ(all[0]["circuit_breakers"]["thresholds"][1],
            json::parse(R"({"priority":"HIGH","max_connections":1024,"max_pending_requests":1024,"max_requests":1024,
                            "max_retries":3})"));
  const json& host = all[1]["host_statuses"][0];
  EXPECT_EQ(host["address"], json::parse(R"({"socket_address":{"address":"127.0.0.1","port_value":1}})"));
  EXPECT_EQ(host["health_status"], json::parse(R"({"failed_active_health_check":true,"eds_health_status":"HEALTHY"})"));
  EXPECT_EQ(host["locality"], json::parse(R"({"region":"r","zone":"z"})"));
  EXPECT_EQ(host["stats"][6], json::parse(R"({"type":"GAUGE","value":"2","name":"cx_active"})"));
  EXPECT_EQ(host["stats"][0], json::parse(R"({"name":"cx_connect_fail"})"));
}

TEST_F(AdminTest, ManyHostsComeWhole) {
  make_clusters(3, 2000);
  const json all = json::parse(get("/clusters?format=json").body)["cluster_statuses"];
  ASSERT_EQ(all.size(), 3u);
  for (const json& cluster : all) {
    ASSERT_EQ(cluster["host_statuses"].size(), 2000u);
    for (size_t i = 0; i < 2000; ++i)
      ASSERT_EQ(cluster["host_statuses"][i]["address"]["socket_address"]["port_value"], i + 1);
  }
}

TEST_F(AdminTest, NoClustersIsAnEmptyList) {
  EXPECT_EQ(json::parse(get("/clusters?format=json").body), json::parse(R"({"cluster_statuses":[]})"));
  EXPECT_EQ(get("/clusters").body, "");
  make_clusters(1, 0);
  EXPECT_EQ(json::parse(get("/clusters?format=json").body)["cluster_statuses"][0]["name"], "c0");
}

TEST_F(AdminTest, ListenersWithTheirAddresses) {
  context_.listeners = [] {
    return std::vector<ListenerStatus>{
        {"front", {*net::Address::parse_ip("127.0.0.1", 80), *net::Address::parse_ip("::1", 81)}},
        {"local", {*net::Address::pipe("/run/x.sock")}}};
  };
  EXPECT_EQ(get("/listeners").body, "front::127.0.0.1:80\nfront::[::1]:81\nlocal::/run/x.sock\n");
  EXPECT_EQ(json::parse(get("/listeners?format=json").body), json::parse(R"({"listener_statuses":[
    {"name":"front","local_address":{"socket_address":{"address":"127.0.0.1","port_value":80}},
     "additional_local_addresses":[{"socket_address":{"address":"::1","port_value":81}}]},
    {"name":"local","local_address":{"pipe":{"path":"/run/x.sock"}}}]})"));
}

// A text that exists already, sent a slice at a time.
class TextBody final : public Body {
 public:
  explicit TextBody(std::string text) : text_(std::move(text)) {}
  bool next(base::Buffer& out) override {
    const std::string_view slice = std::string_view(text_).substr(at_, kSliceBytes);
    out.append(slice);
    at_ += slice.size();
    return at_ < text_.size();
  }

 private:
  const std::string text_;
  size_t at_ = 0;
};

TEST_F(AdminTest, ConfigDumpPassesItsParametersOn) {
  ConfigDumpQuery asked;
  context_.config_dump = [&](const ConfigDumpQuery& query) -> base::Result<std::unique_ptr<Body>> {
    asked = query;
    if (query.mask) return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kDownstream, 0, "no masks here"};
    if (query.resource == "nowhere") return base::Error{base::ErrorCode::kNotFound, base::Side::kDownstream, 0, "none"};
    return std::unique_ptr<Body>(std::make_unique<TextBody>(std::string(300000, ' ') + "{}"));
  };
  const Answer dump = get("/config_dump?include_eds&resource=&name_regex=a%2Bb");
  EXPECT_EQ(dump.headers.at("content-type"), "application/json");
  EXPECT_EQ(dump.body, std::string(300000, ' ') + "{}");
  EXPECT_TRUE(asked.include_eds);
  EXPECT_FALSE(asked.resource.has_value());
  EXPECT_EQ(asked.name_regex, "a+b");
  const Answer masked = get("/config_dump?mask=x");
  EXPECT_EQ(masked.status, 400u);
  EXPECT_EQ(masked.body, "no masks here\n");
  EXPECT_EQ(get("/config_dump?resource=nowhere").status, 404u);
}

TEST_F(AdminTest, MemoryIsInStrings) {
  const json memory = json::parse(get("/memory").body);
  for (const char* field : {"allocated", "heap_size", "pageheap_unmapped", "pageheap_free", "total_thread_cache",
                            "total_physical_bytes"})
    EXPECT_TRUE(memory[field].is_string()) << field;
  // "allocated" is glibc's: 0 where a sanitizer brings its own heap.
  EXPECT_GT(std::stoull(memory["total_physical_bytes"].get<std::string>()), 1u << 20);
}

TEST_F(AdminTest, RuntimeShowsLayersAndTheLastValue) {
  EXPECT_EQ(json::parse(get("/runtime").body), json::parse(R"({"layers":[],"entries":{}})"));
  context_.runtime = [] {
    return std::vector<RuntimeLayer>{{"base", {{"a", "1"}, {"b", "2"}}}, {"top", {{"a", "3"}}}};
  };
  EXPECT_EQ(json::parse(get("/runtime").body), json::parse(R"({"layers":["base","top"],"entries":{
    "a":{"final_value":"3","layer_values":["1","3"]},"b":{"final_value":"2","layer_values":["2",""]}}})"));
}

TEST_F(AdminTest, SmallPages) {
  EXPECT_EQ(get("/hot_restart_version").body, "disabled");
  EXPECT_EQ(json::parse(get("/certs").body), json::parse(R"({"certificates":[]})"));
}

class AdminLoggingTest : public AdminTest {
 protected:
  void TearDown() override {
    base::set_log_level(base::LogLevel::kInfo);
    AdminTest::TearDown();
  }
  static base::LogLevel level(std::string_view name) { return base::log_component(name).level.load(); }
};

TEST_F(AdminLoggingTest, ShowsAndChangesLevels) {
  EXPECT_TRUE(contains(post("/logging").body, "active loggers:\n  main: info\n"));
  EXPECT_EQ(post("/logging?upstream=error").status, 200u);
  EXPECT_EQ(level("upstream"), base::LogLevel::kError);
  EXPECT_EQ(level("router"), base::LogLevel::kInfo);
  EXPECT_EQ(post("/logging?paths=router:warning,pool:off&level=").status, 200u);
  EXPECT_EQ(level("router"), base::LogLevel::kWarn);
  EXPECT_EQ(level("pool"), base::LogLevel::kOff);
  EXPECT_EQ(post("/logging?level=critical").status, 200u);
  EXPECT_EQ(level("main"), base::LogLevel::kCritical);
}

TEST_F(AdminLoggingTest, ChangesNothingWhenSomethingIsWrong) {
  for (const char* query : {"level=loud", "nobody=info", "paths=router:debug,nobody:info", "paths=router",
                            "paths=router:", "level=debug&router=debug"}) {
    const Answer answer = post(std::string("/logging?") + query);
    EXPECT_EQ(answer.status, 400u) << query;
    EXPECT_TRUE(answer.body.starts_with("error: ")) << query;
    EXPECT_EQ(level("router"), base::LogLevel::kInfo);
  }
}

TEST_F(AdminLoggingTest, AFormInTheBodyCountsAsParameters) {
  Client& c = client();
  c.request("/logging", "POST", "content-type: application/x-www-form-urlencoded\r\ncontent-length: 11\r\n");
  c.send("level=error");
  run_until([&] { return !c.answers.empty(); });
  EXPECT_EQ(c.answers[0].status, 200u);
  EXPECT_EQ(level("router"), base::LogLevel::kError);
}

TEST_F(AdminTest, ActionsReachTheServer) {
  std::vector<bool> failed;
  int reopened = 0, reset = 0;
  std::optional<DrainRequest> drain;
  context_.healthcheck_fail = [&](bool fail) { failed.push_back(fail); };
  context_.reopen_logs = [&] { ++reopened; };
  context_.reset_counters = [&] { ++reset; };
  context_.drain_listeners = [&](const DrainRequest& request) { drain = request; };
  EXPECT_EQ(post("/healthcheck/fail").body, "OK\n");
  EXPECT_EQ(post("/healthcheck/ok").body, "OK\n");
  EXPECT_EQ(failed, (std::vector<bool>{true, false}));
  EXPECT_EQ(post("/reopen_logs").body, "OK\n");
  EXPECT_EQ(reopened, 1);
  EXPECT_EQ(post("/reset_counters").body, "OK\n");
  EXPECT_EQ(reset, 1);
  EXPECT_EQ(post("/drain_listeners?skip_exit").status, 400u);
  EXPECT_FALSE(drain.has_value());
  EXPECT_EQ(post("/drain_listeners?graceful&skip_exit").body, "OK\n");
  EXPECT_TRUE(drain->graceful && drain->skip_exit && !drain->inbound_only);
  EXPECT_EQ(post("/drain_listeners?inboundonly").body, "OK\n");
  EXPECT_TRUE(!drain->graceful && drain->inbound_only);
}

TEST_F(AdminTest, ActionsThatNobodyProvidesSaySo) {
  for (const char* path : {"/healthcheck/fail", "/healthcheck/ok", "/reopen_logs", "/drain_listeners", "/quitquitquit"})
    EXPECT_EQ(post(path).status, 501u) << path;
}

}  // namespace
}  // namespace millrace::admin
