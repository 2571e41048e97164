// Character classes of RFC 9110 and RFC 3986 as one table of bits, built at compile time, for the parsers of this room.
// Pure functions, any thread.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace millrace::http::chars {

enum Class : uint8_t {
  kToken = 1,        // RFC 9110 section 5.6.2 tchar
  kFieldValue = 2,   // VCHAR, obs-text, SP, HTAB
  kTarget = 4,       // what a request target may hold: VCHAR without '#', and obs-text (browsers send raw UTF-8)
  kDigit = 8,
  kHex = 16,
  kUnreserved = 32,  // RFC 3986 section 2.3
  kHost = 64,        // RFC 3986 section 3.2.2 reg-name, colon, percent
  kUpper = 128,
};

namespace detail {
constexpr bool in(std::string_view set, unsigned c) {
  for (char member : set) {
    if (static_cast<unsigned char>(member) == c) return true;
  }
  return false;
}
constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
    const bool alnum = digit || upper || lower;
    unsigned bits = 0;
    if (alnum || in("!#$%&'*+-.^_`|~", c)) bits |= kToken;
    if ((c >= 0x20 && c != 0x7f) || c == '\t') bits |= kFieldValue;
    if (c > 0x20 && c != 0x7f && c != '#') bits |= kTarget;
    if (digit) bits |= kDigit;
    if (digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) bits |= kHex;
    if (alnum || in("-._~", c)) bits |= kUnreserved;
    if (alnum || in("-._~!$&'()*+,;=:%", c)) bits |= kHost;
    if (upper) bits |= kUpper;
    table[c] = static_cast<uint8_t>(bits);
  }
  return table;
}
constexpr std::array<char, 256> make_token_lower(const std::array<uint8_t, 256>& classes) {
  std::array<char, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    if ((classes[c] & kToken) != 0) table[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  return table;
}
constexpr std::array<char, 256> make_lower() {
  std::array<char, 256> table{};
  for (unsigned c = 0; c < 256; ++c) table[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return table;
}
}  // namespace detail

inline constexpr std::array<uint8_t, 256> kClasses = detail::make_classes();
inline constexpr std::array<char, 256> kLower = detail::make_lower();
// Lower case of a token character, 0 for any other.
inline constexpr std::array<char, 256> kTokenLower = detail::make_token_lower(kClasses);

constexpr bool is(char c, Class wanted) { return (kClasses[static_cast<unsigned char>(c)] & wanted) != 0; }
constexpr char lower(char c) { return kLower[static_cast<unsigned char>(c)]; }
constexpr bool all(std::string_view bytes, Class wanted) {
  uint8_t seen = wanted;
  for (char c : bytes) seen &= kClasses[static_cast<unsigned char>(c)];
  return (seen & wanted) != 0;
}
// The value of a hexadecimal digit, which c must be.
constexpr unsigned hex_value(char c) {
  return c <= '9' ? static_cast<unsigned>(c - '0') : static_cast<unsigned>((c | 0x20) - 'a' + 10);
}
constexpr std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

}  // namespace millrace::http::chars
