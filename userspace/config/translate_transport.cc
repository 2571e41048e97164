#include "config/translator.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"

namespace millrace::config {

void Translator::plain_transport(const core_v3::TransportSocket& from, Path path) {
  if (from.typed_config().Is<envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer>()) return;
  if (!from.has_typed_config() && from.name() == "envoy.transport_sockets.raw_buffer") return;
  if (!from.has_typed_config()) {
    error(path, fmt::format("transport socket '{}' has no typed_config", from.name()),
          "name it by its @type; only raw_buffer is supported yet");
  }
}

}  // namespace millrace::config
