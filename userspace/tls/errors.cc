#include "tls/errors.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace millrace::tls {

std::string last_crypto_error() {
  const uint32_t error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  std::string out = reason == nullptr ? "unknown" : reason;
  ERR_clear_error();
  return out;
}

base::Error invalid(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

QueuedErrors drain_errors(std::string_view details) {
  QueuedErrors found;
  while (const uint32_t error = ERR_get_error()) {
    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
      if (ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) found.peer_sent_no_certificate = true;
      if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) found.certificate_refused = true;
    } else if (ERR_GET_LIB(error) == ERR_LIB_SYS) {
      found.system = true;
    }
    if (found.text.empty()) found.text = "TLS_error:";
    found.text += '|';
    found.text += std::to_string(error);
    for (const char* part :
         {ERR_lib_error_string(error), ERR_func_error_string(error), ERR_reason_error_string(error)}) {
      found.text += ':';
      if (part != nullptr) found.text += part;
    }
  }
  if (found.text.empty()) return found;
  if (found.certificate_refused && !details.empty()) {
    found.text += ':';
    found.text += details;
  } else if (found.peer_sent_no_certificate) {
    found.text += ":peer did not provide required client certificate";
  }
  found.text += ":TLS_error_end";
  return found;
}

}  // namespace millrace::tls
