#include "tls/ticket_keys.h"

#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "tls/errors.h"

namespace millrace::tls {

TicketKeys::~TicketKeys() {
  if (!keys_.empty()) OPENSSL_cleanse(keys_.data(), keys_.size() * sizeof(Key));
}

base::Result<TicketKeys> TicketKeys::make(const std::vector<Source>& sources) {
  static_assert(sizeof(Key) == 80);
  TicketKeys out;
  for (const Source& source : sources) {
    if (source.bytes.size() != sizeof(Key)) {
      return invalid("session ticket key " + source.name() + " has " + std::to_string(source.bytes.size()) +
                     " bytes; it has to be 80: make one with openssl rand 80");
    }
    std::memcpy(&out.keys_.emplace_back(), source.bytes.data(), sizeof(Key));
  }
  return out;
}

int TicketKeys::prepare(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac, bool encrypt) const {
  const auto set = [&](const Key& key) {
    return HMAC_Init_ex(mac, key.mac.data(), key.mac.size(), EVP_sha256(), nullptr) &&
           (encrypt ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.aes.data(), iv)
                    : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.aes.data(), iv));
  };
  if (encrypt) {
    const Key& key = keys_.front();
    std::copy(key.name.begin(), key.name.end(), name);
    RAND_bytes(iv, EVP_CIPHER_iv_length(EVP_aes_256_cbc()));
    return set(key) ? 1 : -1;
  }
  for (const Key& key : keys_) {
    if (std::memcmp(key.name.data(), name, key.name.size()) != 0) continue;
    if (!set(key)) return -1;
    return &key == &keys_.front() ? 1 : 2;
  }
  return 0;
}

}  // namespace millrace::tls
