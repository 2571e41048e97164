// The whole Envoy v3 API as one serialized google.protobuf.FileDescriptorSet, embedded in the
// program at build time: every type of the pinned API with the overlay merged in, imports before
// importers. Read-only memory, any thread.
#pragma once

#include <string_view>

namespace millrace::config {

[[nodiscard]] std::string_view api_descriptor_set();

}  // namespace millrace::config
