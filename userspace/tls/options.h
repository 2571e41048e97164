// What a TLS context is made from: Envoy's DownstreamTlsContext, UpstreamTlsContext and CommonTlsContext without
// protobuf, every source already read into bytes. Defaults are Envoy's. Plain values, any thread. Private keys and
// passwords are in here: never print one of these.
#pragma once
#include <string.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/address.h"

namespace millrace::tls {

// Bytes and where they came from: a path for errors and for who watches files, empty for inline ones. They may be a
// private key: nothing of them is left in memory.
struct Source {
  std::string bytes;
  std::string file;
  ~Source() { explicit_bzero(bytes.data(), bytes.capacity()); }
  bool empty() const { return bytes.empty(); }
  // What an error calls it: the file, or "<inline>".
  std::string name() const { return file.empty() ? "<inline>" : file; }
};

// TlsCertificate: chain and key, or PKCS #12. The key may be encrypted (password).
struct CertificateOptions {
  Source chain;        // PEM, the leaf first
  Source private_key;  // PEM
  Source pkcs12;       // DER, in place of the other two
  Source password;
  Source ocsp_staple;  // DER
  std::string name;    // of its secret; empty: it has none
  bool empty() const { return chain.empty() && private_key.empty() && pkcs12.empty(); }
};

// Envoy's StringMatcher.
struct StringMatch {
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kContains, kRegex };
  Kind kind = Kind::kExact;
  std::string value;
  bool ignore_case = false;  // not with kRegex
};

// SubjectAltNameMatcher.
struct SanMatch {
  enum class Type : uint8_t { kDns, kEmail, kUri, kIpAddress, kOtherName };
  Type type = Type::kDns;
  StringMatch matcher;
  std::string oid;  // of kOtherName, "1.3.6.1.4.1.311.20.2.3"
};

// CertificateValidationContext.
struct ValidationOptions {
  Source trusted_ca;               // PEM, any number of certificates and revocation lists
  std::string name;                // of its secret; empty: it has none
  bool system_roots = false;       // the CA bundle of this machine as well
  Source crl;                      // PEM
  bool only_verify_leaf_cert_crl = false;
  bool allow_expired_certificate = false;
  bool accept_untrusted = false;   // trust_chain_verification: ACCEPT_UNTRUSTED
  std::optional<uint32_t> max_verify_depth;
  std::vector<SanMatch> san_matchers;          // one has to match
  std::vector<std::string> certificate_hashes; // SHA-256 in hex, with or without colons; a pin of either list is enough
  std::vector<std::string> spki_hashes;        // SHA-256 in base64
};

enum class Version : uint8_t { kAuto, kTls10, kTls11, kTls12, kTls13 };

// TlsParameters. Empty lists: Envoy's defaults.
struct Parameters {
  Version version_min = Version::kAuto;  // TLS 1.2
  Version version_max = Version::kAuto;  // servers TLS 1.3, clients TLS 1.2
  std::vector<std::string> cipher_suites;         // of TLS 1.2 and below; "[A|B]" are equal in rank
  std::vector<std::string> ecdh_curves;
  std::vector<std::string> signature_algorithms;
};

// TlsKeyLog: NSS key log lines of connections in both ranges; an empty range is every address.
struct KeyLogOptions {
  std::string path;  // empty: off
  std::vector<net::Cidr> local_ranges, remote_ranges;
};

// CommonTlsContext.
struct CommonOptions {
  Parameters parameters;
  std::vector<CertificateOptions> certificates;  // clients: one at most
  std::optional<ValidationOptions> validation;
  std::vector<std::string> alpn;
  KeyLogOptions key_log;
};

enum class OcspStaplePolicy : uint8_t { kLenient, kStrict, kMustStaple };

// DownstreamTlsContext.
struct ServerOptions {
  CommonOptions common;
  bool require_client_certificate = false;
  // Ticket keys, 80 bytes each: the first encrypts, all decrypt. None: this context's own, renewed by themselves.
  std::vector<Source> session_ticket_keys;
  bool disable_stateless_resumption = false;
  bool disable_stateful_resumption = false;
  std::optional<std::chrono::seconds> session_timeout;  // default 2 h
  OcspStaplePolicy ocsp_staple_policy = OcspStaplePolicy::kLenient;
  bool full_scan_certs_on_sni_mismatch = false;
  bool prefer_client_ciphers = false;
  // The SNI names of the filter chain: a session is resumed under the same ones only.
  std::vector<std::string> server_names;
};

// UpstreamTlsContext.
struct ClientOptions {
  CommonOptions common;
  std::string sni;
  bool auto_host_sni = false;            // the endpoint's hostname as SNI, where it has one
  bool auto_sni_san_validation = false;  // the certificate has to name the SNI sent, in place of san_matchers
  bool allow_renegotiation = false;
  bool enforce_rsa_key_usage = false;
  uint32_t max_session_keys = 1;         // sessions kept for resumption; 0: none
};

}  // namespace millrace::tls
