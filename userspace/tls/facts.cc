#include "tls/facts.h"

#include <openssl/pool.h>
#include <openssl/ssl.h>

#include <span>

#include "tls/context_core.h"
#include "tls/encoding.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

std::vector<CRYPTO_BUFFER*> pointers(const std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>& chain) {
  std::vector<CRYPTO_BUFFER*> out;
  for (const auto& certificate : chain) out.push_back(certificate.get());
  return out;
}

}  // namespace

Facts::Facts(std::shared_ptr<const ContextCore> core, const SSL* ssl, const Certificate* local, bool peer_validated)
    : core_(std::move(core)),
      local_(local),
      version_(SSL_get_version(ssl)),
      cipher_(SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))),
      session_reused_(SSL_session_reused(ssl)),
      peer_validated_(peer_validated) {
  const char* group = SSL_get_curve_name(SSL_get_curve_id(ssl));
  if (group != nullptr) group_ = group;
  unsigned size = 0;
  const uint8_t* id = SSL_SESSION_get_id(SSL_get_session(ssl), &size);
  session_id_ = hex({id, size});
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) server_name_ = name;
  const uint8_t* protocol = nullptr;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  protocol_.assign(reinterpret_cast<const char*>(protocol), size);
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  for (size_t i = 0; chain != nullptr && i < sk_CRYPTO_BUFFER_num(chain); ++i) {
    peer_chain_.push_back(bssl::UpRef(sk_CRYPTO_BUFFER_value(chain, i)));
  }
}

Facts::~Facts() = default;

const net::CertificateFacts& Facts::local_certificate() const {
  static const net::CertificateFacts kNone;
  return local_ == nullptr ? kNone : local_->facts;
}

const net::CertificateFacts& Facts::peer_certificate() const {
  if (peer_ == nullptr) peer_ = std::make_unique<net::CertificateFacts>(certificate_facts(pointers(peer_chain_)));
  return *peer_;
}

std::string Facts::peer_pem_url_encoded() const {
  const std::vector<CRYPTO_BUFFER*> chain = pointers(peer_chain_);
  return pem_url_encoded(std::span<const CRYPTO_BUFFER* const>(chain.data(), chain.empty() ? 0 : 1));
}

std::string Facts::peer_chain_pem_url_encoded() const {
  const std::vector<CRYPTO_BUFFER*> chain = pointers(peer_chain_);
  return pem_url_encoded(std::span<const CRYPTO_BUFFER* const>(chain.data(), chain.size()));
}

}  // namespace millrace::tls
