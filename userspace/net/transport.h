// The security layer of one stream socket, sans-IO: cipher bytes on the wire's side, plain bytes on the handler's. A
// Transport belongs to its Connection and its thread; plain connections have none. A TransportFactory belongs to a
// filter chain or a cluster, is shared by all workers and immutable apart from what it guards itself; when certificates
// change, another one takes its place and the connections made by the old one live on.
// Errors: what a peer does wrong is kProtocol, with a reason fit for %DOWNSTREAM_TRANSPORT_FAILURE_REASON%. After an
// error the transport is used only to take what it still wants to say (an alert) from wire_out.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/result.h"

namespace millrace::net {

class Address;

// What logs and headers say of one certificate and, of a peer, of the chain it came with (the leaf included, in the
// order sent). Names are written as RFC 2253 says, numbers and digests in lower-case hex without separators.
struct CertificateFacts {
  std::string subject, issuer, serial;
  std::string fingerprint_1, fingerprint_256;  // SHA-1, SHA-256 of the DER
  std::vector<std::string> uri_sans, dns_sans, ip_sans, email_sans, othername_sans;
  std::vector<std::string> chain_serials, chain_fingerprints_1, chain_fingerprints_256;
  std::string issuer_serial, issuer_fingerprint_256;  // of the certificate that signed this one, where it was sent
  base::SystemTime valid_from{}, valid_until{};
};

// What a handshake ended in. Asked for by access logs, headers and filters; made when first asked for, may outlive the
// transport. Thread: that of the transport.
class TransportFacts {
 public:
  virtual ~TransportFacts() = default;
  virtual std::string_view version() const = 0;      // "TLSv1.3"
  virtual std::string_view cipher() const = 0;       // "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"
  virtual std::string_view group() const = 0;        // "X25519"
  virtual std::string_view session_id() const = 0;   // hex
  virtual std::string_view server_name() const = 0;  // SNI, received or sent; empty: none
  virtual std::string_view protocol() const = 0;     // ALPN; empty: none
  virtual bool session_reused() const = 0;
  virtual bool peer_certificate_presented() const = 0;
  virtual bool peer_certificate_validated() const = 0;  // false as well when none was asked for
  // Computed at the first call; all fields empty when there is no such certificate.
  virtual const CertificateFacts& local_certificate() const = 0;
  virtual const CertificateFacts& peer_certificate() const = 0;
  // The peer's certificate, and all it sent, as PEM with what headers do not allow percent-encoded.
  virtual std::string peer_pem_url_encoded() const = 0;
  virtual std::string peer_chain_pem_url_encoded() const = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // The first flight of a client, nothing for a server.
  virtual base::Result<void> start(base::Buffer& wire_out) = 0;
  // Consumes wire_in as far as it can; appends plain bytes and what has to be sent. Part of a record stays in wire_in
  // or in the transport.
  virtual base::Result<void> receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer& wire_out) = 0;
  // Takes plain bytes until there are none or limit_bytes of cipher text were made. Once established.
  virtual base::Result<void> send(base::Buffer& plain_in, base::Buffer& wire_out, size_t limit_bytes) = 0;
  // Says that no more plain bytes follow; at most once, nothing is sent after.
  virtual void close_notify(base::Buffer& wire_out) = 0;
  virtual bool established() const = 0;  // the handshake is complete and the peer accepted
  virtual bool ended() const = 0;        // the peer said close_notify
  virtual std::string_view protocol() const = 0;  // ALPN, once established; empty: none
  // Whether the peer is expected to say close_notify: an end without it may be somebody else's doing.
  virtual bool announces_end() const { return true; }
  // Null: it is not established, or protects nothing (a PROXY header, then plain bytes). The same object each time.
  virtual std::shared_ptr<const TransportFacts> facts() const = 0;
  // Nothing is going on for a while: gives back what it can do without.
  virtual void release_buffers() {}
};

class TransportFactory {
 public:
  // What one connection adds to the configuration. Views are read during create() only.
  struct Ask {
    uint16_t worker = 0;             // whose statistics it counts in
    std::string_view server_name;    // clients: SNI that beats the configured one; empty: none
    std::string_view verify_name;    // clients: what the certificate has to name besides the configured; empty: nothing
    std::string_view host_name;      // clients: the endpoint's own name, for auto_host_sni; empty: it has none
    std::span<const std::string> alpn;  // beats the configured list; empty: does not
    std::span<const std::string> alpn_fallback;  // clients: taken when the configuration names no protocol
    // Of the connection itself, where they are known: for key logs of some addresses.
    const Address* local_address = nullptr;
    const Address* remote_address = nullptr;
    // Clients: of the connection that is proxied, for those who tell the server; null: there is none.
    const Address* source = nullptr;
    const Address* destination = nullptr;
  };

  virtual ~TransportFactory() = default;
  // Null when there is nothing to make one from (a secret that has not come yet): the connection cannot be served.
  virtual std::unique_ptr<Transport> create(const Ask& ask) const = 0;
  // Whether its connections say whose they are (Ask::source), so that none may serve several clients.
  virtual bool tells_source() const { return false; }
};

}  // namespace millrace::net
