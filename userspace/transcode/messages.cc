#include "transcode/messages.h"

#include <fmt/format.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <map>

namespace millrace::transcode {

namespace pb = google::protobuf;

namespace {

constexpr char kUrlPrefix[] = "type.googleapis.com";

base::Error invalid(std::string what) {
  return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

class FirstError final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (text.empty()) text = fmt::format("{}: {}: {}", file, element, message);
  }
  std::string text;
};

// What grpc-status-details-bin holds (google/rpc/status.proto), for sets that do not have it.
pb::FileDescriptorProto status_file() {
  pb::FileDescriptorProto file;
  file.set_name("google/rpc/status.proto");
  file.set_package("google.rpc");
  file.set_syntax("proto3");
  file.add_dependency("google/protobuf/any.proto");
  pb::DescriptorProto& status = *file.add_message_type();
  status.set_name("Status");
  const auto add = [&](const char* name, int number, pb::FieldDescriptorProto::Type type) -> pb::FieldDescriptorProto& {
    pb::FieldDescriptorProto& field = *status.add_field();
    field.set_name(name);
    field.set_json_name(name);
    field.set_number(number);
    field.set_type(type);
    field.set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    return field;
  };
  add("code", 1, pb::FieldDescriptorProto::TYPE_INT32);
  add("message", 2, pb::FieldDescriptorProto::TYPE_STRING);
  pb::FieldDescriptorProto& details = add("details", 3, pb::FieldDescriptorProto::TYPE_MESSAGE);
  details.set_type_name(".google.protobuf.Any");
  details.set_label(pb::FieldDescriptorProto::LABEL_REPEATED);
  return file;
}

// Files in an order in which each finds what it imports.
class Loader {
 public:
  Loader(const pb::FileDescriptorSet& set, pb::DescriptorPool& pool) : pool_(pool) {
    for (const pb::FileDescriptorProto& file : set.file()) files_.emplace(file.name(), &file);
  }
  base::Result<void> run() {
    for (const auto& [name, file] : files_) {
      if (auto ok = build(*file, 0); !ok) return ok;
    }
    return {};
  }
  base::Result<void> build(const pb::FileDescriptorProto& file, int depth) {
    if (pool_.FindFileByName(file.name()) != nullptr) return {};
    if (depth > 100) return invalid(fmt::format("{} is imported in a circle", file.name()));
    for (const std::string& import : file.dependency()) {
      if (const auto it = files_.find(import); it != files_.end()) {
        if (auto ok = build(*it->second, depth + 1); !ok) return ok;
      } else if (const pb::FileDescriptor* known = pb::DescriptorPool::generated_pool()->FindFileByName(import)) {
        // Google's own files, in sets that were made without their imports.
        pb::FileDescriptorProto copy;
        known->CopyTo(&copy);
        if (auto ok = build(copy, depth + 1); !ok) return ok;
      }
    }
    FirstError errors;
    if (pool_.BuildFileCollectingErrors(file, &errors) == nullptr) {
      return invalid(errors.text.empty() ? file.name() + " cannot be used" : errors.text);
    }
    return {};
  }

 private:
  pb::DescriptorPool& pool_;
  std::map<std::string, const pb::FileDescriptorProto*> files_;
};

}  // namespace

struct Messages::Types {
  pb::DescriptorPool pool;
  pb::DynamicMessageFactory factory{&pool};
  std::unique_ptr<pb::util::TypeResolver> resolver;
};

Messages::Messages(std::unique_ptr<Types> types, const JsonOptions& options)
    : types_(std::move(types)), options_(options) {}
Messages::~Messages() = default;

base::Result<std::unique_ptr<Messages>> Messages::load(const std::string& descriptor_set, const JsonOptions& options) {
  pb::FileDescriptorSet set;
  if (!set.ParseFromString(descriptor_set)) return invalid("is no FileDescriptorSet (protoc --descriptor_set_out)");
  auto types = std::make_unique<Types>();
  Loader loader(set, types->pool);
  if (auto ok = loader.run(); !ok) {
    return invalid(ok.error().what + " (protoc --include_imports puts imports into the set)");
  }
  pb::FileDescriptorProto any;
  pb::Any::descriptor()->file()->CopyTo(&any);
  for (const pb::FileDescriptorProto& file : {any, status_file()}) {
    // A set that has the type under another file name keeps its own.
    if (types->pool.FindMessageTypeByName(file.package() + "." + file.message_type(0).name()) != nullptr) continue;
    if (auto ok = loader.build(file, 0); !ok) return ok.error();
  }
  types->resolver.reset(pb::util::NewTypeResolverForDescriptorPool(kUrlPrefix, &types->pool));
  return std::unique_ptr<Messages>(new Messages(std::move(types), options));
}

const pb::ServiceDescriptor* Messages::find_service(const std::string& name) const {
  return types_->pool.FindServiceByName(name);
}
const pb::Descriptor* Messages::find_message(const std::string& name) const {
  return types_->pool.FindMessageTypeByName(name);
}

std::unique_ptr<pb::Message> Messages::make(const pb::Descriptor& type) const {
  return std::unique_ptr<pb::Message>(types_->factory.GetPrototype(&type)->New());
}

base::Result<std::string> Messages::from_json(const pb::Descriptor& type, std::string_view json) const {
  pb::util::JsonParseOptions options;
  options.case_insensitive_enum_parsing = options_.case_insensitive_enum_parsing;
  std::string binary;
  const pb::util::Status status =
      pb::util::JsonToBinaryString(types_->resolver.get(), fmt::format("{}/{}", kUrlPrefix, type.full_name()),
                                   pb::StringPiece(json.data(), json.size()), &binary, options);
  if (!status.ok()) return invalid(std::string(status.message()));
  return binary;
}

base::Result<std::string> Messages::to_json(const pb::Descriptor& type, const std::string& binary) const {
  pb::util::JsonPrintOptions options;
  options.add_whitespace = options_.add_whitespace;
  options.always_print_primitive_fields = options_.always_print_primitive_fields;
  options.always_print_enums_as_ints = options_.always_print_enums_as_ints;
  options.preserve_proto_field_names = options_.preserve_proto_field_names;
  std::string json;
  const pb::util::Status status = pb::util::BinaryToJsonString(
      types_->resolver.get(), fmt::format("{}/{}", kUrlPrefix, type.full_name()), binary, &json, options);
  if (!status.ok()) return invalid(std::string(status.message()));
  return json;
}

}  // namespace millrace::transcode
