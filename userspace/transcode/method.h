// One way to call a gRPC method: a method and one of the HTTP rules bound to it. Internal to the room; part of the
// engine, immutable.
#pragma once
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transcode/engine.h"
#include "transcode/fields.h"

namespace google::protobuf {
class MethodDescriptor;
}

namespace millrace::transcode {

enum class Body : uint8_t { kNone, kWhole, kField };

struct Method {
  const google::protobuf::MethodDescriptor* descriptor = nullptr;
  std::string grpc_path;
  Body body = Body::kNone;
  const google::protobuf::FieldDescriptor* body_field = nullptr;
  const google::protobuf::FieldDescriptor* response_field = nullptr;  // null: the whole message
  bool raw_request = false;   // the body is a google.api.HttpBody
  bool raw_response = false;
};

// What path and query say.
using Bindings = std::vector<std::pair<FieldPath, std::string>>;

// What calls share.
struct EngineCore {
  EngineOptions options;
  std::unique_ptr<Messages> messages;
  std::vector<Method> methods;
  std::set<std::string, std::less<>> ignored_parameters;
};

std::unique_ptr<filter::TranscodedCall> make_call(const EngineCore& core, const Method& method, Bindings bindings,
                                                  std::string_view content_type);

}  // namespace millrace::transcode
