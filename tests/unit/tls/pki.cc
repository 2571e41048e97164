#include "unit/tls/pki.h"

#include <openssl/asn1.h>
#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/cipher.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/pkcs8.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <ctime>

#include "tls/encoding.h"

namespace millrace::tls::test {
namespace {

void check(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "pki: %s failed\n", what);
    std::abort();
  }
}

bssl::UniquePtr<EVP_PKEY> make_rsa(int bits) {
  bssl::UniquePtr<RSA> rsa(RSA_new());
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  check(BN_set_word(exponent.get(), RSA_F4) && RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr),
        "RSA key");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EVP_PKEY_set1_RSA(key.get(), rsa.get());
  return key;
}

bssl::UniquePtr<EVP_PKEY> make_ec(int nid) {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(nid));
  check(EC_KEY_generate_key(ec.get()), "EC key");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EVP_PKEY_set1_EC_KEY(key.get(), ec.get());
  return key;
}

bssl::UniquePtr<EVP_PKEY> make_key(KeyKind kind) {
  switch (kind) {
    case KeyKind::kP256: return make_ec(NID_X9_62_prime256v1);
    case KeyKind::kP384: return make_ec(NID_secp384r1);
    case KeyKind::kRsa1024: return make_rsa(1024);
    case KeyKind::kRsa2048: {
      static const bssl::UniquePtr<EVP_PKEY> once = make_rsa(2048);  // slow to make
      return bssl::UpRef(once);
    }
    case KeyKind::kEd25519: {
      const uint8_t seed[32] = {1, 2, 3};
      return bssl::UniquePtr<EVP_PKEY>(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed, sizeof seed));
    }
  }
  return nullptr;
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1), value.c_str());
}

void add_must_staple(X509* certificate) {
  const uint8_t value[] = {0x30, 0x03, 0x02, 0x01, 0x05};
  bssl::UniquePtr<ASN1_OBJECT> feature(OBJ_txt2obj("1.3.6.1.5.5.7.1.24", 1));
  bssl::UniquePtr<ASN1_OCTET_STRING> bytes(ASN1_OCTET_STRING_new());
  ASN1_OCTET_STRING_set(bytes.get(), value, sizeof value);
  bssl::UniquePtr<X509_EXTENSION> extension(X509_EXTENSION_create_by_OBJ(nullptr, feature.get(), 0, bytes.get()));
  check(X509_add_ext(certificate, extension.get(), -1), "must-staple");
}

std::string contents(BIO* bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(bio, &bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

bssl::UniquePtr<BIO> memory() {
  return bssl::UniquePtr<BIO>(BIO_new(BIO_s_mem()));
}

// DER by hand: a tag, a length, the body.
std::string der_of(uint8_t tag, const std::string& body) {
  std::string out(1, static_cast<char>(tag));
  if (body.size() >= 256) {
    out += static_cast<char>(0x82);
    out += static_cast<char>(body.size() >> 8);
  } else if (body.size() >= 128) {
    out += static_cast<char>(0x81);
  }
  out += static_cast<char>(body.size());
  return out + body;
}

std::string generalized_time(int days) {
  const std::time_t when = std::time(nullptr) + days * 86400LL;
  std::tm calendar{};
  gmtime_r(&when, &calendar);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &calendar);
  return der_of(0x18, text);
}

}  // namespace

Source inline_source(std::string bytes) {
  return {std::move(bytes), {}};
}

Issued Issued::self_signed(const CertificateRequest& request) {
  return make(request, nullptr);
}
Issued Issued::issue(const CertificateRequest& request) const {
  return make(request, this);
}

Issued Issued::make(const CertificateRequest& request, const Issued* issuer) {
  static uint32_t next_serial = 0xabc000;
  Issued out;
  out.key_ = make_key(request.key);
  out.certificate_.reset(X509_new());
  X509* certificate = out.certificate_.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++next_serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), request.valid_from_days * 86400L);
  X509_gmtime_adj(X509_getm_notAfter(certificate), request.valid_until_days * 86400L);
  X509_NAME* name = X509_get_subject_name(certificate);
  if (!request.common_name.empty()) {
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const uint8_t*>("Test, Inc"), -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const uint8_t*>(request.common_name.c_str()),
                               -1, -1, 0);
  }
  X509* by = issuer == nullptr ? certificate : issuer->certificate_.get();
  EVP_PKEY* key = issuer == nullptr ? out.key_.get() : issuer->key_.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(by));
  X509_set_pubkey(certificate, out.key_.get());
  add_extension(certificate, by, NID_basic_constraints, request.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!request.sans.empty()) add_extension(certificate, by, NID_subject_alt_name, request.sans);
  if (!request.key_usage.empty()) add_extension(certificate, by, NID_key_usage, request.key_usage);
  if (!request.usage.empty()) add_extension(certificate, by, NID_ext_key_usage, request.usage);
  if (request.must_staple) add_must_staple(certificate);
  const bool is_ed25519 = EVP_PKEY_id(key) == EVP_PKEY_ED25519;
  check(X509_sign(certificate, key, is_ed25519 ? nullptr : EVP_sha256()), "signing");
  return out;
}

std::string Issued::pem() const {
  bssl::UniquePtr<BIO> out = memory();
  check(PEM_write_bio_X509(out.get(), certificate_.get()), "PEM");
  return contents(out.get());
}

std::string Issued::key_pem(const std::string& password) const {
  bssl::UniquePtr<BIO> out = memory();
  std::string text = password;
  check(PEM_write_bio_PKCS8PrivateKey(out.get(), key_.get(), password.empty() ? nullptr : EVP_aes_256_cbc(),
                                      password.empty() ? nullptr : text.data(), static_cast<int>(text.size()), nullptr,
                                      nullptr),
        "key PEM");
  return contents(out.get());
}

std::string Issued::pkcs12(const std::string& password, const std::vector<const Issued*>& more) const {
  bssl::UniquePtr<STACK_OF(X509)> chain(sk_X509_new_null());
  for (const Issued* other : more) bssl::PushToStack(chain.get(), bssl::UpRef(other->certificate_));
  bssl::UniquePtr<PKCS12> archive(
      PKCS12_create(password.c_str(), "name", key_.get(), certificate_.get(), chain.get(), 0, 0, 0, 0, 0));
  bssl::UniquePtr<BIO> out = memory();
  check(archive != nullptr && i2d_PKCS12_bio(out.get(), archive.get()), "PKCS #12");
  return contents(out.get());
}

std::string Issued::der() const {
  uint8_t* bytes = nullptr;
  const int size = i2d_X509(certificate_.get(), &bytes);
  const bssl::UniquePtr<uint8_t> owned(bytes);
  return {reinterpret_cast<char*>(bytes), static_cast<size_t>(size)};
}

std::string Issued::serial() const {
  bssl::UniquePtr<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate_.get()), nullptr));
  bssl::UniquePtr<char> digits(BN_bn2hex(number.get()));
  return digits.get();
}

std::string Issued::crl_pem(const std::vector<const Issued*>& revoked) const {
  bssl::UniquePtr<X509_CRL> crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), 1);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(certificate_.get()));
  bssl::UniquePtr<ASN1_TIME> from(ASN1_TIME_set(nullptr, std::time(nullptr) - 3600));
  bssl::UniquePtr<ASN1_TIME> until(ASN1_TIME_set(nullptr, std::time(nullptr) + 86400));
  X509_CRL_set1_lastUpdate(crl.get(), from.get());
  X509_CRL_set1_nextUpdate(crl.get(), until.get());
  for (const Issued* one : revoked) {
    bssl::UniquePtr<X509_REVOKED> entry(X509_REVOKED_new());
    X509_REVOKED_set_serialNumber(entry.get(), X509_get_serialNumber(one->certificate_.get()));
    X509_REVOKED_set_revocationDate(entry.get(), from.get());
    X509_CRL_add0_revoked(crl.get(), entry.release());
  }
  X509_CRL_sort(crl.get());
  check(X509_CRL_sign(crl.get(), key_.get(), EVP_sha256()), "CRL");
  bssl::UniquePtr<BIO> out = memory();
  check(PEM_write_bio_X509_CRL(out.get(), crl.get()), "CRL PEM");
  return contents(out.get());
}

std::string Issued::ocsp_response(int next_update_days, const std::string& other_serial) const {
  const std::string number = *from_hex(other_serial.empty() ? serial() : other_serial);
  const bool is_negative = (number[0] & 0x80) != 0;
  const std::string algorithm = der_of(0x30, der_of(0x06, std::string("\x2b\x0e\x03\x02\x1a", 5)));
  const std::string id =
      der_of(0x30, algorithm + der_of(0x04, std::string(20, 'n')) + der_of(0x04, std::string(20, 'k')) +
                       der_of(0x02, is_negative ? std::string(1, '\0') + number : number));
  const std::string single =
      der_of(0x30, id + der_of(0x80, "") + generalized_time(-2) + der_of(0xa0, generalized_time(next_update_days)));
  const std::string data =
      der_of(0x30, der_of(0xa2, der_of(0x04, std::string(20, 'r'))) + generalized_time(-2) + der_of(0x30, single));
  const std::string basic = der_of(0x30, data + algorithm + der_of(0x03, std::string("\0sig", 4)));
  const std::string type("\x2b\x06\x01\x05\x05\x07\x30\x01\x01", 9);
  const std::string body = der_of(0x30, der_of(0x06, type) + der_of(0x04, basic));
  return der_of(0x30, der_of(0x0a, std::string(1, '\0')) + der_of(0xa0, body));
}

std::string Issued::spki_sha256_base64() const {
  uint8_t* spki = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate_.get()), &spki);
  const bssl::UniquePtr<uint8_t> owned(spki);
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(spki, static_cast<size_t>(size), digest);
  uint8_t text[64];
  return {reinterpret_cast<char*>(text), EVP_EncodeBlock(text, digest, sizeof digest)};
}

std::string Issued::sha256_hex(bool colons) const {
  const std::string bytes = der();
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest);
  const std::string plain = hex(digest);
  if (!colons) return plain;
  std::string out;
  for (size_t i = 0; i < plain.size(); i += 2) {
    if (i > 0) out += ':';
    out += plain.substr(i, 2);
  }
  return out;
}

CertificateOptions Issued::options(const std::vector<const Issued*>& more) const {
  CertificateOptions out;
  out.chain = inline_source(pem());
  for (const Issued* other : more) out.chain.bytes += other->pem();
  out.private_key = inline_source(key_pem());
  return out;
}

}  // namespace millrace::tls::test
