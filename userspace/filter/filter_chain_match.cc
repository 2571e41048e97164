#include "filter/filter_chain_match.h"

namespace millrace::filter {
namespace {

// Each of the list, or null when it is empty; stops at the first result.
template <class T, class Visit>
std::optional<size_t> each_or_none(const std::vector<T>& list, Visit visit) {
  if (list.empty()) return visit(static_cast<const T*>(nullptr));
  for (const T& one : list) {
    if (std::optional<size_t> taken = visit(&one)) return taken;
  }
  return std::nullopt;
}

// "*.example.com" is kept as ".example.com".
std::string name_key(const std::string* name) {
  if (name == nullptr) return {};
  return name->starts_with("*.") ? name->substr(1) : *name;
}

// ---- the way down

bool comes_from_here(const FilterChainFacts& facts) {
  if (!facts.source.is_ip() || facts.source.is_loopback()) return true;
  return facts.source.kind() == facts.destination.kind() && facts.source.bytes() == facts.destination.bytes();
}

std::optional<size_t> of_source(const match::Sources& sources, const FilterChainFacts& facts) {
  const match::Ports* ports = sources.find(facts.source);
  if (ports == nullptr) return std::nullopt;
  auto found = ports->find(facts.source.port());
  if (found == ports->end()) found = ports->find(0);
  return found == ports->end() ? std::nullopt : std::optional(found->second);
}

std::optional<size_t> of_source_type(const match::SourceTypes& types, const FilterChainFacts& facts) {
  if (types.local || types.external) {
    const std::optional<match::Sources>& mine = comes_from_here(facts) ? types.local : types.external;
    if (mine) return of_source(*mine, facts);
  }
  return types.any ? of_source(*types.any, facts) : std::nullopt;
}

std::optional<size_t> of_direct_source(const match::DirectSources& sources, const FilterChainFacts& facts) {
  const match::SourceTypes* types = sources.find(facts.direct_source);
  return types == nullptr ? std::nullopt : of_source_type(*types, facts);
}

std::optional<size_t> of_application_protocol(const match::ApplicationProtocols& protocols,
                                              const FilterChainFacts& facts) {
  for (const std::string& wanted : facts.application_protocols) {
    if (wanted.empty()) continue;
    if (const auto* found = protocols.find(wanted)) return of_direct_source(*found, facts);
  }
  const auto* any = protocols.find("");
  return any == nullptr ? std::nullopt : of_direct_source(*any, facts);
}

std::optional<size_t> of_transport(const match::TransportProtocols& transports, const FilterChainFacts& facts) {
  const auto* found = transports.find(facts.transport_protocol);
  if (found == nullptr) found = transports.find("");
  return found == nullptr ? std::nullopt : of_application_protocol(*found, facts);
}

// The name itself, then every wildcard above it, then those that name nobody.
std::optional<size_t> of_server_name(const match::ServerNames& names, const FilterChainFacts& facts) {
  const std::string_view name = facts.server_name;
  const match::TransportProtocols* found = names.find(name);
  for (size_t dot = name.find('.', 1); found == nullptr && dot != std::string_view::npos && dot + 1 < name.size();
       dot = name.find('.', dot + 1)) {
    found = names.find(name.substr(dot));
  }
  if (found == nullptr) found = names.find("");
  return found == nullptr ? std::nullopt : of_transport(*found, facts);
}

}  // namespace

bool FilterChainMatch::empty() const {
  return !destination_port && prefix_ranges.empty() && server_names.empty() && transport_protocol.empty() &&
         application_protocols.empty() && direct_source_prefix_ranges.empty() && source_type == SourceType::kAny &&
         source_prefix_ranges.empty() && source_ports.empty();
}

std::optional<size_t> FilterChainIndex::add(const FilterChainMatch& match, size_t chain) {
  only_ = chains_++ == 0 && match.empty() ? std::optional(chain) : std::nullopt;
  match::Destinations& destinations = ports_[match.destination_port.value_or(0)];
  return each_or_none(match.prefix_ranges, [&](const net::Cidr* range) {
    return add_protocols(destinations.at(range), match, chain);
  });
}

std::optional<size_t> FilterChainIndex::add_protocols(match::ServerNames& names, const FilterChainMatch& match,
                                                      size_t chain) {
  return each_or_none(match.server_names, [&](const std::string* name) {
    match::ApplicationProtocols& protocols = names.at(name_key(name)).at(match.transport_protocol);
    return each_or_none(match.application_protocols, [&](const std::string* protocol) {
      match::DirectSources& sources = protocols.at(protocol == nullptr ? std::string() : *protocol);
      return each_or_none(match.direct_source_prefix_ranges, [&](const net::Cidr* range) {
        return add_sources(sources.at(range), match, chain);
      });
    });
  });
}

std::optional<size_t> FilterChainIndex::add_sources(match::SourceTypes& types, const FilterChainMatch& match,
                                                    size_t chain) {
  std::optional<match::Sources>& type = match.source_type == SourceType::kAny                ? types.any
                                        : match.source_type == SourceType::kSameIpOrLoopback ? types.local
                                                                                             : types.external;
  if (!type) type.emplace();
  return each_or_none(match.source_prefix_ranges, [&](const net::Cidr* range) {
    match::Ports& ports = type->at(range);
    return each_or_none(match.source_ports, [&](const uint16_t* port) -> std::optional<size_t> {
      const auto [taken, fresh] = ports.emplace(port == nullptr ? uint16_t{0} : *port, chain);
      return fresh || taken->second == chain ? std::nullopt : std::optional(taken->second);
    });
  });
}

std::optional<size_t> FilterChainIndex::find(const FilterChainFacts& facts) const {
  auto port = facts.destination.is_ip() ? ports_.find(facts.destination.port()) : ports_.end();
  if (port == ports_.end()) port = ports_.find(0);
  if (port == ports_.end()) return std::nullopt;
  const match::ServerNames* names = port->second.find(facts.destination);
  return names == nullptr ? std::nullopt : of_server_name(*names, facts);
}

}  // namespace millrace::filter
