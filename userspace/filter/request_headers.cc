#include "filter/request_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "filter/forwarded_client_cert.h"
#include "filter/response_headers.h"
#include "http/authority.h"
#include "http/path.h"
#include "stats/schema_http.h"

namespace millrace::filter {

namespace hs = stats::http;
using http::Header;
using http::HeaderMap;

namespace {

RequestVerdict normalize_path(HeaderMap& headers, const HcmOptions& o) {
  const std::string_view path = headers.get(Header::kPath);
  if (path.empty() || headers.get(Header::kMethod) == "CONNECT" || path == "*") return {};
  if (path.front() != '/') {
    return {404, "", "absolute_path_rejected", "", hs::kDownstreamRqNonRelativePath};
  }
  switch (http::normalize_path(headers, o.path)) {
    case http::PathVerdict::kOk: break;
    case http::PathVerdict::kReject:
      return {400, "", "path_normalization_failed", "", hs::kDownstreamRqFailedPathNormalization};
    case http::PathVerdict::kRedirect:
      return {307, "", "path_normalization_failed", headers.get(Header::kPath),
              hs::kDownstreamRqRedirectedWithNormalizedPath};
  }
  return {};
}

void normalize_host(HeaderMap& headers, const HcmOptions& o, const stream::ConnectionInfo& connection) {
  if (!o.strip_any_host_port && !o.strip_matching_host_port && !o.strip_trailing_host_dot) return;
  const std::string_view authority = headers.get(Header::kAuthority);
  const http::HostPort parts = http::split_host_port(authority);
  if (!parts.valid) return;
  std::string_view host = authority;
  if (parts.port != 0 && headers.get(Header::kMethod) != "CONNECT") {
    const bool matching = connection.local_address != nullptr && connection.local_address->port() == parts.port;
    if (o.strip_any_host_port || (o.strip_matching_host_port && matching)) host = parts.host;
  }
  if (o.strip_trailing_host_dot && parts.host.size() > 1 && parts.host.back() == '.') {
    // The dot ends the host, which a port may follow.
    const size_t dot = parts.host.size() - 1;
    headers.set(Header::kAuthority, fmt::format("{}{}", host.substr(0, dot), host.substr(dot + 1)));
  } else if (host.size() != authority.size()) {
    headers.set(Header::kAuthority, std::string(host));
  }
}

// Headers by which a client outside could steer the proxy or fake what an earlier hop of ours said.
void remove_internal_headers(HeaderMap& headers, bool edge) {
  static constexpr std::array kAlways{
      Header::kEnvoyRetriableStatusCodes, Header::kEnvoyRetriableHeaderNames, Header::kEnvoyRetryOn,
      Header::kEnvoyRetryGrpcOn, Header::kEnvoyMaxRetries, Header::kEnvoyUpstreamAltStatName,
      Header::kEnvoyUpstreamRequestTimeout, Header::kEnvoyUpstreamRequestPerTryTimeout,
      Header::kEnvoyExpectedRequestTimeout, Header::kEnvoyForceTrace, Header::kEnvoyIpTags,
      Header::kEnvoyHedgeOnPerTryTimeout};
  static constexpr std::array kEdge{Header::kEnvoyDecoratorOperation, Header::kEnvoyDownstreamServiceCluster,
                                    Header::kEnvoyDownstreamServiceNode, Header::kEnvoyOriginalPath,
                                    Header::kEnvoyOriginalHost};
  for (Header header : kAlways) headers.remove(header);
  if (!edge) return;
  for (Header header : kEdge) headers.remove(header);
}

bool is_internal(const net::Address& address, const HcmOptions& o) {
  if (address.kind() == net::Address::Kind::kPipe) return o.internal_unix_sockets;
  return std::any_of(o.internal_ranges.begin(), o.internal_ranges.end(),
                     [&](const net::Cidr& range) { return range.contains(address); });
}

// Returns whether the request comes from inside, as x-envoy-internal will say.
bool find_client(HeaderMap& headers, const HcmOptions& o, const stream::ConnectionInfo& connection,
                 net::Address& trusted) {
  const bool tls = connection.tls != nullptr;
  const net::Address* client = connection.remote_address;
  bool single = false;
  if (o.use_remote_address) {
    single = !headers.has(Header::kForwardedFor);
    if (o.xff_num_trusted_hops > 0) {
      trusted = address_from_forwarded_for(headers.joined("x-forwarded-for"), o.xff_num_trusted_hops - 1).address;
    }
    if (!o.skip_xff_append && client->is_ip()) {
      headers.append(Header::kForwardedFor, client->ip_string(), ",");
    }
    if (o.xff_num_trusted_hops == 0 || !headers.has(Header::kForwardedProto)) {
      headers.set_view(Header::kForwardedProto, tls ? "https" : "http");
    }
    if (o.append_x_forwarded_port && (o.xff_num_trusted_hops == 0 || !headers.has(Header::kForwardedPort))) {
      headers.set(Header::kForwardedPort, fmt::format("{}", connection.local_address->port()));
    }
  } else if (headers.has(Header::kForwardedFor)) {
    const ForwardedFor found =
        address_from_forwarded_for(headers.joined("x-forwarded-for"), o.xff_num_trusted_hops);
    trusted = found.address;
    single = found.single;
  }
  if (!headers.has(Header::kForwardedProto)) headers.set_view(Header::kForwardedProto, tls ? "https" : "http");
  if (!trusted.empty()) client = &trusted;
  return single && is_internal(*client, o);
}

void set_request_id(HeaderMap& headers, base::Prng& prng) {
  // A version 4 UUID, RFC 9562 section 5.4.
  static constexpr char kHex[] = "0123456789abcdef";
  uint64_t words[2] = {prng.next(), prng.next()};
  uint8_t bytes[16];
  std::copy_n(reinterpret_cast<const uint8_t*>(words), 16, bytes);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  char* text = headers.allocate(36);
  char* at = text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
    *at++ = kHex[bytes[i] >> 4];
    *at++ = kHex[bytes[i] & 15];
  }
  headers.set_view(Header::kRequestId, {text, 36});
}

RequestVerdict check_underscores(HeaderMap& headers, const HcmOptions& o, stats::StatShard& codec_stats) {
  if (o.headers_with_underscores == UnderscoreHeaders::kAllow) return {};
  uint64_t found = 0;
  headers.for_each([&](const HeaderMap::Entry& e) { found += e.name.find('_') != std::string_view::npos; });
  if (found == 0) return {};
  if (o.headers_with_underscores == UnderscoreHeaders::kReject) {
    codec_stats.inc(stats::http1_codec::kRequestsRejectedWithUnderscoresInHeaders);
    return {400, "Bad Request", "http1.unexpected_underscore"};
  }
  codec_stats.inc(stats::http1_codec::kDroppedHeadersWithUnderscores, found);
  headers.remove_if([](const HeaderMap::Entry& e) { return e.name.find('_') != std::string_view::npos; });
  return {};
}

}  // namespace

ForwardedFor address_from_forwarded_for(std::string_view value, uint32_t from_last) {
  const bool single = value.find(',') == std::string_view::npos;
  for (uint32_t i = 0; i < from_last; ++i) {
    const size_t comma = value.rfind(',');
    if (comma == std::string_view::npos) return {};
    value = value.substr(0, comma);
  }
  if (const size_t comma = value.rfind(','); comma != std::string_view::npos) value.remove_prefix(comma + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  base::Result<net::Address> address = net::Address::parse_ip(value, 0);
  if (!address.ok()) return {};
  return {std::move(*address), single};
}

RequestVerdict prepare_request_headers(HeaderMap& headers, const HcmOptions& o, const RequestFacts& facts,
                                       net::Address& trusted) {
  if (RequestVerdict v = check_underscores(headers, o, facts.codec_stats); v.status != 0) return v;
  if (RequestVerdict v = normalize_path(headers, o); v.status != 0) return v;
  normalize_host(headers, o, facts.connection);
  remove_hop_by_hop(headers, facts.upgrade);

  trusted = net::Address();
  const bool internal = find_client(headers, o, facts.connection, trusted);
  const bool edge = !internal && o.use_remote_address;
  headers.remove(Header::kEnvoyInternal);
  if (internal) {
    headers.add_view(Header::kEnvoyInternal, "true");
  } else {
    remove_internal_headers(headers, edge);
    for (const std::string& name : o.routes->options().internal_only_headers) headers.remove(std::string_view(name));
  }
  if (edge) {
    const net::Address& client = trusted.empty() ? *facts.connection.remote_address : trusted;
    if (client.is_ip()) headers.set(Header::kEnvoyExternalAddress, client.ip_string());
  }
  forward_client_cert(headers, o, facts.connection);
  if (o.scheme_to_overwrite) {
    headers.set_view(Header::kScheme, *o.scheme_to_overwrite);
  } else if (!headers.has(Header::kScheme)) {
    headers.add_view(Header::kScheme, headers.get(Header::kForwardedProto) == "https" ? "https" : "http");
  }
  if (o.generate_request_id &&
      (!headers.has(Header::kRequestId) || (edge && !o.preserve_external_request_id))) {
    set_request_id(headers, facts.prng);
  }
  if (!o.via.empty()) headers.append(Header::kVia, o.via, ", ");
  return {};
}

bool upgrade_allowed(const HeaderMap& headers, const HcmOptions& options, const route::Route* route) {
  const std::string_view type =
      headers.get(Header::kMethod) == "CONNECT" ? std::string_view("CONNECT") : headers.get(Header::kUpgrade);
  if (route != nullptr) {
    if (const route::UpgradeConfig* config = route->upgrade(type); config != nullptr) return config->enabled;
  }
  for (const HcmUpgrade& upgrade : options.upgrades) {
    if (http::equal_ignoring_case(upgrade.type, type)) return upgrade.enabled;
  }
  return false;
}

}  // namespace millrace::filter
