// An OCSP response that is stapled to a certificate: read as far as a server has to, the signature is the client's
// business. Immutable, any thread. RFC 6960 (4.2.1).
#pragma once
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace millrace::tls {

struct OcspResponse {
  std::string der;
  std::string serial;  // of the certificate it is about, lower-case hex
  base::SystemTime this_update{};
  std::optional<base::SystemTime> next_update;

  bool expired(base::SystemTime now) const { return next_update.has_value() && *next_update < now; }
};

// A successful basic response about exactly one certificate.
base::Result<OcspResponse> parse_ocsp_response(std::string der);

}  // namespace millrace::tls
