#include "filter/forwarded_client_cert.h"

#include "net/transport.h"

namespace millrace::filter {
namespace {

using http::Header;

std::string describe_client(const net::TransportFacts& tls, const ClientCertDetails& details) {
  std::string out;
  const auto add = [&out](std::string_view key, std::string_view value, bool quoted = false) {
    if (!out.empty()) out += ';';
    out += key;
    out += quoted ? "=\"" : "=";
    out += value;
    if (quoted) out += '"';
  };
  for (const std::string& uri : tls.local_certificate().uri_sans) add("By", uri);
  const net::CertificateFacts& peer = tls.peer_certificate();
  if (!peer.fingerprint_256.empty()) add("Hash", peer.fingerprint_256);
  if (details.subject) add("Subject", peer.subject, true);
  if (details.cert) {
    if (const std::string pem = tls.peer_pem_url_encoded(); !pem.empty()) add("Cert", pem, true);
  }
  if (details.chain) {
    if (const std::string pem = tls.peer_chain_pem_url_encoded(); !pem.empty()) add("Chain", pem, true);
  }
  if (details.uri) {
    for (const std::string& uri : peer.uri_sans) add("URI", uri);
    if (peer.uri_sans.empty()) add("URI", "");
  }
  if (details.dns) {
    for (const std::string& name : peer.dns_sans) add("DNS", name);
  }
  return out;
}

}  // namespace

void forward_client_cert(http::HeaderMap& headers, const HcmOptions& options,
                         const stream::ConnectionInfo& connection) {
  const ForwardClientCert mode = options.forward_client_cert;
  if (mode == ForwardClientCert::kAlwaysForwardOnly) return;
  const net::TransportFacts* tls = connection.tls.get();
  if (mode == ForwardClientCert::kSanitize || tls == nullptr || !tls->peer_certificate_presented()) {
    headers.remove(Header::kForwardedClientCert);
    return;
  }
  if (mode == ForwardClientCert::kForwardOnly) return;
  if (!connection.forwarded_client_cert) {
    connection.forwarded_client_cert = describe_client(*tls, options.client_cert_details);
  }
  // The connection outlives its requests.
  if (mode == ForwardClientCert::kSanitizeSet) {
    headers.set_view(Header::kForwardedClientCert, *connection.forwarded_client_cert);
  } else {
    headers.append(Header::kForwardedClientCert, *connection.forwarded_client_cert, ",");
  }
}

}  // namespace millrace::filter
