#include <netinet/in.h>

#include <algorithm>

#include "config/translator.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "millrace/fastpath/v1/fastpath.pb.h"

namespace millrace::config {
namespace {

template <class List>
std::vector<typename List::value_type> list(const List& from) {
  return {from.begin(), from.end()};
}

// The size unless the message has none.
template <class Value>
void set_if(bool given, const Value& from, uint32_t& to) {
  if (given) to = from.value();
}

}  // namespace

void Translator::fast_path(const bootstrap_v3::Bootstrap& from, Snapshot& to) {
  for (int i = 0; i < from.bootstrap_extensions_size(); ++i) {
    const auto& extension = from.bootstrap_extensions(i);
    const std::string at = fmt::format("bootstrap_extensions[{}]", i);
    if (!extension.has_typed_config()) {
      error(at, fmt::format("bootstrap extension '{}' has no typed_config", extension.name()),
            "extensions are known by the @type of their typed_config");
      continue;
    }
    if (!extension.typed_config().Is<fastpath_v1::FastPath>()) continue;  // reported by the table of supported fields
    if (to.fast_path) {
      error(at, "the fast path is configured twice", "keep one millrace.fastpath.v1.FastPath");
      continue;
    }
    fastpath_v1::FastPath config;
    if (unpack(extension.typed_config(), config, at + ".typed_config")) {
      to.fast_path = fast_path(config, to, at + ".typed_config");
    }
  }
}

FastPath Translator::fast_path(const fastpath_v1::FastPath& from, const Snapshot& snapshot, Path path) {
  FastPath to;
  if (!from.pin_directory().empty()) to.steering.pin_dir = from.pin_directory();
  if (to.steering.pin_dir.front() != '/') {
    error(path + ".pin_directory", fmt::format("'{}' is not an absolute path", from.pin_directory()),
          "name a folder of a bpffs, such as /sys/fs/bpf/millrace");
  }
  if (from.cgroups_size() > 0) to.steering.cgroups = list(from.cgroups());
  to.steering.daemon_cgroup = from.daemon_cgroup();
  if (from.has_capture()) capture(from.capture(), snapshot, to, path + ".capture");
  if (from.has_connect_time()) connect_time(from.connect_time(), snapshot, to, path + ".connect_time");
  for (int i = 0; i < from.inbound_size(); ++i) {
    inbound(from.inbound(i), snapshot, to, fmt::format("{}.inbound[{}]", path, i));
  }
  if (from.has_short_circuit()) short_circuit(from.short_circuit(), snapshot, to, path + ".short_circuit");
  to.worker_steering = from.has_worker_steering();
  to.fail_when_unavailable = from.on_unavailable() == fastpath_v1::FastPath::FAIL;
  return to;
}

const Listener* Translator::listener_named(const std::string& name, const Snapshot& snapshot, Path path) {
  for (const auto& listener : snapshot.listeners) {
    if (listener->name == name) return listener.get();
  }
  error_if_first(path, fmt::format("there is no listener '{}'", name), "name one of static_resources.listeners");
  return nullptr;
}

std::vector<fastpath::PortRange> Translator::port_ranges(
    const google::protobuf::RepeatedPtrField<envoy::type::v3::Int32Range>& from, Path path) {
  std::vector<fastpath::PortRange> to;
  for (int i = 0; i < from.size(); ++i) {
    const int32_t start = from[i].start(), end = from[i].end();
    if (start < 0 || end <= start || end > 65536) {
      error(fmt::format("{}[{}]", path, i), fmt::format("{} to {} is not a range of ports", start, end),
            "the end is not included: { start: 80, end: 81 } is port 80");
      continue;
    }
    to.push_back({static_cast<uint16_t>(start), static_cast<uint16_t>(end - 1)});
  }
  return to;
}

void Translator::capture(const fastpath_v1::Capture& from, const Snapshot& snapshot, FastPath& to, Path path) {
  fastpath::CaptureOptions options;
  CaptureAddresses addresses;
  for (int i = 0; i < from.listeners_size(); ++i) {
    const std::string at = fmt::format("{}.listeners[{}]", path, i);
    const Listener* listener = listener_named(from.listeners(i), snapshot, at);
    if (listener == nullptr) continue;
    to.capture_listeners.push_back(listener->name);
    for (const net::Address& address : listener->addresses) capture_address(*listener, address, addresses, at);
  }
  options.refuse_when_dead = from.on_dead_listener() == fastpath_v1::Capture::REFUSE;
  options.include_ports = port_ranges(from.include_ports(), path + ".include_ports");
  options.exclude_ports = port_ranges(from.exclude_ports(), path + ".exclude_ports");
  options.include_addresses = cidr_ranges(from.include_addresses(), path + ".include_addresses");
  options.exclude_addresses = cidr_ranges(from.exclude_addresses(), path + ".exclude_addresses");
  options.loopback = from.loopback();
  options.include_users = list(from.include_users());
  options.exclude_users = list(from.exclude_users());
  options.include_cgroups = list(from.include_cgroups());
  options.exclude_cgroups = list(from.exclude_cgroups());
  to.steering.capture = std::move(options);
  to.steering.original_dst_cgroups = list(from.so_original_dst_cgroups());
  set_if(from.has_connections_max(), from.connections_max(), to.steering.flows_max);
}

// Where a connect is sent is the same in every network namespace: the socket's own decides which listener that is.
void Translator::capture_address(const Listener& listener, const net::Address& address, CaptureAddresses& known,
                                 Path path) {
  if (!address.is_ip()) {
    error(path, fmt::format("'{}' listens on {}, which no connection can be sent to", listener.name,
                            address.to_string()));
    return;
  }
  const auto [first, fresh] = known.of_family.emplace(address.kind(), address);
  if (!known.in_namespace.emplace(listener.network_namespace, address.kind()).second) {
    error(path, fmt::format("'{}' is a second capture address of its family", address.to_string()),
          "capture needs at most one IPv4 and one IPv6 address in each network namespace");
  } else if (!fresh && (first->second != address || address.port() == 0)) {
    error(path, fmt::format("'{}' captures at {}, other listeners in other network namespaces at {}", listener.name,
                            address.to_string(), first->second.to_string()),
          "give them the same address and a port other than 0");
  }
}

void Translator::connect_time(const fastpath_v1::ConnectTime& from, const Snapshot& snapshot, FastPath& to, Path path) {
  fastpath::ServicesOptions options;
  options.datagrams = from.udp_services_size() > 0;
  options.refuse_when_empty = from.on_no_endpoint() == fastpath_v1::ConnectTime::REFUSE;
  options.reset_removed = from.reset_connections();
  set_if(from.has_services_max(), from.services_max(), options.services_max);
  set_if(from.has_endpoints_max(), from.endpoints_max(), options.slots_max);
  set_if(from.has_udp_flows_max(), from.udp_flows_max(), options.answers_max);
  std::map<std::string, const upstream::Cluster*> clusters;  // by the addresses of listeners
  for (int i = 0; i < from.listeners_size(); ++i) {
    const std::string at = fmt::format("{}.listeners[{}]", path, i);
    const Listener* listener = listener_named(from.listeners(i), snapshot, at);
    if (listener == nullptr) continue;
    const FilterChain& chain = listener->filter_chains.front();
    const auto* proxy = listener->filter_chains.size() == 1 && chain.transport == nullptr
                            ? dynamic_cast<const router::TcpProxyConfig*>(chain.filter.get())
                            : nullptr;
    if (proxy == nullptr || proxy->options().clusters.size() != 1) {
      error(at,
            fmt::format("'{}' is not plain L4: its connections cannot be balanced inside connect()", listener->name),
            "a connect-time service is a listener with one tcp_proxy of one cluster");
      continue;
    }
    upstream::Cluster* cluster = proxy->options().clusters[0].cluster;
    if (cluster == nullptr) continue;  // reported where the proxy names it
    for (const net::Address& address : listener->addresses) {
      service_address(address, *cluster, at);
      const auto [first, fresh] = clusters.emplace(address.to_string(), cluster);
      if (fresh || first->second == cluster) continue;
      error(at, fmt::format("{} is a service already, of cluster '{}'", first->first, first->second->name()),
            "a connect-time service has one address in all network namespaces");
    }
    if (!proxy->options().access_logs.empty() || !listener->access_logs.empty()) {
      warning(at, fmt::format("connections to '{}' that are balanced inside connect() are in no access log",
                              listener->name));
    }
    to.services.push_back({listener->name, {}, IPPROTO_TCP, cluster});
  }
  for (int i = 0; i < from.udp_services_size(); ++i) {
    const std::string at = fmt::format("{}.udp_services[{}]", path, i);
    const auto address = socket_address(from.udp_services(i).address(), at + ".address", false);
    own_network_namespace(from.udp_services(i).address(), at + ".address");
    upstream::Cluster* cluster = clusters_->find(from.udp_services(i).cluster());
    if (cluster == nullptr) {
      error_if_first(at + ".cluster", fmt::format("there is no cluster '{}'", from.udp_services(i).cluster()),
                     "define it in static_resources.clusters");
    }
    if (address && cluster != nullptr) service_address(*address, *cluster, at + ".address");
    if (address && cluster != nullptr) to.services.push_back({"", *address, IPPROTO_UDP, cluster});
  }
  to.steering.services = options;
}

void Translator::service_address(const net::Address& address, const upstream::Cluster& cluster, Path path) {
  if (!address.is_ip() || address.is_any()) {
    error(path, fmt::format("{} cannot be balanced inside connect()", address.to_string()),
          "a connect-time service needs the one IP address that applications dial");
    return;
  }
  if (cluster.options().type == upstream::DiscoveryType::kOriginalDst) {
    error(path, fmt::format("cluster '{}' has no endpoints of its own", cluster.name()),
          "a connect-time service needs a cluster with endpoints");
    return;
  }
  for (const auto& host : cluster.hosts()) {
    if (host->address().family() == address.family()) continue;
    warning(path, fmt::format("endpoint {} of cluster '{}' gets no connections that are balanced inside connect(): it "
                              "is of another family than {}",
                              host->address().to_string(), cluster.name(), address.to_string()));
    return;
  }
}

void Translator::inbound(const fastpath_v1::Inbound& from, const Snapshot& snapshot, FastPath& to, Path path) {
  const Listener* listener = listener_named(from.listener(), snapshot, path + ".listener");
  if (listener == nullptr) return;
  const bool drop = from.on_dead_listener() == fastpath_v1::Inbound::DROP;
  const std::string netns =
      from.network_namespace().empty() ? listener->network_namespace : from.network_namespace();
  auto place = std::find_if(to.steering.inbound.begin(), to.steering.inbound.end(),
                            [&](const auto& known) { return known.netns == netns; });
  if (place == to.steering.inbound.end()) {
    place = to.steering.inbound.insert(place, fastpath::InboundOptions{});
    place->netns = netns;
    place->drop_when_missing = drop;
    place->loopback = from.loopback();
  } else if (place->drop_when_missing != drop || place->loopback != from.loopback()) {
    error(path,
          "on_dead_listener and loopback hold for a whole network namespace, and an entry before this one differs",
          "give all entries of the namespace the same values");
  }
  const auto socket = static_cast<uint32_t>(to.inbound_listeners.size());
  to.inbound_listeners.push_back(listener->name);
  const std::vector<net::Cidr> addresses = cidr_ranges(from.addresses(), path + ".addresses");
  const std::vector<fastpath::PortRange> ports = port_ranges(from.ports(), path + ".ports");
  for (const net::Cidr& address : addresses) {
    for (const fastpath::PortRange& range : ports) {
      place->rules.push_back({IPPROTO_TCP, address, range, socket});
    }
  }
}

void Translator::short_circuit(const fastpath_v1::ShortCircuit& from, const Snapshot& snapshot, FastPath& to,
                               Path path) {
  FastPath::ShortCircuit options;
  options.cgroups = list(from.cgroups());
  for (int i = 0; i < from.listeners_size(); ++i) {
    const std::string at = fmt::format("{}.listeners[{}]", path, i);
    const Listener* listener = listener_named(from.listeners(i), snapshot, at);
    if (listener == nullptr) continue;
    if (!listener->network_namespace.empty()) {
      warning(at, fmt::format("'{}' is in another network namespace: its connections go on through TCP",
                              listener->name));
    }
    options.listeners.push_back(listener->name);
  }
  if (from.policy() == fastpath_v1::ShortCircuit::ALWAYS) options.policy = fastpath::SplicePolicy::kAlways;
  if (from.policy() == fastpath_v1::ShortCircuit::FIXED) options.policy = fastpath::SplicePolicy::kFixed;
  set_if(from.has_unread_bytes_max(), from.unread_bytes_max(), options.unread_bytes_max);
  set_if(from.has_one_way_bytes_max(), from.one_way_bytes_max(), options.one_way_bytes_max);
  to.short_circuit = std::move(options);
}

}  // namespace millrace::config
