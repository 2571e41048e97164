#include "config/support.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/assert.h"
#include "config/api_pool.h"
#include "config/diagnostics.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;

constexpr std::string_view kNotYet = "known to Envoy, not supported by Millrace yet";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t start = line.find_first_not_of(' ');
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    const size_t end = std::min(line.find(' '), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

// name, name{A,B}, name<prefix> or name[0]
SupportedField parse_field(std::string_view word) {
  SupportedField field;
  if (word.ends_with("[0]")) {
    field.first_only = true;
    word.remove_suffix(3);
  }
  if (const size_t brace = word.find('{'); brace != std::string_view::npos) {
    MILLRACE_ASSERT(word.ends_with('}'));
    std::string_view values = word.substr(brace + 1, word.size() - brace - 2);
    while (!values.empty()) {
      const size_t comma = std::min(values.find(','), values.size());
      field.values.emplace_back(values.substr(0, comma));
      values.remove_prefix(std::min(comma + 1, values.size()));
    }
    word = word.substr(0, brace);
  }
  if (const size_t angle = word.find('<'); angle != std::string_view::npos) {
    MILLRACE_ASSERT(word.ends_with('>'));
    field.type_prefix = std::string(word.substr(angle + 1, word.size() - angle - 2));
    word = word.substr(0, angle);
  }
  field.name = std::string(word);
  return field;
}

// The table by message name, parsed once.
const std::unordered_map<std::string, SupportedMessage>& table() {
  static const auto* const kTable = [] {
    auto* map = new std::unordered_map<std::string, SupportedMessage>;
    for (SupportedMessage& message : parse_support_table(support_table_source())) {
      std::string name = message.name;
      const bool inserted = map->emplace(std::move(name), std::move(message)).second;
      MILLRACE_ASSERT(inserted);
    }
    return map;
  }();
  return *kTable;
}

const SupportedMessage* find_message(const std::string& name) {
  const auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}

bool is_any(const pb::Descriptor& type) {
  return type.full_name() == "google.protobuf.Any";
}

// Duration, wrappers, Struct, Timestamp: plain values, honoured wherever their field is.
bool is_plain_value(const pb::Descriptor& type) {
  return type.full_name().starts_with("google.protobuf.") && !is_any(type);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// A filter that may be left out when it is not known, and is not.
bool optional_and_unknown(const pb::Message& message) {
  const pb::Descriptor& type = *message.GetDescriptor();
  const pb::FieldDescriptor* optional = type.FindFieldByName("is_optional");
  if (optional == nullptr || optional->cpp_type() != pb::FieldDescriptor::CPPTYPE_BOOL) return false;
  const pb::Reflection& reflection = *message.GetReflection();
  if (!reflection.GetBool(message, optional)) return false;
  for (const char* name : {"typed_config", "config"}) {
    const pb::FieldDescriptor* field = type.FindFieldByName(name);
    if (field == nullptr || field->message_type() == nullptr || !is_any(*field->message_type())) continue;
    const pb::Message& any = reflection.GetMessage(message, field);
    const std::string url = any.GetReflection()->GetString(any, any.GetDescriptor()->FindFieldByName("type_url"));
    return !url.empty() && find_message(url.substr(url.rfind('/') + 1)) == nullptr;
  }
  return false;
}

class Walk {
 public:
  // type_prefix: what the type within an Any must start with; of a message that wraps an Any, that of the Any.
  void walk(const pb::Message& message, std::string_view type_prefix = {});
  SupportFindings findings;

 private:
  void field(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule,
             std::string_view outer_prefix);
  void map(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule);
  void any(const pb::Message& any, std::string_view type_prefix);
  void check_value(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule);
  void unsupported(std::string what) { findings.unsupported.push_back({path_, std::move(what)}); }
  void ignored(std::string why) { findings.ignored.push_back({path_, std::move(why)}); }

  // Extends the path for the life of the object.
  class Step {
   public:
    Step(std::string* path, std::string_view text) : path_(path), size_(path->size()) { *path += text; }
    ~Step() { path_->resize(size_); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    std::string* path_;
    size_t size_;
  };
  Step into_field(const pb::FieldDescriptor& field) { return Step(&path_, (path_.empty() ? "" : ".") + field.name()); }
  Step into_item(size_t index) { return Step(&path_, "[" + std::to_string(index) + "]"); }

  // protobuf limits the nesting of what it parses, but starts anew with each Any.
  static constexpr int kAnyDepthMax = 50;
  std::string path_;
  int any_depth_ = 0;
};

void Walk::walk(const pb::Message& message, std::string_view type_prefix) {
  const pb::Descriptor& type = *message.GetDescriptor();
  if (is_any(type)) return any(message, type_prefix);
  if (is_plain_value(type)) return;
  if (optional_and_unknown(message)) return ignored("optional, and not supported by Millrace yet");
  const SupportedMessage* supported = find_message(type.full_name());
  std::vector<const pb::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const pb::FieldDescriptor* set : fields) {
    const Step step = into_field(*set);
    const SupportedField* rule = supported == nullptr ? nullptr : supported->find(set->name());
    if (rule == nullptr) {
      unsupported(std::string(kNotYet));
    } else if (!rule->ignored_because.empty()) {
      ignored(rule->ignored_because);
    } else {
      field(message, *set, *rule, type_prefix);
    }
  }
}

void Walk::field(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule,
                 std::string_view outer_prefix) {
  const pb::Reflection& reflection = *message.GetReflection();
  const std::string_view prefix = rule.type_prefix.empty() ? outer_prefix : rule.type_prefix;
  if (!rule.values.empty()) check_value(message, field, rule);
  if (field.is_map()) return map(message, field, rule);
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) return;
  if (!field.is_repeated()) return walk(reflection.GetMessage(message, &field), prefix);
  const int size = reflection.FieldSize(message, &field);
  for (int i = 0; i < size; ++i) {
    const Step step = into_item(static_cast<size_t>(i));
    if (rule.first_only && i > 0) {
      ignored("a fallback of the first item, which is used");
    } else {
      walk(reflection.GetRepeatedMessage(message, &field, i), prefix);
    }
  }
}

// Entries in the order of their keys: the order within a map is nobody's.
void Walk::map(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule) {
  const pb::FieldDescriptor& key = *field.message_type()->map_key();
  const pb::FieldDescriptor& content = *field.message_type()->map_value();
  if (content.cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) return;
  if (key.cpp_type() != pb::FieldDescriptor::CPPTYPE_STRING) return unsupported(std::string(kNotYet));
  const pb::Reflection& reflection = *message.GetReflection();
  std::map<std::string, const pb::Message*> entries;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const pb::Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    entries[entry.GetReflection()->GetString(entry, &key)] = &entry;
  }
  for (const auto& [name, entry] : entries) {
    const Step step(&path_, "[\"" + name + "\"]");
    walk(entry->GetReflection()->GetMessage(*entry, &content), rule.type_prefix);
  }
}

void Walk::any(const pb::Message& any, std::string_view type_prefix) {
  const pb::Reflection& reflection = *any.GetReflection();
  const std::string url = reflection.GetString(any, any.GetDescriptor()->FindFieldByName("type_url"));
  if (url.empty()) return;
  const pb::Descriptor* type = ApiPool::get().find_message_by_url(url);
  if (type == nullptr) return unsupported("unknown type " + url);
  if (!type->full_name().starts_with(type_prefix)) {
    return unsupported(type->full_name() + " has no place here; expected: a type of " + std::string(type_prefix));
  }
  if (is_plain_value(*type)) return;
  if (!is_any(*type) && find_message(type->full_name()) == nullptr) {
    return unsupported(type->full_name() + ": " + std::string(kNotYet));
  }
  const std::unique_ptr<pb::Message> content = ApiPool::get().new_message(*type);
  if (!content->ParseFromString(reflection.GetString(any, any.GetDescriptor()->FindFieldByName("value")))) {
    return unsupported("does not parse as " + type->full_name());
  }
  if (any_depth_ == kAnyDepthMax)
    return unsupported("more than " + std::to_string(kAnyDepthMax) + " Any in each other");
  ++any_depth_;
  walk(*content);
  --any_depth_;
}

// The one value of an enum, a bool or a BoolValue against those the rule allows.
void Walk::check_value(const pb::Message& message, const pb::FieldDescriptor& field, const SupportedField& rule) {
  const pb::Reflection& reflection = *message.GetReflection();
  std::string text;
  if (field.cpp_type() == pb::FieldDescriptor::CPPTYPE_ENUM) {
    const pb::EnumValueDescriptor* number =
        field.enum_type()->FindValueByNumber(reflection.GetEnumValue(message, &field));
    text = number == nullptr ? "?" : number->name();
  } else if (field.cpp_type() == pb::FieldDescriptor::CPPTYPE_BOOL) {
    text = reflection.GetBool(message, &field) ? "true" : "false";
  } else {
    const pb::Message& wrapper = reflection.GetMessage(message, &field);
    const pb::FieldDescriptor* wrapped = wrapper.GetDescriptor()->FindFieldByName("value");
    text = wrapper.GetReflection()->GetBool(wrapper, wrapped) ? "true" : "false";
  }
  if (std::find(rule.values.begin(), rule.values.end(), text) != rule.values.end()) return;
  unsupported(text + " is " + std::string(kNotYet) + "; supported: " + joined(rule.values));
}

void append_list(const char* title, const std::vector<std::string>& items, const char* separator, std::string* out) {
  if (items.empty()) return;
  *out += "- ";
  *out += title;
  *out += ": ";
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) *out += separator;
    *out += items[i];
  }
  *out += "\n";
}

}  // namespace

const SupportedField* SupportedMessage::find(std::string_view field) const {
  const auto it = std::find_if(fields.begin(), fields.end(), [field](const auto& f) { return f.name == field; });
  return it == fields.end() ? nullptr : &*it;
}

std::vector<SupportedMessage> parse_support_table(std::string_view source) {
  std::vector<SupportedMessage> messages;
  while (!source.empty()) {
    const size_t end = std::min(source.find('\n'), source.size());
    const std::string_view line = source.substr(0, end);
    source.remove_prefix(std::min(end + 1, source.size()));
    if (line.empty() || line.front() == '#') continue;
    if (line.front() != ' ') {
      messages.push_back({std::string(line), {}});
      continue;
    }
    MILLRACE_ASSERT(!messages.empty());
    std::vector<SupportedField>& fields = messages.back().fields;
    const size_t colon = line.find(':');
    const std::vector<std::string_view> words = words_of(line.substr(0, colon));
    const bool ignored = words.front() == "-";
    MILLRACE_ASSERT(ignored == (colon != std::string_view::npos));
    for (size_t i = ignored ? 1 : 0; i < words.size(); ++i) {
      SupportedField field = parse_field(words[i]);
      if (ignored) field.ignored_because = std::string(line.substr(line.find_first_not_of(' ', colon + 1)));
      fields.push_back(std::move(field));
    }
  }
  return messages;
}

SupportFindings check_support(const pb::Message& message) {
  Walk walk;
  walk.walk(message);
  return std::move(walk.findings);
}

std::vector<SupportNote> enforce_support(const pb::Message& message, Diagnostics& diagnostics) {
  SupportFindings findings = check_support(message);
  for (SupportNote& note : findings.unsupported) diagnostics.error(note.path, std::move(note.what));
  return std::move(findings.ignored);
}

std::string support_table_markdown() {
  std::string out = "# What Millrace supports of Envoy's v3 API\n";
  for (const SupportedMessage& message : parse_support_table(support_table_source())) {
    std::vector<std::string> honoured, without_effect, not_yet;
    for (const SupportedField& field : message.fields) {
      if (!field.ignored_because.empty()) {
        without_effect.push_back("`" + field.name + "` (" + field.ignored_because + ")");
      } else {
        honoured.push_back("`" + field.name + "`" + (field.values.empty() ? "" : " (" + joined(field.values) + ")") +
                           (field.first_only ? " (the first)" : ""));
      }
    }
    const pb::Descriptor* type = ApiPool::get().find_message(message.name);
    MILLRACE_ASSERT(type != nullptr);
    for (int i = 0; i < type->field_count(); ++i) {
      if (message.find(type->field(i)->name()) == nullptr) not_yet.push_back("`" + type->field(i)->name() + "`");
    }
    out += "\n## " + message.name + "\n\n";
    append_list("honoured", honoured, ", ", &out);
    append_list("accepted, no effect", without_effect, "; ", &out);
    append_list("not yet", not_yet, ", ", &out);
    if (type->field_count() == 0) out += "- honoured (it has no fields)\n";
  }
  return out;
}

}  // namespace millrace::config
