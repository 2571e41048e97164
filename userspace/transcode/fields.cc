#include "transcode/fields.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "http/base64.h"
#include "transcode/messages.h"

namespace millrace::transcode {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

namespace {

const Field* find(const pb::Descriptor& message, std::string_view name) {
  if (const Field* field = message.FindFieldByName(std::string(name))) return field;
  for (int i = 0; i < message.field_count(); ++i) {
    if (message.field(i)->json_name() == name) return message.field(i);
  }
  return nullptr;
}

base::Error bad_value(const Field& field, std::string_view text) {
  return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kDownstream, 0,
                     fmt::format("'{}' is no value of the field {}", text, field.name())};
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> real(const std::string& text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  const auto value = number<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (size_t k = 1; k < size; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      uint8_t low = 0x80, high = 0xbf;
      if (k == 1 && lead == 0xe0) low = 0xa0;
      if (k == 1 && lead == 0xed) high = 0x9f;
      if (k == 1 && lead == 0xf0) low = 0x90;
      if (k == 1 && lead == 0xf4) high = 0x8f;
      if (next < low || next > high) return false;
    }
    i += size;
  }
  return true;
}

std::optional<std::string> bytes(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  std::string out;
  if (!http::decode_base64(text, &out)) return std::nullopt;
  return out;
}

const pb::EnumValueDescriptor* enumerator(const Field& field, const std::string& text, bool any_case) {
  const pb::EnumDescriptor& type = *field.enum_type();
  if (const auto* value = type.FindValueByName(text)) return value;
  if (const auto value = number<int>(text)) return type.FindValueByNumber(*value);
  if (!any_case) return nullptr;
  std::string upper = text;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return type.FindValueByName(upper);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Sets the value, or adds it to a list.
#define MILLRACE_PUT(Kind, value) \
  (field.is_repeated() ? reflection.Add##Kind(&message, &field, value) : reflection.Set##Kind(&message, &field, value))

base::Result<void> set_leaf(pb::Message& message, const Field& field, const std::string& text,
                            const Messages& messages) {
  const pb::Reflection& reflection = *message.GetReflection();
  const auto put = [&](const auto& value, auto&& f) -> base::Result<void> {
    if (!value) return bad_value(field, text);
    f(*value);
    return {};
  };
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32: return put(number<int32_t>(text), [&](int32_t v) { MILLRACE_PUT(Int32, v); });
    case Field::CPPTYPE_INT64: return put(number<int64_t>(text), [&](int64_t v) { MILLRACE_PUT(Int64, v); });
    case Field::CPPTYPE_UINT32: return put(number<uint32_t>(text), [&](uint32_t v) { MILLRACE_PUT(UInt32, v); });
    case Field::CPPTYPE_UINT64: return put(number<uint64_t>(text), [&](uint64_t v) { MILLRACE_PUT(UInt64, v); });
    case Field::CPPTYPE_DOUBLE: return put(real(text), [&](double v) { MILLRACE_PUT(Double, v); });
    case Field::CPPTYPE_FLOAT:
      return put(real(text), [&](double v) { MILLRACE_PUT(Float, static_cast<float>(v)); });
    case Field::CPPTYPE_BOOL: {
      if (text != "true" && text != "false") return bad_value(field, text);
      MILLRACE_PUT(Bool, text == "true");
      return {};
    }
    case Field::CPPTYPE_STRING: {
      if (field.type() == Field::TYPE_BYTES) {
        return put(bytes(text), [&](const std::string& v) { MILLRACE_PUT(String, v); });
      }
      if (!valid_utf8(text)) return bad_value(field, "(not UTF-8)");
      MILLRACE_PUT(String, text);
      return {};
    }
    case Field::CPPTYPE_ENUM: {
      const auto* value = enumerator(field, text, messages.options().case_insensitive_enum_parsing);
      if (value == nullptr) return bad_value(field, text);
      MILLRACE_PUT(Enum, value);
      return {};
    }
    case Field::CPPTYPE_MESSAGE: break;
  }
  const bool is_bool = field.message_type()->well_known_type() == pb::Descriptor::WELLKNOWNTYPE_BOOLVALUE;
  if (!valid_utf8(text) || (is_bool && text != "true" && text != "false")) return bad_value(field, text);
  const base::Result<std::string> binary = messages.from_json(*field.message_type(), is_bool ? text : quoted(text));
  pb::Message* value =
      field.is_repeated() ? reflection.AddMessage(&message, &field) : reflection.MutableMessage(&message, &field);
  if (!binary.ok() || !value->ParseFromString(*binary)) return bad_value(field, text);
  return {};
}

#undef MILLRACE_PUT

}  // namespace

FieldPath resolve_field(const pb::Descriptor& message, std::string_view path) {
  FieldPath out;
  const pb::Descriptor* at = &message;
  while (true) {
    const size_t dot = path.find('.');
    const Field* field = at == nullptr ? nullptr : find(*at, path.substr(0, dot));
    if (field == nullptr) return {};
    out.push_back(field);
    if (dot == std::string_view::npos) return out;
    if (field->is_repeated()) return {};
    at = field->message_type();  // null for scalars
    path.remove_prefix(dot + 1);
  }
}

bool takes_text(const Field& field) {
  if (field.cpp_type() != Field::CPPTYPE_MESSAGE) return true;
  switch (field.message_type()->well_known_type()) {
    case pb::Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_BOOLVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_DURATION:
    case pb::Descriptor::WELLKNOWNTYPE_TIMESTAMP:
    case pb::Descriptor::WELLKNOWNTYPE_FIELDMASK: return true;
    default: return false;
  }
}

base::Result<void> set_field(pb::Message& message, const FieldPath& path, const std::string& text,
                             const Messages& messages) {
  pb::Message* at = &message;
  for (size_t i = 0; i + 1 < path.size(); ++i) at = at->GetReflection()->MutableMessage(at, path[i]);
  return set_leaf(*at, *path.back(), text, messages);
}

bool differ(const pb::Message& a, const pb::Message& b, const FieldPath& path) {
  const pb::Message* in_a = &a;
  const pb::Message* in_b = &b;
  for (size_t i = 0; i < path.size(); ++i) {
    const Field* field = path[i];
    if (field->is_repeated()) return false;
    if (!in_a->GetReflection()->HasField(*in_a, field) || !in_b->GetReflection()->HasField(*in_b, field)) return false;
    if (i + 1 == path.size()) break;
    in_a = &in_a->GetReflection()->GetMessage(*in_a, field);
    in_b = &in_b->GetReflection()->GetMessage(*in_b, field);
  }
  std::string text_a, text_b;
  pb::TextFormat::PrintFieldValueToString(*in_a, path.back(), -1, &text_a);
  pb::TextFormat::PrintFieldValueToString(*in_b, path.back(), -1, &text_b);
  return text_a != text_b;
}

}  // namespace millrace::transcode
