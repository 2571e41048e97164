#include "config/validate_rules.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "config/validate_rules_compiled.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

// The extension number of validate.rules, validate.required and validate.disabled; validate.ignored is the
// next.
constexpr int kValidateExtension = 1071;
constexpr int kValidateIgnored = 1072;

// What there is to check in one message type.
struct Plan {
  struct Step {
    const pb::FieldDescriptor* field = nullptr;
    std::unique_ptr<FieldRules> rules;  // null: only look into the message
  };
  std::vector<Step> steps;
  std::vector<const pb::OneofDescriptor*> required;
  bool disabled = false;
};

class Validator {
 public:
  Validator(const ApiPool& types, Diagnostics& diagnostics) : types_(types), diagnostics_(diagnostics) {
    for (const Diagnostic& diagnostic : diagnostics.list()) faulty_.insert(diagnostic.path);
    rules_type_ = types.find_message("validate.FieldRules");
  }

  void message(const pb::Message& message);

 private:
  using Field = pb::FieldDescriptor;

  const Plan& plan_of(const pb::Descriptor& type);
  std::unique_ptr<FieldRules> rules_of(const Field& field);
  void field(const pb::Message& message, const Field& field, const FieldRules* rules);
  void singular(const pb::Message& message, const Field& field, const FieldRules* rules);
  void list(const pb::Message& message, const Field& field, const FieldRules* rules);
  void map(const pb::Message& message, const Field& field, const FieldRules* rules);
  void inner(const pb::Message& message, const FieldRules* rules);
  void any(const pb::Message& any, const FieldRules* rules);
  void scalar(const pb::Message& message, const Field& field, int index, const FieldRules& rules);
  void number(Number value, const pb::EnumDescriptor* enumeration, const FieldRules& rules);
  void text(std::string_view value, const FieldRules& rules);
  void required_oneof(const pb::Message& message, const pb::OneofDescriptor& oneof);
  void item_count(int count, const FieldRules& rules);

  void violation(std::string what) {
    if (!what.empty() && !is_faulty()) diagnostics_.error(path_.text(), std::move(what));
  }
  bool is_faulty() const { return faulty_.contains(path_.text()); }

  const ApiPool& types_;
  Diagnostics& diagnostics_;
  const pb::Descriptor* rules_type_ = nullptr;
  FieldPath path_;
  std::unordered_set<std::string> faulty_;  // the paths reported before the rules were looked at
  std::unordered_map<const pb::Descriptor*, Plan> plans_;
};

// Options are read from their wire form: whether validate.pb.cc is linked, and so whether they are extensions
// or unknown fields, makes no difference.
template <class Options, class F>
void for_each_option(const Options& options, F&& f) {
  pb::UnknownFieldSet fields;
  const std::string bytes = options.SerializeAsString();
  if (bytes.empty() || !fields.ParseFromString(bytes)) return;
  for (int i = 0; i < fields.field_count(); ++i) f(fields.field(i));
}

template <class Options>
bool has_flag(const Options& options, int number) {
  bool flag = false;
  for_each_option(options, [&](const pb::UnknownField& field) {
    flag = flag ||
           (field.number() == number && field.type() == pb::UnknownField::TYPE_VARINT && field.varint() != 0);
  });
  return flag;
}

std::unique_ptr<FieldRules> Validator::rules_of(const Field& field) {
  std::unique_ptr<FieldRules> rules;
  for_each_option(field.options(), [&](const pb::UnknownField& option) {
    if (option.number() != kValidateExtension || option.type() != pb::UnknownField::TYPE_LENGTH_DELIMITED)
      return;
    const std::unique_ptr<pb::Message> message = types_.new_message(*rules_type_);
    if (message->ParseFromString(option.length_delimited())) rules = compile_rules(*message);
  });
  return rules;
}

const Plan& Validator::plan_of(const pb::Descriptor& type) {
  const auto [entry, fresh] = plans_.try_emplace(&type);
  Plan& plan = entry->second;
  if (!fresh) return plan;
  plan.disabled = has_flag(type.options(), kValidateExtension) || has_flag(type.options(), kValidateIgnored);
  for (int i = 0; i < type.field_count() && rules_type_ != nullptr; ++i) {
    Plan::Step step{type.field(i), rules_of(*type.field(i))};
    const bool holds_messages = step.field->cpp_type() == Field::CPPTYPE_MESSAGE;
    if (step.rules != nullptr || holds_messages) plan.steps.push_back(std::move(step));
  }
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    if (has_flag(type.oneof_decl(i)->options(), kValidateExtension))
      plan.required.push_back(type.oneof_decl(i));
  }
  return plan;
}

void Validator::message(const pb::Message& message) {
  const Plan& plan = plan_of(*message.GetDescriptor());
  if (plan.disabled) return;
  for (const pb::OneofDescriptor* oneof : plan.required) required_oneof(message, *oneof);
  for (const Plan::Step& step : plan.steps) {
    // The common case, an unset message field that may be absent, costs no path.
    const bool absent = !step.field->is_repeated() && step.field->has_presence() &&
                        !message.GetReflection()->HasField(message, step.field);
    if (absent &&
        (step.rules == nullptr || !step.rules->required || step.field->real_containing_oneof() != nullptr)) {
      continue;
    }
    path_.push_field(step.field->name());
    field(message, *step.field, step.rules.get());
    path_.pop();
  }
}

void Validator::field(const pb::Message& message, const Field& field, const FieldRules* rules) {
  if (field.is_map()) {
    map(message, field, rules);
  } else if (field.is_repeated()) {
    list(message, field, rules);
  } else {
    singular(message, field, rules);
  }
}

void Validator::singular(const pb::Message& message, const Field& field, const FieldRules* rules) {
  const pb::Reflection& reflection = *message.GetReflection();
  if (field.has_presence() && !reflection.HasField(message, &field)) {
    violation("must be set");  // the only rule that an absent field can break
    return;
  }
  if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
    inner(reflection.GetMessage(message, &field), rules);
    return;
  }
  if (rules == nullptr) return;
  if (rules->ignore_empty && !field.has_presence() && !reflection.HasField(message, &field)) return;
  scalar(message, field, -1, *rules);
}

// A message that is there: the rules of the field that holds it, then its own.
void Validator::inner(const pb::Message& message, const FieldRules* rules) {
  const pb::Descriptor& type = *message.GetDescriptor();
  const pb::Reflection& reflection = *message.GetReflection();
  switch (type.well_known_type()) {
    case pb::Descriptor::WELLKNOWNTYPE_ANY:
      any(message, rules);
      return;
    case pb::Descriptor::WELLKNOWNTYPE_STRUCT:
    case pb::Descriptor::WELLKNOWNTYPE_VALUE:
    case pb::Descriptor::WELLKNOWNTYPE_LISTVALUE:
    case pb::Descriptor::WELLKNOWNTYPE_FIELDMASK:
      return;
    case pb::Descriptor::WELLKNOWNTYPE_DURATION:
    case pb::Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      if (rules != nullptr && rules->number != nullptr) {
        const Number seconds = static_cast<Number>(reflection.GetInt64(message, type.FindFieldByNumber(1)));
        const Number nanos = reflection.GetInt32(message, type.FindFieldByNumber(2));
        violation(check_number(seconds * 1e9L + nanos, *rules->number, rules->unit));
      }
      return;
    case pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED:
      if (rules == nullptr || !rules->skip) this->message(message);
      return;
    default:  // the wrappers: the rules speak of the value inside
      if (rules != nullptr) scalar(message, *type.FindFieldByNumber(1), -1, *rules);
      return;
  }
}

void Validator::any(const pb::Message& any, const FieldRules* rules) {
  const pb::Reflection& reflection = *any.GetReflection();
  std::string url_scratch;
  std::string content_scratch;
  const std::string& url =
      reflection.GetStringReference(any, any.GetDescriptor()->FindFieldByNumber(1), &url_scratch);
  const std::string& bytes =
      reflection.GetStringReference(any, any.GetDescriptor()->FindFieldByNumber(2), &content_scratch);
  if (rules != nullptr && rules->text != nullptr) violation(check_text(url, *rules->text));
  if (url.empty()) return;
  const pb::Descriptor* type = types_.find_message_by_url(url);
  if (type == nullptr) {
    violation("unknown type '" + url + "'");
    return;
  }
  const std::unique_ptr<pb::Message> content = types_.new_message(*type);
  if (!content->ParsePartialFromString(bytes)) {
    violation("its content cannot be read as " + type->full_name() + ": damaged, or nested too deep");
    return;
  }
  inner(*content, nullptr);
}

void Validator::list(const pb::Message& message, const Field& field, const FieldRules* rules) {
  const pb::Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  if (rules != nullptr && rules->ignore_empty && size == 0) return;
  if (rules != nullptr) item_count(size, *rules);
  const FieldRules* items = rules == nullptr ? nullptr : rules->items.get();
  const bool messages = field.cpp_type() == Field::CPPTYPE_MESSAGE;
  const bool unique = rules != nullptr && rules->unique;
  if (!messages && items == nullptr && !unique) return;
  std::unordered_map<std::string, int> seen;
  for (int i = 0; i < size; ++i) {
    path_.push_index(static_cast<size_t>(i));
    if (messages) {
      inner(reflection.GetRepeatedMessage(message, &field, i), items);
    } else if (items != nullptr) {
      scalar(message, field, i, *items);
    }
    if (unique) {
      std::string value;
      if (messages) {
        value = reflection.GetRepeatedMessage(message, &field, i).SerializePartialAsString();
      } else {
        pb::TextFormat::PrintFieldValueToString(message, &field, i, &value);
      }
      const auto [first, fresh] = seen.try_emplace(std::move(value), i);
      if (!fresh) violation("the same as [" + std::to_string(first->second) + "], and the items must differ");
    }
    path_.pop();
  }
}

void Validator::map(const pb::Message& message, const Field& field, const FieldRules* rules) {
  const pb::Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  if (rules != nullptr && rules->ignore_empty && size == 0) return;
  if (rules != nullptr) item_count(size, *rules);
  const Field& key_field = *field.message_type()->map_key();
  const Field& value_field = *field.message_type()->map_value();
  for (int i = 0; i < size; ++i) {
    const pb::Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    std::string key;
    if (key_field.cpp_type() == Field::CPPTYPE_STRING) {
      key = entry.GetReflection()->GetString(entry, &key_field);
    } else {
      pb::TextFormat::PrintFieldValueToString(entry, &key_field, -1, &key);
    }
    path_.push_key(key);
    if (rules != nullptr && rules->keys != nullptr) scalar(entry, key_field, -1, *rules->keys);
    const FieldRules* values = rules == nullptr ? nullptr : rules->items.get();
    if (value_field.cpp_type() == Field::CPPTYPE_MESSAGE) {
      inner(entry.GetReflection()->GetMessage(entry, &value_field), values);
    } else if (values != nullptr) {
      scalar(entry, value_field, -1, *values);
    }
    path_.pop();
  }
}

void Validator::item_count(int count, const FieldRules& rules) {
  const auto have = static_cast<uint64_t>(count);
  if (rules.min_items && have < *rules.min_items) {
    violation(*rules.min_items == 1 ? "must not be empty"
                                    : "must have at least " + std::to_string(*rules.min_items) + " entries");
  } else if (rules.max_items && have > *rules.max_items) {
    violation("must have at most " + std::to_string(*rules.max_items) + " entries, not " +
              std::to_string(have));
  }
}

// index -1: the value of a singular field.
void Validator::scalar(const pb::Message& message, const Field& field, int index, const FieldRules& rules) {
  const pb::Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
#define MILLRACE_NUMBER(CASE, Name)                                                         \
  case Field::CPPTYPE_##CASE:                                                               \
    number(static_cast<Number>(one ? reflection.Get##Name(message, &field)                  \
                                   : reflection.GetRepeated##Name(message, &field, index)), \
           nullptr, rules);                                                                 \
    return;
    MILLRACE_NUMBER(INT32, Int32)
    MILLRACE_NUMBER(INT64, Int64)
    MILLRACE_NUMBER(UINT32, UInt32)
    MILLRACE_NUMBER(UINT64, UInt64)
    MILLRACE_NUMBER(FLOAT, Float)
    MILLRACE_NUMBER(DOUBLE, Double)
    MILLRACE_NUMBER(BOOL, Bool)
#undef MILLRACE_NUMBER
    case Field::CPPTYPE_ENUM:
      number(one ? reflection.GetEnumValue(message, &field)
                 : reflection.GetRepeatedEnumValue(message, &field, index),
             field.enum_type(), rules);
      return;
    case Field::CPPTYPE_STRING: {
      std::string scratch;
      text(one ? reflection.GetStringReference(message, &field, &scratch)
               : reflection.GetRepeatedStringReference(message, &field, index, &scratch),
           rules);
      return;
    }
    case Field::CPPTYPE_MESSAGE:
      return;
  }
}

void Validator::number(Number value, const pb::EnumDescriptor* enumeration, const FieldRules& rules) {
  if (enumeration == nullptr) {
    if (rules.ignore_empty && value == 0) return;
    if (rules.number != nullptr) violation(check_number(value, *rules.number, rules.unit));
    return;
  }
  const pb::EnumValueDescriptor* known = enumeration->FindValueByNumber(static_cast<int>(value));
  if (rules.defined_only && known == nullptr) {
    violation(std::to_string(static_cast<int>(value)) + " is not a value of " + enumeration->name());
  } else if (rules.number != nullptr && !check_number(value, *rules.number, rules.unit).empty()) {
    violation((known == nullptr ? std::to_string(static_cast<int>(value)) : known->name()) +
              " is not allowed here");
  }
}

void Validator::text(std::string_view value, const FieldRules& rules) {
  if (rules.text == nullptr || (rules.ignore_empty && value.empty())) return;
  violation(check_text(value, *rules.text));
}

void Validator::required_oneof(const pb::Message& message, const pb::OneofDescriptor& oneof) {
  if (message.GetReflection()->HasOneof(message, &oneof)) return;
  std::string names;
  bool tried = is_faulty();
  for (int i = 0; i < oneof.field_count(); ++i) {
    const Field& field = *oneof.field(i);
    path_.push_field(field.name());
    tried = tried || is_faulty();
    path_.pop();
    if (!field.options().deprecated()) names += (names.empty() ? "'" : ", '") + field.name() + "'";
  }
  if (tried) return;
  const bool several = names.find(',') != std::string::npos;
  diagnostics_.error(path_.text(), (several ? "one of " : "") + names + " must be set");
}

}  // namespace

void validate_rules(const pb::Message& message, const ApiPool& types, Diagnostics& diagnostics) {
  Validator(types, diagnostics).message(message);
}

}  // namespace millrace::config
