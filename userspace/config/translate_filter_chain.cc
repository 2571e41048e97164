// The filter chains of a listener: which connections they are for, and the listener filter that finds that out.
#include <algorithm>
#include <utility>

#include "config/translator.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "filter/tls_inspector.h"
#include "stats/names.h"
#include "stats/schema_tls_inspector.h"

namespace millrace::config {

using filter::FilterChainMatch;

namespace {

std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

std::string called(const FilterChain& chain, size_t position) {
  return chain.name.empty() ? fmt::format("filter_chains[{}]", position)
                            : fmt::format("filter_chains[{}] '{}'", position, chain.name);
}

}  // namespace

bool Translator::asks_for_client_hello(const listener_v3::Listener& from) {
  return std::any_of(from.filter_chains().begin(), from.filter_chains().end(), [](const auto& chain) {
    const auto& match = chain.filter_chain_match();
    return match.transport_protocol() == "tls" ||
           (match.transport_protocol().empty() &&
            (match.server_names_size() > 0 || match.application_protocols_size() > 0));
  });
}

void Translator::tls_inspector(const listener_v3::ListenerFilter& from, Listener& to, Path path) {
  envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector config;
  if (from.has_typed_config() && !unpack(from.typed_config(), config, path + ".typed_config")) return;
  filter::TlsInspectorOptions options;
  options.ja3 = config.enable_ja3_fingerprinting().value();
  options.ja4 = config.enable_ja4_fingerprinting().value();
  options.close_on_parsing_errors = config.close_connection_on_client_hello_parsing_errors();
  if (config.has_max_client_hello_size()) options.client_hello_bytes_max = config.max_client_hello_size().value();
  options.stats = context_.store->add_block(stats::tls_inspector::kSchema, stats::plain_name("tls_inspector."));
  to.listener_filters.push_back(std::make_unique<filter::TlsInspector>(std::move(options)));
}

FilterChainMatch Translator::filter_chain_match(const listener_v3::FilterChainMatch& from, Path path) {
  FilterChainMatch to;
  if (from.has_destination_port()) to.destination_port = static_cast<uint16_t>(from.destination_port().value());
  to.prefix_ranges = cidr_ranges(from.prefix_ranges(), path + ".prefix_ranges");
  for (int i = 0; i < from.server_names_size(); ++i) {
    std::string name = lower_case(from.server_names(i));
    const bool wildcard = name.starts_with("*.");
    if (name.empty() || name.find('*', wildcard ? 1 : 0) != std::string::npos) {
      error(fmt::format("{}.server_names[{}]", path, i), fmt::format("'{}' is no server name", from.server_names(i)),
            "write a whole name, or *.example.com for every name below example.com");
      continue;
    }
    to.server_names.push_back(std::move(name));
  }
  to.transport_protocol = from.transport_protocol();
  if (!to.transport_protocol.empty() && to.transport_protocol != "tls" && to.transport_protocol != "raw_buffer") {
    warning(path + ".transport_protocol",
            fmt::format("no connection is found to be '{}', so that this chain gets none", to.transport_protocol),
            "use tls or raw_buffer");
  }
  to.application_protocols.assign(from.application_protocols().begin(), from.application_protocols().end());
  to.direct_source_prefix_ranges =
      cidr_ranges(from.direct_source_prefix_ranges(), path + ".direct_source_prefix_ranges");
  using From = listener_v3::FilterChainMatch;
  if (from.source_type() == From::SAME_IP_OR_LOOPBACK) to.source_type = filter::SourceType::kSameIpOrLoopback;
  if (from.source_type() == From::EXTERNAL) to.source_type = filter::SourceType::kExternal;
  to.source_prefix_ranges = cidr_ranges(from.source_prefix_ranges(), path + ".source_prefix_ranges");
  for (const uint32_t port : from.source_ports()) to.source_ports.push_back(static_cast<uint16_t>(port));
  return to;
}

void Translator::filter_chains(const listener_v3::Listener& from, Listener& to, Path path) {
  for (int i = 0; i < from.filter_chains_size(); ++i) {
    const std::string at = fmt::format("{}.filter_chains[{}]", path, i);
    const auto& source = from.filter_chains(i);
    const FilterChainMatch match = filter_chain_match(source.filter_chain_match(), at + ".filter_chain_match");
    to.filter_chains.push_back(filter_chain(source, match, to, at));
    const size_t position = to.filter_chains.size() - 1;
    if (const auto other = to.matcher.add(match, position)) {
      error(source.has_filter_chain_match() ? at + ".filter_chain_match" : at,
            fmt::format("matches connections that {} matches as closely", called(to.filter_chains[*other], *other)),
            "make the matches of the two chains differ");
    }
  }
  if (from.has_default_filter_chain()) {
    to.filter_chains.push_back(filter_chain(from.default_filter_chain(), {}, to, path + ".default_filter_chain"));
    to.default_filter_chain = to.filter_chains.size() - 1;
    if (to.filter_chains.size() == 1) (void)to.matcher.add({}, 0);
  }
  if (to.filter_chains.empty()) {
    error_if_first(path, "the listener has no filter chain", "add filter_chains with a terminal filter");
  }
}

FilterChain Translator::filter_chain(const listener_v3::FilterChain& from, const FilterChainMatch& match,
                                     const Listener& listener, Path path) {
  FilterChain to;
  to.name = from.name();
  if (from.has_transport_socket() && !listener.addresses.empty()) {
    const std::string address = listener.stat_prefix.empty() ? listener.addresses[0].to_string() : listener.stat_prefix;
    TlsPlace place{fmt::format("listener '{}'", listener.name), stats::listener_name(address), {}, match.server_names};
    if (!to.name.empty()) place.name += fmt::format(", filter chain '{}'", to.name);
    to.transport = downstream_transport(from.transport_socket(), std::move(place), path + ".transport_socket");
  }
  if (from.has_transport_socket_connect_timeout()) {
    to.transport_connect_timeout = duration(from.transport_socket_connect_timeout());
  }
  if (from.filters_size() == 0) {
    error_if_first(path, "the filter chain has no filters", "end it with http_connection_manager or tcp_proxy");
    return to;
  }
  for (int i = 0; i + 1 < from.filters_size(); ++i) {
    error_if_first(fmt::format("{}.filters[{}]", path, i),
                   fmt::format("'{}' must be the last filter of its chain", from.filters(i).name()),
                   "both filters that Millrace has, http_connection_manager and tcp_proxy, end a chain");
  }
  const int last = from.filters_size() - 1;
  to.filter = network_filter(from.filters(last), listener, fmt::format("{}.filters[{}]", path, last));
  return to;
}

}  // namespace millrace::config
