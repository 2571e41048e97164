#include "tls/key_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace millrace::tls {
namespace {

bool is_in(const std::vector<net::Cidr>& ranges, const net::Address* address) {
  if (ranges.empty()) return true;
  if (address == nullptr) return false;
  for (const net::Cidr& range : ranges) {
    if (range.contains(*address)) return true;
  }
  return false;
}

}  // namespace

KeyLog::KeyLog(KeyLog&& other) noexcept {
  *this = std::move(other);
}

KeyLog& KeyLog::operator=(KeyLog&& other) noexcept {
  std::swap(fd_, other.fd_);
  local_ranges_ = std::move(other.local_ranges_);
  remote_ranges_ = std::move(other.remote_ranges_);
  return *this;
}

KeyLog::~KeyLog() {
  if (fd_ >= 0) ::close(fd_);
}

base::Result<KeyLog> KeyLog::open(const KeyLogOptions& options) {
  KeyLog log;
  if (options.path.empty()) return log;
  log.fd_ = ::open(options.path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (log.fd_ < 0) return base::Error::from_errno(errno, "key log " + options.path);
  log.local_ranges_ = options.local_ranges;
  log.remote_ranges_ = options.remote_ranges;
  return log;
}

bool KeyLog::wants(const net::Address* local, const net::Address* remote) const {
  return enabled() && is_in(local_ranges_, local) && is_in(remote_ranges_, remote);
}

void KeyLog::write(std::string_view line) const {
  std::string text(line);
  text += '\n';
  // A log that cannot be written is no reason to refuse a client.
  [[maybe_unused]] const ssize_t written = ::write(fd_, text.data(), text.size());
}

}  // namespace millrace::tls
