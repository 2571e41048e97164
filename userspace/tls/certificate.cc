#include "tls/certificate.h"

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/pkcs8.h>
#include <openssl/pool.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>

#include "tls/encoding.h"
#include "tls/errors.h"
#include "tls/secret_memory.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

bssl::UniquePtr<BIO> open(const Source& source) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(source.bytes.data(), static_cast<int>(source.bytes.size())));
}

// Never asks a terminal: no password is an empty one.
int give_password(char* out, int size, int, void* password) {
  const std::string& text = *static_cast<const std::string*>(password);
  if (text.size() > static_cast<size_t>(size)) return 0;
  std::memcpy(out, text.data(), text.size());
  return static_cast<int>(text.size());
}

// Files of passwords tend to end in a newline that is no part of it.
std::string password_of(const CertificateOptions& options) {
  std::string text = options.password.bytes;
  while (!options.password.file.empty() && !text.empty() && (text.back() == '\n' || text.back() == '\r')) {
    text.pop_back();
  }
  return text;
}

// BoringSSL keeps forms of an RSA key that it computes with the first signature: made here, they lie where the key is.
void prepare(EVP_PKEY* key) {
  const SecretScope secret;
  RSA* rsa = EVP_PKEY_id(key) == EVP_PKEY_RSA ? EVP_PKEY_get0_RSA(key) : nullptr;
  if (rsa == nullptr) return;
  const uint8_t digest[SHA256_DIGEST_LENGTH] = {};
  std::vector<uint8_t> signature(RSA_size(rsa));
  unsigned size = 0;
  RSA_sign(NID_sha256, digest, sizeof digest, signature.data(), &size, rsa);
  ERR_clear_error();
  wipe_stack();
}

base::Result<bssl::UniquePtr<EVP_PKEY>> read_key(const CertificateOptions& options) {
  std::string password = password_of(options);
  bssl::UniquePtr<BIO> bio = open(options.private_key);
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, &password));
  wipe(password);
  if (key == nullptr) {
    std::string what = "private key " + options.private_key.name() + " cannot be read: " + last_crypto_error();
    what += options.password.empty() ? "; it has to be PEM, and an encrypted one needs its password"
                                     : "; it has to be PEM, and the password its own";
    return invalid(std::move(what));
  }
  return key;
}

bssl::UniquePtr<CRYPTO_BUFFER> buffer_of(X509* certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return nullptr;
  bssl::UniquePtr<uint8_t> owned(der);
  return bssl::UniquePtr<CRYPTO_BUFFER>(CRYPTO_BUFFER_new(der, static_cast<size_t>(size), nullptr));
}

base::Result<void> read_pkcs12(const CertificateOptions& options, Certificate& out) {
  const Source& source = options.pkcs12;
  bssl::UniquePtr<BIO> bio = open(source);
  bssl::UniquePtr<PKCS12> archive(d2i_PKCS12_bio(bio.get(), nullptr));
  EVP_PKEY* key = nullptr;
  X509* leaf = nullptr;
  STACK_OF(X509)* more = nullptr;
  std::string password = password_of(options);
  const bool parsed = archive != nullptr && PKCS12_parse(archive.get(), password.c_str(), &key, &leaf, &more);
  wipe(password);
  if (!parsed) {
    return invalid("PKCS #12 " + source.name() + " cannot be read: " + last_crypto_error() +
                   "; it has to be DER and the password its own");
  }
  out.key.reset(key);
  const bssl::UniquePtr<X509> owned_leaf(leaf);
  const bssl::UniquePtr<STACK_OF(X509)> owned_more(more);
  if (key == nullptr || leaf == nullptr) {
    return invalid("PKCS #12 " + source.name() + " holds no certificate with its private key");
  }
  out.chain.push_back(buffer_of(leaf));
  for (size_t i = 0; more != nullptr && i < sk_X509_num(more); ++i)
    out.chain.push_back(buffer_of(sk_X509_value(more, i)));
  return {};
}

// What clients, and Envoy, take: RSA from 2048 bits on, ECDSA on the three NIST curves.
base::Result<void> check_key_type(Certificate& certificate) {
  bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate.leaf.get()));
  const int type = key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_id(key.get());
  const std::string who = "certificate chain " + certificate.path + " cannot be used: ";
  if (type == EVP_PKEY_RSA) {
    if (EVP_PKEY_bits(key.get()) < 2048) return invalid(who + "its RSA key is shorter than 2048 bits");
    return {};
  }
  if (type == EVP_PKEY_EC) {
    const EC_GROUP* group = EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key.get()));
    certificate.curve_nid = group == nullptr ? 0 : EC_GROUP_get_curve_name(group);
    for (const int nid : {NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1}) {
      if (certificate.curve_nid == nid) return {};
    }
    return invalid(who + "its ECDSA key is not on P-256, P-384 or P-521");
  }
  ERR_clear_error();
  return invalid(who + "its key is neither RSA nor ECDSA");
}

// RFC 7633: the TLS feature "status_request" (5).
bool wants_stapling(const X509* leaf) {
  bssl::UniquePtr<ASN1_OBJECT> feature(OBJ_txt2obj("1.3.6.1.5.5.7.1.24", 1));
  const int index = X509_get_ext_by_OBJ(leaf, feature.get(), -1);
  if (index < 0) return false;
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(X509_get_ext(leaf, index));
  CBS bytes, list;
  CBS_init(&bytes, ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value)));
  if (!CBS_get_asn1(&bytes, &list, CBS_ASN1_SEQUENCE)) return false;
  while (CBS_len(&list) > 0) {
    uint64_t number = 0;
    if (!CBS_get_asn1_uint64(&list, &number)) return false;
    if (number == 5) return true;
  }
  return false;
}

void read_names(Certificate& certificate) {
  bool has_names = false;
  for (GeneralName& name : subject_alt_names(certificate.leaf.get())) {
    has_names = true;
    if (name.type == SanMatch::Type::kDns) certificate.names.push_back(std::move(name.text));
  }
  if (!has_names) {
    std::string name = common_name(certificate.leaf.get());
    if (!name.empty()) certificate.names.push_back(std::move(name));
  }
  for (std::string& name : certificate.names) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  }
}

base::Result<void> read_staple(const Source& source, Certificate& certificate) {
  if (source.empty()) return {};
  base::Result<OcspResponse> response = parse_ocsp_response(source.bytes);
  const std::string who = "OCSP staple " + source.name() + " of " + certificate.path + ": ";
  if (!response) return invalid(who + response.error().what);
  if (response->serial != serial(certificate.leaf.get())) return invalid(who + "it is about another certificate");
  certificate.ocsp = std::move(*response);
  return {};
}

}  // namespace

std::vector<CRYPTO_BUFFER*> Certificate::pointers() const {
  std::vector<CRYPTO_BUFFER*> out;
  for (const auto& certificate : chain) out.push_back(certificate.get());
  return out;
}

base::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_pem_certificates(const Source& source) {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> out;
  bssl::UniquePtr<BIO> bio = open(source);
  while (true) {
    char *name = nullptr, *header = nullptr;
    uint8_t* data = nullptr;
    long size = 0;
    if (!PEM_read_bio(bio.get(), &name, &header, &data, &size)) break;
    const bssl::UniquePtr<char> owned_name(name), owned_header(header);
    const bssl::UniquePtr<uint8_t> owned_data(data);
    if (std::strcmp(name, PEM_STRING_X509) != 0 && std::strcmp(name, PEM_STRING_X509_OLD) != 0) continue;
    out.emplace_back(CRYPTO_BUFFER_new(data, static_cast<size_t>(size), nullptr));
    if (parse_certificate(out.back().get()) == nullptr) {
      return invalid("certificate " + std::to_string(out.size()) + " of " + source.name() +
                     " is broken: " + last_crypto_error());
    }
  }
  const uint32_t error = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!at_end) return invalid(source.name() + " is broken PEM: " + last_crypto_error());
  ERR_clear_error();
  if (out.empty()) return invalid(source.name() + " holds no certificate in PEM");
  return out;
}

std::string certificate_stat_name(std::string_view kind, const std::string& secret, const Source& source) {
  if (!secret.empty()) return secret;
  const std::string& text = source.file.empty() ? source.bytes : source.file;
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest);
  return std::string(kind) + "_" + hex({digest, 4});
}

base::Result<Certificate> load_certificate(const CertificateOptions& options) {
  Certificate certificate;
  if (!options.pkcs12.empty()) {
    certificate.path = options.pkcs12.name();
    const SecretScope secret;
    base::Result<void> read = read_pkcs12(options, certificate);
    wipe_stack();
    if (!read) return read.error();
  } else {
    certificate.path = options.chain.name();
    if (options.chain.empty()) return invalid("certificate_chain is empty: " + options.chain.name());
    if (options.private_key.empty()) {
      return invalid("private_key is empty: " + options.private_key.name() + ", of certificate " + certificate.path);
    }
    base::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> chain = read_pem_certificates(options.chain);
    if (!chain) return invalid("certificate chain " + chain.error().what);
    certificate.chain = std::move(*chain);
    const SecretScope secret;
    base::Result<bssl::UniquePtr<EVP_PKEY>> key = read_key(options);
    wipe_stack();
    if (!key) return key.error();
    certificate.key = std::move(*key);
  }
  certificate.leaf = parse_certificate(certificate.chain.front().get());
  if (certificate.leaf == nullptr) return invalid("certificate " + certificate.path + " is broken");
  if (!X509_check_private_key(certificate.leaf.get(), certificate.key.get())) {
    ERR_clear_error();
    return invalid("private key " + (options.pkcs12.empty() ? options.private_key.name() : certificate.path) +
                   " does not belong to certificate " + certificate.path);
  }
  if (base::Result<void> fits = check_key_type(certificate); !fits) return fits.error();
  prepare(certificate.key.get());
  certificate.stat_name = certificate_stat_name("unnamed_cert", options.name,
                                                options.pkcs12.empty() ? options.chain : options.pkcs12);
  certificate.must_staple = wants_stapling(certificate.leaf.get());
  read_names(certificate);
  if (base::Result<void> staple = read_staple(options.ocsp_staple, certificate); !staple) return staple.error();
  certificate.facts = certificate_facts(certificate.pointers());
  return certificate;
}

}  // namespace millrace::tls
