#include "tls/client_sessions.h"

#include <openssl/ssl.h>

namespace millrace::tls {

void ClientSessions::add(std::string_view server_name, bssl::UniquePtr<SSL_SESSION> session) {
  Entry entry{std::string(server_name), std::move(session)};
  const std::lock_guard lock(mutex_);
  while (entries_.size() >= limit_) entries_.pop_back();
  entries_.push_front(std::move(entry));
}

bssl::UniquePtr<SSL_SESSION> ClientSessions::take(std::string_view server_name) {
  const std::lock_guard lock(mutex_);
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->server_name != server_name) continue;
    if (!SSL_SESSION_should_be_single_use(entry->session.get())) return bssl::UpRef(entry->session);
    bssl::UniquePtr<SSL_SESSION> session = std::move(entry->session);
    entries_.erase(entry);
    return session;
  }
  return nullptr;
}

}  // namespace millrace::tls
