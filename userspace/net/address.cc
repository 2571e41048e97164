#include "net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>

namespace millrace::net {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

Result<Address> Address::parse_ip(std::string_view ip, uint16_t port) {
  Address out;
  out.port_ = port;
  char text[INET6_ADDRSTRLEN + 1];
  if (ip.size() < sizeof text) {
    std::memcpy(text, ip.data(), ip.size());
    text[ip.size()] = '\0';
    if (inet_pton(AF_INET, text, out.bytes_.data()) == 1) {
      out.kind_ = Kind::kIpv4;
      return out;
    }
    if (inet_pton(AF_INET6, text, out.bytes_.data()) == 1) {
      out.kind_ = Kind::kIpv6;
      return out;
    }
  }
  return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
               fmt::format("'{}' is not an IPv4 or IPv6 address", ip)};
}

Result<Address> Address::parse_ip_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string_view ip = text.substr(0, colon);
  uint16_t port = 0;
  bool valid = colon != std::string_view::npos;
  if (valid) {
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, port);
    valid = error == std::errc() && rest == end;
  }
  const bool brackets = ip.starts_with('[') && ip.ends_with(']');
  if (brackets) ip = ip.substr(1, ip.size() - 2);
  if (valid) {
    Result<Address> found = parse_ip(ip, port);
    if (found.ok() && brackets == (found->kind() == Kind::kIpv6)) return found;
  }
  return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
               fmt::format("'{}' is not an IP address with a port", text)};
}

Result<Address> Address::pipe(std::string_view path) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
                 fmt::format("unix socket path '{}' must have 1 to {} bytes", path, sizeof(sockaddr_un::sun_path) - 1)};
  }
  Address out;
  out.kind_ = Kind::kPipe;
  out.path_ = path;
  return out;
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t length) {
  Address out;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    out.kind_ = Kind::kIpv4;
    out.port_ = ntohs(in.sin_port);
    std::memcpy(out.bytes_.data(), &in.sin_addr, 4);
  } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in;
    std::memcpy(&in, address, sizeof in);
    out.port_ = ntohs(in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      out.kind_ = Kind::kIpv4;
      std::memcpy(out.bytes_.data(), in.sin6_addr.s6_addr + 12, 4);
    } else {
      out.kind_ = Kind::kIpv6;
      out.scope_ = in.sin6_scope_id;
      std::memcpy(out.bytes_.data(), &in.sin6_addr, 16);
    }
  } else if (address->sa_family == AF_UNIX) {
    out.kind_ = Kind::kPipe;
    const auto* un = reinterpret_cast<const sockaddr_un*>(address);
    const size_t n = length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
    if (n > 0 && un->sun_path[0] == '\0') {
      out.path_ = "@" + std::string(un->sun_path + 1, n - 1);
    } else {
      out.path_.assign(un->sun_path, strnlen(un->sun_path, n));
    }
  }
  return out;
}

int Address::family() const {
  switch (kind_) {
    case Kind::kIpv4: return AF_INET;
    case Kind::kIpv6: return AF_INET6;
    case Kind::kPipe: return AF_UNIX;
    case Kind::kNone: break;
  }
  return AF_UNSPEC;
}

std::string Address::ip_string() const {
  if (kind_ == Kind::kPipe) return path_;
  if (kind_ == Kind::kNone) return {};
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family(), bytes_.data(), text, sizeof text);
  return text;
}

std::string Address::to_string() const {
  if (kind_ == Kind::kIpv4) return fmt::format("{}:{}", ip_string(), port_);
  if (kind_ == Kind::kIpv6) return fmt::format("[{}]:{}", ip_string(), port_);
  return path_;
}

bool Address::is_loopback() const {
  if (kind_ == Kind::kIpv4) return bytes_[0] == 127;
  if (kind_ != Kind::kIpv6) return false;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) && bytes_[15] == 1;
}

bool Address::is_any() const {
  if (!is_ip()) return false;
  const size_t n = kind_ == Kind::kIpv4 ? 4 : 16;
  return std::all_of(bytes_.begin(), bytes_.begin() + n, [](uint8_t b) { return b == 0; });
}

bool Address::is_private() const {
  if (kind_ == Kind::kPipe || is_loopback()) return true;
  if (kind_ == Kind::kIpv4) {
    return bytes_[0] == 10 || (bytes_[0] == 172 && (bytes_[1] & 0xf0) == 16) || (bytes_[0] == 192 && bytes_[1] == 168);
  }
  return kind_ == Kind::kIpv6 && (bytes_[0] & 0xfe) == 0xfc;
}

size_t Address::hash() const {
  if (kind_ == Kind::kPipe) return std::hash<std::string>{}(path_);
  // FNV-1a over two words of address, the port and the family.
  uint64_t words[3];
  std::memcpy(words, bytes_.data(), 16);
  words[2] = static_cast<uint64_t>(kind_) << 48 | uint64_t{port_} << 32 | scope_;
  uint64_t h = 14695981039346656037u;
  for (const uint64_t word : words) h = (h ^ word) * 1099511628211u, h ^= h >> 29;
  return h;
}

socklen_t Address::to_sockaddr(sockaddr_storage& storage) const {
  std::memset(&storage, 0, sizeof storage);
  switch (kind_) {
    case Kind::kIpv4: {
      auto* in = reinterpret_cast<sockaddr_in*>(&storage);
      in->sin_family = AF_INET;
      in->sin_port = htons(port_);
      std::memcpy(&in->sin_addr, bytes_.data(), 4);
      return sizeof *in;
    }
    case Kind::kIpv6: {
      auto* in = reinterpret_cast<sockaddr_in6*>(&storage);
      in->sin6_family = AF_INET6;
      in->sin6_port = htons(port_);
      in->sin6_scope_id = scope_;
      std::memcpy(&in->sin6_addr, bytes_.data(), 16);
      return sizeof *in;
    }
    case Kind::kPipe: {
      auto* un = reinterpret_cast<sockaddr_un*>(&storage);
      un->sun_family = AF_UNIX;
      std::memcpy(un->sun_path, path_.data(), path_.size());
      if (path_[0] == '@') {
        un->sun_path[0] = '\0';
        return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
      }
      return sizeof *un;
    }
    case Kind::kNone: break;
  }
  return 0;
}

bool Cidr::contains(const Address& address) const {
  if (address.kind() != prefix.kind() || !address.is_ip()) return false;
  const uint32_t bits = std::min<uint32_t>(length, address.kind() == Address::Kind::kIpv4 ? 32 : 128);
  const uint32_t whole = bits / 8;
  if (!std::equal(prefix.bytes().begin(), prefix.bytes().begin() + whole, address.bytes().begin())) return false;
  if (bits % 8 == 0) return true;
  const uint8_t mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return (prefix.bytes()[whole] & mask) == (address.bytes()[whole] & mask);
}

}  // namespace millrace::net
