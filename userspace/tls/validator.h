// Judges the certificate a peer presents, by Envoy's CertificateValidationContext. Immutable once made, used by all
// workers at once. RFC 5280 (6) by way of BoringSSL's X509_verify_cert.
#pragma once
#include <openssl/base.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "stats/stats.h"
#include "tls/options.h"
#include "tls/san_matcher.h"

namespace millrace::tls {

class Validator {
 public:
  enum class Side : uint8_t { kServer, kClient };  // which side we are

  // No options: whatever certificate a peer presents is taken, unjudged.
  static base::Result<std::unique_ptr<Validator>> make(Side side, const ValidationOptions* options,
                                                       bool auto_sni_san_validation);

  // SSL_VERIFY_* for BoringSSL: whether a certificate is asked for, and whether there has to be one.
  int verify_mode() const { return verify_mode_; }

  struct Verdict {
    bool accepted = true;
    bool validated = false;  // something was checked, and it was right
    int alert = 0;           // of a refusal
    std::string details;     // likewise
  };
  // chain: as the peer sent it, the leaf first. server_name: the SNI we sent. verify_name: a name that this one
  // connection asks for besides all rules; empty: none. Counts a refusal.
  Verdict judge(std::span<CRYPTO_BUFFER* const> chain, std::string_view server_name, std::string_view verify_name,
                stats::StatShard& stats) const;

  // Subjects of the trusted authorities in DER: what a server tells clients that it takes.
  const std::vector<std::string>& authority_names() const { return authority_names_; }
  // Everything that makes another verdict possible: sessions are resumed under the same digest only.
  const std::string& digest() const { return digest_; }
  // A peer that was let in had a certificate that passed a check.
  bool vouches() const { return vouches_; }
  X509* first_authority() const { return first_authority_.get(); }
  const std::string& authority_file() const { return authority_file_; }
  const std::string& authority_stat_name() const { return authority_stat_name_; }

 private:
  Validator() = default;
  base::Result<void> load_trust(const ValidationOptions& options);
  base::Result<void> add_authorities(const Source& source);
  base::Result<void> add_system_roots();
  base::Result<void> add_crls(const Source& source, bool leaf_only);
  base::Result<void> compile(const ValidationOptions& options);
  void add_authority(X509* certificate);
  bool verify_chain(std::span<const bssl::UniquePtr<X509>> chain, Verdict& verdict) const;
  bool check_names(const X509* leaf, std::string_view server_name, std::string_view verify_name,
                   Verdict& verdict) const;
  bool check_pins(CRYPTO_BUFFER* der, X509* leaf) const;

  Side side_ = Side::kServer;
  int verify_mode_ = 0;
  bool auto_sni_san_validation_ = false;
  bool allow_expired_ = false;
  bool accept_untrusted_ = false;
  bool vouches_ = false;
  int depth_max_ = -1;
  bssl::UniquePtr<X509_STORE> trust_;  // null: the chain is not verified
  bssl::UniquePtr<X509> first_authority_;
  std::string authority_file_, authority_stat_name_;
  std::vector<std::string> authority_names_;
  std::vector<SanMatcher> san_matchers_;
  std::vector<std::string> certificate_hashes_, spki_hashes_;  // 32 bytes each
  std::string digest_;
};

}  // namespace millrace::tls
