// TLS contexts: from Envoy's messages to the options of the tls room, every source read.
#include <algorithm>

#include "config/loader.h"
#include "config/support.h"
#include "config/translator.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "envoy/type/matcher/v3/string.pb.h"
#include "google/protobuf/any.pb.h"

namespace millrace::config {

using base::milliseconds;

namespace {

tls::Version version(tls_v3::TlsParameters::TlsProtocol from) {
  switch (from) {
    case tls_v3::TlsParameters::TLSv1_0: return tls::Version::kTls10;
    case tls_v3::TlsParameters::TLSv1_1: return tls::Version::kTls11;
    case tls_v3::TlsParameters::TLSv1_2: return tls::Version::kTls12;
    case tls_v3::TlsParameters::TLSv1_3: return tls::Version::kTls13;
    default: return tls::Version::kAuto;
  }
}

template <class List>
std::vector<std::string> strings(const List& from) {
  return {from.begin(), from.end()};
}

tls::StringMatch tls_string_match(const envoy::type::matcher::v3::StringMatcher& from) {
  using Matcher = envoy::type::matcher::v3::StringMatcher;
  using Kind = tls::StringMatch::Kind;
  switch (from.match_pattern_case()) {
    case Matcher::kPrefix: return {Kind::kPrefix, from.prefix(), from.ignore_case()};
    case Matcher::kSuffix: return {Kind::kSuffix, from.suffix(), from.ignore_case()};
    case Matcher::kContains: return {Kind::kContains, from.contains(), from.ignore_case()};
    case Matcher::kSafeRegex: return {Kind::kRegex, from.safe_regex().regex(), false};
    default: return {Kind::kExact, from.exact(), from.ignore_case()};
  }
}

std::optional<tls::SanMatch::Type> san_type(tls_v3::SubjectAltNameMatcher::SanType from) {
  using From = tls_v3::SubjectAltNameMatcher;
  switch (from) {
    case From::EMAIL: return tls::SanMatch::Type::kEmail;
    case From::DNS: return tls::SanMatch::Type::kDns;
    case From::URI: return tls::SanMatch::Type::kUri;
    case From::IP_ADDRESS: return tls::SanMatch::Type::kIpAddress;
    case From::OTHER_NAME: return tls::SanMatch::Type::kOtherName;
    default: return std::nullopt;
  }
}

}  // namespace

void Translator::static_secrets(const bootstrap_v3::Bootstrap& from) {
  if (from.static_resources().secrets_size() == 0) return;
  auto secrets = std::make_shared<StaticSecrets>();
  for (int i = 0; i < from.static_resources().secrets_size(); ++i) {
    const tls_v3::Secret& one = from.static_resources().secrets(i);
    if (secrets->emplace(one.name(), one).second) continue;
    error(fmt::format("static_resources.secrets[{}].name", i), fmt::format("secret '{}' is defined twice", one.name()));
  }
  secrets_ = std::move(secrets);
}

tls::Source Translator::tls_source(const core_v3::DataSource& from, Path path) {
  tls::Source to{data_source(from, path), {}};
  if (from.specifier_case() == core_v3::DataSource::kFilename) {
    to.file = from.filename();
    files_read_.push_back(to.file);
  }
  return to;
}

tls::CertificateOptions Translator::tls_certificate(const tls_v3::TlsCertificate& from, Path path) {
  tls::CertificateOptions to;
  if (from.has_certificate_chain()) to.chain = tls_source(from.certificate_chain(), path + ".certificate_chain");
  if (from.has_private_key()) to.private_key = tls_source(from.private_key(), path + ".private_key");
  if (from.has_pkcs12()) to.pkcs12 = tls_source(from.pkcs12(), path + ".pkcs12");
  if (from.has_password()) to.password = tls_source(from.password(), path + ".password");
  if (from.has_ocsp_staple()) to.ocsp_staple = tls_source(from.ocsp_staple(), path + ".ocsp_staple");
  if (from.has_pkcs12() && (from.has_certificate_chain() || from.has_private_key())) {
    error(path + ".pkcs12", "set beside certificate_chain or private_key", "pkcs12 has both the chain and the key");
  } else if (!from.has_pkcs12() && from.has_certificate_chain() != from.has_private_key()) {
    error_if_first(path, from.has_private_key() ? "certificate_chain is not set" : "private_key is not set",
                   "a certificate needs both, or pkcs12");
  }
  return to;
}

tls::ValidationOptions Translator::tls_validation(const tls_v3::CertificateValidationContext& from, Path path) {
  tls::ValidationOptions to;
  if (from.has_trusted_ca()) to.trusted_ca = tls_source(from.trusted_ca(), path + ".trusted_ca");
  to.system_roots = from.has_system_root_certs();
  if (from.has_crl()) to.crl = tls_source(from.crl(), path + ".crl");
  to.only_verify_leaf_cert_crl = from.only_verify_leaf_cert_crl();
  to.allow_expired_certificate = from.allow_expired_certificate();
  to.accept_untrusted = from.trust_chain_verification() == tls_v3::CertificateValidationContext::ACCEPT_UNTRUSTED;
  if (from.has_max_verify_depth()) to.max_verify_depth = from.max_verify_depth().value();
  for (const auto& san : from.match_typed_subject_alt_names()) {
    const auto type = san_type(san.san_type());
    if (!type) continue;  // the rules of the API have refused it
    to.san_matchers.push_back({*type, tls_string_match(san.matcher()), san.oid()});
  }
  // The older list asks for a name of any type.
  for (const auto& name : from.match_subject_alt_names()) {
    using Type = tls::SanMatch::Type;
    for (const Type type : {Type::kDns, Type::kUri, Type::kEmail, Type::kIpAddress}) {
      to.san_matchers.push_back({type, tls_string_match(name), {}});
    }
  }
  to.certificate_hashes = strings(from.verify_certificate_hash());
  to.spki_hashes = strings(from.verify_certificate_spki());
  if (!to.san_matchers.empty() && to.trusted_ca.empty() && !to.system_roots) {
    error_if_first(path, "names are matched, but nothing says which certificates to trust",
                   "add trusted_ca or system_root_certs");
  }
  return to;
}

const tls_v3::Secret* Translator::secret(const tls_v3::SdsSecretConfig& from, Path path) {
  if (!from.has_sds_config()) {
    const auto found = secrets_ != nullptr ? secrets_->find(from.name()) : StaticSecrets::const_iterator();
    if (secrets_ != nullptr && found != secrets_->end()) return &found->second;
    error(path + ".name", fmt::format("there is no static secret '{}'", from.name()),
          "define it in static_resources.secrets, or say in sds_config where it comes from");
    return nullptr;
  }
  const auto& source = from.sds_config();
  const std::string file =
      source.has_path_config_source() ? source.path_config_source().path() : source.path();
  if (file.empty()) return nullptr;  // other sources were reported by the table of supported fields
  return secret_of_file(from.name(), file, path + ".sds_config");
}

// A DiscoveryResponse, as Envoy reads from a file: YAML, JSON or protobuf, by the name's ending.
const tls_v3::Secret* Translator::secret_of_file(const std::string& name, const std::string& file, Path path) {
  files_read_.push_back(file);
  core_v3::DataSource source;
  source.set_filename(file);
  const size_t errors_before = diagnostics_.errors();
  const std::string text = data_source(source, path);
  if (diagnostics_.errors() != errors_before) return nullptr;
  const Loaded loaded =
      load_message_text("envoy.service.discovery.v3.DiscoveryResponse", text, file, format_of(file));
  if (!loaded.ok()) {
    error(path, fmt::format("'{}' is no list of secrets: {}", file, loaded.diagnostics().to_string()));
    return nullptr;
  }
  const auto& message = loaded.message();
  const auto* resources = message.GetDescriptor()->FindFieldByName("resources");
  for (int i = 0; i < message.GetReflection()->FieldSize(message, resources); ++i) {
    google::protobuf::Any any;
    any.ParseFromString(message.GetReflection()->GetRepeatedMessage(message, resources, i).SerializeAsString());
    auto found = std::make_unique<tls_v3::Secret>();
    if (!any.UnpackTo(found.get()) || found->name() != name) continue;
    for (const SupportNote& note : check_support(*found).unsupported) {
      error(path, fmt::format("'{}': resources[{}].{}: {}", file, i, note.path, note.what));
    }
    file_secrets_.push_back(std::move(found));
    return file_secrets_.back().get();
  }
  error(path, fmt::format("'{}' has no secret '{}'", file, name),
        "it is a DiscoveryResponse with the secret among its resources");
  return nullptr;
}

void Translator::tls_validation_context(const tls_v3::CommonTlsContext& from, tls::CommonOptions& to, Path path) {
  const auto of_secret = [&](const tls_v3::SdsSecretConfig& source, Path at) -> const auto* {
    const tls_v3::Secret* found = secret(source, at);
    if (found != nullptr && !found->has_validation_context()) {
      error(at + ".name", fmt::format("the secret '{}' is no validation_context", source.name()));
    }
    return found != nullptr && found->has_validation_context() ? &found->validation_context() : nullptr;
  };
  switch (from.validation_context_type_case()) {
    case tls_v3::CommonTlsContext::kValidationContext:
      to.validation = tls_validation(from.validation_context(), path + ".validation_context");
      return;
    case tls_v3::CommonTlsContext::kValidationContextSdsSecretConfig: {
      const std::string at = path + ".validation_context_sds_secret_config";
      if (const auto* found = of_secret(from.validation_context_sds_secret_config(), at)) {
        to.validation = tls_validation(*found, at);
        to.validation->name = from.validation_context_sds_secret_config().name();
      }
      return;
    }
    case tls_v3::CommonTlsContext::kCombinedValidationContext: {
      const auto& combined = from.combined_validation_context();
      const std::string at = path + ".combined_validation_context";
      tls_v3::CertificateValidationContext merged = combined.default_validation_context();
      const auto* found = of_secret(combined.validation_context_sds_secret_config(),
                                    at + ".validation_context_sds_secret_config");
      if (found == nullptr) return;
      merged.MergeFrom(*found);
      to.validation = tls_validation(merged, at);
      to.validation->name = combined.validation_context_sds_secret_config().name();
      return;
    }
    default:
      return;
  }
}

tls::CommonOptions Translator::tls_common(const tls_v3::CommonTlsContext& from, Path path) {
  tls::CommonOptions to;
  const auto& parameters = from.tls_params();
  to.parameters.version_min = version(parameters.tls_minimum_protocol_version());
  to.parameters.version_max = version(parameters.tls_maximum_protocol_version());
  to.parameters.cipher_suites = strings(parameters.cipher_suites());
  to.parameters.ecdh_curves = strings(parameters.ecdh_curves());
  to.parameters.signature_algorithms = strings(parameters.signature_algorithms());
  for (int i = 0; i < from.tls_certificates_size(); ++i) {
    to.certificates.push_back(
        tls_certificate(from.tls_certificates(i), fmt::format("{}.tls_certificates[{}]", path, i)));
  }
  for (int i = 0; i < from.tls_certificate_sds_secret_configs_size(); ++i) {
    const std::string at = fmt::format("{}.tls_certificate_sds_secret_configs[{}]", path, i);
    const auto& source = from.tls_certificate_sds_secret_configs(i);
    const tls_v3::Secret* found = secret(source, at);
    if (found == nullptr) continue;
    if (found->has_tls_certificate()) {
      to.certificates.push_back(tls_certificate(found->tls_certificate(), at));
      to.certificates.back().name = source.name();
    } else {
      error(at + ".name", fmt::format("the secret '{}' is no tls_certificate", source.name()));
    }
  }
  if (from.tls_certificates_size() > 0 && from.tls_certificate_sds_secret_configs_size() > 0) {
    error(path + ".tls_certificate_sds_secret_configs", "set beside tls_certificates", "keep one of the two");
  }
  tls_validation_context(from, to, path);
  to.alpn = strings(from.alpn_protocols());
  if (from.has_key_log()) {
    to.key_log.path = from.key_log().path();
    to.key_log.local_ranges = cidr_ranges(from.key_log().local_address_range(), path + ".key_log.local_address_range");
    to.key_log.remote_ranges =
        cidr_ranges(from.key_log().remote_address_range(), path + ".key_log.remote_address_range");
  }
  return to;
}

tls::ServerOptions Translator::tls_server(const tls_v3::DownstreamTlsContext& from, Path path) {
  tls::ServerOptions to;
  const std::string common = path + ".common_tls_context";
  to.common = tls_common(from.common_tls_context(), common);
  if (to.common.certificates.empty()) {
    error_if_first(common, "a listener's TLS needs a certificate",
                   "add tls_certificates or tls_certificate_sds_secret_configs");
  }
  to.require_client_certificate = from.require_client_certificate().value();
  const tls_v3::TlsSessionTicketKeys* keys = from.has_session_ticket_keys() ? &from.session_ticket_keys() : nullptr;
  std::string at = path + ".session_ticket_keys";
  if (from.has_session_ticket_keys_sds_secret_config()) {
    at = path + ".session_ticket_keys_sds_secret_config";
    const tls_v3::Secret* found = secret(from.session_ticket_keys_sds_secret_config(), at);
    if (found != nullptr && !found->has_session_ticket_keys()) {
      error(at + ".name", fmt::format("the secret '{}' is no session_ticket_keys", found->name()));
    } else if (found != nullptr) {
      keys = &found->session_ticket_keys();
    }
  }
  if (keys != nullptr) {
    for (int i = 0; i < keys->keys_size(); ++i) {
      to.session_ticket_keys.push_back(tls_source(keys->keys(i), fmt::format("{}.keys[{}]", at, i)));
    }
  }
  to.disable_stateless_resumption = from.disable_stateless_session_resumption();
  to.disable_stateful_resumption = from.disable_stateful_session_resumption();
  if (from.has_session_timeout()) {
    to.session_timeout = std::chrono::duration_cast<std::chrono::seconds>(duration(from.session_timeout()));
  }
  switch (from.ocsp_staple_policy()) {
    case tls_v3::DownstreamTlsContext::STRICT_STAPLING: to.ocsp_staple_policy = tls::OcspStaplePolicy::kStrict; break;
    case tls_v3::DownstreamTlsContext::MUST_STAPLE: to.ocsp_staple_policy = tls::OcspStaplePolicy::kMustStaple; break;
    default: break;
  }
  to.full_scan_certs_on_sni_mismatch = from.full_scan_certs_on_sni_mismatch().value();
  to.prefer_client_ciphers = from.prefer_client_ciphers();
  return to;
}

tls::ClientOptions Translator::tls_client(const tls_v3::UpstreamTlsContext& from, Path path) {
  tls::ClientOptions to;
  to.common = tls_common(from.common_tls_context(), path + ".common_tls_context");
  if (to.common.certificates.size() > 1) {
    error(path + ".common_tls_context.tls_certificates", "a client has one certificate at most", "keep one");
  }
  to.sni = from.sni();
  to.auto_host_sni = from.auto_host_sni();
  to.auto_sni_san_validation = from.auto_sni_san_validation();
  to.allow_renegotiation = from.allow_renegotiation();
  to.enforce_rsa_key_usage = from.enforce_rsa_key_usage().value();
  if (from.has_max_session_keys()) to.max_session_keys = from.max_session_keys().value();
  return to;
}

}  // namespace millrace::config
