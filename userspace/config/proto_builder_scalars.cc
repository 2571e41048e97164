#include "config/proto_builder_scalars.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "config/similar.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

struct Integer {
  bool negative = false;
  uint64_t magnitude = 0;
};

std::optional<uint64_t> digits(std::string_view text, int base) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::optional<double> floating(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<Integer> integer(const Node& node) {
  std::string_view text = node.text;
  Integer result;
  if (text.starts_with('-') || text.starts_with('+')) {
    result.negative = text.front() == '-';
    text.remove_prefix(1);
  }
  std::optional<uint64_t> value;
  if (node.style == Node::Style::kPlain && text.size() > 1 && text.front() == '0') {
    const bool hex = text[1] == 'x' || text[1] == 'X';
    value = hex ? digits(text.substr(2), 16) : digits(text, 8);
  }
  if (!value) value = digits(text, 10);
  if (value) {
    result.magnitude = *value;
    return result;
  }
  // 1e3 and 5.0 are integers; beyond 2^53 a double cannot tell which.
  const std::optional<double> real = floating(text);
  if (!real || *real < 0 || *real > 9007199254740992.0 || std::floor(*real) != *real) return std::nullopt;
  result.magnitude = static_cast<uint64_t>(*real);
  return result;
}

Misfit not_a(std::string_view expected, const Node& node, std::string hint = {}) {
  if (is_placeholder(node.text)) {
    return {"'" + node.text + "' is a placeholder, " + std::string(expected) + " belongs here",
            std::move(hint)};
  }
  return {std::string(expected) + " is expected, not " + node.describe(), std::move(hint)};
}

std::string list_of_values(const pb::EnumDescriptor& type) {
  std::string out = "one of ";
  for (int i = 0; i < type.value_count(); ++i) out += (i == 0 ? "" : ", ") + type.value(i)->name();
  return out;
}

// Envoy's loader asks protobuf for case-insensitive enums, which takes a hyphen for an underscore too.
std::string upper_case(std::string text) {
  for (char& c : text) c = c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return text;
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

}  // namespace

Parsed<int64_t> parse_signed(const Node& node, int bits) {
  const std::optional<Integer> value = integer(node);
  if (!value) return not_a("an integer", node);
  const uint64_t most = uint64_t{1} << (bits - 1);
  if (value->magnitude > (value->negative ? most : most - 1)) {
    return Misfit{node.text + " does not fit a signed integer of " + std::to_string(bits) + " bits", {}};
  }
  return value->negative ? static_cast<int64_t>(0 - value->magnitude)
                         : static_cast<int64_t>(value->magnitude);
}

Parsed<uint64_t> parse_unsigned(const Node& node, int bits) {
  const std::optional<Integer> value = integer(node);
  if (!value) return not_a("an integer", node);
  const uint64_t most = bits == 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << bits) - 1;
  if ((value->negative && value->magnitude != 0) || value->magnitude > most) {
    return Misfit{node.text + " is out of range, 0 to " + std::to_string(most), {}};
  }
  return value->magnitude;
}

Parsed<double> parse_double(const Node& node, bool single_precision) {
  std::string_view text = node.text;
  const bool plain = node.style == Node::Style::kPlain;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (text == "NaN" || (plain && (text == ".nan" || text == ".NaN" || text == ".NAN"))) return std::nan("");
  const bool negative = text.starts_with('-');
  std::string_view size = negative || text.starts_with('+') ? text.substr(1) : text;
  if (size == "Infinity" || (plain && (size == ".inf" || size == ".Inf" || size == ".INF"))) {
    return negative ? -kInfinity : kInfinity;
  }
  if (const std::optional<double> value = floating(text)) {
    if (single_precision && std::abs(*value) > std::numeric_limits<float>::max()) {
      return Misfit{node.text + " does not fit a float", {}};
    }
    return *value;
  }
  if (const std::optional<Integer> value = integer(node)) {
    const double magnitude = static_cast<double>(value->magnitude);
    return value->negative ? -magnitude : magnitude;
  }
  return not_a("a number", node);
}

Parsed<bool> parse_bool(const Node& node) {
  if (scalar_type(node) == ScalarType::kBool) return bool_of(node);
  if (node.text == "true" || node.text == "false") return node.text == "true";
  return not_a("true or false", node);
}

Parsed<std::string> parse_string(const Node& node) {
  if (scalar_type(node) == ScalarType::kText) return node.text;
  return Misfit{"a string is expected, not " + node.describe(), "put it in quotes: \"" + node.text + "\""};
}

Parsed<std::string> parse_bytes(const Node& node) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  std::string_view text = node.text;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    const int value = base64_value(c);
    if (value < 0) return not_a("base64", node, "bytes are written in base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xff);
    }
  }
  return out;
}

Parsed<int> parse_enum(const Node& node, const pb::EnumDescriptor& type) {
  if (const pb::EnumValueDescriptor* value = type.FindValueByName(node.text)) return value->number();
  const std::string upper = upper_case(node.text);
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string& name = type.value(i)->name();
    names.push_back(name);
    if (upper_case(name) == upper) return type.value(i)->number();
  }
  const std::optional<Integer> number = integer(node);
  if (number && number->magnitude <= std::numeric_limits<int32_t>::max()) {
    const int value = static_cast<int>(number->magnitude);
    return number->negative ? -value : value;
  }
  std::string hint;
  if (const std::string near = closest_name(upper, names); !near.empty()) {
    hint = "did you mean '" + near + "'?";
  } else if (type.value_count() <= 12) {
    hint = list_of_values(type);
  }
  return Misfit{"'" + node.text + "' is not a value of " + type.name(), std::move(hint)};
}

Parsed<Instant> parse_duration(const Node& node) {
  const auto misfit = [&] {
    return not_a("a duration", node, "a duration is a number of seconds and an s: \"0.25s\", \"90s\"");
  };
  std::string_view text = node.text;
  if (!text.ends_with('s')) return misfit();
  text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t dot = std::min(text.find('.'), text.size());
  const std::string_view fraction = dot == text.size() ? std::string_view{} : text.substr(dot + 1);
  const std::optional<uint64_t> seconds = digits(text.substr(0, dot), 10);
  // The range that protobuf gives a Duration: 10,000 years.
  if (!seconds || *seconds > 315'576'000'000u || fraction.size() > 9) return misfit();
  Instant result{static_cast<int64_t>(*seconds), 0};
  if (dot != text.size()) {
    std::string nanos(fraction);
    nanos.resize(9, '0');
    const std::optional<uint64_t> value = digits(nanos, 10);
    if (!value || fraction.empty()) return misfit();
    result.nanos = static_cast<int32_t>(*value);
  }
  if (negative) result = {-result.seconds, -result.nanos};
  return result;
}

Parsed<Instant> parse_timestamp(const Node& node) {
  pb::Timestamp stamp;
  if (!pb::util::TimeUtil::FromString(node.text, &stamp)) {
    return not_a("a timestamp", node, "write it as RFC 3339: \"2024-01-31T12:00:00Z\"");
  }
  return Instant{stamp.seconds(), stamp.nanos()};
}

std::vector<std::string> parse_field_mask(std::string_view text) {
  std::vector<std::string> paths;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    std::string path;
    for (const char c : text.substr(0, end)) {
      if (c >= 'A' && c <= 'Z') {
        path += '_';
        path += static_cast<char>(c + 32);
      } else if (c != ' ') {
        path += c;
      }
    }
    if (!path.empty()) paths.push_back(std::move(path));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return paths;
}

std::variant<std::monostate, Misfit> store_scalar(const Node& node, const pb::FieldDescriptor& field,
                                                  pb::Message& message) {
  const pb::Reflection& reflection = *message.GetReflection();
  const bool append = field.is_repeated();
  std::variant<std::monostate, Misfit> result;
  const auto store = [&](auto&& parsed, auto&& set, auto&& add) {
    if (Misfit* misfit = std::get_if<Misfit>(&parsed)) {
      result = std::move(*misfit);
      return;
    }
    auto& value = std::get<0>(parsed);
    append ? add(value) : set(value);
  };
#define MILLRACE_STORE(parsed, Name, Type)                                                               \
  store(                                                                                                 \
      parsed, [&](auto& v) { reflection.Set##Name(&message, &field, static_cast<Type>(std::move(v))); }, \
      [&](auto& v) { reflection.Add##Name(&message, &field, static_cast<Type>(std::move(v))); })
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      MILLRACE_STORE(parse_signed(node, 32), Int32, int32_t);
      break;
    case pb::FieldDescriptor::CPPTYPE_INT64:
      MILLRACE_STORE(parse_signed(node, 64), Int64, int64_t);
      break;
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      MILLRACE_STORE(parse_unsigned(node, 32), UInt32, uint32_t);
      break;
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      MILLRACE_STORE(parse_unsigned(node, 64), UInt64, uint64_t);
      break;
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      MILLRACE_STORE(parse_double(node, false), Double, double);
      break;
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      MILLRACE_STORE(parse_double(node, true), Float, float);
      break;
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      MILLRACE_STORE(parse_bool(node), Bool, bool);
      break;
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      MILLRACE_STORE(parse_enum(node, *field.enum_type()), EnumValue, int);
      break;
    case pb::FieldDescriptor::CPPTYPE_STRING:
      MILLRACE_STORE(field.type() == pb::FieldDescriptor::TYPE_BYTES ? parse_bytes(node) : parse_string(node),
                     String, std::string);
      break;
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      result = Misfit{"a message is expected here", {}};
      break;
  }
#undef MILLRACE_STORE
  return result;
}

}  // namespace millrace::config
