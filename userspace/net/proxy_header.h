// The header of the PROXY protocol, versions 1 and 2, as a proxy writes it in front of a connection:
// haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 and 2.2.
#pragma once
#include <cstdint>
#include <string>

#include "net/address.h"

namespace millrace::net {

enum class ProxyVersion : uint8_t { kV1, kV2 };

// source and destination: of the connection that is proxied; null, or of different families: the header says that the
// proxy does not know them (v1), or speaks for itself (v2).
std::string proxy_header(ProxyVersion version, const Address* source, const Address* destination);

}  // namespace millrace::net
