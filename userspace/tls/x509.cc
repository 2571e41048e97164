#include "tls/x509.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tls/encoding.h"

namespace millrace::tls {
namespace {

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string ip_text(const ASN1_STRING* address) {
  char text[INET6_ADDRSTRLEN];
  const int length = ASN1_STRING_length(address);
  const int family = length == 4 ? AF_INET : AF_INET6;
  if (length != 4 && length != 16) return {};
  return inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof text) == nullptr ? "" : text;
}

std::string oid_text(const ASN1_OBJECT* object) {
  char text[128];
  const int length = OBJ_obj2txt(text, sizeof text, object, 1);
  return length <= 0 || length >= static_cast<int>(sizeof text) ? std::string() : std::string(text);
}

std::string decimal(const ASN1_INTEGER* number) {
  bssl::UniquePtr<BIGNUM> value(ASN1_INTEGER_to_BN(number, nullptr));
  if (value == nullptr) return {};
  bssl::UniquePtr<char> digits(BN_bn2dec(value.get()));
  return digits == nullptr ? std::string() : std::string(digits.get());
}

std::string value_text(const ASN1_TYPE* value) {
  switch (value->type) {
    case V_ASN1_BOOLEAN: return value->value.boolean != 0 ? "true" : "false";
    case V_ASN1_INTEGER:
    case V_ASN1_ENUMERATED: return decimal(value->value.integer);
    case V_ASN1_OBJECT: return oid_text(value->value.object);
    case V_ASN1_NULL: return {};
    case V_ASN1_SEQUENCE:
    case V_ASN1_SET: return {};
    default: return text_of(value->value.asn1_string);
  }
}

std::string name_text(const X509_NAME* name) {
  bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  if (out == nullptr || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(out.get(), &bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

base::SystemTime time_of(const ASN1_TIME* time) {
  bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (epoch == nullptr || !ASN1_TIME_diff(&days, &seconds, epoch.get(), time)) return {};
  return base::SystemTime(std::chrono::hours(24) * days + std::chrono::seconds(seconds));
}

std::span<const uint8_t> bytes_of(const CRYPTO_BUFFER* buffer) {
  return {CRYPTO_BUFFER_data(buffer), CRYPTO_BUFFER_len(buffer)};
}

std::string fingerprint_1(const CRYPTO_BUFFER* der) {
  uint8_t digest[SHA_DIGEST_LENGTH];
  SHA1(CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der), digest);
  return hex(digest);
}

std::string fingerprint_256(const CRYPTO_BUFFER* der) {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der), digest);
  return hex(digest);
}

void append_pem(std::string& out, std::span<const uint8_t> der) {
  out += "-----BEGIN CERTIFICATE-----\n";
  std::string text(der.size() / 3 * 4 + 5, '\0');
  text.resize(EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.data()), der.data(), der.size()));
  for (size_t at = 0; at < text.size(); at += 64) out.append(text, at, 64).push_back('\n');
  out += "-----END CERTIFICATE-----\n";
}

void add_names(const X509* certificate, net::CertificateFacts& facts) {
  for (GeneralName& name : subject_alt_names(certificate)) {
    switch (name.type) {
      case SanMatch::Type::kDns: facts.dns_sans.push_back(std::move(name.text)); break;
      case SanMatch::Type::kEmail: facts.email_sans.push_back(std::move(name.text)); break;
      case SanMatch::Type::kUri: facts.uri_sans.push_back(std::move(name.text)); break;
      case SanMatch::Type::kIpAddress: facts.ip_sans.push_back(std::move(name.text)); break;
      case SanMatch::Type::kOtherName: facts.othername_sans.push_back(std::move(name.text)); break;
    }
  }
}

}  // namespace

std::vector<GeneralName> subject_alt_names(const X509* certificate) {
  std::vector<GeneralName> out;
  bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr) return out;
  for (const GENERAL_NAME* name : names.get()) {
    switch (name->type) {
      case GEN_DNS: out.push_back({SanMatch::Type::kDns, text_of(name->d.dNSName), {}}); break;
      case GEN_EMAIL: out.push_back({SanMatch::Type::kEmail, text_of(name->d.rfc822Name), {}}); break;
      case GEN_URI: out.push_back({SanMatch::Type::kUri, text_of(name->d.uniformResourceIdentifier), {}}); break;
      case GEN_IPADD: out.push_back({SanMatch::Type::kIpAddress, ip_text(name->d.iPAddress), {}}); break;
      case GEN_OTHERNAME:
        out.push_back(
            {SanMatch::Type::kOtherName, value_text(name->d.otherName->value), oid_text(name->d.otherName->type_id)});
        break;
      default: break;
    }
  }
  return out;
}

std::string common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

std::string serial(const X509* certificate) {
  bssl::UniquePtr<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (number == nullptr) return {};
  bssl::UniquePtr<char> digits(BN_bn2hex(number.get()));  // already in lower case
  return digits == nullptr ? std::string() : std::string(digits.get());
}

base::SystemTime not_before(const X509* certificate) {
  return time_of(X509_get0_notBefore(certificate));
}
base::SystemTime not_after(const X509* certificate) {
  return time_of(X509_get0_notAfter(certificate));
}

std::string pem_url_encoded(std::span<const CRYPTO_BUFFER* const> certificates) {
  std::string pem;
  for (const CRYPTO_BUFFER* certificate : certificates) append_pem(pem, bytes_of(certificate));
  std::string out;
  out.reserve(pem.size() + pem.size() / 8);
  for (const char c : pem) {
    switch (c) {
      case '\n': out += "%0A"; break;
      case ' ': out += "%20"; break;
      case '+': out += "%2B"; break;
      case '/': out += "%2F"; break;
      case '=': out += "%3D"; break;
      default: out += c;
    }
  }
  return out;
}

bssl::UniquePtr<X509> parse_certificate(CRYPTO_BUFFER* der) {
  return bssl::UniquePtr<X509>(X509_parse_from_buffer(der));
}

net::CertificateFacts certificate_facts(std::span<CRYPTO_BUFFER* const> chain) {
  net::CertificateFacts facts;
  if (chain.empty()) return facts;
  std::vector<bssl::UniquePtr<X509>> parsed;
  for (CRYPTO_BUFFER* der : chain) {
    parsed.push_back(parse_certificate(der));
    facts.chain_serials.push_back(parsed.back() == nullptr ? std::string() : serial(parsed.back().get()));
    facts.chain_fingerprints_1.push_back(fingerprint_1(der));
    facts.chain_fingerprints_256.push_back(fingerprint_256(der));
  }
  facts.fingerprint_1 = facts.chain_fingerprints_1.front();
  facts.fingerprint_256 = facts.chain_fingerprints_256.front();
  const X509* leaf = parsed.front().get();
  if (leaf == nullptr) return facts;
  facts.subject = name_text(X509_get_subject_name(leaf));
  facts.issuer = name_text(X509_get_issuer_name(leaf));
  facts.serial = facts.chain_serials.front();
  facts.valid_from = not_before(leaf);
  facts.valid_until = not_after(leaf);
  add_names(leaf, facts);
  for (size_t i = 1; i < parsed.size(); ++i) {
    if (parsed[i] == nullptr || X509_check_issued(parsed[i].get(), parsed.front().get()) != X509_V_OK) continue;
    facts.issuer_serial = facts.chain_serials[i];
    facts.issuer_fingerprint_256 = facts.chain_fingerprints_256[i];
    break;
  }
  return facts;
}

}  // namespace millrace::tls
