#include "config/yaml_tree.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace millrace::config {

namespace {

// The three ways YAML 1.1 writes a word: lower, UPPER, Capitalised.
bool is_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  bool rest_upper = true;
  bool rest_lower = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = is_upper(text[i]) ? static_cast<char>(text[i] + 32) : text[i];
    if (c != lower[i]) return false;
    if (i == 0) continue;
    rest_upper = rest_upper && is_upper(text[i]);
    rest_lower = rest_lower && !is_upper(text[i]);
  }
  return is_upper(text[0]) ? rest_upper || rest_lower : rest_lower;
}

constexpr std::array<std::string_view, 4> kTrueWords{"y", "yes", "true", "on"};
constexpr std::array<std::string_view, 4> kFalseWords{"n", "no", "false", "off"};

template <class Words>
bool is_one_of(std::string_view text, const Words& words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return is_word(text, word); });
}

// An integer as C writes it (0x hexadecimal, 0 octal) that 32 bits hold.
bool is_small_integer(std::string_view text) {
  if (text.empty()) return false;
  const bool negative = text.front() == '-';
  if (negative || text.front() == '+') text.remove_prefix(1);
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() || text.front() == '-')
    return false;
  if (negative) value = -value;
  return value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max();
}

// The length of the UTF-8 sequence at the front, 0 when it is not one (RFC 3629: no surrogates, nothing
// overlong).
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](size_t i) { return (at(i) & 0xc0u) == 0x80u; };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (first == 0xe0 && at(1) < 0xa0) return 0;
    return first == 0xed && at(1) > 0x9f ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (first == 0xf0 && at(1) < 0x90) return 0;
    return first == 0xf4 && at(1) > 0x8f ? 0 : 4;
  }
  return 0;
}

}  // namespace

const Member* Node::find(std::string_view key) const {
  for (const Member& member : members) {
    if (member.key != nullptr && member.key->text == key) return &member;
  }
  return nullptr;
}

std::string Node::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return "a list";
    case Kind::kMap:
      return "a mapping";
    case Kind::kScalar:
      break;
  }
  std::string shown = text.substr(0, 60);
  if (text.size() > 60) shown += "...";
  switch (scalar_type(*this)) {
    case ScalarType::kBool:
      return "the boolean " + shown;
    case ScalarType::kNumber:
      return "the number " + shown;
    case ScalarType::kText:
      break;
  }
  return "the text '" + shown + "'";
}

ScalarType scalar_type(const Node& node) {
  switch (node.style) {
    case Node::Style::kString:
      return ScalarType::kText;
    case Node::Style::kNumber:
      return ScalarType::kNumber;
    case Node::Style::kBool:
      return ScalarType::kBool;
    case Node::Style::kPlain:
      break;
  }
  if (is_one_of(node.text, kTrueWords) || is_one_of(node.text, kFalseWords)) return ScalarType::kBool;
  return is_small_integer(node.text) ? ScalarType::kNumber : ScalarType::kText;
}

bool bool_of(const Node& node) {
  return is_one_of(node.text, kTrueWords);
}

bool is_placeholder(std::string_view text) {
  const bool dots = text.find("...") != std::string_view::npos &&
                    text.find_first_not_of(". <>()[]#") == std::string_view::npos;
  return dots || (text.starts_with("{{") && text.ends_with("}}")) ||
         (text.starts_with("${") && text.ends_with('}')) || (text.starts_with('<') && text.ends_with('>'));
}

Node* Document::make(Node::Kind kind, Place place) {
  Node& node = nodes_.emplace_back();
  node.kind = kind;
  node.place = place;
  return &node;
}

bool check_text(std::string_view text, uint16_t file, const TreeLimits& limits, Diagnostics& diagnostics) {
  if (text.size() > limits.bytes) {
    diagnostics.error_at({1, 1, file}, "",
                         "the file is longer than " + std::to_string(limits.bytes) + " bytes");
    return false;
  }
  Place place{1, 1, file};
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0 || text.front() == '\0') {
      diagnostics.error_at(place, "", length == 0 ? "not valid UTF-8" : "a NUL byte",
                           "the file must be text in UTF-8");
      return false;
    }
    if (text.front() == '\n') {
      ++place.line;
      place.column = 1;
    } else {
      ++place.column;
    }
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace millrace::config
