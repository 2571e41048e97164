// What a request asks of its connection besides a host, where connections are made for it: the server name that the
// handshake sends and the name it looks for in the certificate (auto_sni, auto_san_validation), and whose bytes a PROXY
// header says they are. Requests share connections of the same identity only. Plain values, one worker.
#pragma once
#include <string>
#include <string_view>

#include "net/address.h"

namespace millrace::upstream {

struct ConnectionIdentity {
  std::string server_name;           // beats the configured SNI; empty: does not
  std::string verify_name;           // the certificate has to name it; empty: any that is valid
  net::Address source, destination;  // of the connection that is proxied; empty: nobody tells

  bool operator==(const ConnectionIdentity&) const = default;
  size_t hash() const {
    const auto mix = [](size_t a, size_t b) { return (a ^ b) * 0x9e3779b97f4a7c15ULL; };
    size_t h = std::hash<std::string_view>()(server_name);
    h = mix(h, std::hash<std::string_view>()(verify_name));
    h = mix(h, source.hash());
    return mix(h, destination.hash());
  }
};

}  // namespace millrace::upstream
