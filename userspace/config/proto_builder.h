// From a tree of nodes to a protobuf message, by reflection, so that every field keeps its place: the
// Positions grow beside the message. As lenient as Envoy's loader: snake_case and lowerCamelCase names, enum
// names in any case, one item where a list is declared, numbers in quotes, null for unset. Extensions resolve
// by the type URL in '@type' and are stored packed; a TypedStruct is unwrapped to the type that it names.
// What does not fit is reported and left out; the rest is built.
#pragma once
#include "config/api_pool.h"
#include "config/diagnostics.h"
#include "config/yaml_tree.h"

namespace google::protobuf {
class Message;
}

namespace millrace::config {

struct BuildOptions {
  bool allow_unknown_fields = false;  // a warning instead of an error
};

// Merges what the tree says into the message. The root node is a mapping or null (nothing set).
void build_message(const Node& root, const ApiPool& types, const BuildOptions& options,
                   google::protobuf::Message& message, Positions& positions, Diagnostics& diagnostics);

}  // namespace millrace::config
