// What of Envoy's API Millrace honours: one table (support_table.cc), used in two ways. A
// configuration is walked field by field, so that nothing set in it is dropped in silence: a field
// is honoured, or has no effect here for a stated reason, or is an error that says so. And the
// table is printed, for people. Main thread; the walk decodes each Any once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace millrace::config {

class Diagnostics;

// A set field by its path, as the loader's diagnostics know it:
// static_resources.listeners[0].filter_chains[0].filters[0].typed_config.rds,
// metadata.filter_metadata["envoy.lb"].
struct SupportNote {
  std::string path;
  std::string what;
};

struct SupportFindings {
  std::vector<SupportNote> unsupported;  // the configuration cannot run as it is meant
  std::vector<SupportNote> ignored;      // accepted; the field changes nothing here, `what` says why
};

// Everything set in the message, contents of Any included, that Millrace does not honour. Paths
// start below the message.
[[nodiscard]] SupportFindings check_support(const google::protobuf::Message& message);

// The same for a loaded configuration: what is unsupported becomes an error with its place; returns what
// is ignored, for --mode validate to list.
std::vector<SupportNote> enforce_support(const google::protobuf::Message& message, Diagnostics& diagnostics);

// Per message: what is honoured, what has no effect and why, and what Envoy has beyond that.
// Markdown.
[[nodiscard]] std::string support_table_markdown();

// One message of the table; fields in the order they were written.
struct SupportedField {
  std::string name;
  // Not empty: only these values (of an enum, or true/false) are honoured.
  std::vector<std::string> values;
  // Of a list: the items after the first are alternatives, which Envoy would not use either.
  bool first_only = false;
  // Of an Any: the start of the names of the types that have a place there.
  std::string type_prefix;
  std::string ignored_because;  // not empty: accepted, without effect
};
struct SupportedMessage {
  std::string name;
  std::vector<SupportedField> fields;
  [[nodiscard]] const SupportedField* find(std::string_view field) const;
};

// Parses the table's source: the format is described there. An ill-formed line is a programmer's
// error and asserts.
[[nodiscard]] std::vector<SupportedMessage> parse_support_table(std::string_view source);
[[nodiscard]] std::string_view support_table_source();

}  // namespace millrace::config
