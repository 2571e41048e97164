// Facts of a handshake that a test makes up.
#pragma once
#include <string>

#include "net/transport.h"

namespace millrace::test {

struct KnownFacts final : net::TransportFacts {
  std::string_view version() const override { return "TLSv1.3"; }
  std::string_view cipher() const override { return "TLS_AES_128_GCM_SHA256"; }
  std::string_view group() const override { return "X25519"; }
  std::string_view session_id() const override { return "0a0b"; }
  std::string_view server_name() const override { return name; }
  std::string_view protocol() const override { return alpn; }
  bool session_reused() const override { return false; }
  bool peer_certificate_presented() const override { return presented; }
  bool peer_certificate_validated() const override { return presented; }
  const net::CertificateFacts& local_certificate() const override { return local; }
  const net::CertificateFacts& peer_certificate() const override { return peer; }
  std::string peer_pem_url_encoded() const override { return presented ? "-----BEGIN%20" : ""; }
  std::string peer_chain_pem_url_encoded() const override { return presented ? "-----BEGIN%20chain" : ""; }

  std::string name, alpn;
  bool presented = true;
  net::CertificateFacts local, peer;
};

}  // namespace millrace::test
