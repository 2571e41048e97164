// Small things every file of the room needs: ASCII case, whole numbers, configuration errors.
#pragma once
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace millrace::route {

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

inline std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = to_lower(c);
  return out;
}

// The number that the text is, all of it, without sign or space.
template <class T>
std::optional<T> parse_whole(std::string_view text) {
  T number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

inline base::Error invalid(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

}  // namespace millrace::route
