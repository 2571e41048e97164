// What is read out of X.509 certificates: names, digests, validity, as logs, headers and matchers want them. Pure
// functions over BoringSSL's objects, any thread. RFC 5280; texts as Envoy writes them.
#pragma once
#include <openssl/base.h>

#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/transport.h"
#include "tls/options.h"

namespace millrace::tls {

// One subject alternative name; oid and the value's text for kOtherName.
struct GeneralName {
  SanMatch::Type type;
  std::string text;
  std::string oid;
};

std::vector<GeneralName> subject_alt_names(const X509* certificate);
// The first common name of the subject; empty: none.
std::string common_name(const X509* certificate);
std::string serial(const X509* certificate);  // lower-case hex
base::SystemTime not_before(const X509* certificate);
base::SystemTime not_after(const X509* certificate);
// "-----BEGIN CERTIFICATE-----..." with what headers do not allow percent-encoded.
std::string pem_url_encoded(std::span<const CRYPTO_BUFFER* const> certificates);

bssl::UniquePtr<X509> parse_certificate(CRYPTO_BUFFER* der);  // null: malformed
// The chain as it was sent, the leaf first; empty facts for an empty chain.
net::CertificateFacts certificate_facts(std::span<CRYPTO_BUFFER* const> chain);

}  // namespace millrace::tls
