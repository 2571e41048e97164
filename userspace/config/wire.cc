#include "config/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace millrace::config {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

std::vector<WireField> wire_fields(std::string_view message) {
  std::vector<WireField> fields;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size()));
  for (;;) {
    const size_t begin = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == 0) return fields;
    WireField field;
    field.number = WireFormatLite::GetTagFieldNumber(tag);
    field.delimited = WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (field.delimited) {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size)) return fields;
      const size_t at = static_cast<size_t>(in.CurrentPosition());
      if (size > message.size() - at || !in.Skip(static_cast<int>(size))) return fields;
      field.value = message.substr(at, size);
    } else if (!WireFormatLite::SkipField(&in, tag)) {
      return fields;
    }
    field.bytes = message.substr(begin, static_cast<size_t>(in.CurrentPosition()) - begin);
    fields.push_back(field);
  }
}

std::vector<std::string_view> wire_values(std::string_view message, std::initializer_list<int> path) {
  std::vector<std::string_view> found{message};
  for (const int number : path) {
    std::vector<std::string_view> next;
    for (const std::string_view one : found) {
      for (const WireField& field : wire_fields(one)) {
        if (field.number == number && field.delimited) next.push_back(field.value);
      }
    }
    found = std::move(next);
  }
  return found;
}

std::string_view wire_value(std::string_view message, int number) {
  const std::vector<std::string_view> found = wire_values(message, {number});
  return found.empty() ? std::string_view() : found.back();
}

void append_wire(std::string& to, int number, std::string_view value) {
  const auto varint = [&to](uint32_t rest) {
    for (; rest >= 0x80; rest >>= 7) to += static_cast<char>(rest | 0x80);
    to += static_cast<char>(rest);
  };
  varint(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  varint(static_cast<uint32_t>(value.size()));
  to += value;
}

}  // namespace millrace::config
