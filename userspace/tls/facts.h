// What a handshake ended in, for logs, headers and filters. Copies what it says and shares certificates with the
// context, so that it may outlive its session. Certificates are taken apart at the first question about them.
#pragma once
#include <openssl/base.h>

#include <memory>
#include <string>
#include <vector>

#include "net/transport.h"
#include "tls/certificate.h"

namespace millrace::tls {

class ContextCore;

class Facts final : public net::TransportFacts {
 public:
  Facts(std::shared_ptr<const ContextCore> core, const SSL* ssl, const Certificate* local, bool peer_validated);
  ~Facts() override;

  std::string_view version() const override { return version_; }
  std::string_view cipher() const override { return cipher_; }
  std::string_view group() const override { return group_; }
  std::string_view session_id() const override { return session_id_; }
  std::string_view server_name() const override { return server_name_; }
  std::string_view protocol() const override { return protocol_; }
  bool session_reused() const override { return session_reused_; }
  bool peer_certificate_presented() const override { return !peer_chain_.empty(); }
  bool peer_certificate_validated() const override { return peer_validated_; }
  const net::CertificateFacts& local_certificate() const override;
  const net::CertificateFacts& peer_certificate() const override;
  std::string peer_pem_url_encoded() const override;
  std::string peer_chain_pem_url_encoded() const override;

 private:
  std::shared_ptr<const ContextCore> core_;  // owns *local_
  const Certificate* local_;
  std::string_view version_, cipher_, group_;  // texts of BoringSSL's
  std::string session_id_, server_name_, protocol_;
  bool session_reused_;
  bool peer_validated_;
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> peer_chain_;
  mutable std::unique_ptr<net::CertificateFacts> peer_;
};

}  // namespace millrace::tls
