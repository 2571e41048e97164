// A small bootstrap whose parts a test replaces, and what the translation makes of it.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/loader.h"
#include "config/support.h"
#include "config/translate.h"
#include "filter/hcm_worker.h"
#include "router/tcp_proxy.h"

namespace millrace::config {

// The fields of a message, each as YAML on one line.
using Fields = std::map<std::string, std::string>;

inline std::string flow(const Fields& fields) {
  std::string out = "{";
  for (const auto& [name, value] : fields) out += (out.size() > 1 ? ", " : "") + name + ": " + value;
  return out + "}";
}

inline std::string typed(const std::string& type, Fields fields) {
  fields["'@type'"] = "type.googleapis.com/" + type;
  return flow(fields);
}

constexpr const char* kHcmType = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
constexpr const char* kTcpProxyType = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

struct TestConfig {
  Fields action = {{"cluster", "c"}};
  Fields route = {{"match", "{prefix: /}"}};  // and `route`, made of the action
  Fields virtual_host = {{"name", "v"}, {"domains", "['*']"}};
  Fields routes;  // RouteConfiguration
  Fields hcm = {{"stat_prefix", "h"}, {"http_filters", "[{name: envoy.filters.http.router}]"}};
  Fields tcp = {};  // not empty: in place of the connection manager
  Fields listener = {{"name", "l"}, {"address", "{socket_address: {address: 127.0.0.1, port_value: 10000}}"}};
  Fields cluster = {{"name", "c"},
                    {"connect_timeout", "1s"},
                    {"load_assignment",
                     "{cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
                     "127.0.0.1, port_value: 1}}}}]}]}"}};
  Fields bootstrap;
  std::vector<Fields> more_listeners, more_clusters;  // whole

  std::string yaml() const {
    Fields filter;
    if (tcp.empty()) {
      Fields one = route;
      if (!one.contains("redirect") && !one.contains("direct_response")) one["route"] = flow(action);
      Fields host = virtual_host;
      host.emplace("routes", "[" + flow(one) + "]");
      Fields table = routes;
      table["virtual_hosts"] = "[" + flow(host) + "]";
      Fields manager = hcm;
      manager.emplace("route_config", flow(table));
      filter = {{"name", "f"}, {"typed_config", typed(kHcmType, manager)}};
    } else {
      filter = {{"name", "f"}, {"typed_config", typed(kTcpProxyType, tcp)}};
    }
    Fields front = listener;
    front.emplace("filter_chains", "[{filters: [" + flow(filter) + "]}]");
    Fields all = bootstrap;
    std::string listeners = flow(front), clusters = flow(cluster);
    for (const Fields& more : more_listeners) listeners += ", " + flow(more);
    for (const Fields& more : more_clusters) clusters += ", " + flow(more);
    all["static_resources"] = "{listeners: [" + listeners + "], clusters: [" + clusters + "]}";
    return flow(all) + "\n";
  }
};

class Translated {
 public:
  explicit Translated(const std::string& yaml) {
    BuildContext context;
    context.store = &store_;
    LoadOptions options;
    options.config_yaml = yaml;
    loaded_ = load_snapshot(options, context);
  }
  explicit Translated(const TestConfig& config) : Translated(config.yaml()) {}

  bool ok() const { return loaded_.snapshot != nullptr; }
  const LoadedSnapshot& loaded() const { return loaded_; }
  const std::string& messages() const { return loaded_.messages; }
  const Snapshot& snapshot() const { return *loaded_.snapshot; }
  const Listener& listener() const { return *snapshot().listeners.at(0); }
  const upstream::Cluster& cluster() const { return snapshot().clusters->at(0); }
  const upstream::ClusterOptions& cluster_options() const { return cluster().options(); }
  const filter::HcmOptions& hcm() const {
    return dynamic_cast<const filter::HcmConfig&>(*listener().filter_chains.at(0).filter).options();
  }
  const router::TcpProxyOptions& tcp() const {
    return dynamic_cast<const router::TcpProxyConfig&>(*listener().filter_chains.at(0).filter).options();
  }
  const route::RouteTableOptions& routes() const { return hcm().routes->options(); }
  const route::VirtualHostOptions& virtual_host() const { return routes().virtual_hosts.at(0); }
  const route::RouteOptions& route() const { return virtual_host().routes.at(0); }
  const route::RouteAction& action() const { return route().route; }

 private:
  stats::Store store_{1};
  LoadedSnapshot loaded_;
};

// Values as text, so that all kinds compare alike.
template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<int>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::is_floating_point_v<T> ? std::to_string(value).substr(0, std::to_string(value).find('.') + 2)
                                       : std::to_string(value);
  } else if constexpr (std::is_convertible_v<T, std::string>) {
    return value;
  } else {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(value).count()) + "ms";
  }
}
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "unset";
}

// One field set in the small bootstrap: what is seen of it in the options, and what it was before.
struct FieldCase {
  std::string field;
  std::string yaml;
  std::string want;
  std::function<std::string(const Translated&)> seen;
};

inline void expect_field(const FieldCase& one, TestConfig config, Fields TestConfig::*message) {
  SCOPED_TRACE(one.field + ": " + one.yaml);
  const Translated before(config);
  ASSERT_TRUE(before.ok()) << before.messages();
  (config.*message)[one.field] = one.yaml;
  const Translated after(config);
  ASSERT_TRUE(after.ok()) << after.messages();
  EXPECT_EQ(one.seen(after), one.want);
  EXPECT_NE(one.seen(before), one.want) << "the value chosen is the default: the test could not fail";
}

// Every field that the table calls honoured has a case, and every case is of such a field.
inline void expect_table_agrees(const std::string& message, const std::vector<FieldCase>& cases,
                                std::set<std::string> elsewhere) {
  std::set<std::string> tested = std::move(elsewhere);
  for (const FieldCase& one : cases) tested.insert(one.field);
  for (const SupportedMessage& entry : parse_support_table(support_table_source())) {
    if (entry.name != message) continue;
    std::set<std::string> honoured;
    for (const SupportedField& field : entry.fields) {
      if (field.ignored_because.empty()) honoured.insert(field.name);
    }
    EXPECT_EQ(honoured, tested) << message;
    return;
  }
  FAIL() << "the table does not have " << message;
}

}  // namespace millrace::config
