#include "tls/validator.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "stats/schema_tls.h"
#include "tls/certificate.h"
#include "tls/encoding.h"
#include "tls/errors.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

// Where distributions keep the bundle of the authorities they trust.
constexpr const char* kSystemRoots[] = {
    "/etc/ssl/certs/ca-certificates.crt",  // Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",    // Fedora
    "/etc/ssl/ca-bundle.pem",              // openSUSE
    "/etc/ssl/cert.pem",
};

std::string_view view(const uint8_t (&digest)[SHA256_DIGEST_LENGTH]) {
  return {reinterpret_cast<const char*>(digest), SHA256_DIGEST_LENGTH};
}

void add_to_digest(SHA256_CTX& digest, std::string_view text) {
  const uint64_t size = text.size();
  SHA256_Update(&digest, &size, sizeof size);
  SHA256_Update(&digest, text.data(), text.size());
}

std::string digest_of(const ValidationOptions& options, bool auto_sni_san_validation) {
  SHA256_CTX digest;
  SHA256_Init(&digest);
  const uint8_t flags[] = {options.system_roots,
                           options.only_verify_leaf_cert_crl,
                           options.allow_expired_certificate,
                           options.accept_untrusted,
                           auto_sni_san_validation,
                           static_cast<uint8_t>(options.max_verify_depth.has_value())};
  SHA256_Update(&digest, flags, sizeof flags);
  const uint32_t depth = options.max_verify_depth.value_or(0);
  SHA256_Update(&digest, &depth, sizeof depth);
  add_to_digest(digest, options.trusted_ca.bytes);
  add_to_digest(digest, options.crl.bytes);
  for (const SanMatch& match : options.san_matchers) {
    const uint8_t kind[] = {1, static_cast<uint8_t>(match.type), static_cast<uint8_t>(match.matcher.kind),
                            match.matcher.ignore_case};
    SHA256_Update(&digest, kind, sizeof kind);
    add_to_digest(digest, match.matcher.value);
    add_to_digest(digest, match.oid);
  }
  for (const auto* list : {&options.certificate_hashes, &options.spki_hashes}) {
    add_to_digest(digest, std::to_string(list->size()));
    for (const std::string& hash : *list) add_to_digest(digest, hash);
  }
  uint8_t out[SHA256_DIGEST_LENGTH];
  SHA256_Final(out, &digest);
  return std::string(view(out));
}

// allow_expired_certificate: all is checked but the time.
int ignore_time(int ok, X509_STORE_CTX* context) {
  if (ok == 1) return 1;
  const int error = X509_STORE_CTX_get_error(context);
  if (error != X509_V_ERR_CERT_HAS_EXPIRED && error != X509_V_ERR_CERT_NOT_YET_VALID) return 0;
  X509_STORE_CTX_set_error(context, X509_V_OK);
  return 1;
}

// "example.com, spiffe://here": what the logs say of a certificate that matched nothing.
std::string listed(std::span<const GeneralName> names) {
  std::string out;
  for (const GeneralName& name : names) {
    if (!out.empty()) out += ", ";
    out += name.text;
  }
  return out;
}

// A DNS name of the certificate stands for the host, or one of its addresses or URIs is just that.
bool names_host(std::span<const GeneralName> names, std::string_view host) {
  return std::any_of(names.begin(), names.end(), [&](const GeneralName& name) {
    switch (name.type) {
      case SanMatch::Type::kDns: return dns_name_matches(host, name.text);
      case SanMatch::Type::kIpAddress:
      case SanMatch::Type::kUri: return name.text == host;
      default: return false;
    }
  });
}

// The same for every context that asks for them: read once, and the certificates shared by all trust stores.
const std::vector<bssl::UniquePtr<X509>>& system_roots() {
  static const std::vector<bssl::UniquePtr<X509>>* const roots = [] {
    auto* found = new std::vector<bssl::UniquePtr<X509>>();
    for (const char* path : kSystemRoots) {
      std::ifstream file(path, std::ios::binary);
      Source bundle{{std::istreambuf_iterator<char>(file), {}}, path};
      base::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read = read_pem_certificates(bundle);
      if (!read) continue;
      for (const auto& der : *read) found->push_back(parse_certificate(der.get()));
      break;
    }
    return found;
  }();
  return *roots;
}

base::Result<std::vector<std::string>> decode_pins(const std::vector<std::string>& pins, bool base64) {
  std::vector<std::string> out;
  for (const std::string& pin : pins) {
    std::string text = pin;
    if (!base64) text.erase(std::remove(text.begin(), text.end(), ':'), text.end());
    std::optional<std::string> bytes = base64 ? from_base64(text) : from_hex(text);
    if (!bytes.has_value() || bytes->size() != SHA256_DIGEST_LENGTH) {
      return invalid(std::string(base64 ? "verify_certificate_spki: no SHA-256 in base64: "
                                        : "verify_certificate_hash: no SHA-256 in hex: ") +
                     pin);
    }
    out.push_back(std::move(*bytes));
  }
  return out;
}

}  // namespace

base::Result<std::unique_ptr<Validator>> Validator::make(Side side, const ValidationOptions* options,
                                                         bool auto_sni_san_validation) {
  std::unique_ptr<Validator> validator(new Validator());
  validator->side_ = side;
  validator->auto_sni_san_validation_ = auto_sni_san_validation;
  validator->verify_mode_ = SSL_VERIFY_NONE;
  if (options != nullptr) {
    if (base::Result<void> loaded = validator->load_trust(*options); !loaded) return loaded.error();
    if (base::Result<void> compiled = validator->compile(*options); !compiled) return compiled.error();
    validator->digest_ = digest_of(*options, auto_sni_san_validation);
  }
  if (auto_sni_san_validation && validator->trust_ == nullptr) {
    return invalid(
        "auto_sni_san_validation needs a validation_context with trusted_ca: without one anybody can "
        "make a certificate with the name");
  }
  return validator;
}

void Validator::add_authority(X509* certificate) {
  X509_STORE_add_cert(trust_.get(), certificate);
  if (first_authority_ == nullptr) first_authority_ = bssl::UpRef(certificate);
  ERR_clear_error();  // the same certificate twice is no error
}

base::Result<void> Validator::add_authorities(const Source& source) {
  base::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> certificates = read_pem_certificates(source);
  if (!certificates) return invalid("trusted_ca " + certificates.error().what);
  authority_file_ = source.name();
  for (const auto& der : *certificates) {
    bssl::UniquePtr<X509> certificate = parse_certificate(der.get());
    add_authority(certificate.get());
    uint8_t* name = nullptr;
    const int size = i2d_X509_NAME(X509_get_subject_name(certificate.get()), &name);
    if (size <= 0) continue;
    const bssl::UniquePtr<uint8_t> owned(name);
    std::string text(reinterpret_cast<char*>(name), static_cast<size_t>(size));
    if (std::find(authority_names_.begin(), authority_names_.end(), text) == authority_names_.end()) {
      authority_names_.push_back(std::move(text));
    }
  }
  return {};
}

base::Result<void> Validator::add_system_roots() {
  if (system_roots().empty())
    return invalid(
        "system_root_certs: this machine has no bundle of authorities; "
        "install ca-certificates");
  for (const auto& root : system_roots()) add_authority(root.get());
  return {};
}

base::Result<void> Validator::add_crls(const Source& source, bool leaf_only) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(source.bytes.data(), static_cast<int>(source.bytes.size())));
  size_t count = 0;
  while (bssl::UniquePtr<X509_CRL> crl{PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_crl(trust_.get(), crl.get());
    ++count;
  }
  const uint32_t error = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  const std::string reason = last_crypto_error();
  if (!at_end) return invalid("revocation list of " + source.name() + " is broken: " + reason);
  if (count > 0) {
    X509_STORE_set_flags(trust_.get(),
                         leaf_only ? X509_V_FLAG_CRL_CHECK : X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  } else {
    return base::Error{base::ErrorCode::kNotFound, base::Side::kInternal, 0, source.name()};
  }
  return {};
}

base::Result<void> Validator::load_trust(const ValidationOptions& options) {
  accept_untrusted_ = options.accept_untrusted;
  allow_expired_ = options.allow_expired_certificate;
  if (options.max_verify_depth.has_value()) depth_max_ = static_cast<int>(*options.max_verify_depth);
  // A certificate is asked for even when nothing would be checked.
  if (accept_untrusted_) verify_mode_ = SSL_VERIFY_PEER;
  if (options.trusted_ca.empty() && !options.system_roots) {
    if (!options.crl.empty()) return invalid("crl " + options.crl.name() + " has no effect without trusted_ca");
    return {};
  }
  trust_.reset(X509_STORE_new());
  X509_STORE_set_flags(trust_.get(), X509_V_FLAG_PARTIAL_CHAIN);  // an intermediate may be all that is trusted
  verify_mode_ = SSL_VERIFY_PEER;
  if (options.system_roots) {
    if (base::Result<void> added = add_system_roots(); !added) return added;
  }
  if (!options.trusted_ca.empty()) {
    if (base::Result<void> added = add_authorities(options.trusted_ca); !added) return added;
    authority_stat_name_ = certificate_stat_name("unnamed_ca_cert", options.name, options.trusted_ca);
    // Lists may stand among the authorities; that there are none is usual.
    base::Result<void> added = add_crls(options.trusted_ca, options.only_verify_leaf_cert_crl);
    if (!added && added.error().code != base::ErrorCode::kNotFound) return added;
  }
  if (options.crl.empty()) return {};
  base::Result<void> added = add_crls(options.crl, options.only_verify_leaf_cert_crl);
  if (!added && added.error().code == base::ErrorCode::kNotFound) {
    return invalid("crl " + options.crl.name() + " holds no revocation list in PEM");
  }
  return added;
}

base::Result<void> Validator::compile(const ValidationOptions& options) {
  for (const SanMatch& match : options.san_matchers) {
    base::Result<SanMatcher> matcher = SanMatcher::compile(match);
    if (!matcher) return invalid("match_typed_subject_alt_names: " + matcher.error().what);
    san_matchers_.push_back(std::move(*matcher));
  }
  base::Result<std::vector<std::string>> hashes = decode_pins(options.certificate_hashes, false);
  if (!hashes) return hashes.error();
  base::Result<std::vector<std::string>> spki = decode_pins(options.spki_hashes, true);
  if (!spki) return spki.error();
  certificate_hashes_ = std::move(*hashes);
  spki_hashes_ = std::move(*spki);
  const bool has_rules = !san_matchers_.empty() || !certificate_hashes_.empty() || !spki_hashes_.empty();
  if (has_rules && !accept_untrusted_) verify_mode_ = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  if (has_rules && accept_untrusted_) verify_mode_ = SSL_VERIFY_PEER;
  vouches_ = !accept_untrusted_ && (has_rules || trust_ != nullptr);
  return {};
}

bool Validator::verify_chain(std::span<const bssl::UniquePtr<X509>> chain, Verdict& verdict) const {
  bssl::UniquePtr<STACK_OF(X509)> stack(sk_X509_new_null());
  for (const auto& certificate : chain) bssl::PushToStack(stack.get(), bssl::UpRef(certificate));
  bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  // The purpose is that of the peer.
  if (!X509_STORE_CTX_init(context.get(), trust_.get(), chain.front().get(), stack.get()) ||
      !X509_STORE_CTX_set_default(context.get(), side_ == Side::kServer ? "ssl_client" : "ssl_server")) {
    verdict.details = "verify cert failed: init and setup X509_STORE_CTX";
    verdict.alert = SSL_AD_INTERNAL_ERROR;
    return false;
  }
  if (depth_max_ >= 0) X509_STORE_CTX_set_depth(context.get(), depth_max_);
  if (allow_expired_) X509_STORE_CTX_set_verify_cb(context.get(), ignore_time);
  if (X509_verify_cert(context.get()) == 1) return true;
  const int error = X509_STORE_CTX_get_error(context.get());
  verdict.details = "verify cert failed: X509_verify_cert: certificate verification error at depth " +
                    std::to_string(X509_STORE_CTX_get_error_depth(context.get())) + ": " +
                    X509_verify_cert_error_string(error);
  verdict.alert = SSL_alert_from_verify_result(error);
  ERR_clear_error();
  return false;
}

bool Validator::check_names(const X509* leaf, std::string_view server_name, std::string_view verify_name,
                            Verdict& verdict) const {
  const std::vector<GeneralName> names = subject_alt_names(leaf);
  bool found = true;
  if (!verify_name.empty() && !names_host(names, verify_name)) {
    verdict.details = "verify cert failed: verify SAN list";
    verdict.alert = SSL_AD_CERTIFICATE_UNKNOWN;
    return false;
  }
  if (auto_sni_san_validation_ && !server_name.empty()) {
    const SanMatcher matcher = SanMatcher::exact_dns(server_name);
    found = any_matches({&matcher, 1}, names);
  } else if (!san_matchers_.empty()) {
    found = any_matches(san_matchers_, names);
  }
  if (!found) {
    verdict.details = "verify cert failed: SAN matcher, certificate SANs are [" + listed(names) + "]";
    verdict.alert = SSL_AD_CERTIFICATE_UNKNOWN;
  }
  return found;
}

bool Validator::check_pins(CRYPTO_BUFFER* der, X509* leaf) const {
  const auto has = [](const std::vector<std::string>& pins, const uint8_t* bytes, size_t size) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes, size, digest);
    return std::find(pins.begin(), pins.end(), view(digest)) != pins.end();
  };
  if (has(certificate_hashes_, CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der))) return true;
  if (spki_hashes_.empty()) return false;
  uint8_t* spki = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
  if (size <= 0) return false;
  const bssl::UniquePtr<uint8_t> owned(spki);
  return has(spki_hashes_, spki, static_cast<size_t>(size));
}

Validator::Verdict Validator::judge(std::span<CRYPTO_BUFFER* const> chain, std::string_view server_name,
                                    std::string_view verify_name, stats::StatShard& stats) const {
  Verdict verdict;
  const bool checks_names =
      !verify_name.empty() || !san_matchers_.empty() || (auto_sni_san_validation_ && !server_name.empty());
  const bool checks_pins = !certificate_hashes_.empty() || !spki_hashes_.empty();
  if (trust_ == nullptr && !checks_names && !checks_pins) return verdict;
  std::vector<bssl::UniquePtr<X509>> certificates;
  for (CRYPTO_BUFFER* der : chain) {
    certificates.push_back(parse_certificate(der));
    if (certificates.back() == nullptr) {  // not to be taken on any terms
      stats.inc(stats::tls::kFailVerifyError);
      ERR_clear_error();
      return {false, false, SSL_AD_BAD_CERTIFICATE, "verify cert failed: malformed certificate"};
    }
  }
  if (certificates.empty()) {
    stats.inc(stats::tls::kFailVerifyError);
    return {false, false, SSL_AD_CERTIFICATE_UNKNOWN, "verify cert failed: empty cert chain"};
  }
  bool ok = true;
  if (trust_ != nullptr && !verify_chain(certificates, verdict)) {
    stats.inc(stats::tls::kFailVerifyError);
    ok = false;
  } else if (checks_names && !check_names(certificates.front().get(), server_name, verify_name, verdict)) {
    stats.inc(stats::tls::kFailVerifySan);
    ok = false;
  } else if (checks_pins && !check_pins(chain.front(), certificates.front().get())) {
    stats.inc(stats::tls::kFailVerifyCertHash);
    verdict.details = "verify cert failed: cert hash and spki";
    verdict.alert = SSL_AD_BAD_CERTIFICATE_HASH_VALUE;
    ok = false;
  }
  verdict.validated = ok;
  verdict.accepted = ok || accept_untrusted_;
  return verdict;
}

}  // namespace millrace::tls
