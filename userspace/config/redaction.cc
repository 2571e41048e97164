#include "config/redaction.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <memory>
#include <vector>

#include "config/api_pool.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

constexpr const char* kRedacted = "[redacted]";
constexpr int kSensitive = 76569463;  // the extension udpa.annotations.sensitive of FieldOptions

// Any within Any within ...: more than the table of supported fields lets through.
constexpr int kDepthMax = 64;

}  // namespace

// From the wire form: whether the extension is linked makes no difference.
bool Redaction::is_sensitive(const pb::FieldDescriptor& field) {
  const auto [it, fresh] = known_.emplace(&field, false);
  if (!fresh) return it->second;
  pb::UnknownFieldSet options;
  const std::string bytes = field.options().SerializeAsString();
  if (bytes.empty() || !options.ParseFromString(bytes)) return false;
  for (int i = 0; i < options.field_count(); ++i) {
    const pb::UnknownField& option = options.field(i);
    if (option.number() == kSensitive && option.type() == pb::UnknownField::TYPE_VARINT)
      it->second = option.varint() != 0;
  }
  return it->second;
}

void Redaction::text(pb::Message& message, const pb::FieldDescriptor& field) {
  const pb::Reflection& reflection = *message.GetReflection();
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_STRING) return reflection.ClearField(&message, &field);
  if (!field.is_repeated()) return reflection.SetString(&message, &field, kRedacted);
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    reflection.SetRepeatedString(&message, &field, i, kRedacted);
  }
}

void Redaction::any(pb::Message& any, bool sensitive, int depth) {
  const pb::Reflection& reflection = *any.GetReflection();
  const pb::FieldDescriptor* url = any.GetDescriptor()->FindFieldByName("type_url");
  const pb::FieldDescriptor* value = any.GetDescriptor()->FindFieldByName("value");
  const pb::Descriptor* type = ApiPool::get().find_message_by_url(reflection.GetString(any, url));
  if (type == nullptr) return;
  const std::unique_ptr<pb::Message> content = ApiPool::get().new_message(*type);
  if (!content->ParseFromString(reflection.GetString(any, value))) return;
  message(*content, sensitive, depth + 1);
  reflection.SetString(&any, url, std::string(kTypeUrlPrefix) + "/" + type->full_name());
  reflection.SetString(&any, value, content->SerializeAsString());
}

void Redaction::message(pb::Message& message, bool sensitive, int depth) {
  if (depth > kDepthMax) return;
  if (message.GetDescriptor()->full_name() == "google.protobuf.Any") return any(message, sensitive, depth);
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    const bool blank = sensitive || is_sensitive(*field);
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
      if (blank && !message.GetDescriptor()->options().map_entry()) text(message, *field);
      if (blank && message.GetDescriptor()->options().map_entry() && field->name() == "value") text(message, *field);
    } else if (!field->is_repeated()) {
      this->message(*reflection.MutableMessage(&message, field), blank, depth + 1);
    } else {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        this->message(*reflection.MutableRepeatedMessage(&message, field, i), blank, depth + 1);
      }
    }
  }
}

}  // namespace millrace::config
