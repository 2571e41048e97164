#include "tls/certificate_selector.h"

#include <openssl/bytestring.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <optional>

#include "tls/errors.h"

namespace millrace::tls {
namespace {

bool extension(const SSL_CLIENT_HELLO* hello, uint16_t type, CBS* body) {
  const uint8_t* data = nullptr;
  size_t size = 0;
  if (!SSL_early_callback_ctx_extension_get(hello, type, &data, &size)) return false;
  CBS_init(body, data, size);
  return true;
}

// Curves of ECDSA keys in a list of groups, or of TLS 1.3's signature algorithms, which bind each to its curve.
std::vector<int> curves_in(CBS list) {
  std::vector<int> curves;
  uint16_t value = 0;
  while (CBS_get_u16(&list, &value)) {
    switch (value) {
      case SSL_CURVE_SECP256R1:
      case SSL_SIGN_ECDSA_SECP256R1_SHA256: curves.push_back(NID_X9_62_prime256v1); break;
      case SSL_CURVE_SECP384R1:
      case SSL_SIGN_ECDSA_SECP384R1_SHA384: curves.push_back(NID_secp384r1); break;
      case SSL_CURVE_SECP521R1:
      case SSL_SIGN_ECDSA_SECP521R1_SHA512: curves.push_back(NID_secp521r1); break;
      default: break;
    }
  }
  return curves;
}

bool offers_ecdsa_cipher(const SSL_CLIENT_HELLO* hello) {
  CBS ciphers;
  CBS_init(&ciphers, hello->cipher_suites, hello->cipher_suites_len);
  uint16_t value = 0;
  while (CBS_get_u16(&ciphers, &value)) {
    const SSL_CIPHER* cipher = SSL_get_cipher_by_value(value);
    if (cipher != nullptr && SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa) return true;
  }
  return false;
}

std::vector<int> ecdsa_curves(const SSL_CLIENT_HELLO* hello, bool may_speak_tls13) {
  CBS body, list;
  if (may_speak_tls13 && extension(hello, TLSEXT_TYPE_supported_versions, &body)) {
    if (!extension(hello, TLSEXT_TYPE_signature_algorithms, &body)) return {};
    return CBS_get_u16_length_prefixed(&body, &list) ? curves_in(list) : std::vector<int>();
  }
  if (!extension(hello, TLSEXT_TYPE_supported_groups, &body) || !CBS_get_u16_length_prefixed(&body, &list)) return {};
  return offers_ecdsa_cipher(hello) ? curves_in(list) : std::vector<int>();
}

}  // namespace

// The best so far: what fits takes the search to its end, an RSA certificate for a client that would rather have ECDSA
// waits for a better one.
struct CertificateSelector::Search {
  const CertificateSelector& selector;
  const Client& client;
  base::SystemTime now;
  std::optional<Choice> fitting, second_best;

  bool consider(size_t index) {
    const Certificate& certificate = (*selector.certificates_)[index];
    const Staple staple = selector.staple_for(certificate, client, now);
    if (staple == Staple::kRefuse) return false;
    const bool is_rsa = certificate.curve_nid == 0;
    const bool takes_ecdsa = !client.curves.empty();
    const bool takes_curve =
        std::find(client.curves.begin(), client.curves.end(), certificate.curve_nid) != client.curves.end();
    if (is_rsa ? !takes_ecdsa : takes_curve) {
      fitting = {index, staple};
    } else if (is_rsa && !second_best.has_value()) {
      second_best = {index, staple};
    }
    return fitting.has_value();
  }
  std::optional<Choice> best() const { return fitting.has_value() ? fitting : second_best; }
};

base::Result<CertificateSelector> CertificateSelector::make(const std::vector<Certificate>& certificates,
                                                            const ServerOptions& options) {
  CertificateSelector selector;
  selector.certificates_ = &certificates;
  selector.policy_ = options.ocsp_staple_policy;
  selector.full_scan_on_mismatch_ = options.full_scan_certs_on_sni_mismatch;
  for (size_t i = 0; i < certificates.size(); ++i) {
    const Certificate& certificate = certificates[i];
    if (!certificate.ocsp.has_value() && certificate.must_staple) {
      return invalid("certificate " + certificate.path + " says must-staple: it needs an ocsp_staple");
    }
    if (!certificate.ocsp.has_value() && options.ocsp_staple_policy == OcspStaplePolicy::kMustStaple) {
      return invalid("certificate " + certificate.path +
                     " has no ocsp_staple, which ocsp_staple_policy MUST_STAPLE "
                     "requires");
    }
    for (const std::string& name : certificate.names) selector.add_name(name, i);
  }
  return selector;
}

void CertificateSelector::add_name(const std::string& name, size_t certificate) {
  std::vector<size_t>& same_name = by_name_[name.starts_with("*.") ? name.substr(1) : name];
  // One of each kind of key; the earlier one wins.
  const bool is_rsa = (*certificates_)[certificate].curve_nid == 0;
  for (const size_t other : same_name) {
    if (((*certificates_)[other].curve_nid == 0) == is_rsa) return;
  }
  same_name.push_back(certificate);
}

CertificateSelector::Client CertificateSelector::read_client(const SSL_CLIENT_HELLO* hello, bool may_speak_tls13) {
  Client client;
  const char* name = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) client.server_name = name;
  client.curves = ecdsa_curves(hello, may_speak_tls13);
  CBS unused;
  client.wants_staple = extension(hello, TLSEXT_TYPE_status_request, &unused);
  return client;
}

CertificateSelector::Staple CertificateSelector::staple_for(const Certificate& certificate, const Client& client,
                                                            base::SystemTime now) const {
  if (!client.wants_staple) return Staple::kNotAsked;
  const bool has_response = certificate.ocsp.has_value();
  if (has_response && !certificate.ocsp->expired(now)) return Staple::kSend;
  const bool is_must = certificate.must_staple || policy_ == OcspStaplePolicy::kMustStaple;
  if (is_must || (policy_ == OcspStaplePolicy::kStrict && has_response)) return Staple::kRefuse;
  return Staple::kOmit;
}

void CertificateSelector::look_up(std::string_view name, Search& search) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  for (const size_t index : found->second) {
    if (search.consider(index)) return;
  }
}

CertificateSelector::Choice CertificateSelector::choose(const Client& client, base::SystemTime now) const {
  Search search{*this, client, now, {}, {}};
  const Choice first{0, staple_for(certificates_->front(), client, now)};
  if (certificates_->size() == 1) return first;
  if (!client.server_name.empty()) {
    std::string name(client.server_name);
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
    look_up(name, search);
    const size_t dot = name.find('.', 1);
    if (!search.best().has_value() && dot != name.npos && dot + 1 < name.size()) {
      look_up(std::string_view(name).substr(dot), search);
    }
    if (search.best().has_value()) return *search.best();
    if (!full_scan_on_mismatch_) return first;
  }
  for (size_t i = 0; i < certificates_->size() && !search.consider(i); ++i) {
  }
  return search.best().value_or(first);
}

}  // namespace millrace::tls
