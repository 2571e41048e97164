#include "net/proxy_header.h"

#include <algorithm>

namespace millrace::net {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kUnixPathBytes = 108;

std::string v1(const Address& source, const Address& destination) {
  const char* family = source.kind() == Address::Kind::kIpv4 ? "TCP4 " : "TCP6 ";
  return "PROXY " + std::string(family) + source.ip_string() + " " + destination.ip_string() + " " +
         std::to_string(source.port()) + " " + std::to_string(destination.port()) + "\r\n";
}

void append_port(std::string& out, uint16_t port) {
  out += static_cast<char>(port >> 8);
  out += static_cast<char>(port);
}

void append_ip(std::string& out, const Address& address) {
  const size_t n = address.kind() == Address::Kind::kIpv4 ? 4 : 16;
  out.append(reinterpret_cast<const char*>(address.bytes().data()), n);
}

void append_path(std::string& out, const Address& address) {
  std::string path = address.path().substr(0, kUnixPathBytes);
  if (path.starts_with('@')) path[0] = '\0';  // abstract
  path.resize(kUnixPathBytes);
  out += path;
}

std::string v2(const Address* source, const Address* destination) {
  std::string out(kSignature);
  out += source == nullptr ? '\x20' : '\x21';  // LOCAL, PROXY
  std::string addresses;
  char family = 0;
  if (source != nullptr && source->is_ip()) {
    family = source->kind() == Address::Kind::kIpv4 ? 0x11 : 0x21;
    append_ip(addresses, *source);
    append_ip(addresses, *destination);
    append_port(addresses, source->port());
    append_port(addresses, destination->port());
  } else if (source != nullptr) {
    family = 0x31;
    append_path(addresses, *source);
    append_path(addresses, *destination);
  }
  out += family;
  append_port(out, static_cast<uint16_t>(addresses.size()));
  return out + addresses;
}

}  // namespace

std::string proxy_header(ProxyVersion version, const Address* source, const Address* destination) {
  const bool known = source != nullptr && destination != nullptr && source->kind() == destination->kind() &&
                     source->kind() != Address::Kind::kNone;
  if (version == ProxyVersion::kV2) return v2(known ? source : nullptr, destination);
  return known && source->is_ip() ? v1(*source, *destination) : "PROXY UNKNOWN\r\n";
}

}  // namespace millrace::net
