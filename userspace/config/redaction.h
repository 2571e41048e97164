// Blanks what the API marks as sensitive (udpa.annotations.sensitive), in messages and in what their Anys hold. Main
// thread.
#pragma once
#include <string>
#include <unordered_map>

namespace google::protobuf {
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace millrace::config {

inline constexpr const char* kTypeUrlPrefix = "type.googleapis.com";

class Redaction {
 public:
  // Anys come out with the type URLs that protobuf's JSON printer looks up.
  void message(google::protobuf::Message& message) { this->message(message, false, 0); }
  bool is_sensitive(const google::protobuf::FieldDescriptor& field);

 private:
  // sensitive: the field that holds the message is, so that all of it is.
  void message(google::protobuf::Message& message, bool sensitive, int depth);
  void any(google::protobuf::Message& any, bool sensitive, int depth);
  void text(google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field);

  std::unordered_map<const google::protobuf::FieldDescriptor*, bool> known_;
};

}  // namespace millrace::config
