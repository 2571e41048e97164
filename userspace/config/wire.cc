#include "config/wire.h"

namespace millrace::config {
namespace {

// The low three bits of a tag. Groups, which proto3 does not have, end the reading.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kDelimited = 2, kFixed32 = 5 };

// Takes a number from the front; false: there is none.
bool take_varint(std::string_view& from, uint64_t& value) {
  value = 0;
  for (size_t i = 0; i < from.size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>(from[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte >= 0x80) continue;
    from.remove_prefix(i + 1);
    return true;
  }
  return false;
}

}  // namespace

bool next_wire_field(std::string_view& rest, WireField& field) {
  std::string_view from = rest;
  uint64_t tag = 0;
  uint64_t size = 0;
  if (!take_varint(from, tag)) return false;
  switch (tag & 7) {
    case kVarint:
      if (!take_varint(from, size)) return false;
      size = 0;
      break;
    case kFixed64: size = 8; break;
    case kFixed32: size = 4; break;
    case kDelimited:
      if (!take_varint(from, size)) return false;
      break;
    default: return false;
  }
  if (size > from.size()) return false;
  field.number = static_cast<int>(tag >> 3);
  field.delimited = (tag & 7) == kDelimited;
  field.value = field.delimited ? from.substr(0, size) : std::string_view();
  from.remove_prefix(size);
  field.bytes = rest.substr(0, rest.size() - from.size());
  rest = from;
  return true;
}

std::vector<WireField> wire_fields(std::string_view message) {
  std::vector<WireField> fields;
  WireField field;
  while (next_wire_field(message, field)) fields.push_back(field);
  return fields;
}

std::vector<std::string_view> wire_values(std::string_view message, std::initializer_list<int> path) {
  std::vector<std::string_view> found{message};
  for (const int number : path) {
    std::vector<std::string_view> next;
    for (std::string_view one : found) {
      for (WireField field; next_wire_field(one, field);) {
        if (field.number == number && field.delimited) next.push_back(field.value);
      }
    }
    found = std::move(next);
  }
  return found;
}

std::string_view wire_value(std::string_view message, int number) {
  std::string_view found;
  for (WireField field; next_wire_field(message, field);) {
    if (field.number == number && field.delimited) found = field.value;
  }
  return found;
}

void append_wire(std::string& to, int number, std::string_view value) {
  const auto varint = [&to](uint32_t rest) {
    for (; rest >= 0x80; rest >>= 7) to += static_cast<char>(rest | 0x80);
    to += static_cast<char>(rest);
  };
  varint(static_cast<uint32_t>(number) << 3 | kDelimited);
  varint(static_cast<uint32_t>(value.size()));
  to += value;
}

}  // namespace millrace::config
