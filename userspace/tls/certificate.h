// A certificate chain with its private key, checked when it is loaded, and what the handshake asks about it. Immutable
// once made, shared by the workers through their context. Errors name the file and say what is wrong with it; nothing
// of a key ever gets into them.
#pragma once
#include <openssl/base.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/transport.h"
#include "tls/ocsp.h"
#include "tls/options.h"

namespace millrace::tls {

struct Certificate {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;  // the leaf first
  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> leaf;
  std::string path;                // what it came from, for people
  std::string stat_name;           // see certificate_stat_name()
  int curve_nid = 0;               // of an ECDSA key; 0: RSA
  bool must_staple = false;        // RFC 7633
  std::vector<std::string> names;  // what a client's SNI is compared with: DNS SANs, or else the common name
  std::optional<OcspResponse> ocsp;
  net::CertificateFacts facts;

  std::vector<CRYPTO_BUFFER*> pointers() const;
};

base::Result<Certificate> load_certificate(const CertificateOptions& options);

// What statistics call a certificate: its secret, or "<kind>_" and eight digits that tell its file, or its bytes, from
// others.
std::string certificate_stat_name(std::string_view kind, const std::string& secret, const Source& source);

// Every certificate of a PEM text, in order; an error when there is none or one is broken.
base::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_pem_certificates(const Source& source);

}  // namespace millrace::tls
