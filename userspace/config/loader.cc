#include "config/loader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/assert.h"
#include "config/api_pool.h"
#include "config/loader_protobuf.h"
#include "config/proto_builder.h"
#include "config/validate_rules.h"
#include "config/yaml_tree.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

constexpr std::string_view kBootstrap = "envoy.config.bootstrap.v3.Bootstrap";

std::unique_ptr<pb::Message> make(std::string_view type_name) {
  // Named here, the generated class is linked; looked up, it may be found missing and made dynamic.
  if (type_name == kBootstrap) return std::make_unique<envoy::config::bootstrap::v3::Bootstrap>();
  const pb::Descriptor* type = ApiPool::get().find_message(type_name);
  MILLRACE_ASSERT(type != nullptr);
  return ApiPool::get().new_message(*type);
}

// Reads one text into the message; what is wrong goes to the diagnostics.
void read_text(std::string_view text, uint16_t file, ConfigFormat format, bool allow_unknown,
               pb::Message& message, Positions& positions, Diagnostics& diagnostics) {
  const ApiPool& types = ApiPool::get();
  if (format == ConfigFormat::kProtobuf) {
    read_protobuf(text, file, message, diagnostics);
    return;
  }
  if (format == ConfigFormat::kProtobufText) {
    read_protobuf_text(text, file, allow_unknown, types, message, positions, diagnostics);
    return;
  }
  Document document;
  const auto parse = format == ConfigFormat::kJson ? parse_json : parse_yaml;
  if (!parse(text, file, document, diagnostics)) return;
  build_message(*document.root(), types, {allow_unknown}, message, positions, diagnostics);
}

// Protobuf's MergeFrom: scalars of the override win, lists are appended.
void merge_override(const LoadOptions& options, Loaded& loaded) {
  if (options.config_yaml.empty()) return;
  Diagnostics& diagnostics = loaded.diagnostics();
  const uint16_t file = diagnostics.add_file("--config-yaml");
  const std::unique_ptr<pb::Message> over(loaded.message().New());
  Positions positions;
  read_text(options.config_yaml, file, ConfigFormat::kYaml, options.allow_unknown_static_fields, *over,
            positions, diagnostics);
  loaded.message().MergeFrom(*over);
  diagnostics.positions().merge(positions);
}

std::optional<std::string> read_file(const std::string& path, uint16_t file, Diagnostics& diagnostics) {
  const auto fail = [&](int error) {
    diagnostics.error_at({0, 0, file}, "", std::string("cannot be read: ") + std::strerror(error));
    return std::nullopt;
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno);
  std::string text;
  char chunk[65536];
  ssize_t n = 0;
  const size_t most = TreeLimits{}.bytes;
  while ((n = ::read(fd, chunk, sizeof(chunk))) != 0 && text.size() <= most) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    text.append(chunk, static_cast<size_t>(n));
  }
  const int error = errno;
  ::close(fd);
  if (n < 0) return fail(error);
  return text;
}

}  // namespace

ConfigFormat format_of(std::string_view path) {
  if (path.ends_with(".json")) return ConfigFormat::kJson;
  if (path.ends_with(".pb")) return ConfigFormat::kProtobuf;
  if (path.ends_with(".pb_text")) return ConfigFormat::kProtobufText;
  return ConfigFormat::kYaml;
}

Loaded::Loaded(std::unique_ptr<pb::Message> message) : message_(std::move(message)) {}
Loaded::Loaded(Loaded&&) noexcept = default;
Loaded& Loaded::operator=(Loaded&&) noexcept = default;
Loaded::~Loaded() = default;

const envoy::config::bootstrap::v3::Bootstrap& Loaded::bootstrap() const {
  MILLRACE_ASSERT(message_->GetDescriptor() == envoy::config::bootstrap::v3::Bootstrap::descriptor());
  return static_cast<const envoy::config::bootstrap::v3::Bootstrap&>(*message_);
}

Loaded load_bootstrap(const LoadOptions& options) {
  if (!options.path.empty()) {
    Diagnostics reading;
    const std::optional<std::string> text = read_file(options.path, reading.add_file(options.path), reading);
    if (text) return load_bootstrap_text(*text, options.path, format_of(options.path), options);
    Loaded failed(make(kBootstrap));
    failed.diagnostics() = std::move(reading);
    return failed;
  }
  Loaded loaded(make(kBootstrap));
  if (options.config_yaml.empty()) {
    loaded.diagnostics().error("", "no configuration", "name a file with -c, or give one with --config-yaml");
    return loaded;
  }
  merge_override(options, loaded);
  validate_rules(loaded.message(), ApiPool::get(), loaded.diagnostics());
  return loaded;
}

Loaded load_bootstrap_text(std::string_view text, std::string name, ConfigFormat format,
                           const LoadOptions& options) {
  return load_message_text(kBootstrap, text, std::move(name), format, options);
}

Loaded load_message_text(std::string_view type_name, std::string_view text, std::string name,
                         ConfigFormat format, const LoadOptions& options) {
  Loaded loaded(make(type_name));
  Diagnostics& diagnostics = loaded.diagnostics();
  const uint16_t file = diagnostics.add_file(std::move(name));
  read_text(text, file, format, options.allow_unknown_static_fields, loaded.message(),
            diagnostics.positions(), diagnostics);
  merge_override(options, loaded);
  // A file that is not even a tree has no fields to check.
  if (diagnostics.has_errors() && diagnostics.positions().size() == 1) return loaded;
  validate_rules(loaded.message(), ApiPool::get(), diagnostics);
  return loaded;
}

}  // namespace millrace::config
