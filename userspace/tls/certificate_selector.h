// Which of a server's certificates a client gets: by its SNI (exact names before wildcards), then by the kinds of key
// it takes, ECDSA before RSA, as Envoy's default selector does; and whether an OCSP response goes with it. Immutable
// once made, all workers. RFC 6066 (3, 8), RFC 8446 (4.2.3).
#pragma once
#include <openssl/base.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "tls/certificate.h"
#include "tls/options.h"

namespace millrace::tls {

class CertificateSelector {
 public:
  struct Client {
    std::string_view server_name;
    std::vector<int> curves;  // of ECDSA keys it takes (NIDs); empty: it takes none
    bool wants_staple = false;
  };
  enum class Staple : uint8_t { kNotAsked, kSend, kOmit, kRefuse };
  struct Choice {
    size_t certificate;
    Staple staple;
  };

  CertificateSelector() = default;
  // An error when a staple is required that is not there. The certificates have to outlive it.
  static base::Result<CertificateSelector> make(const std::vector<Certificate>& certificates,
                                                const ServerOptions& options);

  static Client read_client(const SSL_CLIENT_HELLO* hello, bool may_speak_tls13);
  Choice choose(const Client& client, base::SystemTime now) const;

 private:
  struct Search;
  Staple staple_for(const Certificate& certificate, const Client& client, base::SystemTime now) const;
  void add_name(const std::string& name, size_t certificate);
  void look_up(std::string_view name, Search& search) const;

  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  // ".example.com" stands for "*.example.com".
  std::unordered_map<std::string, std::vector<size_t>, StringHash, std::equal_to<>> by_name_;
  const std::vector<Certificate>* certificates_ = nullptr;
  OcspStaplePolicy policy_ = OcspStaplePolicy::kLenient;
  bool full_scan_on_mismatch_ = false;
};

}  // namespace millrace::tls
