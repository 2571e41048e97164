// Between net::Address and the one form that addresses have in maps (include/fp_types.h). Any thread.
#pragma once
#include <arpa/inet.h>

#include <cstdint>
#include <cstring>

#include "fp_types.h"
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

// Bits of a prefix in the one form.
inline uint32_t wire_prefix(const net::Cidr& cidr) {
  return cidr.length + (cidr.prefix.kind() == net::Address::Kind::kIpv4 ? 96 : 0);
}

}  // namespace millrace::fastpath
