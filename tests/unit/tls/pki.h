// Certificates made while a test runs: authorities, leaves, revocation lists, OCSP responses. No key is ever committed.
#pragma once
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tls/options.h"

namespace millrace::tls::test {

enum class KeyKind : uint8_t { kP256, kP384, kRsa2048, kRsa1024, kEd25519 };

struct CertificateRequest {
  std::string common_name = "leaf";
  std::string sans = {};  // "DNS:a.example,IP:127.0.0.1": OpenSSL's notation
  KeyKind key = KeyKind::kP256;
  int valid_from_days = -1;
  int valid_until_days = 30;
  bool is_authority = false;
  std::string usage = {};  // extended key usage, "serverAuth"
  std::string key_usage = {};  // "digitalSignature"
  bool must_staple = false;
};

// A certificate with its key; an authority can make others.
class Issued {
 public:
  static Issued self_signed(const CertificateRequest& request);
  Issued issue(const CertificateRequest& request) const;
  static Issued authority(const std::string& name) {
    CertificateRequest request;
    request.common_name = name;
    request.is_authority = true;
    return self_signed(request);
  }

  std::string pem() const;
  std::string key_pem(const std::string& password = "") const;
  std::string pkcs12(const std::string& password, const std::vector<const Issued*>& more = {}) const;
  std::string der() const;
  std::string serial() const;
  // A list by this authority.
  std::string crl_pem(const std::vector<const Issued*>& revoked) const;
  // What a responder says of this certificate; unsigned in substance, which no server looks at.
  std::string ocsp_response(int next_update_days, const std::string& other_serial = "") const;
  std::string spki_sha256_base64() const;
  std::string sha256_hex(bool colons = false) const;

  X509* certificate() const { return certificate_.get(); }
  // As options: the chain is this certificate and what is given.
  CertificateOptions options(const std::vector<const Issued*>& more = {}) const;

 private:
  static Issued make(const CertificateRequest& request, const Issued* issuer);
  bssl::UniquePtr<X509> certificate_;
  bssl::UniquePtr<EVP_PKEY> key_;
};

Source inline_source(std::string bytes);

}  // namespace millrace::tls::test
