#include "tls/context.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/context_core.h"
#include "tls/session.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

CertificateDetails details_of(const X509* certificate, const std::string& path, const std::string& stat_name) {
  CertificateDetails out;
  out.path = path;
  out.stat_name = stat_name;
  out.serial_number = serial(certificate);
  for (GeneralName& name : subject_alt_names(certificate)) {
    if (name.type == SanMatch::Type::kDns) out.dns_sans.push_back(std::move(name.text));
    if (name.type == SanMatch::Type::kUri) out.uri_sans.push_back(std::move(name.text));
    if (name.type == SanMatch::Type::kIpAddress) out.ip_sans.push_back(std::move(name.text));
  }
  out.valid_from = not_before(certificate);
  out.expiration_time = not_after(certificate);
  return out;
}

template <class Options>
base::Result<std::shared_ptr<const Context>> make_context(const Options& options, stats::StatBlockPtr stats) {
  base::Result<std::shared_ptr<ContextCore>> core = ContextCore::make(options, std::move(stats));
  if (!core) return core.error();
  return std::shared_ptr<const Context>(std::make_shared<Context>(std::move(*core)));
}

}  // namespace

uint64_t days_until(base::SystemTime expiration, base::SystemTime now) {
  if (expiration <= now) return 0;
  return static_cast<uint64_t>(std::chrono::floor<std::chrono::days>(expiration - now).count());
}

uint64_t CertificateDetails::days_until_expiration(base::SystemTime now) const {
  return days_until(expiration_time, now);
}

base::Result<std::shared_ptr<const Context>> Context::make(const ServerOptions& options, stats::StatBlockPtr stats) {
  return make_context(options, std::move(stats));
}

base::Result<std::shared_ptr<const Context>> Context::make(const ClientOptions& options, stats::StatBlockPtr stats) {
  return make_context(options, std::move(stats));
}

Context::Context(std::shared_ptr<ContextCore> core) : core_(std::move(core)) {}
Context::~Context() = default;

std::unique_ptr<net::Transport> Context::create(const Ask& ask) const {
  return std::make_unique<Session>(core_, ask, core_->key_log().wants(ask.local_address, ask.remote_address));
}

std::vector<CertificateDetails> Context::certificate_chains() const {
  std::vector<CertificateDetails> out;
  for (const Certificate& certificate : core_->certificates()) {
    out.push_back(details_of(certificate.leaf.get(), certificate.path, certificate.stat_name));
    if (certificate.ocsp.has_value()) out.back().ocsp = {certificate.ocsp->this_update, certificate.ocsp->next_update};
  }
  return out;
}

std::optional<CertificateDetails> Context::authority() const {
  const Validator& validator = core_->validator();
  if (validator.first_authority() == nullptr) return std::nullopt;
  return details_of(validator.first_authority(), validator.authority_file(), validator.authority_stat_name());
}

std::optional<base::SystemTime> Context::first_expiration() const {
  std::optional<base::SystemTime> first;
  const auto note = [&first](const X509* certificate) {
    const base::SystemTime end = not_after(certificate);
    if (!first || end < *first) first = end;
  };
  for (const Certificate& certificate : core_->certificates()) note(certificate.leaf.get());
  if (const X509* authority = core_->validator().first_authority(); authority != nullptr) note(authority);
  return first;
}

}  // namespace millrace::tls
