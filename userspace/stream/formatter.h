// Envoy's substitution format: text with %COMMAND(arguments):max_length% operators, compiled once into an immutable
// program and run per access log line or header value. A compiled Formatter belongs to the Snapshot and is used by all
// workers at once; append() takes no lock and allocates only when `out` grows. An operator that has no value writes "-"
// (FormatOptions::empty_value). "%%" is a percent sign.
// JsonFormatter does the same for a tree of format strings (json_format): a string that is one single operator keeps
// the operator's type (number, or null when it has no value), anything else becomes a JSON string.
// Errors name the operator, its position in the string and what was probably meant.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "http/header_map.h"
#include "stream/stream_info.h"

namespace millrace::stream {

enum class AccessLogType : uint8_t {
  kNotSet,
  kTcpUpstreamConnected,
  kTcpPeriodic,
  kTcpConnectionEnd,
  kDownstreamStart,
  kDownstreamPeriodic,
  kDownstreamEnd,
  kUpstreamPoolReady,
  kUpstreamPeriodic,
  kUpstreamEnd,
  kUdpTunnelUpstreamConnected,
  kUdpPeriodic,
  kUdpSessionEnd,
};
std::string_view name(AccessLogType type);  // "DownstreamEnd"

// What a line or a header value is made from; everything is borrowed for the call. Null header maps read as empty.
struct FormatContext {
  const StreamInfo* info = nullptr;  // never null
  const http::HeaderMap* request_headers = nullptr;
  const http::HeaderMap* response_headers = nullptr;
  const http::HeaderMap* response_trailers = nullptr;
  std::string_view local_reply_body{};
  AccessLogType log_type = AccessLogType::kNotSet;
  base::MonotonicTime now{};  // for durations of what still runs; unset: read from the clock when needed
  base::SystemTime system_now{};  // %EMIT_TIME%; unset: as above
};

struct FormatOptions {
  std::string_view empty_value = "-";  // "" with omit_empty_values, and always for header values
};

// Envoy's format of a file access log that configures none, line end included.
extern const std::string_view kDefaultAccessLogFormat;

namespace detail {
struct Program;
struct JsonProgram;
}  // namespace detail

class Formatter {
 public:
  static base::Result<Formatter> compile(std::string_view format, const FormatOptions& options = {});
  Formatter(Formatter&&) noexcept;
  Formatter& operator=(Formatter&&) noexcept;
  ~Formatter();

  void append(const FormatContext& context, std::string& out) const;
  // No operator in it: append() writes constant_text() whatever the context.
  bool is_constant() const;
  std::string_view constant_text() const;

 private:
  explicit Formatter(std::unique_ptr<const detail::Program> program);
  std::unique_ptr<const detail::Program> program_;
};

// A format tree as configurations write it: google.protobuf.Struct without protobuf.
struct JsonFormat {
  using Object = std::vector<std::pair<std::string, JsonFormat>>;
  using Array = std::vector<JsonFormat>;
  // Null, bool and numbers are written as they are; strings are compiled.
  std::variant<std::nullptr_t, bool, double, std::string, Object, Array> value = nullptr;
};

struct JsonFormatOptions {
  bool omit_empty_values = false;  // leaves out members whose value is missing (and arrays' elements)
  bool sort_properties = true;     // members by name, as Envoy writes them
  bool line_end = true;            // "\n" after the object
};

class JsonFormatter {
 public:
  static base::Result<JsonFormatter> compile(const JsonFormat::Object& format,
                                             const JsonFormatOptions& options = {});
  JsonFormatter(JsonFormatter&&) noexcept;
  JsonFormatter& operator=(JsonFormatter&&) noexcept;
  ~JsonFormatter();

  void append(const FormatContext& context, std::string& out) const;

 private:
  explicit JsonFormatter(std::unique_ptr<const detail::JsonProgram> program);
  std::unique_ptr<const detail::JsonProgram> program_;
};

// text as a JSON string with its quotes: control bytes escaped, each byte that is not part of well-formed UTF-8
// replaced by U+FFFD.
void append_json_string(std::string_view text, std::string& out);

}  // namespace millrace::stream
