// Between net::Address and the one form that addresses have in maps (include/fp_types.h). Any thread.
#pragma once
#include <arpa/inet.h>

#include <cstdint>
#include <cstring>

#include "fp_steering.h"
#include "net/address.h"

namespace millrace::fastpath {

inline fp_addr wire_addr(const net::Address& address) {
  fp_addr out{};
  auto* bytes = reinterpret_cast<uint8_t*>(out.w);
  if (address.kind() == net::Address::Kind::kIpv4) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes + 12, address.bytes().data(), 4);
  } else {
    std::memcpy(bytes, address.bytes().data(), 16);
  }
  return out;
}

inline fp_endpoint_addr wire_endpoint(const net::Address& address, uint8_t proto) {
  return {wire_addr(address), htons(address.port()), proto, 0};
}

inline net::Address unwired(const fp_endpoint_addr& endpoint) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = endpoint.port;
  std::memcpy(&in6.sin6_addr, endpoint.addr.w, 16);
  return net::Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&in6), sizeof in6);
}

// Key of a trie of address ranges; `proto` for those that tell protocols apart.
inline fp_prefix wire_prefix(const net::Cidr& cidr, uint32_t proto = 0) {
  const bool v4 = cidr.prefix.kind() == net::Address::Kind::kIpv4;
  return {32 + cidr.length + (v4 ? 96 : 0), proto + (v4 ? FP_KIND_V4 : 0), wire_addr(cidr.prefix)};
}

}  // namespace millrace::fastpath
