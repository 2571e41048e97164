// The protobuf types of one descriptor set, and their translation between binary and JSON. Immutable once loaded, any
// thread; nothing here locks.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace google::protobuf {
class Descriptor;
class Message;
class ServiceDescriptor;
}  // namespace google::protobuf

namespace millrace::transcode {

struct JsonOptions {
  bool add_whitespace = false;
  bool always_print_primitive_fields = false;
  bool always_print_enums_as_ints = false;
  bool preserve_proto_field_names = false;
  bool case_insensitive_enum_parsing = false;
};

class Messages {
 public:
  // descriptor_set: a serialized FileDescriptorSet with all that it imports.
  static base::Result<std::unique_ptr<Messages>> load(const std::string& descriptor_set, const JsonOptions& options);
  ~Messages();
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  const google::protobuf::ServiceDescriptor* find_service(const std::string& name) const;
  const google::protobuf::Descriptor* find_message(const std::string& name) const;
  std::unique_ptr<google::protobuf::Message> make(const google::protobuf::Descriptor& type) const;
  base::Result<std::string> from_json(const google::protobuf::Descriptor& type, std::string_view json) const;
  base::Result<std::string> to_json(const google::protobuf::Descriptor& type, const std::string& binary) const;
  const JsonOptions& options() const { return options_; }

 private:
  struct Types;
  Messages(std::unique_ptr<Types> types, const JsonOptions& options);

  std::unique_ptr<Types> types_;
  const JsonOptions options_;
};

}  // namespace millrace::transcode
