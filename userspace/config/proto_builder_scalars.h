// Text of a scalar to a value of a protobuf scalar type; each says in a sentence why it cannot. Pure
// functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "config/yaml_tree.h"

namespace google::protobuf {
class EnumDescriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace millrace::config {

// Why a value does not fit, and how to mend it.
struct Misfit {
  std::string what;
  std::string hint;
};
template <class T>
using Parsed = std::variant<T, Misfit>;

struct Instant {
  int64_t seconds = 0;
  int32_t nanos = 0;
};

Parsed<int64_t> parse_signed(const Node& node, int bits);
Parsed<uint64_t> parse_unsigned(const Node& node, int bits);
Parsed<double> parse_double(const Node& node, bool single_precision);
Parsed<bool> parse_bool(const Node& node);
Parsed<std::string> parse_string(const Node& node);
Parsed<std::string> parse_bytes(const Node& node);  // base64, either alphabet
Parsed<int> parse_enum(const Node& node, const google::protobuf::EnumDescriptor& type);
Parsed<Instant> parse_duration(const Node& node);   // "0.25s"
Parsed<Instant> parse_timestamp(const Node& node);  // RFC 3339
// "fooBar,a.bC" -> {"foo_bar", "a.b_c"}
std::vector<std::string> parse_field_mask(std::string_view text);

// Sets the singular field, or appends to the repeated one, from the scalar node.
std::variant<std::monostate, Misfit> store_scalar(const Node& node,
                                                  const google::protobuf::FieldDescriptor& field,
                                                  google::protobuf::Message& message);

}  // namespace millrace::config
