#include "config/proto_builder.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/proto_builder_scalars.h"
#include "config/similar.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

// The part of a type URL that names the type; empty when there is no '/', which Envoy refuses.
std::string_view type_name_of(std::string_view type_url) {
  const size_t slash = type_url.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : type_url.substr(slash + 1);
}

class Builder {
 public:
  Builder(const ApiPool& types, const BuildOptions& options, Positions& positions, Diagnostics& diagnostics)
      : types_(types), options_(options), positions_(positions), diagnostics_(diagnostics) {}

  void message(const Node& node, pb::Message& message, Positions::Id at);

 private:
  using Id = Positions::Id;
  using Field = pb::FieldDescriptor;

  void members(const Node& node, pb::Message& message, Id at);
  void member(const Member& member, const Field& field, pb::Message& message, Id at);
  void list(const Node& node, const Field& field, pb::Message& message, Id at);
  void map(const Node& node, const Field& field, pb::Message& message, Id at);
  void map_entry(const Member& member, const Field& field, pb::Message& message, Id at);
  void item(const Node& node, const Field& field, pb::Message& message, Id at);
  void any(const Node& node, pb::Message& any, Id at);
  void typed_struct(const Node& node, pb::Message& any, Id at);
  void pack(const Node& content_node, std::string_view type_url, const pb::Descriptor& type, pb::Message& any,
            Id at);
  bool scalar_message(const Node& node, pb::Message& message);
  void instant(const Node& node, pb::Message& message);
  void struct_value(const Node& node, pb::Message& value);
  void struct_fields(const Node& node, pb::Message& message);
  void list_values(const Node& node, pb::Message& message);

  const Field* find_field(const pb::Descriptor& type, const std::string& key) const;
  void unknown_field(const Node& key, const pb::Descriptor& type);
  void unknown_type(const Node& url);
  void expected_message(const Node& node, const pb::Descriptor& type);
  void error(const Node& node, std::string what, std::string hint = {}) {
    diagnostics_.error_at(node.place, path_.text(), std::move(what), std::move(hint));
  }

  const ApiPool& types_;
  const BuildOptions& options_;
  Positions& positions_;
  Diagnostics& diagnostics_;
  FieldPath path_;
  std::vector<const pb::Descriptor*> enclosing_;  // the messages around the field at hand, outermost first
  std::unordered_map<std::string, std::string> near_types_;
  const Node* any_content_ =
      nullptr;  // the innermost packed message's node, which has an '@type' besides its fields
};

// Everywhere else null is the same as absent.
bool null_is_value(const pb::FieldDescriptor& field) {
  return field.message_type() != nullptr &&
         field.message_type()->well_known_type() == pb::Descriptor::WELLKNOWNTYPE_VALUE;
}

std::string list_of_fields(const pb::Descriptor& type) {
  constexpr int kMostShown = 10;
  std::string out = "it has the fields ";
  int shown = 0;
  for (int i = 0; i < type.field_count() && shown < kMostShown; ++i) {
    if (type.field(i)->options().deprecated()) continue;
    out += (shown++ == 0 ? "" : ", ") + type.field(i)->name();
  }
  if (shown == 0) return type.name() + " has no fields: write {}";
  return out + (type.field_count() > kMostShown ? ", ..." : "");
}

void Builder::message(const Node& node, pb::Message& message, Id at) {
  switch (message.GetDescriptor()->well_known_type()) {
    case pb::Descriptor::WELLKNOWNTYPE_ANY:
      any(node, message, at);
      return;
    case pb::Descriptor::WELLKNOWNTYPE_VALUE:
      struct_value(node, message);
      return;
    case pb::Descriptor::WELLKNOWNTYPE_STRUCT:
      struct_fields(node, message);
      return;
    case pb::Descriptor::WELLKNOWNTYPE_LISTVALUE:
      list_values(node, message);
      return;
    case pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED:
      break;
    default:
      // Durations, timestamps, masks and wrappers are scalars; spelt out as messages they are accepted too.
      if (node.is_scalar() && scalar_message(node, message)) return;
      break;
  }
  if (!node.is_map()) {
    expected_message(node, *message.GetDescriptor());
    return;
  }
  members(node, message, at);
}

void Builder::members(const Node& node, pb::Message& message, Id at) {
  const pb::Descriptor& type = *message.GetDescriptor();
  enclosing_.push_back(&type);
  std::vector<const Field*> seen;
  for (const Member& each : node.members) {
    if (&node == any_content_ && each.key->text == "@type") continue;
    const Field* field = find_field(type, each.key->text);
    if (field == nullptr) {
      unknown_field(*each.key, type);
      continue;
    }
    if (each.value->is_null() && (field->is_repeated() || !null_is_value(*field))) continue;
    path_.push_field(field->name());
    const pb::OneofDescriptor* oneof = field->real_containing_oneof();
    const auto clash = std::find_if(seen.begin(), seen.end(), [&](const Field* other) {
      return other == field || (oneof != nullptr && other->real_containing_oneof() == oneof);
    });
    if (clash == seen.end()) {
      seen.push_back(field);
      member(each, *field, message, at);
    } else if (*clash == field) {
      error(*each.key, "set twice, under two spellings");
    } else {
      error(*each.key, "'" + (*clash)->name() + "' is set as well, and only one of them can be",
            "they are alternatives of '" + oneof->name() + "'");
    }
    path_.pop();
  }
  enclosing_.pop_back();
}

void Builder::member(const Member& member, const Field& field, pb::Message& message, Id at) {
  // The value of a block mapping begins a line below its key, where nobody would look for it.
  const Place place = member.value->is_scalar() ? member.value->place : member.key->place;
  const Id id = positions_.add_field(at, field.name(), place);
  if (field.is_map()) {
    map(*member.value, field, message, id);
  } else if (field.is_repeated()) {
    list(*member.value, field, message, id);
  } else {
    item(*member.value, field, message, id);
  }
}

void Builder::list(const Node& node, const Field& field, pb::Message& message, Id at) {
  const bool list_of_lists = field.message_type() != nullptr && field.message_type()->well_known_type() ==
                                                                    pb::Descriptor::WELLKNOWNTYPE_LISTVALUE;
  if (!node.is_sequence() ||
      (list_of_lists && !node.members.empty() && !node.members[0].value->is_sequence())) {
    path_.push_index(0);
    item(node, field, message, positions_.add_index(at, 0, node.place));
    path_.pop();
    return;
  }
  uint32_t index = 0;
  for (const Member& each : node.members) {
    path_.push_index(index);
    if (each.value->is_null() && !null_is_value(field)) {
      error(*each.value, "an empty list item", "remove it or fill it in");
    } else {
      item(*each.value, field, message, positions_.add_index(at, index, each.value->place));
      ++index;
    }
    path_.pop();
  }
}

void Builder::map(const Node& node, const Field& field, pb::Message& message, Id at) {
  if (!node.is_map()) {
    error(node, "a mapping of names to values is expected, not " + node.describe());
    return;
  }
  for (const Member& each : node.members) {
    if (each.value->is_null()) continue;
    path_.push_key(each.key->text);
    map_entry(each, field, message, positions_.add_key(at, each.key->text, each.key->place));
    path_.pop();
  }
}

void Builder::map_entry(const Member& member, const Field& field, pb::Message& message, Id at) {
  pb::Message& entry = *message.GetReflection()->AddMessage(&message, &field);
  const Field& key_field = *field.message_type()->map_key();
  const Field& value_field = *field.message_type()->map_value();
  Node key = *member.key;  // keys are text whatever they look like
  if (key_field.cpp_type() == Field::CPPTYPE_STRING) key.style = Node::Style::kString;
  const auto stored = store_scalar(key, key_field, entry);
  if (const Misfit* misfit = std::get_if<Misfit>(&stored)) error(*member.key, misfit->what, misfit->hint);
  item(*member.value, value_field, entry, at);
}

// One value: of a singular field, of a list or of a map entry.
void Builder::item(const Node& node, const Field& field, pb::Message& message, Id at) {
  if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
    const pb::Reflection& reflection = *message.GetReflection();
    pb::Message& child = field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                             : *reflection.MutableMessage(&message, &field);
    if (field.message_type()->well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED)
      positions_.set_whole(at);
    this->message(node, child, at);
    return;
  }
  positions_.set_whole(at);
  if (!node.is_scalar()) {
    error(node, "a single value is expected, not " + node.describe());
    return;
  }
  const auto stored = store_scalar(node, field, message);
  if (const Misfit* misfit = std::get_if<Misfit>(&stored)) error(node, misfit->what, misfit->hint);
}

const pb::FieldDescriptor* Builder::find_field(const pb::Descriptor& type, const std::string& key) const {
  if (const Field* field = type.FindFieldByName(key)) return field;
  if (const Field* field = type.FindFieldByCamelcaseName(key)) return field;
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->json_name() == key) return type.field(i);
  }
  return nullptr;
}

void Builder::unknown_field(const Node& key, const pb::Descriptor& type) {
  if (is_placeholder(key.text)) {
    error(key, "'" + key.text + "' is a placeholder, not configuration", "write what it stands for");
    return;
  }
  path_.push_field(key.text);
  std::string what = "unknown field of " + type.name();
  std::string hint;
  const auto around = std::find_if(
      enclosing_.rbegin() + 1, enclosing_.rend(),
      [&](const pb::Descriptor* outer) { return outer != &type && find_field(*outer, key.text) != nullptr; });
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  const std::string near = closest_name(key.text, names);
  if (key.text == "config" && type.FindFieldByName("typed_config") != nullptr) {
    what = "'config' is the v2 way to configure an extension, which Envoy v3 has not";
    hint = "write typed_config with an '@type'";
  } else if (key.text == "@type") {
    what = "'@type' belongs to extensions, " + type.name() + " is none";
    hint = "remove it";
  } else if (around != enclosing_.rend()) {
    hint = "'" + key.text + "' is a field of " + (*around)->name() + " around it: look at the indentation";
  } else if (!near.empty()) {
    hint = "did you mean '" + near + "'?";
  } else {
    hint = list_of_fields(type);
  }
  const auto report = options_.allow_unknown_fields ? &Diagnostics::warning_at : &Diagnostics::error_at;
  (diagnostics_.*report)(key.place, path_.text(), std::move(what), std::move(hint));
  path_.pop();
}

void Builder::expected_message(const Node& node, const pb::Descriptor& type) {
  if (node.is_scalar() && is_placeholder(node.text)) {
    error(node, "'" + node.text + "' is a placeholder, " + type.name() + " belongs here",
          list_of_fields(type));
  } else if (node.is_sequence()) {
    error(node, "a list, where one " + type.name() + " is expected", "remove the '-' or the brackets");
  } else {
    error(node, "a mapping (" + type.name() + ") is expected, not " + node.describe(), list_of_fields(type));
  }
}

void Builder::any(const Node& node, pb::Message& any, Id at) {
  if (!node.is_map()) {
    error(node,
          "the configuration of an extension is expected, a mapping with an '@type', not " + node.describe());
    return;
  }
  if (node.members.empty()) return;  // legal, and sets nothing
  const Member* url = node.find("@type");
  if (url == nullptr) {
    error(node, "no '@type' says what this configures",
          "add \"@type\": type.googleapis.com/ and the full name of the message");
    return;
  }
  const std::string_view name = url->value->is_scalar() ? type_name_of(url->value->text) : std::string_view{};
  if (name.empty()) {
    error(*url->value, "'@type' is " + url->value->describe() + ", not a type URL",
          "it is type.googleapis.com/ and the full name of a message");
    return;
  }
  const bool wrapped = name == "xds.type.v3.TypedStruct" || name == "udpa.type.v1.TypedStruct";
  if (wrapped && (node.find("type_url") != nullptr || node.find("typeUrl") != nullptr)) {
    typed_struct(node, any, at);
    return;
  }
  const pb::Descriptor* type = types_.find_message(name);
  if (type == nullptr) {
    unknown_type(*url->value);
    return;
  }
  // Types with a JSON form of their own have it under 'value'.
  if (type->well_known_type() == pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
    pack(node, url->value->text, *type, any, at);
  } else if (const Member* value = node.find("value")) {
    pack(*value->value, url->value->text, *type, any, at);
  } else {
    error(node, "a " + type->name() + " in an Any stands under 'value'");
  }
}

void Builder::typed_struct(const Node& node, pb::Message& any, Id at) {
  const Member* url = nullptr;
  const Member* value = nullptr;
  for (const Member& each : node.members) {
    if (each.key->text == "type_url" || each.key->text == "typeUrl") {
      url = &each;
    } else if (each.key->text == "value") {
      value = &each;
    } else if (each.key->text != "@type") {
      error(*each.key, "unknown field '" + each.key->text + "' of TypedStruct",
            "it has the fields type_url, value");
    }
  }
  const std::string_view name = url->value->is_scalar() ? type_name_of(url->value->text) : std::string_view{};
  const pb::Descriptor* type = name.empty() ? nullptr : types_.find_message(name);
  if (type == nullptr) {
    unknown_type(*url->value);
    return;
  }
  Node nothing;
  nothing.kind = Node::Kind::kMap;
  nothing.place = node.place;
  pack(value == nullptr || value->value->is_null() ? nothing : *value->value, url->value->text, *type, any,
       at);
}

void Builder::pack(const Node& content_node, std::string_view type_url, const pb::Descriptor& type,
                   pb::Message& any, Id at) {
  const std::unique_ptr<pb::Message> content = types_.new_message(type);
  const Node* outer = std::exchange(any_content_, &content_node);
  message(content_node, *content, at);
  any_content_ = outer;
  const pb::Reflection& reflection = *any.GetReflection();
  reflection.SetString(&any, any.GetDescriptor()->FindFieldByNumber(1), std::string(type_url));
  reflection.SetString(&any, any.GetDescriptor()->FindFieldByNumber(2), content->SerializePartialAsString());
}

void Builder::unknown_type(const Node& url) {
  const std::string_view name = type_name_of(url.text);
  // The comparison with every type takes milliseconds; a file that has one wrong type often has it a hundred
  // times.
  constexpr size_t kLongestName = 200;
  const auto [known, fresh] = near_types_.try_emplace(url.text);
  std::string& near = known->second;
  if (fresh && url.text.size() < kLongestName && near_types_.size() < Diagnostics::kMost) {
    // Reading the names costs more than comparing them, and a process seldom meets an unknown type.
    static const std::vector<std::string> names = types_.message_names();
    near = closest_type(name.empty() ? std::string_view(url.text) : name, names);
  }
  std::string hint;
  if (!near.empty()) hint = "did you mean 'type.googleapis.com/" + near + "'?";
  if (near.empty() && name.starts_with("envoy.")) hint = "a type of Envoy's contrib, or of another version?";
  path_.push_field("@type");
  error(url, "unknown type '" + url.text + "'", std::move(hint));
  path_.pop();
}

// Duration, Timestamp, FieldMask and the wrappers; false when it is none of them.
bool Builder::scalar_message(const Node& node, pb::Message& message) {
  const pb::Descriptor& type = *message.GetDescriptor();
  switch (type.well_known_type()) {
    case pb::Descriptor::WELLKNOWNTYPE_DURATION:
    case pb::Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      instant(node, message);
      return true;
    case pb::Descriptor::WELLKNOWNTYPE_FIELDMASK:
      for (std::string& path : parse_field_mask(node.text)) {
        message.GetReflection()->AddString(&message, type.FindFieldByNumber(1), std::move(path));
      }
      return true;
    default:
      break;
  }
  const Field* value = type.FindFieldByNumber(1);
  if (value == nullptr || type.field_count() != 1 || value->is_repeated()) return false;
  const auto stored = store_scalar(node, *value, message);
  if (const Misfit* misfit = std::get_if<Misfit>(&stored)) error(node, misfit->what, misfit->hint);
  return true;
}

void Builder::instant(const Node& node, pb::Message& message) {
  const pb::Descriptor& type = *message.GetDescriptor();
  const bool duration = type.well_known_type() == pb::Descriptor::WELLKNOWNTYPE_DURATION;
  const Parsed<Instant> parsed = duration ? parse_duration(node) : parse_timestamp(node);
  if (const Misfit* misfit = std::get_if<Misfit>(&parsed)) {
    error(node, misfit->what, misfit->hint);
    return;
  }
  const Instant& value = std::get<Instant>(parsed);
  message.GetReflection()->SetInt64(&message, type.FindFieldByNumber(1), value.seconds);
  message.GetReflection()->SetInt32(&message, type.FindFieldByNumber(2), value.nanos);
}

// The field numbers below are those of google/protobuf/struct.proto.
void Builder::struct_value(const Node& node, pb::Message& value) {
  const pb::Descriptor& type = *value.GetDescriptor();
  const pb::Reflection& reflection = *value.GetReflection();
  const auto field = [&](int number) { return type.FindFieldByNumber(number); };
  switch (node.kind) {
    case Node::Kind::kNull:
      reflection.SetEnumValue(&value, field(1), 0);
      return;
    case Node::Kind::kMap:
      struct_fields(node, *reflection.MutableMessage(&value, field(5)));
      return;
    case Node::Kind::kSequence:
      list_values(node, *reflection.MutableMessage(&value, field(6)));
      return;
    case Node::Kind::kScalar:
      break;
  }
  switch (scalar_type(node)) {
    case ScalarType::kBool:
      reflection.SetBool(&value, field(4), bool_of(node));
      return;
    case ScalarType::kText:
      reflection.SetString(&value, field(3), node.text);
      return;
    case ScalarType::kNumber:
      break;
  }
  const auto stored = store_scalar(node, *field(2), value);
  if (const Misfit* misfit = std::get_if<Misfit>(&stored)) error(node, misfit->what, misfit->hint);
}

void Builder::struct_fields(const Node& node, pb::Message& message) {
  if (!node.is_map()) {
    error(node, "a mapping is expected, not " + node.describe());
    return;
  }
  const Field* fields = message.GetDescriptor()->FindFieldByNumber(1);
  for (const Member& each : node.members) {
    pb::Message& entry = *message.GetReflection()->AddMessage(&message, fields);
    const pb::Reflection& reflection = *entry.GetReflection();
    reflection.SetString(&entry, fields->message_type()->map_key(), each.key->text);
    struct_value(*each.value, *reflection.MutableMessage(&entry, fields->message_type()->map_value()));
  }
}

void Builder::list_values(const Node& node, pb::Message& message) {
  if (!node.is_sequence()) {
    error(node, "a list is expected, not " + node.describe());
    return;
  }
  const Field* values = message.GetDescriptor()->FindFieldByNumber(1);
  for (const Member& each : node.members) {
    struct_value(*each.value, *message.GetReflection()->AddMessage(&message, values));
  }
}

}  // namespace

void build_message(const Node& root, const ApiPool& types, const BuildOptions& options, pb::Message& message,
                   Positions& positions, Diagnostics& diagnostics) {
  positions.set_root(root.place);
  if (root.is_null()) return;
  Builder(types, options, positions, diagnostics).message(root, message, Positions::kRoot);
}

}  // namespace millrace::config
