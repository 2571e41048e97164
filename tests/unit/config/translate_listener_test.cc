#include <gmock/gmock.h>

#include "unit/config/translated.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;

template <class Get>
auto of_listener(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.listener())); };
}
template <class Get>
auto of_tcp(Get get) {
  return [get](const Translated& t) { return text_of(std::invoke(get, t.tcp())); };
}

constexpr const char* kOriginalDstType = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";

std::string stdout_log(const std::string& more = {}) {
  return "[{name: a, typed_config: " + typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", {}) + more +
         "}]";
}

std::vector<FieldCase> listener_cases() {
  using L = Listener;
  return {
      {"name", "m", "m", of_listener(&L::name)},
      {"address", "{socket_address: {address: '::1', port_value: 0}}", "[::1]:0",
       of_listener([](const L& l) { return l.addresses[0].to_string(); })},
      {"additional_addresses", "[{address: {socket_address: {address: 127.0.0.1, port_value: 10001}}}]", "2",
       of_listener([](const L& l) { return l.addresses.size(); })},
      {"stat_prefix", "s", "s", of_listener(&L::stat_prefix)},
      {"per_connection_buffer_limit_bytes", "4096", "4096", of_listener(&L::per_connection_buffer_limit_bytes)},
      {"transparent", "true", "true", of_listener([](const L& l) { return l.socket.transparent; })},
      {"freebind", "true", "true", of_listener([](const L& l) { return l.socket.freebind; })},
      {"socket_options", "[{level: 1, name: 2, int_value: 3}]", "1",
       of_listener([](const L& l) { return l.socket.socket_options.size(); })},
      {"tcp_fast_open_queue_length", "5", "5", of_listener([](const L& l) { return l.socket.fast_open_queue_length; })},
      {"tcp_backlog_size", "6", "6", of_listener([](const L& l) { return l.socket.backlog; })},
      {"tcp_keepalive", "{keepalive_probes: 7}", "7",
       of_listener([](const L& l) { return l.socket.keepalive ? text_of(l.socket.keepalive->probes) : "none"; })},
      {"enable_reuse_port", "false", "false", of_listener([](const L& l) { return l.socket.reuse_port; })},
      {"access_log", stdout_log(), "1", of_listener([](const L& l) { return l.access_logs.size(); })},
      {"traffic_direction", "INBOUND", text_of(TrafficDirection::kInbound), of_listener(&L::traffic_direction)},
      {"ignore_global_conn_limit", "true", "true", of_listener(&L::ignore_global_conn_limit)},
      {"bind_to_port", "false", "false", of_listener(&L::bind_to_port)},
      {"deprecated_v1", "{bind_to_port: false}", "false", of_listener(&L::bind_to_port)},
      {"use_original_dst", "true", "true", of_listener(&L::use_original_dst)},
      {"listener_filters", "[{name: o, typed_config: " + typed(kOriginalDstType, {}) + "}]", "1",
       of_listener([](const L& l) { return l.listener_filters.size(); })},
      {"listener_filters_timeout", "0s", "0ms", of_listener(&L::listener_filters_timeout)},
      {"continue_on_listener_filters_timeout", "true", "true", of_listener(&L::continue_on_listener_filters_timeout)},
  };
}

TEST(TranslateListener, ReadsEveryFieldThatTheTableCallsHonoured) {
  for (const FieldCase& one : listener_cases()) expect_field(one, {}, &TestConfig::listener);
  // Chains are tested below.
  expect_table_agrees("envoy.config.listener.v3.Listener", listener_cases(), {"filter_chains", "default_filter_chain"});
}

TEST(TranslateListener, SetsSocketOptionsInTheirState) {
  TestConfig config;
  config.listener["socket_options"] =
      "[{level: 1, name: 2, int_value: 3}, {level: 1, name: 2, int_value: 3, state: STATE_BOUND}, "
      "{level: 1, name: 2, int_value: 3, state: STATE_LISTENING}]";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  using State = net::SocketOption::State;
  std::vector<State> states;
  for (const net::SocketOption& option : t.listener().socket.socket_options) states.push_back(option.state);
  EXPECT_EQ(states, (std::vector{State::kPrebind, State::kBound, State::kListening}));
}

TEST(TranslateListener, HasEnvoysDefaults) {
  const Translated t{TestConfig()};
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().per_connection_buffer_limit_bytes, 1024u * 1024);
  EXPECT_TRUE(t.listener().socket.reuse_port);
  EXPECT_TRUE(t.listener().socket.ipv6_only);
  EXPECT_EQ(t.listener().traffic_direction, TrafficDirection::kUnspecified);
  EXPECT_TRUE(t.listener().bind_to_port);
  EXPECT_FALSE(t.listener().use_original_dst);
  EXPECT_TRUE(t.listener().listener_filters.empty());
  EXPECT_EQ(t.listener().listener_filters_timeout, std::chrono::seconds(15));
}

TEST(TranslateListener, AddsTheFilterThatUseOriginalDstNeeds) {
  TestConfig config;
  config.listener["use_original_dst"] = "true";
  const Translated t(config);
  ASSERT_EQ(t.listener().listener_filters.size(), 1u);
  EXPECT_EQ(t.listener().listener_filters[0]->type_name(), "envoy.filters.listener.original_dst");
}

TEST(TranslateListener, TakesTheOriginalDstFilterByItsName) {
  TestConfig config;
  config.listener["listener_filters"] = "[{name: envoy.filters.listener.original_dst}]";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().listener_filters.size(), 1u);
  EXPECT_THAT(t.messages(), HasSubstr("listener_filters[0]: filter without typed_config is taken by its name"));
}

TEST(TranslateListener, RefusesListenerFiltersThatItDoesNotHave) {
  TestConfig config;
  config.listener["listener_filters"] =
      "[{name: t, typed_config: " + typed("envoy.extensions.filters.listener.original_src.v3.OriginalSrc", {}) + "}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("known to Envoy, not supported by Millrace yet"));
  config.listener["listener_filters"] = "[{name: mine}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("listener_filters[0]: filter 'mine' has no typed_config"));
}

TEST(TranslateListener, RefusesTwoListenersOfOneAddress) {
  const auto messages = [](const std::string& first, const std::string& second) {
    const std::string chain = "filter_chains: [{filters: [{name: t, typed_config: " +
                              typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}]}]";
    const auto listener = [&](const std::string& name, const std::string& where) {
      return "{name: " + name + ", bind_to_port: false, " + chain + ", address: {socket_address: " + where + "}}";
    };
    return Translated("{static_resources: {listeners: [" + listener("a", first) + ", " + listener("b", second) +
                      "], clusters: [{name: c}]}}\n")
        .messages();
  };
  EXPECT_THAT(messages("{address: 10.0.0.1, port_value: 80}", "{address: 10.0.0.1, port_value: 80}"),
              HasSubstr("listeners[1].address: listener 'a' has the address 10.0.0.1:80 already"));
  EXPECT_EQ(messages("{address: 10.0.0.1, port_value: 80}", "{address: 0.0.0.0, port_value: 80}"), "");
  EXPECT_EQ(messages("{address: 10.0.0.1, port_value: 0}", "{address: 10.0.0.1, port_value: 0}"), "");
}

TEST(TranslateListener, IsNamedByItsAddressWhenItHasNoName) {
  TestConfig config;
  config.listener.erase("name");
  EXPECT_EQ(Translated(config).listener().name, "127.0.0.1:10000");
}

TEST(TranslateListener, ReadsSocketsOfFiles) {
  TestConfig config;
  config.listener["address"] = "{pipe: {path: /tmp/a.sock, mode: 432}}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().addresses[0].path(), "/tmp/a.sock");
  EXPECT_EQ(t.listener().socket.pipe_mode, 432u);
}

TEST(TranslateListener, SharesSocketOptionsBetweenItsAddresses) {
  TestConfig config;
  config.listener["address"] = "{socket_address: {address: '::', port_value: 1, ipv4_compat: true}}";
  EXPECT_FALSE(Translated(config).listener().socket.ipv6_only);
  config.listener["additional_addresses"] = "[{address: {socket_address: {address: '::1', port_value: 2}}}]";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("additional_addresses[0].address.socket_address.ipv4_compat: differs"));
  // IPv4 has no such option to differ by.
  config.listener["additional_addresses"] = "[{address: {socket_address: {address: 127.0.0.1, port_value: 2}}}]";
  EXPECT_TRUE(Translated(config).ok());
}

TEST(TranslateListener, WantsAnAddressWithAPort) {
  TestConfig config;
  config.listener["address"] = "{socket_address: {address: localhost, port_value: 1}}";
  EXPECT_THAT(Translated(config).messages(),
              HasSubstr("'localhost' is not an IPv4 or IPv6 address; write an IP address"));
  config.listener["address"] = "{socket_address: {address: 127.0.0.1, port_value: 70000}}";
  EXPECT_EQ(Translated(config).loaded().errors, 1u) << Translated(config).messages();
  config.listener["address"] = "{}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("listeners[0].address"));
}

TEST(TranslateListener, WantsChainsThatEndInATerminalFilter) {
  TestConfig config;
  const std::string tcp =
      "{name: t, typed_config: " + typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}";
  config.listener["filter_chains"] = "[{filters: [" + tcp + ", " + tcp + "]}]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("filters[0]: 't' must be the last filter of its chain"));
  config.listener["filter_chains"] = "[]";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("the listener has no filter chain"));
  config.listener["default_filter_chain"] = "{name: d, filters: [" + tcp + "]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.listener().filter_chains.at(0).name, "d");
}

constexpr const char* kTlsInspectorType = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

// Filter chains with these matches, named a, b, c ...
TestConfig with_chains(const std::vector<std::string>& matches) {
  TestConfig config;
  const std::string filters = "filters: [{name: t, typed_config: " +
                              typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}]";
  std::string chains;
  for (size_t i = 0; i < matches.size(); ++i) {
    chains += (i == 0 ? "{name: " : ", {name: ") + std::string(1, static_cast<char>('a' + i)) + ", " + filters +
              (matches[i].empty() ? "" : ", filter_chain_match: " + matches[i]) + "}";
  }
  config.listener["filter_chains"] = "[" + chains + "]";
  config.listener["listener_filters"] = "[{name: i, typed_config: " + typed(kTlsInspectorType, {}) + "}]";
  return config;
}

TEST(TranslateListener, MatchesFilterChains) {
  TestConfig config = with_chains({"{server_names: ['*.Example.com', a.test]}", "{transport_protocol: raw_buffer}",
                                   "{source_prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}"});
  config.listener["default_filter_chain"] =
      "{name: d, transport_socket_connect_timeout: 3s, filters: [{name: t, typed_config: " +
      typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}]}";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.messages(), "");
  const Listener& l = t.listener();
  ASSERT_EQ(l.filter_chains.size(), 4u);
  EXPECT_EQ(l.default_filter_chain, 3u);
  EXPECT_EQ(l.filter_chains[3].name, "d");
  EXPECT_EQ(l.filter_chains[3].transport_connect_timeout, std::chrono::seconds(3));
  const net::Address here = *net::Address::parse_ip("10.1.1.1", 80);
  const std::vector<std::string> none;
  EXPECT_EQ(l.matcher.find({here, here, here, "www.example.com", "tls", none}), 0u);
  EXPECT_EQ(l.matcher.find({here, here, here, "", "raw_buffer", none}), 1u);
  EXPECT_EQ(l.matcher.find({here, here, here, "", "tls", none}), 2u);
}

TEST(TranslateListener, RefusesChainsOfTheSameConnections) {
  EXPECT_THAT(Translated(with_chains({"{server_names: [a.test, b.test]}", "{server_names: [b.test]}"})).messages(),
              HasSubstr("filter_chains[1].filter_chain_match: matches connections that filter_chains[0] 'a' matches as "
                        "closely; make the matches of the two chains differ"));
  EXPECT_THAT(Translated(with_chains({"", ""})).messages(), HasSubstr("filter_chains[1]: matches connections"));
  EXPECT_THAT(Translated(with_chains({"{server_names: ['a*.test']}"})).messages(),
              HasSubstr("server_names[0]: 'a*.test' is no server name"));
  EXPECT_THAT(Translated(with_chains({"{address_suffix: '1.2', suffix_len: 8}"})).messages(),
              HasSubstr("known to Envoy, not supported by Millrace yet"));
}

TEST(TranslateListener, AddsTheFilterThatServerNamesNeed) {
  TestConfig config = with_chains({"{server_names: [a.test]}"});
  config.listener.erase("listener_filters");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.listener().listener_filters.size(), 1u);
  EXPECT_EQ(t.listener().listener_filters[0]->type_name(), "envoy.filters.listener.tls_inspector");
  EXPECT_THAT(t.messages(), HasSubstr("filter_chain_match reads what only tls_inspector finds out: it was added"));
  TestConfig plain = with_chains({"{server_names: [a.test], transport_protocol: raw_buffer}"});
  plain.listener.erase("listener_filters");
  EXPECT_TRUE(Translated(plain).listener().listener_filters.empty());
}

TEST(TranslateListener, TakesOnlyPlainTransports) {
  TestConfig config;
  const std::string tcp =
      "{name: t, typed_config: " + typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}";
  const auto with = [&](const std::string& socket) {
    config.listener["filter_chains"] = "[{filters: [" + tcp + "], transport_socket: " + socket + "}]";
    return Translated(config);
  };
  EXPECT_TRUE(with("{name: envoy.transport_sockets.raw_buffer}").ok());
  EXPECT_TRUE(
      with("{name: r, typed_config: " + typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", {}) + "}")
          .ok());
  EXPECT_THAT(with("{name: envoy.transport_sockets.tls}").messages(), HasSubstr("has no typed_config"));
}

// ---- tcp_proxy

TestConfig tcp_config() {
  TestConfig config;
  config.tcp = {{"stat_prefix", "s"}, {"cluster", "c"}};
  return config;
}

TEST(TranslateTcpProxy, ReadsEveryFieldThatTheTableCallsHonoured) {
  using T = router::TcpProxyOptions;
  const std::vector<FieldCase> cases = {
      {"stat_prefix", "t", "t", of_tcp(&T::stat_prefix)},
      {"idle_timeout", "0s", "0ms", of_tcp(&T::idle_timeout)},
      {"max_downstream_connection_duration", "3s", "3000ms", of_tcp(&T::max_downstream_connection_duration)},
      {"max_connect_attempts", "4", "4", of_tcp(&T::max_connect_attempts)},
      {"backoff_options", "{base_interval: 1s}", "10000ms", of_tcp(&T::backoff_max)},
      {"access_log", stdout_log(), "1", of_tcp([](const T& t) { return t.access_logs.size(); })},
      {"access_log_options", "{access_log_flush_interval: 2s}", "2000ms", of_tcp(&T::access_log_flush_interval)},
      {"access_log_flush_interval", "2s", "2000ms", of_tcp(&T::access_log_flush_interval)},
      {"flush_access_log_on_connected", "true", "true", of_tcp(&T::flush_access_log_on_connected)},
  };
  for (const FieldCase& one : cases) expect_field(one, tcp_config(), &TestConfig::tcp);
  // One or the other, tested below.
  expect_table_agrees(kTcpProxyType, cases, {"cluster", "weighted_clusters"});
}

TEST(TranslateTcpProxy, HasEnvoysDefaults) {
  const Translated t(tcp_config());
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.tcp().idle_timeout, std::chrono::hours(1));
  EXPECT_EQ(t.tcp().max_connect_attempts, 1u);
  ASSERT_EQ(t.tcp().clusters.size(), 1u);
  EXPECT_EQ(t.tcp().clusters[0].cluster, t.snapshot().clusters->find("c"));
}

TEST(TranslateTcpProxy, ReadsWeightedClusters) {
  TestConfig config;
  config.tcp = {{"stat_prefix", "s"},
                {"weighted_clusters", "{clusters: [{name: c, weight: 2}, {name: c, weight: 5}]}"}};
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_EQ(t.tcp().clusters.size(), 2u);
  EXPECT_EQ(t.tcp().clusters[1].weight, 5u);
  config.tcp["weighted_clusters"] = "{clusters: [{name: gone, weight: 2}]}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("weighted_clusters.clusters[0].name: unknown cluster 'gone'"));
}

TEST(TranslateTcpProxy, RefusesTheOlderFieldsBesideTheirMessage) {
  TestConfig config = tcp_config();
  config.tcp["access_log_flush_interval"] = "1s";
  config.tcp["access_log_options"] = "{flush_access_log_on_connected: true}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("access_log_options: set beside access_log_flush_interval"));
}

// ---- access logs

TEST(TranslateAccessLog, KnowsEverySinkAndFormat) {
  const auto log = [](const std::string& type, const Fields& fields) {
    TestConfig config;
    config.hcm["access_log"] =
        "[{name: a, typed_config: " + typed("envoy.extensions.access_loggers." + type, fields) + "}]";
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << t.messages();
    return t.ok() ? t.hcm().access_logs.size() : 0;
  };
  const std::string file = "file.v3.FileAccessLog";
  EXPECT_EQ(log(file, {{"path", "/dev/null"}}), 1u);
  EXPECT_EQ(log(file, {{"path", "/dev/null"}, {"format", "'%RESPONSE_CODE%'"}}), 1u);
  EXPECT_EQ(log(file, {{"path", "/dev/null"}, {"json_format", "{a: '%RESPONSE_CODE%'}"}}), 1u);
  EXPECT_EQ(log(file, {{"path", "/dev/null"}, {"typed_json_format", "{a: '%RESPONSE_CODE%', b: 1}"}}), 1u);
  EXPECT_EQ(log(file, {{"path", "/dev/null"}, {"log_format", "{text_format_source: {inline_string: a}}"}}), 1u);
  EXPECT_EQ(log("stream.v3.StdoutAccessLog", {{"log_format", "{json_format: {a: b, c: [1, true, {d: null}]}}"}}), 1u);
  EXPECT_EQ(log("stream.v3.StderrAccessLog", {{"log_format", "{text_format: a, omit_empty_values: true}"}}), 1u);
}

TEST(TranslateAccessLog, KnowsEveryFilter) {
  const std::vector<std::string> filters = {
      "status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: k}}}",
      "duration_filter: {comparison: {op: LE, value: {default_value: 5, runtime_key: k}}}",
      "not_health_check_filter: {}",
      "traceable_filter: {}",
      "runtime_filter: {runtime_key: k, percent_sampled: {numerator: 5}}",
      "header_filter: {header: {name: a}}",
      "response_flag_filter: {flags: [UH]}",
      "log_type_filter: {types: [DownstreamEnd], exclude: true}",
      "grpc_status_filter: {statuses: [OK], exclude: true}",
      "and_filter: {filters: [{not_health_check_filter: {}}, {traceable_filter: {}}]}",
      "or_filter: {filters: [{not_health_check_filter: {}}, {traceable_filter: {}}]}",
  };
  for (const std::string& filter : filters) {
    TestConfig config;
    config.hcm["access_log"] = stdout_log(", filter: {" + filter + "}");
    const Translated t(config);
    EXPECT_TRUE(t.ok()) << filter << "\n" << t.messages();
  }
}

TEST(TranslateAccessLog, PointsAtAnUnknownOperator) {
  TestConfig config;
  config.hcm["access_log"] = "[{name: a, typed_config: " +
                             typed("envoy.extensions.access_loggers.file.v3.FileAccessLog",
                                   {{"path", "/dev/null"}, {"format", "'%NO_SUCH%'"}}) +
                             "}]";
  EXPECT_THAT(Translated(config).messages(),
              testing::AllOf(HasSubstr("access_log[0].typed_config"), HasSubstr("NO_SUCH")));
}

}  // namespace
}  // namespace millrace::config
