// The constraints that the API's protos carry (protoc-gen-validate's validate.rules), enforced by reflection
// over a whole message, the content of every Any included. A violation is an error at the field, or at the
// message around it when the field is absent. A field that was already found faulty is not reported again.
// Main thread.
#pragma once
#include "config/api_pool.h"
#include "config/diagnostics.h"

namespace google::protobuf {
class Message;
}

namespace millrace::config {

void validate_rules(const google::protobuf::Message& message, const ApiPool& types, Diagnostics& diagnostics);

}  // namespace millrace::config
