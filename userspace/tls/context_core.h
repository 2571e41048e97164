// What a Context is made of, and what its sessions hold on to: they may outlive it. One SSL_CTX for each certificate,
// of which the first begins every handshake. Used by all workers at once; what changes after construction (the client's
// sessions, the ticket keys of BoringSSL) has its own lock.
#pragma once
#include <openssl/base.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "stats/stats.h"
#include "tls/certificate.h"
#include "tls/certificate_selector.h"
#include "tls/client_sessions.h"
#include "tls/key_log.h"
#include "tls/options.h"
#include "tls/ticket_keys.h"
#include "tls/validator.h"

namespace millrace::tls {

class ContextCore {
 public:
  static base::Result<std::shared_ptr<ContextCore>> make(const ServerOptions& options, stats::StatBlockPtr stats);
  static base::Result<std::shared_ptr<ContextCore>> make(const ClientOptions& options, stats::StatBlockPtr stats);
  ContextCore(const ContextCore&) = delete;
  ContextCore& operator=(const ContextCore&) = delete;
  ~ContextCore();

  bool is_server() const { return is_server_; }
  SSL_CTX* first() const { return contexts_.front().get(); }
  SSL_CTX* context_of(size_t certificate) const { return contexts_[certificate].get(); }
  const std::vector<Certificate>& certificates() const { return certificates_; }
  const Validator& validator() const { return *validator_; }
  const CertificateSelector& selector() const { return selector_; }
  const TicketKeys& ticket_keys() const { return ticket_keys_; }
  const std::string& alpn_wire() const { return alpn_wire_; }
  const ClientOptions& client() const { return client_; }  // sni, ALPN and the switches; no certificates
  ClientSessions& sessions() const { return sessions_; }
  const KeyLog& key_log() const { return key_log_; }
  stats::StatShard worker_stats(uint16_t worker) const;

 private:
  ContextCore() = default;
  base::Result<void> load(const CommonOptions& options, bool is_server, bool auto_sni_san_validation);
  base::Result<void> load_certificates(const std::vector<CertificateOptions>& options);
  base::Result<void> configure(SSL_CTX* context, const CommonOptions& options);
  base::Result<void> configure_server(SSL_CTX* context, const ServerOptions& options);
  void configure_client(SSL_CTX* context);
  // Sessions are resumed under the same names, rules and filter chain only.
  std::string session_id_context(const ServerOptions& options) const;

  bool is_server_ = false;
  stats::StatBlockPtr stats_;
  bssl::UniquePtr<CRYPTO_BUFFER_POOL> pool_;  // peers' certificates, each kept once; outlives contexts and sessions
  std::vector<Certificate> certificates_;
  std::vector<bssl::UniquePtr<SSL_CTX>> contexts_;  // of each certificate; one without, for a client that has none
  std::unique_ptr<Validator> validator_;
  CertificateSelector selector_;
  TicketKeys ticket_keys_;
  std::string alpn_wire_;
  ClientOptions client_;
  mutable ClientSessions sessions_;
  KeyLog key_log_;
};

// Names with their lengths, as TLS writes them; an error for an empty or overlong name.
base::Result<std::string> alpn_wire_form(std::span<const std::string> names);

}  // namespace millrace::tls
