// Hexadecimal digits, as they stand in percent escapes and in digests that people write.
#pragma once

namespace millrace::base {

// The value of a digit, of either case; -1: it is none.
constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace millrace::base
