// BoringSSL's error queue, which is per thread, as text. Whatever leaves this room has emptied it.
#pragma once
#include <openssl/base.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace millrace::tls {

// What the queue said last, for configuration errors: "KEY_VALUES_MISMATCH"; "unknown" for an empty one.
std::string last_crypto_error();
// A configuration error.
base::Error invalid(std::string what);

// The whole queue in the form of Envoy's transport failure reasons: "TLS_error:|<code>:<library>:OPENSSL_internal:
// <REASON>...:TLS_error_end"; `details` says why a certificate was refused. Empty for an empty queue.
struct QueuedErrors {
  std::string text;
  bool peer_sent_no_certificate = false;
  bool certificate_refused = false;
  bool system = false;
};
QueuedErrors drain_errors(std::string_view details);

}  // namespace millrace::tls
