// Compiled conditions on the subject alternative names of a peer's certificate. Immutable, any thread. Names and their
// wildcards compare as in Envoy: RFC 6125 (6.4.3), one wildcard, in the leftmost label only.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tls/options.h"
#include "tls/x509.h"

namespace re2 {
class RE2;
}

namespace millrace::tls {

class SanMatcher {
 public:
  static base::Result<SanMatcher> compile(const SanMatch& options);
  // The certificate has to name this host.
  static SanMatcher exact_dns(std::string_view host);
  bool matches(const GeneralName& name) const;

 private:
  struct Delete {
    void operator()(const re2::RE2* regex) const;
  };
  SanMatcher() = default;
  bool matches_text(std::string_view text) const;

  SanMatch match_;  // the value in lower case with ignore_case
  std::unique_ptr<const re2::RE2, Delete> regex_;
};

bool any_matches(std::span<const SanMatcher> matchers, std::span<const GeneralName> names);
// Whether a certificate's DNS name, which may begin with a wildcard label, stands for host; case does not count.
bool dns_name_matches(std::string_view host, std::string_view pattern);

}  // namespace millrace::tls
