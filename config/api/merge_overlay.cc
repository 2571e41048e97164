// Build tool: merges overlay.txt (what Envoy's API gained since the fetched protos) into their
// FileDescriptorSet.
//
//   merge_overlay BASE.binpb OVERLAY.txt ROOTS.txt OUT.binpb CLOSURE.txt
//
// OUT holds every file of BASE plus the new ones, imports before importers, each checked by
// building it in a DescriptorPool. CLOSURE lists the files that the protos of ROOTS need, roots
// included: those C++ is generated for. Options such as (validate.rules) are extensions this
// program does not know; protobuf keeps them as unknown fields, byte for byte. Any contradiction
// between overlay and base (a number taken, a type nobody defines) ends the build with its line.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace pb = google::protobuf;

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "merge_overlay: " << what << "\n";
  std::exit(1);
}

std::string camel_case(std::string_view name) {
  std::string out;
  bool upper = false;
  for (char c : name) {
    if (c == '_') {
      upper = true;
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  return out;
}

// google.protobuf's name for the hidden message of a map field.
std::string map_entry_name(std::string_view field) {
  std::string name = camel_case(field);
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return name + "Entry";
}

std::pair<std::string, std::string> split_last(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

const std::map<std::string, pb::FieldDescriptorProto::Type>& scalars() {
  using F = pb::FieldDescriptorProto;
  static const std::map<std::string, F::Type> table = {
      {"double", F::TYPE_DOUBLE}, {"float", F::TYPE_FLOAT},   {"int64", F::TYPE_INT64},
      {"uint64", F::TYPE_UINT64}, {"int32", F::TYPE_INT32},   {"uint32", F::TYPE_UINT32},
      {"bool", F::TYPE_BOOL},     {"string", F::TYPE_STRING}, {"bytes", F::TYPE_BYTES}};
  return table;
}

// Drops the one value [number] from reserved ranges (end exclusive for messages, inclusive for
// enums).
template <typename Ranges, typename Add>
void unreserve_number(Ranges* ranges, int number, int end_bias, Add add) {
  for (int i = 0; i < ranges->size(); ++i) {
    const int start = ranges->Get(i).start();
    const int end = ranges->Get(i).end() + end_bias;  // exclusive from here on
    if (number < start || number >= end) continue;
    ranges->DeleteSubrange(i, 1);
    if (start < number) add(start, number - end_bias);
    if (number + 1 < end) add(number + 1, end - end_bias);
    return;
  }
}

void unreserve_name(pb::RepeatedPtrField<std::string>* names, const std::string& name) {
  for (int i = 0; i < names->size(); ++i) {
    if (names->Get(i) == name) {
      names->DeleteSubrange(i, 1);
      return;
    }
  }
}

class Merger {
 public:
  explicit Merger(pb::FileDescriptorSet* base) {
    for (pb::FileDescriptorProto& file : *base->mutable_file()) add_file(std::move(file));
  }

  void apply(const std::string& overlay_path) {
    declare_all(overlay_path);  // first every new type, so that fields may refer to later lines
    fill_all(overlay_path);
  }

  pb::FileDescriptorSet in_import_order() {
    pb::FileDescriptorSet out;
    std::map<std::string, int> state;
    for (auto& [name, file] : files_) visit(name, &state, &out);
    return out;
  }

 private:
  struct Type {
    std::string file;
    pb::DescriptorProto* message = nullptr;
    pb::EnumDescriptorProto* enumeration = nullptr;
  };

  void add_file(pb::FileDescriptorProto file) {
    const std::string name = file.name();
    pb::FileDescriptorProto& kept = files_[name];
    kept = std::move(file);
    const std::string scope = kept.package().empty() ? "" : kept.package() + ".";
    for (auto& message : *kept.mutable_message_type()) index_message(name, scope, &message);
    for (auto& e : *kept.mutable_enum_type()) types_[scope + e.name()] = {name, nullptr, &e};
  }

  void index_message(const std::string& file, const std::string& scope,
                     pb::DescriptorProto* message) {
    const std::string full = scope + message->name();
    types_[full] = {file, message, nullptr};
    for (auto& nested : *message->mutable_nested_type()) index_message(file, full + ".", &nested);
    for (auto& e : *message->mutable_enum_type())
      types_[full + "." + e.name()] = {file, nullptr, &e};
  }

  [[noreturn]] void fail_here(const std::string& what) const { fail(where_ + ": " + what); }

  template <typename Each>
  void each_line(const std::string& path, Each each) {
    std::ifstream in(path);
    if (!in) fail("cannot read " + path);
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
      where_ = path + ":" + std::to_string(number);
      if (line.empty() || line[0] == '#') continue;
      std::istringstream stream(line);
      std::vector<std::string> words;
      for (std::string word; stream >> word;) words.push_back(word);
      each(words, line[0] == ' ');
    }
  }

  void declare_all(const std::string& path) {
    each_line(path, [this](const std::vector<std::string>& words, bool indented) {
      if (indented || words.size() < 3) return;
      if (words[0] == "message") declare(words[1], words[2], true);
      if (words[0] == "enum") declare(words[1], words[2], false);
    });
  }

  static std::string package_of(const std::string& type_name) {
    size_t end = 0;
    while (std::islower(static_cast<unsigned char>(type_name[end]))) {
      const size_t dot = type_name.find('.', end);
      if (dot == std::string::npos) return type_name;
      end = dot + 1;
    }
    return end == 0 ? "" : type_name.substr(0, end - 1);
  }

  void declare(const std::string& full, const std::string& path, bool is_message) {
    if (types_.count(full) != 0) fail_here(full + " exists already");
    auto [it, is_new_file] = files_.try_emplace(path);
    pb::FileDescriptorProto& file = it->second;
    if (is_new_file) {
      file.set_name(path);
      file.set_package(package_of(full));
      file.set_syntax("proto3");
    }
    const auto [scope, name] = split_last(full);
    Type type{path, nullptr, nullptr};
    if (scope == file.package()) {
      if (is_message) {
        type.message = file.add_message_type();
      } else {
        type.enumeration = file.add_enum_type();
      }
    } else {
      const auto parent = types_.find(scope);
      if (parent == types_.end() || parent->second.message == nullptr)
        fail_here("nothing declares " + scope);
      if (is_message) {
        type.message = parent->second.message->add_nested_type();
      } else {
        type.enumeration = parent->second.message->add_enum_type();
      }
    }
    if (is_message) {
      type.message->set_name(name);
    } else {
      type.enumeration->set_name(name);
    }
    types_[full] = type;
  }

  void fill_all(const std::string& path) {
    std::string current;
    each_line(path, [&](const std::vector<std::string>& words, bool indented) {
      if (!indented) {
        if (words.size() < 2) fail_here("a message or enum line needs a name");
        current = words[1];
        if (types_.count(current) == 0) fail_here("nothing declares " + current);
        return;
      }
      const Type& type = types_[current];
      if (type.enumeration != nullptr) {
        add_value(type.enumeration, words);
      } else if (type.message != nullptr) {
        add_field(type, words);
      } else {
        fail_here("a field without a message");
      }
    });
  }

  void add_value(pb::EnumDescriptorProto* e, const std::vector<std::string>& words) {
    if (words.size() != 2) fail_here("expected: NUMBER VALUE");
    const int number = std::atoi(words[0].c_str());
    for (const auto& value : e->value()) {
      if (value.number() == number) fail_here("number taken by " + value.name());
    }
    unreserve_number(e->mutable_reserved_range(), number, 1, [e](int start, int end) {
      auto* range = e->add_reserved_range();
      range->set_start(start);
      range->set_end(end);
    });
    unreserve_name(e->mutable_reserved_name(), words[1]);
    auto* value = e->add_value();
    value->set_name(words[1]);
    value->set_number(number);
  }

  void add_field(const Type& owner, const std::vector<std::string>& words) {
    if (words.size() < 3) fail_here("expected: NUMBER FIELD TYPE");
    pb::DescriptorProto* message = owner.message;
    const int number = std::atoi(words[0].c_str());
    if (words.size() == 4 && words[3].starts_with("was="))
      return change_field(owner, number, words);
    for (const auto& field : message->field()) {
      if (field.number() == number) fail_here("number taken by " + field.name());
      if (field.name() == words[1])
        fail_here("name taken by number " + std::to_string(field.number()));
    }
    unreserve_number(message->mutable_reserved_range(), number, 0, [message](int start, int end) {
      auto* range = message->add_reserved_range();
      range->set_start(start);
      range->set_end(end);
    });
    unreserve_name(message->mutable_reserved_name(), words[1]);

    pb::FieldDescriptorProto field;
    field.set_name(words[1]);
    field.set_json_name(camel_case(words[1]));
    field.set_number(number);
    set_label_and_type(owner, words[2], &field);
    for (size_t i = 3; i < words.size(); ++i) {
      if (words[i] == "deprecated") {
        field.mutable_options()->set_deprecated(true);
      } else if (words[i].starts_with("oneof=")) {
        field.set_oneof_index(oneof_index(message, words[i].substr(6)));
      } else {
        fail_here("unknown word " + words[i]);
      }
    }
    insert_field(message, std::move(field));
  }

  // protobuf wants the members of a oneof next to each other.
  static void insert_field(pb::DescriptorProto* message, pb::FieldDescriptorProto field) {
    int at = message->field_size();
    if (field.has_oneof_index()) {
      for (int i = 0; i < message->field_size(); ++i) {
        const auto& other = message->field(i);
        if (other.has_oneof_index() && other.oneof_index() == field.oneof_index()) at = i + 1;
      }
    }
    *message->add_field() = std::move(field);
    for (int i = message->field_size() - 1; i > at; --i)
      message->mutable_field()->SwapElements(i, i - 1);
  }

  // A field that got another name or type; its options stay.
  void change_field(const Type& owner, int number, const std::vector<std::string>& words) {
    const std::string old_name = words[3].substr(4);
    for (auto& field : *owner.message->mutable_field()) {
      if (field.number() != number || field.name() != old_name) continue;
      field.set_name(words[1]);
      field.set_json_name(camel_case(words[1]));
      field.clear_type_name();
      set_label_and_type(owner, words[2], &field);
      return;
    }
    fail_here("no field " + old_name + " with that number");
  }

  static int oneof_index(pb::DescriptorProto* message, const std::string& name) {
    for (int i = 0; i < message->oneof_decl_size(); ++i) {
      if (message->oneof_decl(i).name() == name) return i;
    }
    message->add_oneof_decl()->set_name(name);
    return message->oneof_decl_size() - 1;
  }

  void set_label_and_type(const Type& owner, std::string type, pb::FieldDescriptorProto* field) {
    field->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    if (type.ends_with("[]")) {
      type.resize(type.size() - 2);
      field->set_label(pb::FieldDescriptorProto::LABEL_REPEATED);
    }
    if (type.starts_with("map<")) {
      set_map_type(owner, type, field);
    } else {
      set_type(owner.file, type, field);
    }
  }

  void set_map_type(const Type& owner, const std::string& type, pb::FieldDescriptorProto* field) {
    const size_t comma = type.find(',');
    if (comma == std::string::npos || type.back() != '>') fail_here("expected map<K,V>");
    pb::DescriptorProto entry;
    entry.set_name(map_entry_name(field->name()));
    entry.mutable_options()->set_map_entry(true);
    const std::string parts[] = {type.substr(4, comma - 4),
                                 type.substr(comma + 1, type.size() - comma - 2)};
    const char* const names[] = {"key", "value"};
    for (int i = 0; i < 2; ++i) {
      auto* part = entry.add_field();
      part->set_name(names[i]);
      part->set_json_name(names[i]);
      part->set_number(i + 1);
      part->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
      set_type(owner.file, parts[i], part);
    }
    field->set_label(pb::FieldDescriptorProto::LABEL_REPEATED);
    field->set_type(pb::FieldDescriptorProto::TYPE_MESSAGE);
    field->set_type_name("." + full_name_of(owner) + "." + entry.name());
    *owner.message->add_nested_type() = std::move(entry);
  }

  std::string full_name_of(const Type& owner) const {
    for (const auto& [name, type] : types_) {
      if (type.message == owner.message) return name;
    }
    fail_here("message is not indexed");
  }

  void set_type(const std::string& file, const std::string& type, pb::FieldDescriptorProto* field) {
    if (const auto scalar = scalars().find(type); scalar != scalars().end()) {
      field->set_type(scalar->second);
      return;
    }
    const auto it = types_.find(type);
    if (it == types_.end()) fail_here("no such type: " + type);
    field->set_type(it->second.message != nullptr ? pb::FieldDescriptorProto::TYPE_MESSAGE
                                                  : pb::FieldDescriptorProto::TYPE_ENUM);
    field->set_type_name("." + type);
    import(file, it->second.file);
  }

  void import(const std::string& importer, const std::string& imported) {
    if (importer == imported) return;
    pb::FileDescriptorProto& file = files_[importer];
    for (const std::string& dependency : file.dependency()) {
      if (dependency == imported) return;
    }
    file.add_dependency(imported);
  }

  void visit(const std::string& name, std::map<std::string, int>* state,
             pb::FileDescriptorSet* out) {
    enum { kNew, kOpen, kDone };
    int& mine = (*state)[name];
    if (mine == kDone) return;
    if (mine == kOpen) fail("import cycle through " + name);
    mine = kOpen;
    const auto it = files_.find(name);
    if (it == files_.end()) fail("an import is missing: " + name);
    for (const std::string& dependency : it->second.dependency()) visit(dependency, state, out);
    *out->add_file() = it->second;
    (*state)[name] = kDone;
  }

  // Nodes of a map do not move and RepeatedPtrField keeps its elements in place: the pointers of
  // Type stay good.
  std::map<std::string, pb::FileDescriptorProto> files_;
  std::map<std::string, Type> types_;
  std::string where_;
};

class Complaints : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*,
                ErrorLocation, const std::string& message) override {
    std::cerr << "merge_overlay: " << file << ": " << element << ": " << message << "\n";
  }
};

void check(const pb::FileDescriptorSet& set) {
  pb::DescriptorPool pool;
  Complaints complaints;
  for (const auto& file : set.file()) {
    if (pool.BuildFileCollectingErrors(file, &complaints) == nullptr)
      fail("cannot build " + file.name());
  }
}

std::set<std::string> closure(const pb::FileDescriptorSet& set, const std::string& roots_path) {
  std::map<std::string, const pb::FileDescriptorProto*> files;
  for (const auto& file : set.file()) files[file.name()] = &file;
  std::vector<std::string> open;
  std::ifstream in(roots_path);
  if (!in) fail("cannot read " + roots_path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') open.push_back(line);
  }
  std::set<std::string> seen;
  while (!open.empty()) {
    const std::string name = open.back();
    open.pop_back();
    if (files.count(name) == 0) fail(roots_path + ": no such proto: " + name);
    if (name.starts_with("google/protobuf/") || !seen.insert(name).second)
      continue;  // libprotobuf has the former
    for (const std::string& dependency : files[name]->dependency()) open.push_back(dependency);
  }
  return seen;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) fail("usage: merge_overlay BASE OVERLAY ROOTS OUT CLOSURE");
  pb::FileDescriptorSet base;
  std::ifstream in(argv[1], std::ios::binary);
  if (!in || !base.ParseFromIstream(&in)) fail(std::string("cannot read ") + argv[1]);
  Merger merger(&base);
  merger.apply(argv[2]);
  const pb::FileDescriptorSet merged = merger.in_import_order();
  check(merged);

  std::ofstream out(argv[4], std::ios::binary | std::ios::trunc);
  if (!merged.SerializeToOstream(&out) || !out.flush())
    fail(std::string("cannot write ") + argv[4]);
  std::ofstream list(argv[5], std::ios::trunc);
  for (const std::string& name : closure(merged, argv[3])) list << name << "\n";
  if (!list.flush()) fail(std::string("cannot write ") + argv[5]);
  return 0;
}
