// Writes ClientHello messages byte by byte, well-formed or not, for tests of their reader.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tls {

inline std::string number(uint32_t value, size_t bytes) {
  std::string out;
  while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes));
  return out;
}
inline std::string with_length(std::string_view body, size_t length_bytes) {
  return number(static_cast<uint32_t>(body.size()), length_bytes) + std::string(body);
}
inline std::string numbers(std::initializer_list<uint16_t> values) {
  std::string out;
  for (const uint16_t value : values) out += number(value, 2);
  return out;
}
inline std::string extension(uint16_t type, std::string_view body) { return number(type, 2) + with_length(body, 2); }
inline std::string server_name(std::string_view name) {
  return extension(0, with_length(std::string(1, '\0') + with_length(name, 2), 2));
}
inline std::string alpn(std::initializer_list<std::string_view> names) {
  std::string list;
  for (const std::string_view name : names) list += with_length(name, 1);
  return extension(16, with_length(list, 2));
}
inline std::string hello_message(std::string_view ciphers, std::string_view extensions, uint16_t version = 0x0303) {
  std::string body = number(version, 2) + std::string(32, 'r') + with_length("", 1) + with_length(ciphers, 2) +
                     with_length(std::string(1, '\0'), 1);
  if (!extensions.empty()) body += with_length(extensions, 2);
  return number(1, 1) + with_length(body, 3);
}
// The message in records of at most record_bytes.
inline std::string in_records(std::string_view message, size_t record_bytes = 16384) {
  std::string out;
  while (!message.empty()) {
    const std::string_view part = message.substr(0, record_bytes);
    out += number(22, 1) + number(0x0301, 2) + with_length(part, 2);
    message.remove_prefix(part.size());
  }
  return out;
}

}  // namespace millrace::tls
