// Operators over the connections: addresses, ids, and what TLS said of both sides ("-" on a plaintext connection).
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "net/address.h"
#include "net/transport.h"
#include "stream/format_program.h"

namespace millrace::stream::detail {
namespace {

using Info = const StreamInfo&;
using net::Address;

// ---- addresses

using GetAddress = const Address* (*)(const StreamInfo&);
enum AddressForm : uint8_t { kFull, kWithoutPort, kPortOnly };

// Most addresses in a log line are IPv4, so these do without a string of their own.
void append_ipv4(const Address& address, std::string& out) {
  for (size_t i = 0; i < 4; ++i) {
    if (i != 0) out += '.';
    append_number(address.bytes()[i], out);
  }
}

void append_address(const Address& address, bool with_port, std::string& out) {
  if (address.kind() != Address::Kind::kIpv4) {
    out += with_port ? address.to_string() : address.ip_string();
    return;
  }
  append_ipv4(address, out);
  if (!with_port) return;
  out += ':';
  append_number(address.port(), out);
}

// The network of the address, "10.1.0.0/16". False when it has fewer bits than the prefix.
bool append_masked(const Address& address, uint8_t prefix_length, std::string& out) {
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  const bool v4 = address.kind() == Address::Kind::kIpv4;
  uint8_t* bytes = v4 ? reinterpret_cast<uint8_t*>(&reinterpret_cast<sockaddr_in*>(&storage)->sin_addr)
                      : reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr.s6_addr;
  const size_t size = v4 ? 4 : 16;
  if (prefix_length > size * 8) return false;
  for (size_t i = 0; i < size; ++i) {
    const size_t kept = std::clamp<size_t>(prefix_length, i * 8, i * 8 + 8) - i * 8;
    bytes[i] = static_cast<uint8_t>(bytes[i] & (0xff00u >> kept));
  }
  append_address(Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage), length), false, out);
  out += '/';
  append_number(prefix_length, out);
  return true;
}

// option: AddressForm; option_2: 1 when a prefix length is given, in precision.
template <GetAddress Get, AddressForm Form>
bool append_address_of(const Element& element, const FormatContext& context, std::string& out) {
  const Address* address = Get(*context.info);
  if (address == nullptr || address->empty()) return false;
  if constexpr (Form == kPortOnly) {
    if (!address->is_ip()) return false;
    append_number(address->port(), out);
    return true;
  }
  if (element.option_2 != 0 && address->is_ip()) return append_masked(*address, element.precision, out);
  append_address(*address, Form == kFull, out);
  return true;
}

base::Result<void> configure_prefix(std::string_view argument, Element& element) {
  if (argument.empty()) return {};
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), element.precision);
  if (error != std::errc() || end != argument.data() + argument.size() || element.precision > 128) {
    return argument_error(fmt::format("\"{}\" must be a prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6", argument));
  }
  element.option_2 = 1;
  return {};
}

const Address* upstream_remote(Info i) {
  const ConnectionInfo* connection = i.upstream.connection;
  return connection != nullptr && connection->remote_address != nullptr ? connection->remote_address
                                                                        : i.upstream.host_address;
}
const Address* upstream_local(Info i) {
  return i.upstream.connection != nullptr ? i.upstream.connection->local_address : nullptr;
}
const Address* upstream_host(Info i) { return i.upstream.host_address; }
const Address* downstream_remote(Info i) { return i.downstream_remote_address(); }
const Address* downstream_local(Info i) { return i.connection != nullptr ? i.connection->local_address : nullptr; }
const Address* downstream_direct_remote(Info i) {
  if (i.connection == nullptr) return nullptr;
  const Address* direct = i.connection->direct_remote_address;
  return direct != nullptr ? direct : i.connection->remote_address;
}
const Address* downstream_direct_local(Info i) {
  if (i.connection == nullptr) return nullptr;
  const Address* direct = i.connection->direct_local_address;
  return direct != nullptr ? direct : i.connection->local_address;
}

template <GetAddress Get>
constexpr Operator address(std::string_view name) {
  return {name, append_address_of<Get, kFull>};
}
template <GetAddress Get>
constexpr Operator without_port(std::string_view name) {
  return {name, append_address_of<Get, kWithoutPort>, ValueType::kText, Arguments::kOptional, false, configure_prefix};
}
template <GetAddress Get>
constexpr Operator port(std::string_view name) {
  return {name, append_address_of<Get, kPortOnly>, ValueType::kNumber};
}

bool append_host_name(const Element&, const FormatContext& context, std::string& out) {
  const UpstreamInfo& upstream = context.info->upstream;
  if (upstream.host_address == nullptr) return false;
  if (upstream.host_name.empty()) {
    append_address(*upstream.host_address, true, out);
  } else {
    out += upstream.host_name;
  }
  return true;
}

bool append_host_name_without_port(const Element&, const FormatContext& context, std::string& out) {
  const UpstreamInfo& upstream = context.info->upstream;
  if (upstream.host_address == nullptr) return false;
  if (upstream.host_name.empty()) {
    append_address(*upstream.host_address, false, out);
    return true;
  }
  const std::string_view name = upstream.host_name;
  const size_t colon = name.rfind(':');
  const bool has_port = colon != std::string_view::npos && colon + 1 < name.size() &&
                        name.find_first_not_of("0123456789", colon + 1) == std::string_view::npos &&
                        (name.find(':') == colon || name[colon - 1] == ']');
  out += name.substr(0, has_port ? colon : name.size());
  return true;
}

// ---- ids and names

template <const ConnectionInfo* (*Get)(Info)>
bool append_id(const Element&, const FormatContext& context, std::string& out) {
  const ConnectionInfo* connection = Get(*context.info);
  append_number(connection != nullptr ? connection->id : 0, out);
  return true;
}

const ConnectionInfo* downstream(Info i) { return i.connection; }
const ConnectionInfo* upstream(Info i) { return i.upstream.connection; }

template <const ConnectionInfo* (*Get)(Info), auto Member>
bool append_connection_text(const Element&, const FormatContext& context, std::string& out) {
  const ConnectionInfo* connection = Get(*context.info);
  if (connection == nullptr) return false;
  for (const char c : connection->*Member) out += c == ' ' || (c >= '\t' && c <= '\r') ? '_' : c;
  return !(connection->*Member).empty();
}

bool append_nothing(const Element&, const FormatContext&, std::string&) { return false; }

// ---- TLS

using net::CertificateFacts;
using net::TransportFacts;

template <const ConnectionInfo* (*Get)(Info)>
const TransportFacts* tls_of(Info i) {
  const ConnectionInfo* connection = Get(i);
  return connection != nullptr ? connection->tls.get() : nullptr;
}

template <const ConnectionInfo* (*Get)(Info), auto Fact>
bool append_tls(const Element&, const FormatContext& context, std::string& out) {
  const TransportFacts* tls = tls_of<Get>(*context.info);
  if (tls == nullptr) return false;
  const auto value = (tls->*Fact)();
  out += value;
  return !value.empty();
}

bool append_text(const std::string& text, std::string& out) {
  out += text;
  return !text.empty();
}
bool append_text(const std::vector<std::string>& list, std::string& out) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += ',';
    out += list[i];
  }
  return !list.empty();
}

using Side = const CertificateFacts& (TransportFacts::*)() const;
constexpr Side kLocal = &TransportFacts::local_certificate;
constexpr Side kPeer = &TransportFacts::peer_certificate;

template <const ConnectionInfo* (*Get)(Info), Side Of, auto Member>
bool append_certificate(const Element&, const FormatContext& context, std::string& out) {
  const TransportFacts* tls = tls_of<Get>(*context.info);
  return tls != nullptr && append_text((tls->*Of)().*Member, out);
}

template <const ConnectionInfo* (*Get)(Info), base::SystemTime CertificateFacts::*Member>
bool append_validity(const Element& element, const FormatContext& context, std::string& out) {
  const TransportFacts* tls = tls_of<Get>(*context.info);
  if (tls == nullptr || !is_set(tls->peer_certificate().*Member)) return false;
  element.time.append(tls->peer_certificate().*Member, out);
  return true;
}

base::Result<void> configure_time(std::string_view argument, Element& element) {
  base::Result<TimeFormat> format = TimeFormat::compile(argument);
  if (!format.ok()) return format.error();
  element.time = std::move(*format);
  return {};
}

template <auto Member>
constexpr Operator ds_local(std::string_view name) {
  return {name, append_certificate<downstream, kLocal, Member>};
}
template <auto Member>
constexpr Operator ds_peer(std::string_view name) {
  return {name, append_certificate<downstream, kPeer, Member>};
}
template <auto Member>
constexpr Operator us_local(std::string_view name) {
  return {name, append_certificate<upstream, kLocal, Member>};
}
template <auto Member>
constexpr Operator us_peer(std::string_view name) {
  return {name, append_certificate<upstream, kPeer, Member>};
}
template <const ConnectionInfo* (*Get)(Info), base::SystemTime CertificateFacts::*Member>
constexpr Operator validity(std::string_view name) {
  return {name, append_validity<Get, Member>, ValueType::kText, Arguments::kOptional, false, configure_time};
}

using Cert = CertificateFacts;

constexpr std::array kOperators = {
    address<upstream_host>("UPSTREAM_HOST"),
    Operator{"UPSTREAM_HOST_NAME", append_host_name},
    Operator{"UPSTREAM_HOST_NAME_WITHOUT_PORT", append_host_name_without_port},
    address<upstream_local>("UPSTREAM_LOCAL_ADDRESS"),
    without_port<upstream_local>("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    port<upstream_local>("UPSTREAM_LOCAL_PORT"),
    address<upstream_remote>("UPSTREAM_REMOTE_ADDRESS"),
    without_port<upstream_remote>("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    port<upstream_remote>("UPSTREAM_REMOTE_PORT"),
    address<downstream_remote>("DOWNSTREAM_REMOTE_ADDRESS"),
    without_port<downstream_remote>("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    port<downstream_remote>("DOWNSTREAM_REMOTE_PORT"),
    address<downstream_direct_remote>("DOWNSTREAM_DIRECT_REMOTE_ADDRESS"),
    without_port<downstream_direct_remote>("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"),
    port<downstream_direct_remote>("DOWNSTREAM_DIRECT_REMOTE_PORT"),
    address<downstream_local>("DOWNSTREAM_LOCAL_ADDRESS"),
    without_port<downstream_local>("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    port<downstream_local>("DOWNSTREAM_LOCAL_PORT"),
    address<downstream_direct_local>("DOWNSTREAM_DIRECT_LOCAL_ADDRESS"),
    without_port<downstream_direct_local>("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT"),
    port<downstream_direct_local>("DOWNSTREAM_DIRECT_LOCAL_PORT"),
    // Only addresses of internal listeners have one.
    Operator{"UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", append_nothing},
    Operator{"DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", append_nothing},
    Operator{"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", append_nothing},

    Operator{"CONNECTION_ID", append_id<downstream>, ValueType::kNumber},
    Operator{"UPSTREAM_CONNECTION_ID", append_id<upstream>, ValueType::kNumber},
    Operator{"FILTER_CHAIN_NAME", append_connection_text<downstream, &ConnectionInfo::filter_chain_name>},
    Operator{"DOWNSTREAM_TRANSPORT_FAILURE_REASON",
             append_connection_text<downstream, &ConnectionInfo::transport_failure_reason>},
    Operator{"UPSTREAM_SERVER_NAME", append_connection_text<upstream, &ConnectionInfo::requested_server_name>},

    Operator{"DOWNSTREAM_TLS_VERSION", append_tls<downstream, &TransportFacts::version>},
    Operator{"DOWNSTREAM_TLS_CIPHER", append_tls<downstream, &TransportFacts::cipher>},
    Operator{"DOWNSTREAM_TLS_GROUP", append_tls<downstream, &TransportFacts::group>},
    Operator{"DOWNSTREAM_TLS_SESSION_ID", append_tls<downstream, &TransportFacts::session_id>},
    Operator{"TLS_JA3_FINGERPRINT", append_connection_text<downstream, &ConnectionInfo::ja3>},
    Operator{"TLS_JA4_FINGERPRINT", append_connection_text<downstream, &ConnectionInfo::ja4>},
    Operator{"UPSTREAM_TLS_VERSION", append_tls<upstream, &TransportFacts::version>},
    Operator{"UPSTREAM_TLS_CIPHER", append_tls<upstream, &TransportFacts::cipher>},
    Operator{"UPSTREAM_TLS_GROUP", append_tls<upstream, &TransportFacts::group>},
    Operator{"UPSTREAM_TLS_SESSION_ID", append_tls<upstream, &TransportFacts::session_id>},

    ds_local<&Cert::uri_sans>("DOWNSTREAM_LOCAL_URI_SAN"),
    ds_local<&Cert::dns_sans>("DOWNSTREAM_LOCAL_DNS_SAN"),
    ds_local<&Cert::ip_sans>("DOWNSTREAM_LOCAL_IP_SAN"),
    ds_local<&Cert::email_sans>("DOWNSTREAM_LOCAL_EMAIL_SAN"),
    ds_local<&Cert::othername_sans>("DOWNSTREAM_LOCAL_OTHERNAME_SAN"),
    ds_local<&Cert::subject>("DOWNSTREAM_LOCAL_SUBJECT"),
    ds_peer<&Cert::uri_sans>("DOWNSTREAM_PEER_URI_SAN"),
    ds_peer<&Cert::dns_sans>("DOWNSTREAM_PEER_DNS_SAN"),
    ds_peer<&Cert::ip_sans>("DOWNSTREAM_PEER_IP_SAN"),
    ds_peer<&Cert::email_sans>("DOWNSTREAM_PEER_EMAIL_SAN"),
    ds_peer<&Cert::othername_sans>("DOWNSTREAM_PEER_OTHERNAME_SAN"),
    ds_peer<&Cert::subject>("DOWNSTREAM_PEER_SUBJECT"),
    ds_peer<&Cert::issuer>("DOWNSTREAM_PEER_ISSUER"),
    ds_peer<&Cert::serial>("DOWNSTREAM_PEER_SERIAL"),
    ds_peer<&Cert::fingerprint_1>("DOWNSTREAM_PEER_FINGERPRINT_1"),
    ds_peer<&Cert::fingerprint_256>("DOWNSTREAM_PEER_FINGERPRINT_256"),
    ds_peer<&Cert::chain_serials>("DOWNSTREAM_PEER_CHAIN_SERIALS"),
    ds_peer<&Cert::chain_fingerprints_1>("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1"),
    ds_peer<&Cert::chain_fingerprints_256>("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256"),
    ds_peer<&Cert::issuer_serial>("DOWNSTREAM_PEER_ISSUER_SERIAL"),
    ds_peer<&Cert::issuer_fingerprint_256>("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256"),
    Operator{"DOWNSTREAM_PEER_CERT", append_tls<downstream, &TransportFacts::peer_pem_url_encoded>},
    validity<downstream, &Cert::valid_from>("DOWNSTREAM_PEER_CERT_V_START"),
    validity<downstream, &Cert::valid_until>("DOWNSTREAM_PEER_CERT_V_END"),
    us_local<&Cert::uri_sans>("UPSTREAM_LOCAL_URI_SAN"),
    us_local<&Cert::dns_sans>("UPSTREAM_LOCAL_DNS_SAN"),
    us_local<&Cert::ip_sans>("UPSTREAM_LOCAL_IP_SAN"),
    us_peer<&Cert::uri_sans>("UPSTREAM_PEER_URI_SAN"),
    us_peer<&Cert::dns_sans>("UPSTREAM_PEER_DNS_SAN"),
    us_peer<&Cert::ip_sans>("UPSTREAM_PEER_IP_SAN"),
    us_peer<&Cert::subject>("UPSTREAM_PEER_SUBJECT"),
    us_peer<&Cert::issuer>("UPSTREAM_PEER_ISSUER"),
    Operator{"UPSTREAM_PEER_CERT", append_tls<upstream, &TransportFacts::peer_pem_url_encoded>},
    validity<upstream, &Cert::valid_from>("UPSTREAM_PEER_CERT_V_START"),
    validity<upstream, &Cert::valid_until>("UPSTREAM_PEER_CERT_V_END"),
};

}  // namespace

std::span<const Operator> connection_operators() { return kOperators; }

}  // namespace millrace::stream::detail
