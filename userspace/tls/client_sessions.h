// The sessions a client context keeps to resume: the newest few, each for the server name it was made under. Workers
// share them, under a lock that is taken at the start and the end of a handshake only. A session of TLS 1.3 is used
// once (RFC 8446, C.4).
#pragma once
#include <openssl/base.h>

#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace millrace::tls {

class ClientSessions {
 public:
  void set_limit(size_t sessions_max) { limit_ = sessions_max; }
  bool enabled() const { return limit_ > 0; }
  void add(std::string_view server_name, bssl::UniquePtr<SSL_SESSION> session);
  bssl::UniquePtr<SSL_SESSION> take(std::string_view server_name);  // null: none

 private:
  struct Entry {
    std::string server_name;
    bssl::UniquePtr<SSL_SESSION> session;
  };
  size_t limit_ = 0;
  std::mutex mutex_;
  std::deque<Entry> entries_;  // the newest first
};

}  // namespace millrace::tls
