// JA3 and JA4 of a ClientHello.
#include <openssl/md5.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "tls/client_hello.h"
#include "tls/encoding.h"

namespace millrace::tls {
namespace {

// RFC 8701: values that are there to be ignored.
bool is_grease(uint16_t value) { return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff); }

template <class Number>
void append_decimal(std::string& out, const std::vector<Number>& numbers) {
  const size_t start = out.size();
  for (const Number number : numbers) {
    if (is_grease(number)) continue;
    if (out.size() != start) out += '-';
    out += std::to_string(number);
  }
}

std::string hex4(uint16_t value) {
  const uint8_t bytes[] = {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  return hex(bytes);
}

std::string joined_hex(const std::vector<uint16_t>& values) {
  std::string out;
  for (const uint16_t value : values) {
    if (!out.empty()) out += ',';
    out += hex4(value);
  }
  return out;
}

std::vector<uint16_t> without_grease(const std::vector<uint16_t>& values) {
  std::vector<uint16_t> out;
  for (const uint16_t value : values) {
    if (!is_grease(value)) out.push_back(value);
  }
  return out;
}

// The first twelve digits of SHA-256; zeros for nothing.
std::string short_digest(const std::string& text) {
  if (text.empty()) return "000000000000";
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest);
  return hex(std::span(digest).first(6));
}

std::string two_digits(size_t count) {
  count = std::min<size_t>(count, 99);
  return {static_cast<char>('0' + count / 10), static_cast<char>('0' + count % 10)};
}

std::string_view version_digits(const ClientHello& hello) {
  uint16_t version = hello.legacy_version;
  const std::vector<uint16_t> offered = without_grease(hello.supported_versions);
  if (!offered.empty()) version = *std::max_element(offered.begin(), offered.end());
  switch (version) {
    case 0x0304: return "13";
    case 0x0303: return "12";
    case 0x0302: return "11";
    case 0x0301: return "10";
    case 0x0300: return "s3";
    default: return "00";
  }
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string alpn_digits(const ClientHello& hello) {
  if (hello.alpn.empty()) return "00";
  const std::string& first = hello.alpn.front();
  if (is_alphanumeric(first.front()) && is_alphanumeric(first.back())) return {first.front(), first.back()};
  const std::string digits = hex({reinterpret_cast<const uint8_t*>(first.data()), first.size()});
  return {digits.front(), digits.back()};
}

}  // namespace

std::string ja3_text(const ClientHello& hello) {
  std::string out = std::to_string(hello.legacy_version);
  out += ',';
  append_decimal(out, hello.ciphers);
  out += ',';
  append_decimal(out, hello.extensions);
  out += ',';
  append_decimal(out, hello.groups);
  out += ',';
  append_decimal(out, hello.point_formats);
  return out;
}

std::string ja3(const ClientHello& hello) {
  const std::string text = ja3_text(hello);
  uint8_t digest[MD5_DIGEST_LENGTH];
  MD5(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest);
  return hex(digest);
}

std::string ja4(const ClientHello& hello) {
  std::vector<uint16_t> ciphers = without_grease(hello.ciphers);
  std::vector<uint16_t> extensions = without_grease(hello.extensions);
  std::string out = "t";
  out += version_digits(hello);
  out += hello.has_server_name ? 'd' : 'i';
  out += two_digits(ciphers.size());
  out += two_digits(extensions.size());
  out += alpn_digits(hello);
  std::sort(ciphers.begin(), ciphers.end());
  out += '_';
  out += short_digest(joined_hex(ciphers));
  constexpr uint16_t kServerName = 0, kAlpn = 16;  // already told by their own letters
  std::erase_if(extensions, [](uint16_t type) { return type == kServerName || type == kAlpn; });
  std::sort(extensions.begin(), extensions.end());
  std::string rest = joined_hex(extensions);
  const std::vector<uint16_t> algorithms = without_grease(hello.signature_algorithms);
  if (!algorithms.empty()) rest += '_' + joined_hex(algorithms);
  out += '_';
  out += short_digest(rest);
  return out;
}

}  // namespace millrace::tls
