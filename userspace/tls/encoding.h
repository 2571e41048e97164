// Text forms of bytes that certificates and fingerprints are shown in. Pure functions, any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace millrace::tls {

std::string hex(std::span<const uint8_t> bytes);  // lower case
// Nothing when it is not hex (either case), or not base64 (RFC 4648, padded).
std::optional<std::string> from_hex(std::string_view text);
std::optional<std::string> from_base64(std::string_view text);

}  // namespace millrace::tls
