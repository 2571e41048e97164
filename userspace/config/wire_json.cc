#include "config/wire_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <algorithm>
#include <unordered_set>

#include "base/assert.h"
#include "base/log.h"
#include "config/api_pool.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

// Of the wire, in one piece: about ten times as much JSON, and a millisecond.
constexpr size_t kPieceBytes = 4096;

constexpr std::string_view kAny = "google.protobuf.Any";
constexpr int kAnyTypeUrl = 1;
constexpr int kAnyValue = 2;

std::string_view between(std::string_view text, std::string_view head, std::string_view tail) {
  if (text.size() < head.size() + tail.size() || !text.starts_with(head) || !text.ends_with(tail)) return {};
  return text.substr(head.size(), text.size() - head.size() - tail.size());
}

void separate(bool& first, std::string& out) {
  if (!first) out += ",\n";
  first = false;
}

// Lines, each moved to the right. Line feeds within strings are escaped.
void append_indented(std::string& out, std::string_view lines, size_t by) {
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size() - 1) + 1;
    out.append(by, ' ');
    out += lines.substr(0, end);
    lines.remove_prefix(end);
  }
}

bool is_list(const pb::FieldDescriptor& field) {
  return field.is_repeated() && !field.is_map() && !field.is_packable();
}

// Protobuf's own types have forms of their own in JSON.
bool is_plain(const pb::Descriptor& type) {
  return !type.full_name().starts_with("google.protobuf.");
}

// Whether a reader would take every field as it stands: none replaces or is merged with an earlier one.
bool is_final(const pb::Descriptor& type, std::string_view wire) {
  std::unordered_set<const void*> seen;
  for (WireField from; next_wire_field(wire, from);) {
    const pb::FieldDescriptor* field = type.FindFieldByNumber(from.number);
    if (field == nullptr || field->is_repeated()) continue;
    const void* place = field;
    if (field->containing_oneof() != nullptr) place = field->containing_oneof();
    if (!seen.insert(place).second) return false;
  }
  return true;
}

}  // namespace

WireJson::WireJson(const pb::Descriptor& type, std::string wire)
    : wire_(std::move(wire)),
      types_(pb::util::NewTypeResolverForDescriptorPool(kTypeUrlPrefix, &ApiPool::get().pool())),
      root_(&type) {}

WireJson::~WireJson() = default;

bool WireJson::next(std::string& out) {
  if (root_ != nullptr) {
    open(*root_, wire_, 0, out);
    root_ = nullptr;
    return true;
  }
  Frame& frame = frames_.back();
  if (frame.list != 0 || frame.at < frame.fields.size()) {
    write_fields(out);
    return true;
  }
  out += '\n';
  out.append(frame.depth - 1, ' ');
  out += '}';
  frames_.pop_back();
  if (!frames_.empty()) return true;
  out += '\n';
  return false;
}

// Begins an object. What an Any holds stands beside its type.
void WireJson::open(const pb::Descriptor& type, std::string_view wire, size_t depth, std::string& out) {
  Frame frame;
  frame.type = &type;
  frame.depth = depth + 1;
  out += "{\n";
  if (type.full_name() == kAny) {
    frame.type = ApiPool::get().find_message_by_url(wire_value(wire, kAnyTypeUrl));
    MILLRACE_ASSERT(frame.type != nullptr);
    wire = wire_value(wire, kAnyValue);
    out.append(frame.depth, ' ');
    out += std::string("\"@type\": \"") + kTypeUrlPrefix + "/" + frame.type->full_name() + '"';
    frame.empty = false;
  }
  frame.fields = wire_fields(wire);
  std::stable_sort(frame.fields.begin(), frame.fields.end(),
                   [](const WireField& a, const WireField& b) { return a.number < b.number; });
  frames_.push_back(std::move(frame));
}

// As many whole fields as make a piece, or some of a field that is longer than that.
void WireJson::write_fields(std::string& out) {
  Frame& frame = frames_.back();
  const auto& fields = frame.fields;
  if (frame.list != 0) {
    if (frame.at < fields.size() && fields[frame.at].number == frame.list) return write_elements(out);
    frame.list = 0;
    out += '\n';
    out.append(frame.depth, ' ');
    out += ']';
    return;
  }
  std::string piece;
  for (size_t end = frame.at; end < fields.size();) {
    const size_t begin = end;
    size_t bytes = piece.size();
    for (; end < fields.size() && fields[end].number == fields[begin].number; ++end) bytes += fields[end].bytes.size();
    if (bytes > kPieceBytes) break;
    for (; frame.at < end; ++frame.at) piece += fields[frame.at].bytes;
  }
  if (piece.empty()) return write_long_field(out);
  const std::string text = members(*frame.type, piece);
  if (text.empty()) return;
  separate(frame.empty, out);
  append_indented(out, text, frame.depth - 1);
}

void WireJson::write_long_field(std::string& out) {
  Frame& frame = frames_.back();
  const WireField& first = frame.fields[frame.at];
  const pb::FieldDescriptor* field = frame.type->FindFieldByNumber(first.number);
  const bool list = field != nullptr && is_list(*field);
  if (list || (field != nullptr && opens(*field, first.value))) {
    separate(frame.empty, out);
    out.append(frame.depth, ' ');
    out += '"' + field->name() + (list ? "\": [\n" : "\": ");
    frame.list = list ? first.number : 0;
    frame.list_empty = true;
    if (list) return;
    ++frame.at;
    return open(*field->message_type(), first.value, frame.depth, out);
  }
  std::string piece;
  for (const int number = first.number; frame.at < frame.fields.size() && frame.fields[frame.at].number == number;)
    piece += frame.fields[frame.at++].bytes;
  const std::string text = members(*frame.type, piece);
  if (text.empty()) return;
  separate(frame.empty, out);
  append_indented(out, text, frame.depth - 1);
}

// The next elements of a list; of a long message its beginning.
void WireJson::write_elements(std::string& out) {
  Frame& frame = frames_.back();
  const pb::FieldDescriptor* field = frame.type->FindFieldByNumber(frame.list);
  std::string piece;
  while (frame.at < frame.fields.size() && frame.fields[frame.at].number == frame.list) {
    const WireField& element = frame.fields[frame.at];
    if (!piece.empty() && piece.size() + element.bytes.size() > kPieceBytes) break;
    if (element.bytes.size() > kPieceBytes && opens(*field, element.value)) {
      separate(frame.list_empty, out);
      out.append(frame.depth + 1, ' ');
      ++frame.at;
      return open(*field->message_type(), element.value, frame.depth + 1, out);
    }
    piece += element.bytes;
    ++frame.at;
  }
  const std::string list = members(*frame.type, piece);
  const std::string_view text = between(list, " \"" + field->name() + "\": [\n", "\n ]");
  if (text.empty()) return;
  separate(frame.list_empty, out);
  append_indented(out, text, frame.depth - 1);
}

bool WireJson::opens(const pb::FieldDescriptor& field, std::string_view wire) {
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE || field.is_map() || redaction_.is_sensitive(field))
    return false;
  const pb::Descriptor* type = field.message_type();
  if (!is_final(*type, wire)) return false;
  if (type->full_name() != kAny) return is_plain(*type);
  const pb::Descriptor* held = ApiPool::get().find_message_by_url(wire_value(wire, kAnyTypeUrl));
  return held != nullptr && is_plain(*held) && is_final(*held, wire_value(wire, kAnyValue));
}

// As they stand in an object of their own, without its braces.
std::string WireJson::members(const pb::Descriptor& type, std::string_view wire) {
  const std::unique_ptr<pb::Message> message = ApiPool::get().new_message(type);
  const bool parsed = message->ParsePartialFromArray(wire.data(), static_cast<int>(wire.size()));
  MILLRACE_ASSERT(parsed);
  redaction_.message(*message);
  pb::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = true;
  std::string json;
  const auto status = pb::util::BinaryToJsonString(types_.get(), std::string(kTypeUrlPrefix) + "/" + type.full_name(),
                                                   message->SerializePartialAsString(), &json, options);
  if (!status.ok()) MILLRACE_LOG(kError, "config", "config_dump: {}", status.ToString());
  while (json.ends_with('\n')) json.pop_back();
  return std::string(between(json, "{\n", "\n}"));
}

}  // namespace millrace::config
