// A message in its wire form as JSON, a piece at a time: however long a list or deep a message, no piece takes longer
// than some KiB of the wire do. Field names are those of the API, and what it marks as sensitive is blanked. The order
// within a message is that of the field numbers. Main thread.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/redaction.h"
#include "config/wire.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
namespace util {
class TypeResolver;
}
}  // namespace google::protobuf

namespace millrace::config {

class WireJson {
 public:
  WireJson(const google::protobuf::Descriptor& type, std::string wire);
  ~WireJson();
  WireJson(const WireJson&) = delete;
  WireJson& operator=(const WireJson&) = delete;

  // Appends the next piece. False: that was all.
  bool next(std::string& out);

 private:
  // A message whose members are being written. Its fields are in the order of their numbers.
  struct Frame {
    const google::protobuf::Descriptor* type = nullptr;
    std::vector<WireField> fields;
    size_t at = 0;
    size_t depth = 0;         // of its members, in spaces
    bool empty = true;        // no member is written yet
    int list = 0;             // the number of the field whose elements are being written, or 0
    bool list_empty = false;  // no element is written yet
  };

  void open(const google::protobuf::Descriptor& type, std::string_view wire, size_t depth, std::string& out);
  void write_fields(std::string& out);
  void write_long_field(std::string& out);
  void write_elements(std::string& out);
  // Whether a message is best written field by field: it could be, if it is long.
  bool opens(const google::protobuf::FieldDescriptor& field, std::string_view wire);
  std::string members(const google::protobuf::Descriptor& type, std::string_view wire);

  const std::string wire_;
  Redaction redaction_;
  const std::unique_ptr<google::protobuf::util::TypeResolver> types_;
  std::vector<Frame> frames_;
  const google::protobuf::Descriptor* root_;  // until it is opened
};

}  // namespace millrace::config
