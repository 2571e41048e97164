// A transport address: IPv4, IPv6 or a unix socket path ('@' first: abstract namespace). Value type, any thread. Text
// forms are Envoy's: "1.2.3.4:80", "[::1]:80", "/run/x.sock".
#pragma once
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::net {

class Address {
 public:
  enum class Kind : uint8_t { kNone, kIpv4, kIpv6, kPipe };

  Address() = default;
  static base::Result<Address> parse_ip(std::string_view ip, uint16_t port);
  // "1.2.3.4:80", "[::1]:80".
  static base::Result<Address> parse_ip_port(std::string_view text);
  static base::Result<Address> pipe(std::string_view path);
  static Address from_sockaddr(const sockaddr* address, socklen_t length);

  Kind kind() const { return kind_; }
  bool empty() const { return kind_ == Kind::kNone; }
  bool is_ip() const { return kind_ == Kind::kIpv4 || kind_ == Kind::kIpv6; }
  int family() const;
  uint16_t port() const { return port_; }
  void set_port(uint16_t port) { port_ = port; }
  // Network order; 4 bytes used for IPv4.
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

  std::string to_string() const;
  std::string ip_string() const;  // without the port; the path for a pipe
  bool is_loopback() const;
  bool is_any() const;
  // RFC 1918, RFC 4193 and loopback: what Envoy calls internal by default.
  bool is_private() const;

  // Fills storage, returns the length.
  socklen_t to_sockaddr(sockaddr_storage& storage) const;
  bool operator==(const Address& other) const = default;
  size_t hash() const;

 private:
  Kind kind_ = Kind::kNone;
  uint16_t port_ = 0;
  uint32_t scope_ = 0;
  std::array<uint8_t, 16> bytes_{};
  std::string path_;
};

struct AddressHash {
  size_t operator()(const Address& address) const { return address.hash(); }
};

// An address range, "10.0.0.0/8".
struct Cidr {
  Address prefix;
  uint32_t length = 0;  // bits
  bool contains(const Address& address) const;
};

}  // namespace millrace::net
