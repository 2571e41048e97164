// The secrets of chosen connections, in the NSS key log format that Wireshark reads: for debugging, never on by itself.
// A line is one write to a file opened for appending, so workers need no lock.
#pragma once
#include <string_view>

#include "base/result.h"
#include "tls/options.h"

namespace millrace::tls {

class KeyLog {
 public:
  KeyLog() = default;
  KeyLog(KeyLog&& other) noexcept;
  KeyLog& operator=(KeyLog&& other) noexcept;
  ~KeyLog();
  static base::Result<KeyLog> open(const KeyLogOptions& options);

  bool enabled() const { return fd_ >= 0; }
  // Addresses may be null: unknown, and in no range.
  bool wants(const net::Address* local, const net::Address* remote) const;
  void write(std::string_view line) const;

 private:
  int fd_ = -1;
  std::vector<net::Cidr> local_ranges_, remote_ranges_;
};

}  // namespace millrace::tls
