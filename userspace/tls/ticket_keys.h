// The keys of session tickets that are configured, for several proxies to resume each other's sessions. The first
// encrypts, all decrypt; rotation is a new Context. Immutable, all workers. RFC 5077 (4): AES-256-CBC and HMAC-SHA256.
#pragma once
#include <openssl/base.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "tls/options.h"

namespace millrace::tls {

class TicketKeys {
 public:
  TicketKeys() = default;
  TicketKeys(TicketKeys&&) = default;
  TicketKeys& operator=(TicketKeys&&) = default;
  ~TicketKeys();  // wipes them
  // Each of 80 bytes: name (16), HMAC key (32), AES key (32).
  static base::Result<TicketKeys> make(const std::vector<Source>& sources);
  bool empty() const { return keys_.empty(); }

  // BoringSSL's ticket callback: 1 done, 2 done and the ticket to be renewed, 0 unknown key, -1 failed.
  int prepare(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac, bool encrypt) const;

 private:
  struct Key {
    std::array<uint8_t, 16> name;
    std::array<uint8_t, 32> mac;
    std::array<uint8_t, 32> aes;
  };
  std::vector<Key> keys_;
};

}  // namespace millrace::tls
