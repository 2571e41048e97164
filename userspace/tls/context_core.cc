#include "tls/context_core.h"

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/errors.h"
#include "tls/session.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

// Envoy's defaults.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr char kCurves[] = "X25519:P-256";

std::string joined(const std::vector<std::string>& parts, std::string_view otherwise) {
  if (parts.empty()) return std::string(otherwise);
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += ':';
    out += part;
  }
  return out;
}

uint16_t version_number(Version version, uint16_t otherwise) {
  switch (version) {
    case Version::kAuto: return otherwise;
    case Version::kTls10: return TLS1_VERSION;
    case Version::kTls11: return TLS1_1_VERSION;
    case Version::kTls12: return TLS1_2_VERSION;
    case Version::kTls13: return TLS1_3_VERSION;
  }
  return otherwise;
}

// The parts of a list that `set` refuses when it is given them one by one.
template <class Set>
std::string refused_parts(const std::vector<std::string>& parts, Set&& set) {
  bssl::UniquePtr<SSL_CTX> scratch(SSL_CTX_new(TLS_with_buffers_method()));
  std::string out;
  for (const std::string& part : parts) {
    if (set(scratch.get(), part.c_str())) continue;
    out += out.empty() ? "" : ", ";
    out += part;
  }
  ERR_clear_error();
  return out;
}

base::Result<void> set_versions(SSL_CTX* context, const Parameters& parameters, bool is_server) {
  const uint16_t lowest = version_number(parameters.version_min, TLS1_2_VERSION);
  const uint16_t highest = version_number(parameters.version_max, is_server ? TLS1_3_VERSION : TLS1_2_VERSION);
  if (lowest > highest) {
    return invalid("tls_minimum_protocol_version is above tls_maximum_protocol_version" +
                   std::string(parameters.version_max == Version::kAuto ? ", which is TLSv1_2 for an upstream" : ""));
  }
  SSL_CTX_set_min_proto_version(context, lowest);
  SSL_CTX_set_max_proto_version(context, highest);
  return {};
}

base::Result<void> set_lists(SSL_CTX* context, const Parameters& parameters) {
  if (!SSL_CTX_set_strict_cipher_list(context, joined(parameters.cipher_suites, kCiphers).c_str())) {
    return invalid("cipher_suites: not known: " +
                   refused_parts(parameters.cipher_suites, SSL_CTX_set_strict_cipher_list));
  }
  if (!SSL_CTX_set1_curves_list(context, joined(parameters.ecdh_curves, kCurves).c_str())) {
    return invalid("ecdh_curves: not known: " + refused_parts(parameters.ecdh_curves, SSL_CTX_set1_curves_list));
  }
  if (parameters.signature_algorithms.empty()) return {};
  if (!SSL_CTX_set1_sigalgs_list(context, joined(parameters.signature_algorithms, "").c_str())) {
    return invalid("signature_algorithms: not known: " +
                   refused_parts(parameters.signature_algorithms, SSL_CTX_set1_sigalgs_list));
  }
  return {};
}

int select_alpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offered, unsigned offered_size,
                void*) {
  const std::string& ours = Session::of(ssl).core().alpn_wire();
  uint8_t* chosen = nullptr;
  const int result = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const uint8_t*>(ours.data()),
                                           static_cast<unsigned>(ours.size()), offered, offered_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

int prepare_ticket(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac, int encrypt) {
  return Session::of(ssl).core().ticket_keys().prepare(name, iv, cipher, mac, encrypt == 1);
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  Session::of(ssl).keep(bssl::UniquePtr<SSL_SESSION>(session));
  return 1;  // it is ours now
}

void add_certificate_names(SHA256_CTX& digest, const Certificate& certificate) {
  const auto add = [&](std::string_view text) {
    SHA256_Update(&digest, text.data(), text.size());
    SHA256_Update(&digest, "", 1);
  };
  add(common_name(certificate.leaf.get()));
  for (const GeneralName& name : subject_alt_names(certificate.leaf.get())) {
    add(std::to_string(static_cast<int>(name.type)));
    add(name.text);
  }
  add(certificate.facts.issuer);
}

}  // namespace

base::Result<std::string> alpn_wire_form(std::span<const std::string> names) {
  std::string out;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255) return invalid("alpn_protocols: a name has 1 to 255 bytes");
    out += static_cast<char>(name.size());
    out += name;
  }
  if (out.size() >= 65535) return invalid("alpn_protocols: longer than 64 KiB");
  return out;
}

ContextCore::~ContextCore() = default;

stats::StatShard ContextCore::worker_stats(uint16_t worker) const {
  return stats_ == nullptr ? stats::StatShard() : stats_->worker(worker);
}

base::Result<std::shared_ptr<ContextCore>> ContextCore::make(const ServerOptions& options, stats::StatBlockPtr stats) {
  std::shared_ptr<ContextCore> core(new ContextCore());
  core->stats_ = std::move(stats);
  if (options.common.certificates.empty()) return invalid("a downstream TLS context needs a certificate");
  if (base::Result<void> loaded = core->load(options.common, true, false); !loaded) return loaded.error();
  base::Result<CertificateSelector> selector = CertificateSelector::make(core->certificates_, options);
  if (!selector) return selector.error();
  core->selector_ = std::move(*selector);
  base::Result<TicketKeys> keys = TicketKeys::make(options.session_ticket_keys);
  if (!keys) return keys.error();
  core->ticket_keys_ = std::move(*keys);
  for (const auto& context : core->contexts_) {
    if (base::Result<void> done = core->configure_server(context.get(), options); !done) return done.error();
  }
  return core;
}

base::Result<std::shared_ptr<ContextCore>> ContextCore::make(const ClientOptions& options, stats::StatBlockPtr stats) {
  std::shared_ptr<ContextCore> core(new ContextCore());
  core->stats_ = std::move(stats);
  if (options.common.certificates.size() > 1) return invalid("an upstream TLS context takes one certificate at most");
  if (options.sni.find('\0') != std::string::npos) return invalid("sni has a NUL byte");
  if (options.sni.size() > 255) return invalid("sni is longer than 255 bytes");
  core->client_ = options;
  core->client_.common = {};  // its keys are in certificates_ and nowhere else
  core->client_.common.alpn = options.common.alpn;
  core->sessions_.set_limit(options.max_session_keys);
  if (base::Result<void> loaded = core->load(options.common, false, options.auto_sni_san_validation); !loaded) {
    return loaded.error();
  }
  core->configure_client(core->first());
  return core;
}

base::Result<void> ContextCore::load(const CommonOptions& options, bool is_server, bool auto_sni_san_validation) {
  is_server_ = is_server;
  pool_.reset(CRYPTO_BUFFER_POOL_new());
  base::Result<std::unique_ptr<Validator>> validator =
      Validator::make(is_server ? Validator::Side::kServer : Validator::Side::kClient,
                      options.validation.has_value() ? &*options.validation : nullptr, auto_sni_san_validation);
  if (!validator) return validator.error();
  validator_ = std::move(*validator);
  base::Result<std::string> alpn = alpn_wire_form(options.alpn);
  if (!alpn) return alpn.error();
  alpn_wire_ = std::move(*alpn);
  base::Result<KeyLog> log = KeyLog::open(options.key_log);
  if (!log) return log.error();
  key_log_ = std::move(*log);
  if (base::Result<void> loaded = load_certificates(options.certificates); !loaded) return loaded;
  for (const auto& context : contexts_) {
    if (base::Result<void> done = configure(context.get(), options); !done) return done;
  }
  return {};
}

base::Result<void> ContextCore::load_certificates(const std::vector<CertificateOptions>& options) {
  for (const CertificateOptions& one : options) {
    base::Result<Certificate> certificate = load_certificate(one);
    if (!certificate) return certificate.error();
    certificates_.push_back(std::move(*certificate));
  }
  do {
    contexts_.emplace_back(SSL_CTX_new(TLS_with_buffers_method()));
    if (contexts_.size() > certificates_.size()) break;  // a client without one
    const Certificate& certificate = certificates_[contexts_.size() - 1];
    const std::vector<CRYPTO_BUFFER*> chain = certificate.pointers();
    if (!SSL_CTX_set_chain_and_key(contexts_.back().get(), chain.data(), chain.size(), certificate.key.get(),
                                   nullptr)) {
      return invalid("certificate " + certificate.path + " cannot be used: " + last_crypto_error());
    }
  } while (contexts_.size() < certificates_.size());
  return {};
}

base::Result<void> ContextCore::configure(SSL_CTX* context, const CommonOptions& options) {
  SSL_CTX_set0_buffer_pool(context, pool_.get());
  if (base::Result<void> set = set_versions(context, options.parameters, is_server_); !set) return set;
  if (base::Result<void> set = set_lists(context, options.parameters); !set) return set;
  SSL_CTX_set_custom_verify(context, validator_->verify_mode(),
                            [](SSL* ssl, uint8_t* alert) { return Session::of(ssl).verify_peer(alert); });
  if (key_log_.enabled()) {
    SSL_CTX_set_keylog_callback(context, [](const SSL* ssl, const char* line) { Session::of(ssl).log_key(line); });
  }
  return {};
}

base::Result<void> ContextCore::configure_server(SSL_CTX* context, const ServerOptions& options) {
  SSL_CTX_set_select_certificate_cb(
      context, [](const SSL_CLIENT_HELLO* hello) { return Session::of(hello->ssl).select_certificate(hello); });
  if (options.require_client_certificate) {
    SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                              [](SSL* ssl, uint8_t* alert) { return Session::of(ssl).verify_peer(alert); });
  }
  if (!validator_->authority_names().empty()) {
    bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> names(sk_CRYPTO_BUFFER_new_null());
    for (const std::string& name : validator_->authority_names()) {
      bssl::UniquePtr<CRYPTO_BUFFER> der(
          CRYPTO_BUFFER_new(reinterpret_cast<const uint8_t*>(name.data()), name.size(), nullptr));
      bssl::PushToStack(names.get(), std::move(der));
    }
    SSL_CTX_set0_client_CAs(context, names.release());
  }
  if (!alpn_wire_.empty()) SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
  if (!options.prefer_client_ciphers) SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (options.disable_stateless_resumption) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  } else if (!ticket_keys_.empty()) {
    SSL_CTX_set_tlsext_ticket_key_cb(context, prepare_ticket);
  }
  if (options.disable_stateful_resumption) SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (options.session_timeout.has_value()) {
    const uint32_t seconds = static_cast<uint32_t>(options.session_timeout->count());
    SSL_CTX_set_timeout(context, seconds);
    SSL_CTX_set_session_psk_dhe_timeout(context, seconds);
  }
  const std::string id = session_id_context(options);
  if (!SSL_CTX_set_session_id_context(context, reinterpret_cast<const uint8_t*>(id.data()), id.size())) {
    return invalid("the session id context cannot be set: " + last_crypto_error());
  }
  return {};
}

void ContextCore::configure_client(SSL_CTX* context) {
  if (!alpn_wire_.empty()) {
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const uint8_t*>(alpn_wire_.data()), alpn_wire_.size());
  }
  if (!sessions_.enabled()) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return;
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
}

std::string ContextCore::session_id_context(const ServerOptions& options) const {
  SHA256_CTX digest;
  SHA256_Init(&digest);
  for (const Certificate& certificate : certificates_) add_certificate_names(digest, certificate);
  SHA256_Update(&digest, validator_->digest().data(), validator_->digest().size());
  const uint8_t required = options.require_client_certificate;
  SHA256_Update(&digest, &required, 1);
  for (const std::string& name : options.server_names) SHA256_Update(&digest, name.c_str(), name.size() + 1);
  uint8_t out[SHA256_DIGEST_LENGTH];
  SHA256_Final(out, &digest);
  return {reinterpret_cast<const char*>(out), sizeof out};
}

}  // namespace millrace::tls
