// Short ways to write route tables and requests in tests.
#pragma once
#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "http/header_map.h"
#include "route/table.h"

namespace millrace::route {

inline RouteOptions route_to(PathMatch::Kind kind, std::string value, std::string cluster, bool case_sensitive = true) {
  RouteOptions route;
  route.name = cluster;
  route.match.path = {kind, std::move(value), case_sensitive};
  route.route.cluster = std::move(cluster);
  return route;
}
inline RouteOptions prefix(std::string value, std::string cluster) {
  return route_to(PathMatch::Kind::kPrefix, std::move(value), std::move(cluster));
}
inline RouteOptions whole(std::string value, std::string cluster) {
  return route_to(PathMatch::Kind::kPath, std::move(value), std::move(cluster));
}

inline VirtualHostOptions virtual_host(std::string name, std::vector<std::string> domains,
                                       std::vector<RouteOptions> routes) {
  VirtualHostOptions host;
  host.name = std::move(name);
  host.domains = std::move(domains);
  host.routes = std::move(routes);
  return host;
}
inline RouteTableOptions table_of(std::vector<RouteOptions> routes) {
  RouteTableOptions options;
  options.virtual_hosts.push_back(virtual_host("all", {"*"}, std::move(routes)));
  return options;
}

inline std::shared_ptr<const RouteTable> compiled(RouteTableOptions options) {
  auto table = RouteTable::compile(std::move(options));
  if (table) return *table;
  ADD_FAILURE() << table.error().what;
  return nullptr;
}
inline std::string compile_error(RouteTableOptions options) {
  auto table = RouteTable::compile(std::move(options));
  return table ? "compiled" : table.error().what;
}

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

inline void fill(http::HeaderMap& headers, Fields fields) {
  for (const auto& [name, value] : fields) headers.add(name, value);
}
inline void fill_request(http::HeaderMap& headers, std::string_view host, std::string_view path, Fields more = {}) {
  fill(headers, {{":method", "GET"}, {":authority", host}, {":path", path}, {":scheme", "http"}});
  fill(headers, more);
}

// The name of the route taken, "none" without one.
inline std::string taken(const RouteTable& table, std::string_view host, std::string_view path, Fields more = {},
                         uint64_t random = 0) {
  http::HeaderMap headers;
  fill_request(headers, host, path, more);
  const Route* route = table.match({headers, random});
  return route == nullptr ? "none" : std::string(route->name());
}

}  // namespace millrace::route
