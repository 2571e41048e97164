// The listener filter tls_inspector: whether a client speaks TLS, and what its ClientHello names (server name,
// protocols, fingerprints), for the choice of the filter chain and for logs. Looks at each byte once, takes none.
#pragma once
#include "filter/listener_filter.h"
#include "stats/stats.h"

namespace millrace::filter {

struct TlsInspectorOptions {
  bool ja3 = false, ja4 = false;
  bool close_on_parsing_errors = false;  // of what begins as TLS and is no ClientHello; else it is taken for plain text
  uint32_t client_hello_bytes_max = 16384;
  stats::StatBlockPtr stats;  // tls_inspector.
};

class TlsInspector final : public ListenerFilter {
 public:
  explicit TlsInspector(TlsInspectorOptions options) : options_(std::move(options)) {}
  ListenerFilterStatus inspect(AcceptedConnection& accepted) const override;
  std::string_view type_name() const override { return "envoy.filters.listener.tls_inspector"; }

 private:
  const TlsInspectorOptions options_;
};

}  // namespace millrace::filter
