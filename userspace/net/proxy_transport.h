// A client's transport that begins with a PROXY header (net/proxy_header.h), which names the connection that is
// proxied, and goes on with another transport or plain bytes.
#pragma once
#include <memory>
#include <string>

#include "net/proxy_header.h"
#include "net/transport.h"

namespace millrace::net {

class ProxyTransportFactory final : public TransportFactory {
 public:
  // inner: null for plain bytes.
  ProxyTransportFactory(ProxyVersion version, std::shared_ptr<const TransportFactory> inner)
      : version_(version), inner_(std::move(inner)) {}
  std::unique_ptr<Transport> create(const Ask& ask) const override;
  bool tells_source() const override { return true; }

 private:
  const ProxyVersion version_;
  const std::shared_ptr<const TransportFactory> inner_;
};

}  // namespace millrace::net
