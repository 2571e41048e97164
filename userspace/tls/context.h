// TLS of one filter chain (a server) or one cluster (a client): certificates, rules and resumption state, made from
// options by a pure function and immutable but for the session caches, which guard themselves. Shared by all workers;
// when a certificate changes, another Context takes its place and connections of the old one live on.
// Errors are of the configuration: they name the file and say what is wrong with it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/transport.h"
#include "stats/stats.h"
#include "tls/options.h"

namespace millrace::tls {

class ContextCore;

// What the admin page /certs shows of a certificate.
struct CertificateDetails {
  struct Ocsp {
    base::SystemTime valid_from;
    std::optional<base::SystemTime> expiration;
  };
  std::string path;
  std::string stat_name;
  std::string serial_number;
  std::vector<std::string> dns_sans, uri_sans, ip_sans;
  base::SystemTime valid_from{}, expiration_time{};
  std::optional<Ocsp> ocsp;

  // Whole days; 0 when it has expired.
  uint64_t days_until_expiration(base::SystemTime now) const;
};

uint64_t days_until(base::SystemTime expiration, base::SystemTime now);

class Context final : public net::TransportFactory {
 public:
  // stats: a block of stats::tls::kSchema ("listener.<address>.ssl.", "cluster.<name>.ssl.").
  static base::Result<std::shared_ptr<const Context>> make(const ServerOptions& options, stats::StatBlockPtr stats);
  static base::Result<std::shared_ptr<const Context>> make(const ClientOptions& options, stats::StatBlockPtr stats);
  explicit Context(std::shared_ptr<ContextCore> core);
  ~Context() override;

  // Never null.
  std::unique_ptr<net::Transport> create(const Ask& ask) const override;

  std::vector<CertificateDetails> certificate_chains() const;
  // The first of the trusted authorities.
  std::optional<CertificateDetails> authority() const;
  // Of all these; nothing if there is none.
  std::optional<base::SystemTime> first_expiration() const;

 private:
  std::shared_ptr<ContextCore> core_;
};

}  // namespace millrace::tls
