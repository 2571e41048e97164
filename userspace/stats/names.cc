#include "stats/names.h"

namespace millrace::stats {
namespace {

std::string dotted(std::string_view a, std::string_view b) {
  std::string result(a);
  result += b;
  result += '.';
  return result;
}

}  // namespace

std::string sanitized(std::string_view name) {
  while (name.ends_with('.')) name.remove_suffix(1);
  std::string result;
  result.reserve(name.size());
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != ':' && name[i] != '\0') {
      result += name[i];
      continue;
    }
    result += '_';
    if (name[i] == ':') {
      for (int slashes = 0; slashes < 2 && i + 1 < name.size() && name[i + 1] == '/'; ++slashes) ++i;
    }
  }
  return result;
}

BlockName plain_name(std::string_view prefix) { return {std::string(prefix), std::string(prefix), {}}; }

BlockName cluster_name(std::string_view cluster) {
  std::string name = sanitized(cluster);
  return {dotted("cluster.", name), "cluster.", {{"envoy.cluster_name", std::move(name)}}};
}

BlockName cluster_name(std::string_view cluster, std::string_view sub) {
  BlockName name = cluster_name(cluster);
  name.prefix += dotted(sub, "");
  name.tag_extracted_prefix += dotted(sub, "");
  return name;
}

BlockName grpc_name(std::string_view cluster, std::string_view protocol, std::string_view service,
                    std::string_view method) {
  BlockName name = cluster_name(cluster, protocol);
  if (service.empty()) return name;
  std::string service_name = sanitized(service);
  std::string method_name = sanitized(method);
  name.prefix += dotted(service_name, "") + dotted(method_name, "");
  name.tags.insert(name.tags.begin(), {"envoy.grpc_bridge_service", std::move(service_name)});
  name.tags.insert(name.tags.begin(), {"envoy.grpc_bridge_method", std::move(method_name)});
  return name;
}

BlockName http_name(std::string_view stat_prefix) {
  std::string name = sanitized(stat_prefix);
  return {dotted("http.", name), "http.", {{"envoy.http_conn_manager_prefix", std::move(name)}}};
}

BlockName http_name(std::string_view stat_prefix, std::string_view sub) {
  BlockName name = http_name(stat_prefix);
  name.prefix += dotted(sub, "");
  name.tag_extracted_prefix += dotted(sub, "");
  return name;
}

BlockName listener_name(std::string_view address) {
  std::string name = sanitized(address);
  if (name == "admin") return plain_name("listener.admin.");  // Envoy leaves the admin listener untagged
  return {dotted("listener.", name), "listener.", {{"envoy.listener_address", std::move(name)}}};
}

BlockName listener_name(std::string_view address, std::string_view sub) {
  BlockName name = listener_name(address);
  name.prefix += dotted(sub, "");
  name.tag_extracted_prefix += dotted(sub, "");
  return name;
}

BlockName listener_worker_name(std::string_view address, unsigned worker) {
  BlockName name = listener_name(address);
  const std::string id = std::to_string(worker);
  name.prefix += dotted("worker_", id);
  name.tag_extracted_prefix += "worker_";  // Envoy takes the digits and their dot away, the word stays
  name.tags.insert(name.tags.begin(), {"envoy.worker_id", id});
  return name;
}

BlockName listener_http_name(std::string_view address, std::string_view stat_prefix) {
  BlockName name = listener_name(address);
  const std::string http = sanitized(stat_prefix);
  name.prefix += dotted("http.", http);
  name.tag_extracted_prefix += "http.";
  name.tags.insert(name.tags.begin(), {"envoy.http_conn_manager_prefix", http});
  return name;
}

BlockName tcp_name(std::string_view stat_prefix) {
  std::string name = sanitized(stat_prefix);
  return {dotted("tcp.", name), "tcp.", {{"envoy.tcp_prefix", std::move(name)}}};
}

BlockName virtual_cluster_name(std::string_view virtual_host, std::string_view virtual_cluster) {
  std::string host = sanitized(virtual_host);
  std::string cluster = sanitized(virtual_cluster);
  return {dotted("vhost.", host) + dotted("vcluster.", cluster),
          "vhost.vcluster.",
          {{"envoy.virtual_cluster", std::move(cluster)}, {"envoy.virtual_host", std::move(host)}}};
}

BlockName route_name(std::string_view virtual_host, std::string_view stat_prefix) {
  std::string host = sanitized(virtual_host);
  std::string route = sanitized(stat_prefix);
  return {dotted("vhost.", host) + dotted("route.", route),
          "vhost.route.",
          {{"envoy.virtual_host", std::move(host)}, {"envoy.route", std::move(route)}}};
}

BlockName rds_name(std::string_view stat_prefix, std::string_view route_config) {
  BlockName name = http_name(stat_prefix);
  std::string route = sanitized(route_config);
  name.prefix += dotted("rds.", route);
  name.tag_extracted_prefix += "rds.";
  name.tags.push_back({"envoy.rds_route_config", std::move(route)});
  return name;
}

}  // namespace millrace::stats
