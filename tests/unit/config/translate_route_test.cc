#include <gmock/gmock.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class Get>
auto of_action(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.action())); };
}
template <class Get>
auto of_host(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.virtual_host())); };
}
template <class Get>
auto of_table(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.routes())); };
}
auto edits(size_t (*get)(const route::HeaderMutations&), const route::HeaderMutations& (*of)(const Translated&)) {
  return [get, of](const Translated& t) { return text_of(get(of(t))); };
}
size_t request_added(const route::HeaderMutations& m) {
  return m.request_headers_to_add.size();
}
size_t response_added(const route::HeaderMutations& m) {
  return m.response_headers_to_add.size();
}
size_t request_removed(const route::HeaderMutations& m) {
  return m.request_headers_to_remove.size();
}
size_t response_removed(const route::HeaderMutations& m) {
  return m.response_headers_to_remove.size();
}

constexpr const char* kAdd = "[{header: {key: a, value: b}}]";

// The four lists that every level of a route configuration has.
void add_mutations(std::vector<FieldCase>& cases, const route::HeaderMutations& (*of)(const Translated&)) {
  cases.push_back({"request_headers_to_add", kAdd, "1", edits(request_added, of)});
  cases.push_back({"response_headers_to_add", kAdd, "1", edits(response_added, of)});
  cases.push_back({"request_headers_to_remove", "[a]", "1", edits(request_removed, of)});
  cases.push_back({"response_headers_to_remove", "[a]", "1", edits(response_removed, of)});
}

std::vector<FieldCase> action_cases() {
  using A = route::RouteAction;
  using Rewrite = route::HostRewrite::Kind;
  const auto rewrite = of_action([](const A& a) { return a.host_rewrite.kind; });
  return {
      {"cluster_not_found_response_code", "NOT_FOUND", "404", of_action(&A::cluster_not_found_response_code)},
      {"prefix_rewrite", "/x", "/x", of_action(&A::prefix_rewrite)},
      {"regex_rewrite", "{pattern: {regex: a}, substitution: b}", "b",
       of_action([](const A& a) { return a.regex_rewrite ? a.regex_rewrite->substitution : ""; })},
      {"host_rewrite_literal", "h", text_of(Rewrite::kLiteral), rewrite},
      {"auto_host_rewrite", "true", text_of(Rewrite::kAuto), rewrite},
      {"host_rewrite_header", "x-host", text_of(Rewrite::kHeader), rewrite},
      {"host_rewrite_path_regex", "{pattern: {regex: a}, substitution: b}", text_of(Rewrite::kPathRegex), rewrite},
      {"append_x_forwarded_host", "true", "true", of_action(&A::append_x_forwarded_host)},
      {"timeout", "0s", "0ms", of_action(&A::timeout)},
      {"idle_timeout", "2s", "2000ms", of_action(&A::idle_timeout)},
      {"retry_policy", "{retry_on: reset}", text_of(route::retry_on::kReset),
       of_action([](const A& a) { return a.retry_policy ? a.retry_policy->retry_on : 0; })},
      {"priority", "HIGH", text_of(route::Priority::kHigh), of_action(&A::priority)},
      {"upgrade_configs", "[{upgrade_type: websocket, enabled: false}]", "false",
       of_action([](const A& a) { return a.upgrade_configs.empty() || a.upgrade_configs[0].enabled; })},
      {"max_stream_duration", "{max_stream_duration: 3s}", "3000ms", of_action(&A::max_stream_duration)},
      {"max_grpc_timeout", "3s", "3000ms", of_action(&A::max_grpc_timeout)},
      {"grpc_timeout_offset", "3s", "3000ms", of_action(&A::grpc_timeout_offset)},
  };
}

TEST(TranslateRoute, ReadsEveryFieldOfAnActionThatTheTableCallsHonoured) {
  for (const FieldCase& one : action_cases()) expect_field(one, {}, &TestConfig::action);
  // The ways to name a cluster exclude each other: they are tested below.
  expect_table_agrees("envoy.config.route.v3.RouteAction", action_cases(),
                      {"cluster", "cluster_header", "weighted_clusters"});
}

TEST(TranslateRoute, ReadsEveryFieldOfAVirtualHostThatTheTableCallsHonoured) {
  using V = route::VirtualHostOptions;
  std::vector<FieldCase> cases = {
      {"name", "w", "w", of_host(&V::name)},
      {"domains", "[a.example]", "a.example", of_host([](const V& v) { return v.domains[0]; })},
      {"routes", "[{match: {prefix: /}, redirect: {}}, {match: {prefix: /}, redirect: {}}]", "2",
       of_host([](const V& v) { return v.routes.size(); })},
      {"require_tls", "EXTERNAL_ONLY", text_of(route::RequireTls::kExternalOnly), of_host(&V::require_tls)},
      {"retry_policy", "{num_retries: 4}", "4",
       of_host([](const V& v) { return v.retry_policy ? v.retry_policy->num_retries : 0; })},
      {"include_request_attempt_count", "true", "true", of_host(&V::include_request_attempt_count)},
      {"include_attempt_count_in_response", "true", "true", of_host(&V::include_attempt_count_in_response)},
      {"include_is_timeout_retry_header", "true", "true", of_host(&V::include_is_timeout_retry_header)},
      {"per_request_buffer_limit_bytes", "5", "5", of_host(&V::per_request_buffer_limit_bytes)},
      {"typed_per_filter_config",
       "{f: " + typed("envoy.config.route.v3.FilterConfig", {{"disabled", "true"}, {"is_optional", "true"}}) + "}", "1",
       of_host([](const V& v) { return v.filter_overrides.size(); })},
  };
  add_mutations(cases, [](const Translated& t) -> const route::HeaderMutations& { return t.virtual_host().mutations; });
  for (const FieldCase& one : cases) expect_field(one, {}, &TestConfig::virtual_host);
  expect_table_agrees("envoy.config.route.v3.VirtualHost", cases, {});
}

TEST(TranslateRoute, ReadsEveryFieldOfARouteConfigurationThatTheTableCallsHonoured) {
  using R = route::RouteTableOptions;
  std::vector<FieldCase> cases = {
      {"name", "r", "r", of_table(&R::name)},
      {"internal_only_headers", "[x-a]", "1", of_table([](const R& r) { return r.internal_only_headers.size(); })},
      {"most_specific_header_mutations_wins", "true", "true", of_table(&R::most_specific_header_mutations_wins)},
      {"max_direct_response_body_size_bytes", "9", "9", of_table(&R::max_direct_response_body_size_bytes)},
      {"ignore_port_in_host_matching", "true", "true", of_table(&R::ignore_port_in_host_matching)},
      {"ignore_path_parameters_in_path_matching", "true", "true",
       of_table(&R::ignore_path_parameters_in_path_matching)},
      {"typed_per_filter_config",
       "{f: " + typed("envoy.config.route.v3.FilterConfig", {{"disabled", "true"}, {"is_optional", "true"}}) + "}", "1",
       of_table([](const R& r) { return r.filter_overrides.size(); })},
  };
  add_mutations(cases, [](const Translated& t) -> const route::HeaderMutations& { return t.routes().mutations; });
  for (const FieldCase& one : cases) expect_field(one, {}, &TestConfig::routes);
  // What validate_clusters does is tested below.
  expect_table_agrees("envoy.config.route.v3.RouteConfiguration", cases, {"virtual_hosts", "validate_clusters"});
}

TEST(TranslateRoute, ReadsEveryFieldOfARouteThatTheTableCallsHonoured) {
  std::vector<FieldCase> cases = {
      {"name", "r", "r", [](const Translated& t) { return t.route().name; }},
      {"stat_prefix", "s", "s", [](const Translated& t) { return t.route().stat_prefix; }},
      {"match", "{path: /p}", "/p", [](const Translated& t) { return t.route().match.path.value; }},
      {"redirect", "{}", text_of(route::ActionKind::kRedirect),
       [](const Translated& t) { return text_of(t.route().action); }},
      {"direct_response", "{status: 404}", text_of(route::ActionKind::kDirectResponse),
       [](const Translated& t) { return text_of(t.route().action); }},
      {"per_request_buffer_limit_bytes", "5", "5",
       [](const Translated& t) { return text_of(t.route().per_request_buffer_limit_bytes); }},
      {"typed_per_filter_config",
       "{f: " + typed("envoy.config.route.v3.FilterConfig", {{"disabled", "true"}, {"is_optional", "true"}}) + "}", "1",
       [](const Translated& t) { return text_of(t.route().filter_overrides.size()); }},
  };
  add_mutations(cases, [](const Translated& t) -> const route::HeaderMutations& { return t.route().mutations; });
  for (const FieldCase& one : cases) expect_field(one, {}, &TestConfig::route);
  expect_table_agrees("envoy.config.route.v3.Route", cases, {"route", "non_forwarding_action"});
}

TEST(TranslateRoute, NamesClustersInThreeWays) {
  TestConfig config;
  config.action = {{"cluster_header", "x-cluster"}};
  const Translated header(config);
  ASSERT_TRUE(header.ok()) << header.messages();
  EXPECT_EQ(header.action().cluster_kind, route::RouteAction::ClusterKind::kClusterHeader);
  EXPECT_EQ(header.action().cluster, "x-cluster");
  config.action = {
      {"weighted_clusters", "{clusters: [{name: c, weight: 3, host_rewrite_literal: h, request_headers_to_add: " +
                                std::string(kAdd) + "}, {name: c, weight: 1}], header_name: x-random}"}};
  const Translated weighted(config);
  ASSERT_TRUE(weighted.ok()) << weighted.messages();
  ASSERT_EQ(weighted.action().weighted_clusters.size(), 2u);
  EXPECT_EQ(weighted.action().weighted_clusters[0].weight, 3u);
  EXPECT_EQ(weighted.action().weighted_clusters[0].host_rewrite_literal, "h");
  EXPECT_EQ(weighted.action().weighted_clusters[0].mutations.request_headers_to_add.size(), 1u);
  EXPECT_EQ(weighted.action().weighted_clusters_random_header, "x-random");
}

TEST(TranslateRoute, RefusesUnknownClustersUnlessToldNotToLook) {
  TestConfig config;
  config.action["cluster"] = "gone";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("a route names the unknown cluster 'gone'"));
  config.routes["validate_clusters"] = "false";
  EXPECT_TRUE(Translated(config).ok());
}

TEST(TranslateRoute, KnowsEveryWayToMatchAPath) {
  using Kind = route::PathMatch::Kind;
  const auto match = [](const std::string& yaml) {
    TestConfig config;
    config.route["match"] = yaml;
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << yaml << t.messages();
    return t.ok() ? t.route().match : route::RouteMatch();
  };
  EXPECT_EQ(match("{prefix: /a}").path.kind, Kind::kPrefix);
  EXPECT_EQ(match("{path: /a}").path.kind, Kind::kPath);
  EXPECT_EQ(match("{safe_regex: {regex: /a}}").path.kind, Kind::kSafeRegex);
  EXPECT_EQ(match("{path_separated_prefix: /a}").path.kind, Kind::kPathSeparatedPrefix);
  EXPECT_EQ(match("{connect_matcher: {}}").path.kind, Kind::kConnect);
  EXPECT_FALSE(match("{prefix: /a, case_sensitive: false}").path.case_sensitive);
  EXPECT_TRUE(match("{prefix: /a, grpc: {}}").grpc);
  const route::RouteMatch query = match(
      "{prefix: /, query_parameters: [{name: a, string_match: {prefix: b}}, {name: c, present_match: false}, {name: "
      "d}]}");
  ASSERT_EQ(query.query_parameters.size(), 3u);
  EXPECT_EQ(query.query_parameters[0].kind, route::QueryParameterMatch::Kind::kString);
  EXPECT_FALSE(query.query_parameters[1].present);
  EXPECT_TRUE(query.query_parameters[2].present);
  const route::RouteMatch part =
      match("{prefix: /, runtime_fraction: {default_value: {numerator: 3, denominator: MILLION}}}");
  EXPECT_EQ(part.runtime_fraction->numerator, 3u);
  EXPECT_EQ(part.runtime_fraction->denominator, 1'000'000u);
}

TEST(TranslateRoute, KnowsEveryWayToMatchAHeader) {
  using Kind = route::HeaderMatch::Kind;
  using Text = route::StringMatch::Kind;
  const auto header = [](const std::string& yaml) {
    TestConfig config;
    config.route["match"] = "{prefix: /, headers: [{name: x, " + yaml + "}]}";
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << yaml << t.messages();
    return t.ok() ? t.route().match.headers.at(0) : route::HeaderMatch();
  };
  EXPECT_EQ(header("exact_match: a").string.kind, Text::kExact);
  EXPECT_EQ(header("prefix_match: a").string.kind, Text::kPrefix);
  EXPECT_EQ(header("suffix_match: a").string.kind, Text::kSuffix);
  EXPECT_EQ(header("contains_match: a").string.kind, Text::kContains);
  EXPECT_EQ(header("safe_regex_match: {regex: a}").string.kind, Text::kSafeRegex);
  EXPECT_EQ(header("string_match: {suffix: a, ignore_case: true}").string.kind, Text::kSuffix);
  EXPECT_TRUE(header("string_match: {exact: a, ignore_case: true}").string.ignore_case);
  EXPECT_EQ(header("string_match: {prefix: a}").string.kind, Text::kPrefix);
  EXPECT_EQ(header("string_match: {contains: a}").string.kind, Text::kContains);
  EXPECT_EQ(header("string_match: {safe_regex: {regex: a}}").string.kind, Text::kSafeRegex);
  EXPECT_EQ(header("range_match: {start: -1, end: 4}").range_end, 4);
  EXPECT_FALSE(header("present_match: false").present);
  EXPECT_TRUE(header("invert_match: true").invert_match);
  EXPECT_TRUE(header("treat_missing_header_as_empty: true, exact_match: a").treat_missing_header_as_empty);
  // Neither asks for a value.
  EXPECT_EQ(header("exact_match: ''").kind, Kind::kPresent);
  EXPECT_EQ(header("present_match: true").kind, Kind::kPresent);
}

TEST(TranslateRoute, KnowsEveryWayToAddAHeader) {
  const auto add = [](const std::string& yaml) {
    TestConfig config;
    config.route["request_headers_to_add"] = "[{header: {key: a, value: b}" + yaml + "}]";
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << yaml << t.messages();
    return t.ok() ? t.route().mutations.request_headers_to_add.at(0) : route::HeaderToAdd();
  };
  using Action = route::AppendAction;
  EXPECT_EQ(add("").append_action, Action::kAppendIfExistsOrAdd);
  EXPECT_EQ(add(", append_action: ADD_IF_ABSENT").append_action, Action::kAddIfAbsent);
  EXPECT_EQ(add(", append_action: OVERWRITE_IF_EXISTS_OR_ADD").append_action, Action::kOverwriteIfExistsOrAdd);
  EXPECT_EQ(add(", append_action: OVERWRITE_IF_EXISTS").append_action, Action::kOverwriteIfExists);
  EXPECT_EQ(add(", append: false").append_action, Action::kOverwriteIfExistsOrAdd);
  EXPECT_EQ(add(", append: true").append_action, Action::kAppendIfExistsOrAdd);
  EXPECT_TRUE(add(", keep_empty_value: true").keep_empty_value);
}

TEST(TranslateRoute, KnowsEveryRedirect) {
  using Path = route::RedirectAction::Path;
  const auto redirect = [](const std::string& yaml) {
    TestConfig config;
    config.route["redirect"] = yaml;
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << yaml << t.messages();
    return t.ok() ? t.route().redirect : route::RedirectAction();
  };
  EXPECT_EQ(redirect("{}").response_code, 301u);
  EXPECT_EQ(redirect("{response_code: FOUND}").response_code, 302u);
  EXPECT_EQ(redirect("{response_code: SEE_OTHER}").response_code, 303u);
  EXPECT_EQ(redirect("{response_code: TEMPORARY_REDIRECT}").response_code, 307u);
  EXPECT_EQ(redirect("{response_code: PERMANENT_REDIRECT}").response_code, 308u);
  EXPECT_TRUE(redirect("{https_redirect: true}").https_redirect);
  EXPECT_EQ(redirect("{scheme_redirect: http}").scheme_redirect, "http");
  EXPECT_EQ(redirect("{host_redirect: h}").host_redirect, "h");
  EXPECT_EQ(redirect("{port_redirect: 8443}").port_redirect, 8443u);
  EXPECT_TRUE(redirect("{strip_query: true}").strip_query);
  EXPECT_EQ(redirect("{path_redirect: /p}").path, Path::kReplace);
  EXPECT_EQ(redirect("{prefix_rewrite: /p}").path_value, "/p");
  EXPECT_EQ(redirect("{regex_rewrite: {pattern: {regex: a}, substitution: b}}").path, Path::kRegexRewrite);
}

TEST(TranslateRoute, ReadsARetryPolicy) {
  TestConfig config;
  config.action["retry_policy"] =
      "{retry_on: '5xx,retriable-status-codes', num_retries: 0, per_try_timeout: 0.5s, per_try_idle_timeout: 1s, "
      "retriable_status_codes: [409, 503], retry_back_off: {base_interval: 0.1s, max_interval: 1s}, "
      "retriable_headers: [{name: a}], retriable_request_headers: [{name: b}], host_selection_retry_max_attempts: 5, "
      "retry_host_predicate: [{name: any, typed_config: " +
      typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", {}) +
      "}, {name: envoy.retry_host_predicates.omit_canary_hosts}], "
      "rate_limited_retry_back_off: {reset_headers: [{name: c, format: UNIX_TIMESTAMP}, {name: d}], max_interval: 9s}}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const route::RetryPolicy& p = *t.action().retry_policy;
  EXPECT_EQ(p.retry_on, route::retry_on::k5xx | route::retry_on::kRetriableStatusCodes);
  EXPECT_EQ(p.num_retries, 0u);
  EXPECT_EQ(p.per_try_timeout.count(), 500);
  EXPECT_EQ(p.per_try_idle_timeout.count(), 1000);
  EXPECT_THAT(p.retriable_status_codes, ElementsAre(409u, 503u));
  EXPECT_EQ(p.base_interval.count(), 100);
  EXPECT_EQ(p.max_interval.count(), 1000);
  EXPECT_EQ(p.retriable_headers.size(), 1u);
  EXPECT_EQ(p.retriable_request_headers.size(), 1u);
  EXPECT_EQ(p.host_selection_retry_max_attempts, 5u);
  EXPECT_TRUE(p.previous_hosts);
  EXPECT_TRUE(p.omit_canary_hosts);
  ASSERT_TRUE(p.rate_limited_retry_back_off);
  EXPECT_EQ(p.rate_limited_retry_back_off->max_interval.count(), 9000);
  EXPECT_EQ(p.rate_limited_retry_back_off->reset_headers.at(0).format, route::ResetHeader::Format::kUnixTimestamp);
}

TEST(TranslateRoute, PointsAtWhatIsWrongInARetryPolicy) {
  TestConfig config;
  config.action["retry_policy"] = "{retry_on: 5xxx, retry_host_predicate: [{name: mine}]}";
  EXPECT_THAT(Translated(config).messages(),
              AllOf(HasSubstr("retry_policy.retry_on: "), HasSubstr("5xxx"),
                    HasSubstr("retry_policy.retry_host_predicate[0]: unknown predicate 'mine'")));
}

TEST(TranslateRoute, TakesABodyFromWhereItIsSaidToBe) {
  TestConfig config;
  config.route["direct_response"] = "{status: 200, body: {inline_bytes: aGk=}}";
  EXPECT_EQ(Translated(config).route().direct_response.body, "hi");
  config.route["direct_response"] = "{status: 200, body: {filename: /nonexistent/body}}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("body.filename: cannot read '/nonexistent/body': No such file"));
  config.route["direct_response"] = "{status: 200, body: {filename: /dev/zero}}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("body.filename: '/dev/zero' is longer than 1048576 bytes"));
  config.route["direct_response"] = "{status: 200, body: {filename: /dev/null}}";
  EXPECT_EQ(Translated(config).route().direct_response.body, "");
  config.route["direct_response"] = "{status: 200, body: {environment_variable: MILLRACE_TEST_UNSET}}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("MILLRACE_TEST_UNSET is not set in the environment"));
}

TEST(TranslateRoute, KeepsAShortDurationFromMeaningOff) {
  TestConfig config;
  config.action["timeout"] = "0.0001s";
  EXPECT_EQ(Translated(config).action().timeout->count(), 1);
  config.action["timeout"] = "90s";
  EXPECT_EQ(Translated(config).action().timeout->count(), 90'000);
}

}  // namespace
}  // namespace millrace::config
