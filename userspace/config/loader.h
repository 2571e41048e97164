// From files to a Bootstrap, with everything that is wrong with them. The loader reads, merges and checks the
// shape and the rules of the API; what the fields mean to Millrace is the translation's business, which adds
// its own findings to the same Diagnostics by field path. Main thread.
//
//   file (.yaml .yml .json .pb .pb_text) -> tree with places -> message with positions -> merge ->
//   validate.rules
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "config/diagnostics.h"

namespace google::protobuf {
class Message;
}
namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}

namespace millrace::config {

struct LoadOptions {
  std::string path;         // -c
  std::string config_yaml;  // --config-yaml, merged over the file
  bool allow_unknown_static_fields = false;
};

enum class ConfigFormat : uint8_t { kYaml, kJson, kProtobuf, kProtobufText };

// By the name's ending; YAML, which reads JSON too, for any other.
ConfigFormat format_of(std::string_view path);

// The message is always there, as far as it could be built; it may be used when ok().
class Loaded {
 public:
  explicit Loaded(std::unique_ptr<google::protobuf::Message> message);
  Loaded(Loaded&&) noexcept;
  Loaded& operator=(Loaded&&) noexcept;
  ~Loaded();

  bool ok() const { return !diagnostics_.has_errors(); }
  const envoy::config::bootstrap::v3::Bootstrap& bootstrap() const;
  google::protobuf::Message& message() { return *message_; }  // the same
  const google::protobuf::Message& message() const { return *message_; }
  Diagnostics& diagnostics() { return diagnostics_; }
  const Diagnostics& diagnostics() const { return diagnostics_; }
  Place position_of(std::string_view path) const { return diagnostics_.positions().find(path); }

 private:
  std::unique_ptr<google::protobuf::Message> message_;
  Diagnostics diagnostics_;
};

Loaded load_bootstrap(const LoadOptions& options);
// The same for text that is already at hand; the name stands in the diagnostics. options.path is not read.
Loaded load_bootstrap_text(std::string_view text, std::string name, ConfigFormat format,
                           const LoadOptions& options = {});
// Any message of the API by its full name, which must exist: for resources that are not a Bootstrap.
Loaded load_message_text(std::string_view type_name, std::string_view text, std::string name,
                         ConfigFormat format, const LoadOptions& options = {});

}  // namespace millrace::config
