// Fields of protobuf messages by the paths that path templates and query parameters use, and their values from text.
// Any thread; messages are the caller's.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace millrace::transcode {

class Messages;

using FieldPath = std::vector<const google::protobuf::FieldDescriptor*>;

// "a.b" by the fields' names or JSON names; empty: there is no such field, or a list or a scalar stands in the middle.
FieldPath resolve_field(const google::protobuf::Descriptor& message, std::string_view path);
// Whether a text can be its value: a scalar, an enum, a wrapper, Timestamp, Duration or FieldMask.
bool takes_text(const google::protobuf::FieldDescriptor& field);
// Sets, or adds to a list.
base::Result<void> set_field(google::protobuf::Message& message, const FieldPath& path, const std::string& text,
                             const Messages& messages);
// Whether both messages have the field, with different values.
bool differ(const google::protobuf::Message& a, const google::protobuf::Message& b, const FieldPath& path);

}  // namespace millrace::transcode
