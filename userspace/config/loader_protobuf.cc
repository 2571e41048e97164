#include "config/loader_protobuf.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>

#include "config/yaml_tree.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

// protobuf counts lines and columns from 0, and -1 for unknown.
Place place_at(int line, int column, uint16_t file) {
  if (line < 0) return {0, 0, file};
  return {static_cast<uint32_t>(line + 1), static_cast<uint16_t>(std::clamp(column + 1, 1, 65535)), file};
}

class TextErrors : public pb::io::ErrorCollector {
 public:
  TextErrors(uint16_t file, Diagnostics& diagnostics) : file_(file), diagnostics_(diagnostics) {}
  void AddError(int line, int column, const std::string& message) override {
    diagnostics_.error_at(place_at(line, column, file_), "", message);
  }
  void AddWarning(int line, int column, const std::string& message) override {
    diagnostics_.warning_at(place_at(line, column, file_), "", message);
  }

 private:
  uint16_t file_;
  Diagnostics& diagnostics_;
};

class TextFinder : public pb::TextFormat::Finder {
 public:
  explicit TextFinder(const ApiPool& types) : types_(types) {}
  const pb::Descriptor* FindAnyType(const pb::Message&, const std::string&,
                                    const std::string& name) const override {
    return types_.find_message(name);
  }

 private:
  const ApiPool& types_;
};

using InfoTree = pb::TextFormat::ParseInfoTree;

void note_positions(const pb::Message& message, const InfoTree& tree, uint16_t file, Positions::Id at,
                    Positions& positions) {
  std::vector<const pb::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    // Maps have no order of their own: their entries keep the place of the first.
    const bool list = field->is_repeated() && !field->is_map();
    const auto place = [&](int index) {
      const pb::TextFormat::ParseLocation location = tree.GetLocation(field, index);
      return place_at(location.line, location.column, file);
    };
    const Positions::Id id = positions.add_field(at, field->name(), place(field->is_repeated() ? 0 : -1));
    const bool message_type = field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE;
    const int size = list ? message.GetReflection()->FieldSize(message, field) : 1;
    for (int i = 0; i < size && !field->is_map(); ++i) {
      const int index = list ? i : -1;
      const Positions::Id item = list ? positions.add_index(id, static_cast<uint32_t>(i), place(i)) : id;
      if (!message_type) continue;
      const InfoTree* nested = tree.GetTreeForNested(field, index);
      const pb::Message& child = list ? message.GetReflection()->GetRepeatedMessage(message, field, i)
                                      : message.GetReflection()->GetMessage(message, field);
      if (nested != nullptr) note_positions(child, *nested, file, item, positions);
    }
  }
}

}  // namespace

void read_protobuf(std::string_view bytes, uint16_t file, pb::Message& message, Diagnostics& diagnostics) {
  if (bytes.size() > TreeLimits{}.bytes ||
      !message.ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    diagnostics.error_at({0, 0, file}, "",
                         "not a " + message.GetDescriptor()->name() + " in protobuf's wire format",
                         "text formats are named .yaml, .json or .pb_text");
  }
}

void read_protobuf_text(std::string_view text, uint16_t file, bool allow_unknown_fields, const ApiPool& types,
                        pb::Message& message, Positions& positions, Diagnostics& diagnostics) {
  if (!check_text(text, file, TreeLimits{}, diagnostics)) return;
  pb::TextFormat::Parser parser;
  TextErrors errors(file, diagnostics);
  TextFinder finder(types);
  InfoTree tree;
  parser.RecordErrorsTo(&errors);
  parser.SetFinder(&finder);
  parser.WriteLocationsTo(&tree);
  parser.AllowPartialMessage(true);
  parser.AllowUnknownField(allow_unknown_fields);
  parser.SetRecursionLimit(static_cast<int>(TreeLimits{}.depth));
  if (!parser.ParseFromString(std::string(text), &message) && !diagnostics.has_errors()) {
    diagnostics.error_at({1, 1, file}, "",
                         "not a " + message.GetDescriptor()->name() + " in protobuf's text format");
  }
  positions.set_root({1, 1, file});
  note_positions(message, tree, file, Positions::kRoot, positions);
}

}  // namespace millrace::config
