#include <utility>

#include "config/translator.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "filter/original_dst_filter.h"

namespace millrace::config {

void Translator::listener_addresses(const listener_v3::Listener& from, Listener& to, Path path) {
  std::optional<bool> ipv4_compat;
  std::optional<uint32_t> pipe_mode;
  std::optional<std::string> netns;
  const auto add = [&](const core_v3::Address& source, Path at) {
    auto found = address(source, at, true);
    if (!found) return;
    // The sockets of a listener share their options.
    if (source.has_pipe() &&
        std::exchange(pipe_mode, source.pipe().mode()).value_or(source.pipe().mode()) != *pipe_mode) {
      error(at + ".pipe.mode", "differs from the mode of another address of this listener");
    }
    const bool compat = source.socket_address().ipv4_compat();
    if (found->kind() == net::Address::Kind::kIpv6 && std::exchange(ipv4_compat, compat).value_or(compat) != compat) {
      error(at + ".socket_address.ipv4_compat", "differs from that of another address of this listener");
    }
    const std::string& place = source.socket_address().network_namespace_filepath();
    if (found->is_ip() && std::exchange(netns, place).value_or(place) != place) {
      error(at + ".socket_address.network_namespace_filepath", "differs from that of another address of this listener",
            "make a listener for each network namespace");
    }
    if (to.name.empty()) to.name = place.empty() ? found->to_string() : fmt::format("{}@{}", found->to_string(), place);
    to.addresses.push_back(std::move(*found));
  };
  to.name = from.name();
  if (!from.has_internal_listener())
    add(from.address(), path + ".address");  // one without an address is refused anyway
  for (int i = 0; i < from.additional_addresses_size(); ++i) {
    add(from.additional_addresses(i).address(), fmt::format("{}.additional_addresses[{}].address", path, i));
  }
  to.socket.ipv6_only = !ipv4_compat.value_or(false);
  to.socket.pipe_mode = pipe_mode.value_or(0);
  to.network_namespace = netns.value_or("");
}

void Translator::listener_filters(const listener_v3::Listener& from, Listener& to, Path path) {
  // Envoy's names, of old and of today, for filters without a typed_config.
  constexpr std::string_view kOriginalDst = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
  constexpr std::string_view kTlsInspector = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
  bool inspects_tls = false;
  for (int i = 0; i < from.listener_filters_size(); ++i) {
    const auto& filter = from.listener_filters(i);
    const std::string at = fmt::format("{}.listener_filters[{}]", path, i);
    std::string_view type = filter.typed_config().type_url();
    type = type.substr(type.rfind('/') + 1);
    if (!filter.has_typed_config()) {
      const std::string& name = filter.name();
      if (name == "envoy.filters.listener.original_dst" || name == "envoy.listener.original_dst") type = kOriginalDst;
      if (name == "envoy.filters.listener.tls_inspector" || name == "envoy.listener.tls_inspector") {
        type = kTlsInspector;
      }
      if (type.empty()) {
        error_if_first(at, fmt::format("filter '{}' has no typed_config", name),
                       "filters are known by the @type of their typed_config");
        continue;
      }
      warning(at, "filter without typed_config is taken by its name",
              fmt::format("add typed_config with @type: type.googleapis.com/{}", type));
    }
    if (type == kOriginalDst) {
      to.listener_filters.push_back(std::make_unique<filter::OriginalDstFilter>());
    } else if (type == kTlsInspector) {
      tls_inspector(filter, to, at);
      inspects_tls = true;
    }  // an unknown type was reported by the table of supported fields
  }
  if (!inspects_tls && asks_for_client_hello(from)) {
    warning(path + ".filter_chains", "filter_chain_match reads what only tls_inspector finds out: it was added",
            fmt::format("add to listener_filters a typed_config with @type: type.googleapis.com/{}", kTlsInspector));
    tls_inspector({}, to, path);
  }
  to.use_original_dst = from.use_original_dst().value();
  // Last, as in Envoy: a filter before it may say where the connection comes from.
  if (to.use_original_dst) to.listener_filters.push_back(std::make_unique<filter::OriginalDstFilter>());
  if (from.has_listener_filters_timeout()) to.listener_filters_timeout = duration(from.listener_filters_timeout());
  to.continue_on_listener_filters_timeout = from.continue_on_listener_filters_timeout();
  to.bind_to_port = (!from.has_bind_to_port() || from.bind_to_port().value()) &&
                    (!from.deprecated_v1().has_bind_to_port() || from.deprecated_v1().bind_to_port().value());
}

// Two listeners would share the connections of an address by chance (SO_REUSEPORT), or one would get none.
void Translator::unique_addresses(const Listener& listener, Path path) {
  for (const net::Address& address : listener.addresses) {
    if (address.is_ip() && address.port() == 0) continue;
    const std::string place = address.to_string() + listener.network_namespace;
    const auto [first, fresh] = listener_by_address_.emplace(place, listener.name);
    if (fresh) continue;
    error(path + ".address", fmt::format("listener '{}' has the address {} already", first->second,
                                         address.to_string()));
  }
}

std::unique_ptr<const Listener> Translator::listener(const listener_v3::Listener& from, Path path) {
  const size_t errors_before = diagnostics_.errors();
  auto to = std::make_unique<Listener>();
  listener_addresses(from, *to, path);
  to->max_connections =
      runtime_integer(fmt::format("envoy.resource_limits.listener.{}.connection_limit", to->name)).value_or(UINT32_MAX);
  to->ignore_global_conn_limit = from.ignore_global_conn_limit();
  to->stat_prefix = from.stat_prefix();
  if (from.has_per_connection_buffer_limit_bytes()) {
    to->per_connection_buffer_limit_bytes = from.per_connection_buffer_limit_bytes().value();
  }
  to->socket.reuse_port = !from.has_enable_reuse_port() || from.enable_reuse_port().value();
  to->socket.transparent = from.transparent().value();
  to->socket.freebind = from.freebind().value();
  if (from.has_tcp_backlog_size()) to->socket.backlog = static_cast<int>(from.tcp_backlog_size().value());
  if (from.has_tcp_fast_open_queue_length()) {
    to->socket.fast_open_queue_length = from.tcp_fast_open_queue_length().value();
  }
  if (from.has_tcp_keepalive()) to->socket.keepalive = keepalive(from.tcp_keepalive());
  to->socket.socket_options = socket_options(from.socket_options());
  listener_filters(from, *to, path);
  if (from.traffic_direction() == core_v3::INBOUND) to->traffic_direction = TrafficDirection::kInbound;
  if (from.traffic_direction() == core_v3::OUTBOUND) to->traffic_direction = TrafficDirection::kOutbound;
  to->access_logs = access_logs(from.access_log(), path + ".access_log");

  filter_chains(from, *to, path);
  if (diagnostics_.errors() != errors_before) return nullptr;
  return to;
}

std::unique_ptr<const filter::NetworkFilterConfig> Translator::network_filter(const listener_v3::Filter& from,
                                                                              const Listener& listener, Path path) {
  const std::string at = path + ".typed_config";
  if (from.typed_config().Is<hcm_v3::HttpConnectionManager>()) {
    hcm_v3::HttpConnectionManager config;
    return unpack(from.typed_config(), config, at) ? hcm(config, listener, at) : nullptr;
  }
  if (from.typed_config().Is<tcp_proxy_v3::TcpProxy>()) {
    tcp_proxy_v3::TcpProxy config;
    return unpack(from.typed_config(), config, at) ? tcp_proxy(config, at) : nullptr;
  }
  if (!from.has_typed_config()) {
    error(path, fmt::format("filter '{}' has no typed_config", from.name()),
          "filters are known by the @type of their typed_config");
  }
  return nullptr;  // an unknown type was reported by the table of supported fields
}

}  // namespace millrace::config
